//! The trust anchor as text, for people and for validators that are not ours.

use hickory_proto::dnssec::rdata::{DNSKEY, DNSSECRData};
use hickory_proto::dnssec::{Algorithm, PublicKey};
use hickory_proto::rr::{Name, RData, Record};

use crate::identity::Identity;
use crate::keys::{ds, key_tag};
use crate::master_file::{rdata_text, record_text};
use crate::owners::anchor_zone;
use crate::zone::TTL_SECS;

/// The anchors of an identity in master-file form: `resolver-name.arpa` (active and stand-by) as
/// DNSKEY and DS. Ready for `unbound`'s `trust-anchor-file`, `kdig +trusted-key` and `drill -k`.
pub fn trust_anchor_text(identity: &Identity) -> String {
    master_file(&anchor_zone(), &identity.trust_anchor())
}

/// The anchor of the zone `NAME` alone, in the same form: its KSK. Who follows the protocol finds it
/// as KEY below `resolver-name.arpa`; a stock validator must be given it.
pub fn name_anchor_text(identity: &Identity) -> String {
    let ksk = identity.name_keys().ksk.dnskey().clone();
    master_file(identity.name().as_name(), &[ksk])
}

/// Both anchors as a `trust-anchors` clause of BIND, for `named.conf` and `delv -a`.
pub fn bind_trust_anchors(identity: &Identity) -> String {
    let mut text = String::from("trust-anchors {\n");
    let name_ksk = identity.name_keys().ksk.dnskey().clone();
    let anchors = [
        (anchor_zone(), identity.trust_anchor()),
        (identity.name().as_name().clone(), vec![name_ksk]),
    ];
    for (owner, keys) in anchors {
        for key in keys {
            text.push_str(&format!(
                "    \"{}\" static-key {} 3 {} \"{}\";\n",
                owner.to_ascii(),
                key.flags(),
                u8::from(key.public_key().algorithm()),
                data_encoding::BASE64.encode(key.public_key().public_bytes())
            ));
        }
    }
    text.push_str("};\n");
    text
}

fn master_file(owner: &Name, keys: &[DNSKEY]) -> String {
    let mut text = String::new();
    for key in keys {
        let algorithm: Algorithm = key.public_key().algorithm();
        let data = |data| Record::from_rdata(owner.clone(), TTL_SECS, RData::DNSSEC(data));
        let dnskey = data(DNSSECRData::DNSKEY(key.clone()));
        let ds = data(DNSSECRData::DS(ds(owner, key)));
        text.push_str(&format!("; key {}, {algorithm}\n", key_tag(key)));
        text.push_str(&format!("{}\n{}\n", record_text(&dnskey), record_text(&ds)));
    }
    text
}

/// The DS record data of each key of the anchor, such as `12345 13 2 00FF…`, for people to compare.
pub fn anchor_ds(identity: &Identity) -> Vec<String> {
    identity
        .trust_anchor()
        .iter()
        .map(|key| rdata_text(&RData::DNSSEC(DNSSECRData::DS(ds(&anchor_zone(), key)))))
        .collect()
}
