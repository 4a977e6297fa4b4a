//! How many round trips a look at a chain takes, by capture: the laptop's TLS goes through a relay that holds everything back
//! for a while, so that what waited for an answer is told from what did not.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, SystemTime},
};

use super::{
    super::{
        Failure, Scene, Teller, Told,
        checks::{CLIENT, ensure},
        scene::{LAN, router_dns},
    },
    flat::{dane, nft},
    ground::find,
    links::Period,
    route::{self, MACHINES},
    truth::Traced,
};
use crate::{
    capture::{Capture, Rounds},
    products::Client,
    relay::{self, Weather},
};

/// The hops that are looked at, the first being the laptop's own.
const WAY: [&str; 3] = ["first", "middle", "end"];
const WEATHER: Weather = Weather {
    delay: Duration::from_millis(30),
    lose_every: 0,
};
const ROUND_TRIP: Duration = WEATHER.delay.saturating_mul(2);
/// For each hop.
const MOST_ROUNDS: usize = 2 * WAY.len();
/// On a machine that is busy with other things questions may leave late, and then seem to have waited for each other.
const ATTEMPTS: usize = 5;
const DOT_PORT: u16 = 853;

/// One look at the chain, and asking for it once more.
#[derive(Clone, Copy)]
struct Attempt {
    looked: Period,
    again: Period,
    /// Nobody looked a second time.
    kept: bool,
}

/// All attempts, the last of which should do.
pub(super) struct Trips(Vec<Attempt>);

/// Looks until a look is as short as it should be.
pub(super) fn play(scene: &mut Scene, names: &BTreeMap<String, String>) -> Result<Trips, Failure> {
    hold_back(scene)?;
    let mut attempts = Vec::new();
    for _ in 0..ATTEMPTS {
        route::start(scene, find(MACHINES, WAY[0])?.address, "nearest")?;
        let attempt = attempt(scene, names)?;
        attempts.push(attempt);
        scene.end(CLIENT)?;
        if attempt.check(&scene.lab.capture_so_far(LAN)?).is_ok() {
            break;
        }
    }
    nft(&scene.router, "delete table ip slow\n")?;
    Ok(Trips(attempts))
}

fn attempt(scene: &Scene, names: &BTreeMap<String, String>) -> Result<Attempt, Failure> {
    let look = || {
        let from = SystemTime::now();
        let output = Client::ask_running(&scene.laptop, "trace", &["--json"])?;
        let period = Period::since(from);
        let traced = Traced::read(serde_json::from_slice(&output.stdout)?, names);
        Ok::<_, Failure>((traced, period))
    };
    let (traced, looked) = look()?;
    let truth = [
        dane("laptop", WAY[0]),
        dane(WAY[0], WAY[1]),
        dane(WAY[1], WAY[2]),
    ];
    traced.is(&truth, Some(&WAY))?;
    let (same, again) = look()?;
    Ok(Attempt {
        looked,
        again,
        kept: same.looked_at() == traced.looked_at(),
    })
}

/// Lets TLS of the laptop with each of them take its time on the router.
fn hold_back(scene: &Scene) -> Told {
    let mut rules = String::new();
    for (number, name) in (1_u16..).zip(WAY) {
        let far = SocketAddr::new(find(MACHINES, name)?.ip(), DOT_PORT);
        let near = SocketAddr::new(router_dns().ip(), 20_000 + number);
        relay::start(&scene.router, near, far, WEATHER)?;
        rules += &format!(
            "  iifname {LAN} ip daddr {} tcp dport {DOT_PORT} dnat to {near}\n",
            far.ip()
        );
    }
    let rules = format!(
        "table ip slow {{\n chain in {{\n  type nat hook prerouting priority dstnat\n{rules} }}\n}}\n"
    );
    nft(&scene.router, &rules)
}

impl Trips {
    /// At least one look was as short as it should be.
    pub(super) fn check(&self, lan: &Capture, teller: &Teller) -> Told {
        let mut checked = self.0.iter().rev().map(|attempt| attempt.check(lan));
        let last = checked.next();
        let last = last.unwrap_or_else(|| Err(Failure::new("nobody looked")));
        let rounds = last.or_else(|failure| checked.find_map(Result::ok).ok_or(failure))?;
        teller.tell(format!(
            "{} hops were looked at in {} rounds of questions and {:.1} round trips, with {} handshakes meanwhile; who asks \
             again is told the same without a packet",
            WAY.len(),
            rounds.count,
            rounds.time.as_secs_f32() / ROUND_TRIP.as_secs_f32(),
            rounds.connections
        ));
        Ok(())
    }
}

impl Attempt {
    fn check(&self, lan: &Capture) -> Result<Rounds, Failure> {
        let rounds = self.looked.of(lan).rounds("laptop", DOT_PORT, ROUND_TRIP);
        // Fewer than one a hop cannot be: whom to ask next is in the answers.
        let plausible = WAY.len()..=MOST_ROUNDS;
        ensure(plausible.contains(&rounds.count), || {
            format!("a look at {} hops: {rounds:?}", WAY.len())
        })?;
        // The one with the nearest was there before.
        ensure(rounds.connections == WAY.len() - 1, || {
            format!("connections for a look: {rounds:?}")
        })?;
        let again = self.again.of(lan);
        let more: usize = WAY
            .iter()
            .map(|name| {
                Ok(again.room_for_questions("laptop", find(MACHINES, name)?.ip(), DOT_PORT))
            })
            .sum::<Result<_, Failure>>()?;
        ensure(self.kept && more == 0, || {
            format!(
                "the same was to be told again, and {more} questions may have been asked for it"
            )
        })?;
        Ok(rounds)
    }
}
