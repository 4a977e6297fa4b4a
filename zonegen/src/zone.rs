//! The two zones as records (protocol.md §2).

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use hickory_proto::dnssec::rdata::{DNSKEY, DNSSECRData};
use hickory_proto::rr::rdata::svcb::{Alpn, IpHint, SvcParamKey, SvcParamValue};
use hickory_proto::rr::rdata::tlsa::{CertUsage, Matching, Selector};
use hickory_proto::rr::rdata::{A, AAAA, NS, SOA, SVCB, TLSA, TXT};
use hickory_proto::rr::{Name, RData, Record};
use serde::{Deserialize, Serialize};

use crate::claims;
use crate::keys::key_of_dnskey;
use crate::name::ResolverName;
use crate::owners::{
    anchor_zone, key_owner, server_type_owner, services_owner, succession_owner, svcb_owner,
    tlsa_owner,
};
use crate::succession::Statement;
use crate::upstream::PublishedUpstream;

/// Time-to-live of every record, in seconds. A change of upstream or address is to be seen within
/// a minute (protocol.md §3), also behind a cache that knows nothing of all this.
pub const TTL_SECS: u32 = 60;

/// The SOA's timers for secondaries: there are none, these are customary values.
const REFRESH_SECS: i32 = 3600;
const RETRY_SECS: i32 = 600;
const EXPIRE_SECS: i32 = 7 * 24 * 3600;

/// Stands at `_tcp.NAME`, which would be an empty non-terminal otherwise. unbound (1.17) leaves out a
/// part of the proof for names below such a one; this way its answers validate, too.
const SERVICES: &str = "services";

/// What a server does with a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServerType {
    /// It asks the authoritative servers itself.
    Resolver,
    /// It asks another resolver.
    Forwarder,
}

impl ServerType {
    /// The text of the `server-type` TXT record.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Resolver => "resolver",
            Self::Forwarder => "forwarder",
        }
    }
}

impl fmt::Display for ServerType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ServerType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "resolver" => Ok(Self::Resolver),
            "forwarder" => Ok(Self::Forwarder),
            _ => Err(format!(
                "{text:?} is neither \"resolver\" nor \"forwarder\""
            )),
        }
    }
}

/// What is said about the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// What the server does with a question.
    pub server_type: ServerType,
    /// Where it is reached.
    pub addresses: Vec<IpAddr>,
    /// The port of DNS over TLS.
    pub dot_port: u16,
    /// Whom it asks itself, where it is a forwarder: none where it says nothing about that.
    pub upstreams: Vec<PublishedUpstream>,
}

/// The records of the zone `NAME` without its DNSKEYs. `spkis` are the digests of the certificate's key and of the one
/// that comes next.
pub(crate) fn name_zone(
    name: &ResolverName,
    publication: &Publication,
    spkis: &[[u8; 32]],
    serial: u32,
) -> Vec<Record> {
    let port = publication.dot_port;
    let server_type = TXT::new(vec![publication.server_type.as_str().to_owned()]);
    let mut records = apex(name.as_name().clone(), name, serial);
    records.extend(
        publication
            .addresses
            .iter()
            .map(|address| record(name.as_name().clone(), RData::from(*address))),
    );
    records.extend([
        record(
            services_owner(name),
            RData::TXT(TXT::new(vec![SERVICES.to_owned()])),
        ),
        record(server_type_owner(name), RData::TXT(server_type)),
        record(
            svcb_owner(name),
            RData::SVCB(svcb(name, port, &publication.addresses)),
        ),
    ]);
    records.extend(spkis.iter().map(|spki| {
        let (usage, selector) = (CertUsage::DaneEe, Selector::Spki);
        let tlsa = TLSA::new(usage, selector, Matching::Sha256, spki.to_vec());
        record(tlsa_owner(name, port), RData::TLSA(tlsa))
    }));
    records.extend(claims::records(name, &publication.upstreams));
    records
}

/// The records of the zone `resolver-name.arpa` without its DNSKEYs; `ksks` are the KSKs of `NAME`.
pub(crate) fn anchor_zone_of(
    name: &ResolverName,
    ksks: &[&DNSKEY],
    statements: &[Statement],
    serial: u32,
) -> Vec<Record> {
    let mut records = apex(anchor_zone(), name, serial);
    records.extend(ksks.iter().map(|ksk| {
        let key = RData::DNSSEC(DNSSECRData::KEY(key_of_dnskey(ksk)));
        record(key_owner(name), key)
    }));
    let said = statements.iter().map(Statement::to_txt);
    records.extend(said.map(|txt| record(succession_owner(), RData::TXT(txt))));
    records
}

/// SOA and NS: the server of both zones is the resolver itself.
fn apex(origin: Name, name: &ResolverName, serial: u32) -> Vec<Record> {
    let soa = SOA::new(
        name.as_name().clone(),
        // RFC 2142 §7, at a name that exists nowhere else.
        name.as_name()
            .prepend_label("hostmaster")
            .expect("a resolver's name leaves room for a label"),
        serial,
        REFRESH_SECS,
        RETRY_SECS,
        EXPIRE_SECS,
        TTL_SECS,
    );
    vec![
        record(origin.clone(), RData::SOA(soa)),
        record(origin, RData::NS(NS(name.as_name().clone()))),
    ]
}

/// RFC 9461: the service's port and addresses in one record.
pub(crate) fn svcb(name: &ResolverName, port: u16, addresses: &[IpAddr]) -> SVCB {
    let mut v4: Vec<A> = Vec::new();
    let mut v6: Vec<AAAA> = Vec::new();
    for address in addresses {
        match *address {
            IpAddr::V4(address) if !v4.contains(&A(address)) => v4.push(A(address)),
            IpAddr::V6(address) if !v6.contains(&AAAA(address)) => v6.push(AAAA(address)),
            // Given twice.
            _ => {}
        }
    }
    // In ascending order of keys (RFC 9460 §2.2); an empty list of hints is malformed (§7.3).
    let mut params = vec![
        (
            SvcParamKey::Alpn,
            SvcParamValue::Alpn(Alpn(vec!["dot".to_owned()])),
        ),
        (SvcParamKey::Port, SvcParamValue::Port(port)),
    ];
    if !v4.is_empty() {
        params.push((SvcParamKey::Ipv4Hint, SvcParamValue::Ipv4Hint(IpHint(v4))));
    }
    if !v6.is_empty() {
        params.push((SvcParamKey::Ipv6Hint, SvcParamValue::Ipv6Hint(IpHint(v6))));
    }
    SVCB::new(1, name.as_name().clone(), params)
}

/// Whether it can be the address of a service: it is neither nobody's nor many's.
pub(crate) fn is_usable(address: &IpAddr) -> bool {
    !address.is_unspecified() && !address.is_multicast()
}

fn record(owner: Name, data: RData) -> Record {
    Record::from_rdata(owner, TTL_SECS, data)
}
