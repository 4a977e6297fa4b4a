//! What several stories check.

use std::{collections::BTreeSet, net::SocketAddr, time::SystemTime};

use hickory_proto::{op::ResponseCode, rr::Name};

use super::{
    Failure, Scene, Teller, Told,
    scene::{LAN, provider_dns},
};
use crate::{
    ask::{Answer, Question, ask_all},
    capture::{Capture, CleartextQuery},
    internet::PAGE,
    products::Client,
};

/// The client, among the programs of a scene.
pub(super) const CLIENT: &str = "zzdot-client";
/// DNS over TLS (RFC 7858 3.1).
const DOT_PORT: u16 = 853;
/// Differences shown before "and so on".
const SHOWN: usize = 20;

/// Fails unless `holds`.
pub(super) fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Told {
    if holds {
        Ok(())
    } else {
        Err(Failure::new(otherwise()))
    }
}

/// Everything, asked from the laptop at `server`, is answered as the provider's unbound answers it: code, records,
/// signatures and the AD bit.
pub(super) fn answers_equal_the_reference(
    scene: &Scene,
    server: SocketAddr,
    teller: &Teller,
) -> Told {
    let questions = scene.internet.questions();
    let answers = ask_all(&scene.laptop, server, &questions)?;
    teller.tell(format!(
        "{} questions asked from the laptop: {}",
        questions.len(),
        tally(&answers)
    ));
    let reference = ask_all(&scene.provider, provider_dns(), &questions)?;
    let differences: Vec<_> = questions
        .iter()
        .zip(answers.iter().zip(&reference))
        .filter(|(_, (got, want))| !got.says_the_same_as(want))
        .collect();
    ensure(differences.is_empty(), || {
        let shown = differences.iter().take(SHOWN);
        let lines: Vec<_> = shown
            .map(|(question, (got, want))| {
                format!(
                    "  {question}{}\n    got  {got}\n    want {want}",
                    about(scene, question)
                )
            })
            .collect();
        format!(
            "{} of {} answers differ from unbound's:\n{}",
            differences.len(),
            questions.len(),
            lines.join("\n")
        )
    })?;
    reference_is_worth_comparing_with(&reference)?;
    teller.tell("every answer equals unbound's: code, records, signatures, AD");
    Ok(())
}

fn about(scene: &Scene, question: &Question) -> String {
    let probe = scene.internet.probes().iter().find(|probe| {
        probe.question.name == question.name && probe.question.rtype == question.rtype
    });
    probe
        .map(|probe| format!(" ({})", probe.about))
        .unwrap_or_default()
}

/// A lab in which everything fails, or nothing is signed, would please every comparison.
fn reference_is_worth_comparing_with(reference: &[Answer]) -> Told {
    let count =
        |holds: &dyn Fn(&Answer) -> bool| reference.iter().filter(|answer| holds(answer)).count();
    let secure = count(&|answer| answer.authentic && !answer.answers.is_empty());
    let insecure = count(&|answer| !answer.authentic && !answer.answers.is_empty());
    let failed = count(&|answer| answer.rcode == ResponseCode::ServFail);
    let absent = count(&|answer| answer.rcode == ResponseCode::NXDomain);
    let empty = count(&|answer| answer.rcode == ResponseCode::NoError && answer.answers.is_empty());
    ensure(
        secure > 500 && insecure > 100 && failed >= 10 && absent >= 10 && empty >= 10,
        || {
            format!(
                "the lab itself is not what it should be: {}",
                tally(reference)
            )
        },
    )
}

fn tally(answers: &[Answer]) -> String {
    let codes: BTreeSet<_> = answers
        .iter()
        .map(|answer| answer.rcode.to_string())
        .collect();
    let codes: Vec<_> = codes
        .iter()
        .map(|code| {
            format!(
                "{code} {}",
                answers
                    .iter()
                    .filter(|answer| answer.rcode.to_string() == **code)
                    .count()
            )
        })
        .collect();
    let authentic = answers.iter().filter(|answer| answer.authentic).count();
    let tcp = answers.iter().filter(|answer| answer.over_tcp).count();
    format!(
        "{}; authentic {authentic}; over TCP {tcp}",
        codes.join(", ")
    )
}

