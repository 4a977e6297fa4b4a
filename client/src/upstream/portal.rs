//! The way to a page that wants people to log in first: probes, and the portal's own names in cleartext, apart from
//! everything else. What is let through, and when, is `portal/`'s.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hickory_proto::rr::{Name, RecordType};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::discovery::{Allowed, Discovery};
use super::standing::Cost;
use super::{Kind, Upstream, now};
use crate::discover::{Refusal, address};
use crate::exchange::{ExchangeLimits, udp_then_tcp};
use crate::place::Place;
use crate::portal::{Host, Portal, ProbeUrl, Probed};
use crate::session::Failure;
use crate::wire::{Edns, QuestionFlags, Section, View, question};

/// How long a probe may take in all.
const PROBE: Duration = Duration::from_secs(3);
/// The longest head of an answer that is read.
const HEAD_BYTES: u64 = 8192;
const HEADERS: usize = 64;

/// What stands between questions and a new network.
#[derive(Debug, Default)]
pub(super) struct Gate(Mutex<Option<Portal>>);

impl Gate {
    fn with<T>(&self, look: impl FnOnce(&mut Portal) -> T) -> Option<T> {
        let mut portal = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        portal.as_mut().map(look)
    }

    /// Whether nothing is to be learned now.
    pub(super) fn holds(&self) -> bool {
        self.with(|portal| portal.holds(now())).unwrap_or(false)
    }

    /// Why questions go nowhere now; none while no portal is in the way.
    pub(super) fn failure(&self) -> Option<Failure> {
        self.with(|portal| {
            portal.is_captive(now()).then(|| Refusal::CaptivePortal {
                portal: portal.address().map(str::to_owned),
            })
        })
        .flatten()
        .map(Failure::Refused)
    }

    /// Somebody was met here: from now on this is a known network, and those are not looked at.
    pub(super) fn open_for_good(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// What `status` tells of it; null where nobody looks for portals.
    pub(super) fn status(&self) -> Value {
        let told = self.with(|portal| {
            json!({
                "open": portal.is_captive(now()),
                "address": portal.address(),
                "closes-in-secs": portal.closes_in(now()).as_secs(),
            })
        });
        told.unwrap_or_default()
    }
}

impl Upstream {
    /// This is the server of a new network, which gave `advertised` as the address of a portal (RFC 8910), and which is
    /// probed where somebody configured how. Networks that are known, or may be, are left alone. Call it before anything
    /// is asked, within a tokio runtime.
    pub fn look_for_portal(self: &Arc<Self>, advertised: Option<&str>, probe: Option<&ProbeUrl>) {
        let Kind::Discovered(discovery) = &self.kind else {
            return;
        };
        if !discovery.is_new() || (advertised.is_none() && probe.is_none()) {
            return;
        }
        if discovery.lock().session.policy().forbids_cleartext() {
            return;
        }
        let portal = Portal::new(now(), advertised, probe.is_some());
        *discovery
            .gate
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(portal);
        if let Some(probe) = probe.cloned() {
            let upstream = Arc::clone(self);
            self.spawn(async move { upstream.probe(&probe).await });
        }
    }

    /// Probes until the way is clear, the portal's time is over, or somebody was met.
    async fn probe(self: &Arc<Self>, probe: &ProbeUrl) {
        let Kind::Discovered(discovery) = &self.kind else {
            return;
        };
        while let Some(Some(due)) = discovery.gate.with(|portal| portal.next_probe()) {
            tokio::time::sleep_until(due.into()).await;
            if !discovery.is_new() {
                return discovery.gate.open_for_good();
            }
            let found = timeout(PROBE, look(discovery.server(), probe)).await;
            let probed = found.ok().flatten().unwrap_or(Probed::Nothing);
            if let Probed::Captive { address } = &probed {
                tracing::warn!(server = %discovery.server(), portal = address, "this network wants you to log in first");
            }
            let held = discovery.gate.holds();
            discovery.gate.with(|portal| portal.on_probe(now(), probed));
            if !discovery.gate.holds() && held {
                self.begin_walk(Allowed::InClear);
            }
            // Whoever waits for a walk looks again, and finds the portal.
            discovery.walks.send_modify(|walks| *walks += 1);
        }
    }

    /// While a portal is known to be there: its own names go in cleartext, and nothing else goes anywhere. None where
    /// questions go their usual way.
    pub(super) async fn at_portal(
        &self,
        discovery: &Discovery,
        query: &[u8],
        deadline: Instant,
    ) -> Option<Result<Vec<u8>, Failure>> {
        let captive = discovery.gate.with(|portal| portal.is_captive(now()))?;
        if !captive || !discovery.is_new() || discovery.is_bound().await {
            return None;
        }
        let name = name_in(query);
        let (passes, portal) = discovery.gate.with(|portal| {
            let passes = name.is_some_and(|name| portal.lets_pass(now(), &name));
            (passes, portal.address().map(str::to_owned))
        })?;
        if passes {
            return Some(
                self.pass_on_in_clear(discovery, query, deadline, &Cost::default())
                    .await,
            );
        }
        Some(Err(Failure::Refused(Refusal::CaptivePortal { portal })))
    }

