//! Servers of today that are not upgraded, and what the client makes of each of them.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::SystemTime,
};

use hickory_proto::{
    op::ResponseCode,
    rr::{Name, RecordType},
};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};
use serde_json::Value;

use super::{
    Failure, Scene, Story, Teller, Told,
    checks::{CLIENT, ensure},
    scene::{LAN, provider_dns},
};
use crate::{
    Host,
    ask::{Answer, Question, ask_all, wait_until_answering},
    products::Client,
    servers::{self, READY, UnboundSource},
};

pub(super) const LADDER: Story = Story {
    name: "ladder",
    sentence: "In front of servers that are not upgraded the client takes the best that each offers: a designated resolver that proves itself, TLS with whoever is there, cleartext; as far down as it may.",
    set_up,
    play,
    try_this: &[
        "zzdot-client status",
        "dig _dns.resolver.arpa SVCB @203.0.113.53",
    ],
};

/// The server's public address, which an authority can certify, and its private one, which none can.
const PUBLIC: &str = "203.0.113.53";
const PRIVATE: &str = "192.168.77.53";
/// Another one's.
const STRANGER: &str = "203.0.113.99";
const SERVER: &str = "server";
/// Names asked in each act.
const NAMES: usize = 20;

fn address(text: &str) -> IpAddr {
    text.parse().expect("constants are addresses")
}

fn set_up(scene: &mut Scene) -> Told {
    let host = scene.lab.host("box")?;
    let addresses = [format!("{PRIVATE}/24"), format!("{PUBLIC}/24")];
    scene
        .lab
        .plug(&host, LAN, &[&addresses[0], &addresses[1]])?;
    scene.lab.route(&host, "default", "192.168.77.1")?;
    let laptop = scene.laptop.clone();
    scene.lab.route(&laptop, PUBLIC, PRIVATE)?;
    Ok(())
}

fn play(scene: &mut Scene, teller: &Teller) -> Told {
    let host = scene
        .lab
        .find_host("box")
        .ok_or_else(|| Failure::new("the scene is not set"))?
        .clone();
    let authority = Authority::make(&host)?;
    let mut acts = Acts {
        authority: authority.certificate.clone(),
        asked: Vec::new(),
        played: 0,
    };

    let genuine = authority.certify(&host, "genuine", PUBLIC)?;
    dnsdist(scene, &host, &genuine)?;
    acts.private(scene, PUBLIC, "verified", "designated")?;
    teller.tell(
        "dnsdist designates a resolver with a certificate for its address: used, and authenticated",
    );

    let other = authority.certify(&host, "other", STRANGER)?;
    dnsdist(scene, &host, &other)?;
    let said = acts.refused(scene, PUBLIC, "verified")?;
    ensure(said.contains("designated: "), || {
        format!("the error does not say why nobody is designated: {said}")
    })?;
    acts.private(scene, PUBLIC, "encrypted", "opportunistic")?;
    teller.tell("with a certificate for another address it is nobody's designated resolver; TLS it is all the same");

    unbound(scene, &host, Some((&other, 8853)))?;
    acts.private(scene, PRIVATE, "encrypted", "opportunistic")?;
    let said = acts.refused(scene, PRIVATE, "verified")?;
    ensure(
        said.contains("no authority certifies private addresses"),
        || format!("the error does not say what is wrong with private addresses: {said}"),
    )?;
    teller.tell("unbound at a private address designates another port of its own: encrypted, and never called more");

    unbound(scene, &host, None)?;
    let said = acts.refused(scene, PRIVATE, "encrypted")?;
    ensure(said.contains("opportunistic: "), || {
        format!("the error does not say what was tried: {said}")
    })?;
    acts.in_cleartext(scene, PRIVATE)?;
    teller.tell("without TLS `encrypted` keeps every question at home, and `plain` passes them on and counts them");

    unbound(scene, &host, Some((&other, 853)))?;
    acts.falls(scene, &host, teller)?;

    let capture = scene.lab.end_capture(LAN)?;
    let in_clear = capture.cleartext_queries_from("laptop", SystemTime::UNIX_EPOCH);
    for (name, expected) in &acts.asked {
        let seen = in_clear.iter().any(|query| query.asks_for(name));
        ensure(seen == *expected, || {
            format!("{name}: seen in cleartext: {seen}, and it should be {expected}")
        })?;
    }
    let hidden: Vec<Name> = acts
        .asked
        .iter()
        .filter(|(_, in_clear)| !in_clear)
        .map(|(name, _)| name.clone())
        .collect();
    let spelled = capture.names_spelled(&hidden, "laptop", SystemTime::UNIX_EPOCH);
    ensure(spelled.is_empty(), || format!("packets spell {spelled:?}"))?;
    teller.tell(format!(
        "the capture shows none of {} names that were to be private, and all of the others",
        hidden.len()
    ));
    Ok(())
}