/// `getent` and `curl` on the laptop, by nothing but its resolv.conf.
pub(super) fn applications_work(scene: &Scene, names: &[Name], teller: &Teller) -> Told {
    let names: Vec<_> = names
        .iter()
        .map(|name| name.to_utf8().trim_end_matches('.').to_owned())
        .collect();
    let mut arguments = vec!["ahosts"];
    arguments.extend(names.iter().map(String::as_str));
    let output = scene.laptop.output("getent", &arguments)?;
    let found: BTreeSet<_> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| line.split_whitespace().nth(2).map(str::to_owned))
        .collect();
    ensure(output.status.success(), || {
        format!(
            "getent found {} of {} names ({})",
            found.len(),
            names.len(),
            output.status
        )
    })?;
    teller.tell(format!("getent finds all of {} names", names.len()));
    for family in ["-4", "-6"] {
        let output = scene.laptop.output(
            "curl",
            &[
                family,
                "--silent",
                "--show-error",
                "--max-time",
                "20",
                "http://www.portal.example/",
            ],
        )?;
        let page = String::from_utf8_lossy(&output.stdout);
        ensure(page == PAGE, || {
            format!(
                "curl {family}: {} {page} {}",
                output.status,
                String::from_utf8_lossy(&output.stderr)
            )
        })?;
    }
    teller.tell("curl fetches a page over IPv4 and over IPv6");
    Ok(())
}

/// Which of the five hundred names this host asked for in cleartext, since then.
pub(super) fn names_in_cleartext(
    scene: &Scene,
    capture: &Capture,
    host: &str,
    since: SystemTime,
) -> usize {
    let queries = capture.cleartext_queries_from(host, since);
    scene
        .internet
        .names()
        .iter()
        .filter(|name| {
            queries
                .iter()
                .any(|query| query.asks_for(&name.to_lowercase()))
        })
        .count()
}

/// Not one DNS message to port 53 left the host since then, and no packet to any port spells one of the names.
pub(super) fn nothing_in_cleartext(
    scene: &Scene,
    capture: &Capture,
    host: &str,
    since: SystemTime,
    teller: &Teller,
) -> Told {
    let queries = capture.cleartext_queries_from(host, since);
    ensure(queries.is_empty(), || {
        let lines: Vec<_> = queries
            .iter()
            .take(SHOWN)
            .map(|query| format!("  {query}"))
            .collect();
        format!(
            "{} cleartext queries left {host} on {}:\n{}",
            queries.len(),
            capture.link(),
            lines.join("\n")
        )
    })?;
    let spelled = capture.names_spelled(scene.internet.names(), host, since);
    ensure(spelled.is_empty(), || {
        format!("packets of {host} on {} spell {spelled:?}", capture.link())
    })?;
    let packets = capture
        .packets()
        .iter()
        .filter(|packet| packet.host.as_deref() == Some(host) && packet.at >= since)
        .count();
    teller.tell(format!("{packets} packets left {host} since the client's first answer: not one cleartext query, no name spelled"));
    Ok(())
}

/// Not one DNS message to port 53 left the laptop between the two.
pub(super) fn not_one_in_cleartext_between(
    capture: &Capture,
    (from, to): (SystemTime, SystemTime),
    teller: &Teller,
) -> Told {
    let queries = capture.cleartext_queries_from("laptop", from);
    let early: Vec<_> = queries
        .iter()
        .filter(|query| query.at < to)
        .take(SHOWN)
        .map(ToString::to_string)
        .collect();
    ensure(early.is_empty(), || {
        format!("questions left in cleartext without need: {early:?}")
    })?;
    teller.tell("until then not one cleartext query, not even of the walk");
    Ok(())
}

