//! Knot Resolver 5: it reads no zone files, so its configuration brings the records along, and a few
//! lines of Lua that answer out of them with the same proofs as [`crate::lookup`].

use hickory_proto::rr::{Name, Record};

use super::{Export, ExportedFile, public};
use crate::identity_files::{CERTIFICATE, TLS_KEY};
use crate::signed_zone::SignedZone;
use crate::wire::octets;

pub(super) fn files(export: &Export<'_>) -> Vec<ExportedFile> {
    vec![public("kresd.conf", configuration(export))]
}

fn configuration(export: &Export<'_>) -> String {
    let mut text = export.header("--");
    text.push_str("-- Take it in with `dofile`; what is configured elsewhere stays.\n\n");
    for address in &export.publication.addresses {
        text.push_str(&format!(
            "net.listen('{address}', {}, {{ kind = 'dns' }})\nnet.listen('{address}', {}, {{ kind = 'tls' }})\n",
            export.dns_port, export.publication.dot_port
        ));
    }
    text.push_str(&format!(
        "net.tls('{}', '{}')\n\nlocal zones = {{\n",
        export.path(CERTIFICATE),
        export.path(TLS_KEY)
    ));
    for zone in export.zones() {
        text.push_str(&zone_table(zone));
    }
    text.push_str("}\n");
    text.push_str(ANSWER);
    for zone in export.zones() {
        let origin = zone.origin().to_ascii();
        let apex = order_key(zone.origin());
        text.push_str(&format!(
            "policy.add(policy.suffix(answer_from(zones['{apex}']), policy.todnames({{ '{origin}' }})))\n"
        ));
    }
    if let Some(suffix) = export.own_suffix() {
        text.push_str(&format!(
            "-- Other names of this kind exist nowhere, and none is asked for outside.\n\
             policy.add(policy.suffix(policy.DENY, policy.todnames({{ '{suffix}' }})))\n"
        ));
    }
    text
}

/// The zone as a Lua table; owners in canonical order.
fn zone_table(zone: &SignedZone) -> String {
    let mut text = format!("  ['{}'] = {{\n", order_key(zone.origin()));
    for (owner, node) in zone.nodes() {
        text.push_str(&format!(
            "    {{ key = '{}', owner = {}, sets = {{\n",
            order_key(owner),
            lua_octets(&octets(owner))
        ));
        for (rtype, rrset) in node {
            let list = |records: &[Record]| -> String {
                let data = records
                    .iter()
                    .map(|record| lua_octets(&octets(&record.data)));
                data.collect::<Vec<_>>().join(", ")
            };
            let ttl = rrset.records.first().map_or(0, |record| record.ttl);
            text.push_str(&format!(
                "      [{}] = {{ ttl = {ttl}, data = {{ {} }}, rrsig = {{ {} }} }},\n",
                u16::from(*rtype),
                list(&rrset.records),
                list(&rrset.signatures)
            ));
        }
        text.push_str("    } },\n");
    }
    text.push_str("  },\n");
    text
}

/// A text that sorts as the name does canonically (RFC 4034 §6.1): labels from the root on, each in
/// hexadecimal and ended by a character that sorts before every digit. A name's descendants are
/// those that start with its key.
fn order_key(name: &Name) -> String {
    let mut labels: Vec<&[u8]> = name.iter().collect();
    labels.reverse();
    labels
        .iter()
        .map(|label| data_encoding::HEXLOWER.encode(&label.to_ascii_lowercase()) + "!")
        .collect()
}

fn lua_octets(octets: &[u8]) -> String {
    let escaped: String = octets.iter().map(|octet| format!("\\{octet:03}")).collect();
    format!("'{escaped}'")
}

/// Answers out of a zone table, as [`crate::lookup`] does.
const ANSWER: &str = r#"
local ffi = require('ffi')

local function key_of(wire)
  local labels, at = {}, 1
  while wire:byte(at) ~= 0 do
    local label = wire:sub(at + 1, at + wire:byte(at)):lower()
    local hex = label:gsub('.', function (octet) return string.format('%02x', octet:byte()) end)
    table.insert(labels, 1, hex .. '!')
    at = at + 1 + #label
  end
  return table.concat(labels)
end

-- The last owner at or before a key, whether it is that very owner, and whether names stand below.
local function find(zone, key)
  local before, below = zone[1], false
  for _, node in ipairs(zone) do
    if node.key <= key then before = node end
    if node.key ~= key and node.key:sub(1, #key) == key then below = true end
  end
  return before, before.key == key, below
end

local function answer_from(zone)
  return function (_, req)
    local query = req:current()
    local answer = req:ensure_answer()
    if answer == nil then return nil end
    local signed = req.qsource.packet ~= nil and req.qsource.packet:dobit()
    ffi.C.kr_pkt_make_auth_header(answer)
    local fits = true
    local function put(node, rtype)
      local set = node.sets[rtype]
      if set == nil then return end
      for _, data in ipairs(set.data) do
        fits = fits and answer:put(node.owner, set.ttl, kres.class.IN, rtype, data)
      end
      if not signed then return end
      for _, data in ipairs(set.rrsig) do
        fits = fits and answer:put(node.owner, set.ttl, kres.class.IN, kres.type.RRSIG, data)
      end
    end
    local key = key_of(kres.dname2wire(query.sname))
    local node, exact, below = find(zone, key)
    if exact and (node.sets[query.stype] ~= nil) then
      answer:begin(kres.section.ANSWER)
      put(node, query.stype)
    elseif exact and query.stype == kres.type.RRSIG then
      answer:begin(kres.section.ANSWER)
      for _, set in pairs(node.sets) do
        for _, data in ipairs(set.rrsig) do
          fits = fits and answer:put(node.owner, set.ttl, kres.class.IN, kres.type.RRSIG, data)
        end
      end
    elseif exact and query.stype == kres.type.ANY then
      answer:begin(kres.section.ANSWER)
      for rtype, _ in pairs(node.sets) do put(node, rtype) end
    else
      if not exact and not below then answer:rcode(kres.rcode.NXDOMAIN) end
      answer:begin(kres.section.AUTHORITY)
      put(zone[1], kres.type.SOA)
      if signed then
        put(node, kres.type.NSEC)
        if not exact and not below then
          local encloser = key
          repeat
            encloser = encloser:gsub('[^!]*!$', '')
            local _, is_owner, has_names = find(zone, encloser)
          until is_owner or has_names
          local wildcard = find(zone, encloser .. '2a!')
          if wildcard ~= node then put(wildcard, kres.type.NSEC) end
        end
      end
    end
    if not fits then answer:tc(true) end
    return kres.DONE
  end
end

"#;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn order_keys_sort_as_names_do() {
        // The example of RFC 4034 §6.1.
        let names = [
            "example.",
            "a.example.",
            "yljkjljk.a.example.",
            "Z.a.example.",
            "zABC.a.EXAMPLE.",
            "z.example.",
            "*.z.example.",
        ];
        let keys: Vec<String> = names
            .iter()
            .map(|name| order_key(&Name::from_ascii(name).unwrap()))
            .collect();
        assert!(keys.is_sorted(), "{keys:?}");
        assert_eq!(keys[1], format!("{}61!", keys[0]));
    }

    #[test]
    fn octets_are_escaped_for_lua() {
        assert_eq!(lua_octets(&[0, 255]), "'\\000\\255'");
    }
}