/// What was asked so far, and whether anybody may have read it.
struct Acts {
    authority: PathBuf,
    asked: Vec<(Name, bool)>,
    played: usize,
}

impl Acts {
    /// Names that no act before asked for, so that the capture tells them apart.
    fn names(&mut self, scene: &Scene) -> Vec<Name> {
        let names = scene.internet.names().iter().skip(self.played * NAMES);
        self.played += 1;
        names.take(NAMES).map(Name::to_lowercase).collect()
    }

    fn start(&self, scene: &mut Scene, server: &str, legacy: &str) -> Told {
        let laptop = scene.laptop.clone();
        let client = client_on(&laptop, server, legacy);
        let process = client.start_trusting(&self.authority)?;
        scene.keep(CLIENT, process);
        Ok(())
    }

    fn ask(scene: &Scene, names: &[Name]) -> Result<Vec<Answer>, Failure> {
        let questions: Vec<_> = names
            .iter()
            .map(|name| Question::new(name, RecordType::A))
            .collect();
        Ok(ask_all(&scene.laptop, Client::addresses()[0], &questions)?)
    }

    /// All is answered on `rung`, and nobody can read it.
    fn private(&mut self, scene: &mut Scene, server: &str, legacy: &str, rung: &str) -> Told {
        self.start(scene, server, legacy)?;
        let names = self.names(scene);
        let answers = Self::ask(scene, &names)?;
        all_answered(&answers)?;
        let status = status(scene, server, legacy)?;
        let told = &status["queries"];
        let counted = told[rung].as_u64() >= Some(NAMES as u64) && told["cleartext"] == 0;
        ensure(status["rung"] == rung && counted, || {
            format!("expected the rung {rung}: {status:#}")
        })?;
        self.asked
            .extend(names.into_iter().map(|name| (name, false)));
        scene.end(CLIENT)
    }

    /// Nothing is answered, and nothing leaves; gives back what applications are told.
    fn refused(
        &mut self,
        scene: &mut Scene,
        server: &str,
        legacy: &str,
    ) -> Result<String, Failure> {
        self.start(scene, server, legacy)?;
        let names = self.names(scene);
        let answers = Self::ask(scene, &names)?;
        for answer in &answers {
            let named = answer
                .errors
                .iter()
                .any(|(_, text)| text.starts_with("not-encrypted: "));
            ensure(answer.rcode == ResponseCode::ServFail && named, || {
                format!("expected a refusal, got {answer}")
            })?;
        }
        let status = status(scene, server, legacy)?;
        ensure(
            status["rung"].is_null() && status["down"]["reason"] == "not-encrypted",
            || format!("expected no rung: {status:#}"),
        )?;
        self.asked
            .extend(names.into_iter().map(|name| (name, false)));
        scene.end(CLIENT)?;
        let said = answers.into_iter().flat_map(|answer| answer.errors).next();
        Ok(said.map(|(_, text)| text).unwrap_or_default())
    }

    fn in_cleartext(&mut self, scene: &mut Scene, server: &str) -> Told {
        self.start(scene, server, "plain")?;
        let names = self.names(scene);
        all_answered(&Self::ask(scene, &names)?)?;
        let status = status(scene, server, "plain")?;
        let sent = status["queries"]["cleartext"].as_u64();
        ensure(
            status["rung"] == "cleartext" && sent >= Some(NAMES as u64),
            || format!("expected cleartext: {status:#}"),
        )?;
        self.asked
            .extend(names.into_iter().map(|name| (name, true)));
        scene.end(CLIENT)
    }

    /// TLS that worked goes away under a running client: `plain` goes on in cleartext, within the question's own time.
    fn falls(&mut self, scene: &mut Scene, host: &Host, teller: &Teller) -> Told {
        self.start(scene, PRIVATE, "plain")?;
        let names = self.names(scene);
        all_answered(&Self::ask(scene, &names)?)?;
        let before = status(scene, PRIVATE, "plain")?;
        ensure(before["rung"] == "opportunistic", || {
            format!("expected TLS while it is there: {before:#}")
        })?;
        self.asked
            .extend(names.into_iter().map(|name| (name, false)));
        unbound(scene, host, None)?;
        let names = self.names(scene);
        all_answered(&Self::ask(scene, &names)?)?;
        let after = status(scene, PRIVATE, "plain")?;
        ensure(after["rung"] == "cleartext", || {
            format!("expected cleartext after TLS went away: {after:#}")
        })?;
        self.asked
            .extend(names.into_iter().map(|name| (name, true)));
        scene.end(CLIENT)?;
        teller.tell(
            "where TLS goes away, `plain` falls to cleartext without a lost question, and says so",
        );
        Ok(())
    }
}