/// The whole promise, on the laptop: the client meets the router, then everything is asked through it, applications
/// work, and the capture on the household's link holds nothing readable once the walk and its handshake are over.
pub(super) fn the_laptop_is_private(scene: &mut Scene, teller: &Teller) -> Told {
    let [v4, v6] = Client::addresses();
    answers_equal_the_reference(scene, v4, teller)?;
    let probe = scene.internet.probes()[0].question.clone();
    let answer = ask_all(&scene.laptop, v6, &[probe])?;
    ensure(!answer[0].answers.is_empty(), || {
        format!("over IPv6 the client says {}", answer[0])
    })?;
    applications_work(scene, scene.internet.names(), teller)?;
    let capture = scene.lab.end_capture(LAN)?;
    let handshake = handshake_over(&capture)?;
    let since = scene
        .first_answer
        .ok_or_else(|| Failure::new("the client was never started"))?;
    ensure(handshake <= since, || {
        "the client answered before its handshake was over".into()
    })?;
    nothing_in_cleartext(scene, &capture, "laptop", since, teller)?;
    only_the_walk_in_cleartext(scene, &capture, teller)
}

/// When the laptop's first TLS handshake was over.
fn handshake_over(capture: &Capture) -> Result<SystemTime, Failure> {
    capture
        .handshake_over("laptop", DOT_PORT)
        .ok_or_else(|| Failure::new("no TLS handshake of the laptop was seen on the link"))
}

/// Nothing but questions of the walk ever left the laptop in cleartext, not even while applications waited for its end;
/// none of the names did, on any port.
pub(super) fn only_the_walk_in_cleartext(
    scene: &Scene,
    capture: &Capture,
    teller: &Teller,
) -> Told {
    let queries = capture.cleartext_queries_from("laptop", SystemTime::UNIX_EPOCH);
    let strange: Vec<_> = queries
        .iter()
        .filter(|query| !is_part_of_the_walk(query))
        .take(SHOWN)
        .map(ToString::to_string)
        .collect();
    ensure(strange.is_empty(), || {
        format!("questions that are not part of the walk left in cleartext: {strange:?}")
    })?;
    let spelled = capture.names_spelled(scene.internet.names(), "laptop", SystemTime::UNIX_EPOCH);
    ensure(spelled.is_empty(), || {
        format!("packets of the laptop spell {spelled:?}")
    })?;
    teller.tell(format!(
        "{} cleartext queries, all of the walk; no name spelled",
        queries.len()
    ));
    Ok(())
}

/// About `resolver-name.arpa` or a resolver's own name.
fn is_part_of_the_walk(query: &CleartextQuery) -> bool {
    ["resolver-name.arpa.", "zz."].iter().any(|suffix| {
        let suffix = Name::from_ascii(suffix).expect("a constant is a name");
        query
            .question
            .as_ref()
            .is_some_and(|(name, _)| suffix.zone_of(name))
    })
}

/// Starts the client on the laptop and lets all applications ask it.
pub(super) fn start_client(scene: &mut Scene, client: &Client<'_>) -> Told {
    let process = client.start()?;
    // The walk's last questions and its handshake overtake each other; with the first answer both are over.
    scene.first_answer = Some(SystemTime::now());
    scene.keep(CLIENT, process);
    scene.laptop.use_name_server(Client::addresses()[0].ip())?;
    Ok(())
}

/// The client answers SERVFAIL with an extended error whose text holds `reason`.
pub(super) fn refuses(scene: &Scene, reason: &str, question: &Question) -> Result<Answer, Failure> {
    let answer = ask_all(
        &scene.laptop,
        Client::addresses()[0],
        std::slice::from_ref(question),
    )?
    .remove(0);
    let named = answer.errors.iter().any(|(_, text)| text.contains(reason));
    ensure(answer.rcode == ResponseCode::ServFail && named, || {
        format!("{question}: expected SERVFAIL with an error that names '{reason}', got {answer}")
    })?;
    Ok(answer)
}