    /// A question that failed otherwise may be about the page that the network itself named: whoever may not speak
    /// cleartext could never log in.
    pub(super) async fn past_failure(
        &self,
        query: &[u8],
        deadline: Instant,
        failure: Failure,
    ) -> Result<Vec<u8>, Failure> {
        let Kind::Discovered(discovery) = &self.kind else {
            return Err(failure);
        };
        let passes = name_in(query)
            .and_then(|name| discovery.gate.with(|portal| portal.lets_pass(now(), &name)));
        if passes != Some(true) || !discovery.is_new() || discovery.is_bound().await {
            return Err(failure);
        }
        let answer = self
            .pass_on_in_clear(discovery, query, deadline, &Cost::default())
            .await;
        answer.map_err(|_| failure)
    }
}

impl Discovery {
    /// Nobody is expected here, and nothing looks as if somebody were.
    fn is_new(&self) -> bool {
        let inner = self.lock();
        let surroundings = &inner.surroundings;
        matches!(surroundings.place, Place::Network(_))
            && surroundings.doubt.is_none()
            && inner.session.identity().is_none()
    }
}

fn name_in(query: &[u8]) -> Option<Name> {
    let asked = View::parse(query).ok()?.question()?;
    Some(asked.name.to_name())
}

/// One probe; none where nobody answers.
async fn look(server: SocketAddr, probe: &ProbeUrl) -> Option<Probed> {
    let address = match &probe.host {
        Host::Address(address) => *address,
        Host::Name(name) => resolve(server, name).await?,
    };
    // A name server must not send this program to its own computer.
    let own = address.is_loopback() && !server.ip().is_loopback();
    if own || address.is_multicast() || address.is_unspecified() {
        return None;
    }
    let mut stream = TcpStream::connect((address, probe.port)).await.ok()?;
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: zzdot-client\r\nConnection: close\r\n\r\n",
        probe.path, probe.authority
    );
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut head = Vec::with_capacity(1024);
    let mut stream = stream.take(HEAD_BYTES);
    loop {
        if let Some(judged) = judge(&head) {
            return judged;
        }
        if stream.read_buf(&mut head).await.ok()? == 0 {
            return None;
        }
    }
}

/// What the head of an answer says; none while it is not whole, nothing where it is none.
#[allow(clippy::option_option)]
fn judge(head: &[u8]) -> Option<Option<Probed>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut answer = httparse::Response::new(&mut headers);
    match answer.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return None,
        Err(_) => return Some(None),
    }
    let location = answer
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("location"))
        .and_then(|header| std::str::from_utf8(header.value).ok())
        .map(str::to_owned);
    Some(Some(match answer.code {
        // RFC 6585 §6; and redirections.
        Some(301 | 302 | 303 | 307 | 308 | 511) => Probed::Captive { address: location },
        _ => Probed::Clear,
    }))
}

/// The address of a name, by the network's own server in cleartext: this name is public, and the same for everybody.
async fn resolve(server: SocketAddr, name: &Name) -> Option<IpAddr> {
    let flags = QuestionFlags {
        rd: true,
        ..QuestionFlags::default()
    };
    for rtype in [RecordType::A, RecordType::AAAA] {
        let query = question(0, name, rtype, flags, Some(&Edns::plain(false)));
        let deadline = now() + PROBE / 2;
        let reply = udp_then_tcp(server, &query, &ExchangeLimits::default(), deadline).await;
        let Ok(reply) = reply else { continue };
        let found = View::parse(&reply.message).ok().and_then(|view| {
            view.records()
                .map_while(Result::ok)
                .filter(|record| {
                    record.section == Section::Answer && record.rtype == u16::from(rtype)
                })
                .find_map(|record| address(record.data()))
        });
        if found.is_some() {
            return found;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_to_a_probe_are_judged_by_their_head() {
        let captive = |address: Option<&str>| {
            let address = address.map(str::to_owned);
            Some(Some(Probed::Captive { address }))
        };
        let judged = |head: &str| judge(head.as_bytes());
        assert_eq!(judged("HTTP/1.1 204 No Content\r\n"), None);
        assert_eq!(
            judged("HTTP/1.1 204 No Content\r\n\r\n"),
            Some(Some(Probed::Clear))
        );
        assert_eq!(
            judged("HTTP/1.0 200 OK\r\nLocation: http://x.example/\r\n\r\n<html>"),
            Some(Some(Probed::Clear))
        );
        let redirected = "HTTP/1.1 302 Found\r\nlocation: http://x.example/\r\n\r\n";
        assert_eq!(judged(redirected), captive(Some("http://x.example/")));
        assert_eq!(
            judged("HTTP/1.1 511 Network Authentication Required\r\n\r\n"),
            captive(None)
        );
        assert_eq!(judged("SSH-2.0-x\r\n"), Some(None));
    }
}