fn all_answered(answers: &[Answer]) -> Told {
    for answer in answers {
        ensure(answer.rcode == ResponseCode::NoError, || {
            format!("expected an answer, got {answer}")
        })?;
    }
    Ok(())
}

fn client_on<'a>(laptop: &'a Host, server: &'a str, legacy: &'a str) -> Client<'a> {
    Client {
        host: laptop,
        server,
        legacy,
    }
}

fn status(scene: &Scene, server: &str, legacy: &str) -> Result<Value, Failure> {
    let output = client_on(&scene.laptop, server, legacy).output("status", &["--json"])?;
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// A certificate and its key, in PEM.
struct Certificate {
    chain: PathBuf,
    key: PathBuf,
}

/// An authority that the laptop's system trusts.
struct Authority {
    certificate: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn make(host: &Host) -> Result<Self, Failure> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::<String>::new())?;
        params
            .distinguished_name
            .push(DnType::CommonName, "lab authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = host.write("authority.pem", &params.self_signed(&key)?.pem())?;
        Ok(Self {
            certificate,
            issuer: Issuer::new(params, key),
        })
    }

    fn certify(&self, host: &Host, label: &str, address: &str) -> Result<Certificate, Failure> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(["dot.portal.example".to_owned(), address.into()])?;
        params
            .distinguished_name
            .push(DnType::CommonName, "dot.portal.example");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Certificate {
            chain: host.write(&format!("{label}.pem"), &certificate.pem())?,
            key: host.write(&format!("{label}.key"), &key.serialize_pem())?,
        })
    }
}

/// dnsdist at the public address, which designates itself.
fn dnsdist(scene: &mut Scene, host: &Host, certificate: &Certificate) -> Told {
    scene.running.remove(SERVER);
    let config = format!(
        "setSecurityPollSuffix('')\nsetACL({{'0.0.0.0/0'}})\nsetLocal('{PUBLIC}:53')\n\
         addTLSLocal('{PUBLIC}:853', '{}', '{}', {{provider='openssl'}})\n\
         newServer({{address='{}', healthCheckMode='up'}})\n\
         addAction('_dns.resolver.arpa.', SpoofSVCAction({{newSVCRecordParameters(1, 'dot.portal.example.', \
         {{mandatory={{'port'}}, alpn={{'dot'}}, port=853, ipv4hint={{'{PUBLIC}'}}}})}}, {{ttl=300}}))\n",
        certificate.chain.display(),
        certificate.key.display(),
        provider_dns(),
    );
    let config = host.write("dnsdist.conf", &config)?;
    let mut command = host.command("dnsdist")?;
    command
        .args(["--supervised", "--disable-syslog", "-C"])
        .arg(config);
    let mut process = host.start("dnsdist", command)?;
    let dns = SocketAddr::new(address(PUBLIC), 53);
    wait_until_answering(host, dns, READY, || {
        process
            .check_running("an answer")
            .map_err(|error| Waited(error.into()))
    })
    .map_err(|waited| waited.0)?;
    scene.keep(SERVER, process);
    Ok(())
}

/// unbound at the private address; with a certificate it speaks TLS on a port, which it designates.
fn unbound(scene: &mut Scene, host: &Host, tls: Option<(&Certificate, u16)>) -> Told {
    scene.running.remove(SERVER);
    let listen = SocketAddr::new(address(PRIVATE), 53);
    let extra = tls.map_or_else(String::new, |(certificate, port)| {
        format!(
            "  interface: {PRIVATE}@{port}\n  tls-port: {port}\n  tls-service-pem: \"{}\"\n  tls-service-key: \"{}\"\n  \
             local-zone: \"resolver.arpa.\" static\n  \
             local-data: '_dns.resolver.arpa. 300 IN SVCB 1 dot.portal.example. alpn=dot port={port} ipv4hint={PRIVATE}'\n",
            certificate.chain.display(),
            certificate.key.display(),
        )
    });
    let source = UnboundSource::Forward(&scene.internet, provider_dns().ip());
    let process = servers::unbound(host, &[listen], source, &extra)?;
    scene.keep(SERVER, process);
    Ok(())
}

/// Why waiting for a server came to nothing.
struct Waited(Failure);

impl From<crate::ask::AskError> for Waited {
    fn from(error: crate::ask::AskError) -> Self {
        Self(error.into())
    }
}
