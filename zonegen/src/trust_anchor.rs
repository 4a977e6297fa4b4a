//! The trust anchor as text, for people and for validators that are not ours.

use data_encoding::BASE64;
use hickory_proto::dnssec::PublicKey;
use hickory_proto::dnssec::rdata::{DNSKEY, DNSSECRData};
use hickory_proto::rr::{Name, RData, Record};

use crate::identity::Identity;
use crate::keys::{ds, key_tag};
use crate::master_file::record_text;
use crate::owners::anchor_zone;
use crate::zone::TTL_SECS;

/// The anchors of an identity in master-file form, as DNSKEY and DS: those of `resolver-name.arpa`
/// (active, then stand-by), and the KSK of `NAME`. Who follows the protocol needs only the first and
/// finds the last as a KEY; a stock validator must be given both. This is what `trust-anchor-file` of
/// unbound takes, and every reader of master files.
pub fn trust_anchor_text(identity: &Identity) -> String {
    anchors(identity)
        .iter()
        .map(|(owner, key)| master_file(owner, key))
        .collect()
}

/// Both anchors as a `trust-anchors` clause of BIND, for `named.conf` and `delv -a`.
pub fn bind_trust_anchors(identity: &Identity) -> String {
    let mut text = String::from("trust-anchors {\n");
    for (owner, key) in anchors(identity) {
        text.push_str(&format!(
            "    \"{}\" static-key {} 3 {} \"{}\";\n",
            owner.to_ascii(),
            key.flags(),
            u8::from(key.public_key().algorithm()),
            BASE64.encode(key.public_key().public_bytes())
        ));
    }
    text.push_str("};\n");
    text
}

fn anchors(identity: &Identity) -> Vec<(Name, DNSKEY)> {
    let name_ksk = identity.name_keys().ksk.dnskey().clone();
    let mut anchors: Vec<(Name, DNSKEY)> = identity
        .trust_anchor()
        .into_iter()
        .map(|key| (anchor_zone(), key))
        .collect();
    anchors.push((identity.name().as_name().clone(), name_ksk));
    anchors
}

fn master_file(owner: &Name, key: &DNSKEY) -> String {
    let record = |data| Record::from_rdata(owner.clone(), TTL_SECS, RData::DNSSEC(data));
    let dnskey = record(DNSSECRData::DNSKEY(key.clone()));
    let ds = record(DNSSECRData::DS(ds(owner, key)));
    format!(
        "; key {}\n{}\n{}\n",
        key_tag(key),
        record_text(&dnskey),
        record_text(&ds)
    )
}
