//! What the kernel answers where there are wireless cards (`net/wireless/nl80211.c`, `net/netlink/genetlink.c`): the
//! attributes that it sends, in its order. Without IO.

use super::{
    air::{AccessPoint, Card},
    message::{
        Attributes, NLM_F_ACK, NLM_F_DUMP, NLM_F_MULTI, Request, body, done, message, outcome,
    },
    numbers::*,
};

/// The number that the kernel gives to the controller of generic netlink, and one that it may have given to nl80211.
pub(super) const CONTROLLER: u16 = 0x10;
pub(super) const FAMILY: u16 = 0x1c;
/// The number of the first group of nl80211.
pub(super) const FIRST_GROUP: u32 = 5;
/// Where associations are told.
pub(super) const MLME: u32 = FIRST_GROUP + 3;

/// A family of generic netlink, as the controller tells of it.
struct Family {
    name: &'static str,
    number: u16,
    version: u32,
    /// The highest number of its attributes.
    attributes: u32,
    /// Those that are answered here: what can be asked for one, or for all of them (`GENL_CMD_CAP_*`), without rights.
    operations: &'static [(u16, u32)],
    first_group: u32,
    groups: &'static [&'static str],
}

const FAMILIES: [Family; 2] = [
    Family {
        name: "nlctrl",
        number: CONTROLLER,
        version: 2,
        attributes: 10,
        operations: &[(CTRL_CMD_GETFAMILY, 0x0e)],
        first_group: CONTROLLER as u32,
        groups: &["notify"],
    },
    Family {
        name: "nl80211",
        number: FAMILY,
        version: VERSION as u32,
        attributes: 326,
        operations: &[
            (NL80211_CMD_GET_INTERFACE, 0x0e),
            (NL80211_CMD_GET_STATION, 0x0e),
            (NL80211_CMD_GET_SCAN, 0x0c),
        ],
        first_group: FIRST_GROUP,
        groups: &[
            "config",
            "scan",
            "regulatory",
            "mlme",
            "vendor",
            "nan",
            "testmode",
        ],
    },
];

const ENOENT: i32 = 2;
const ENODEV: i32 = 19;
const EOPNOTSUPP: i32 = 95;
/// Channel 1.
const MEGAHERTZ: u32 = 2412;

/// A card, and the number of its link.
pub(super) type Numbered<'a> = (u32, &'a Card);

/// The datagrams that answer one, for the socket with this port.
pub(super) fn answer(datagram: &[u8], cards: &[Numbered<'_>], port: u32) -> Vec<Vec<u8>> {
    let Some(request) = Request::read(datagram) else {
        return Vec::new();
    };
    let dump = request.flags & NLM_F_DUMP == NLM_F_DUMP;
    let found = match (request.family, request.command) {
        (CONTROLLER, CTRL_CMD_GETFAMILY) => family(&request),
        (FAMILY, NL80211_CMD_GET_INTERFACE) => interfaces(&request, cards, dump),
        (FAMILY, NL80211_CMD_GET_SCAN) if dump => scan(&request, cards),
        (FAMILY, NL80211_CMD_GET_STATION) => stations(&request, cards),
        _ => Err(EOPNOTSUPP),
    };
    let errno = found.as_ref().err().copied().unwrap_or_default();
    let flags = if dump { NLM_F_MULTI } else { 0 };
    let mut datagrams: Vec<Vec<u8>> = found
        .unwrap_or_default()
        .iter()
        .map(|body| message(request.family, flags, request.sequence, port, body))
        .collect();
    match (dump, errno, request.flags & NLM_F_ACK) {
        (true, ..) => datagrams.push(done(&request, errno, port)),
        (false, 0, 0) => {}
        (false, errno, _) => datagrams.push(outcome(&request, errno, port)),
    }
    datagrams
}

/// What is told when a card's association changes.
pub(super) fn event(before: &Card, now: Numbered<'_>) -> Option<Vec<u8>> {
    let (index, card) = now;
    let about = Attributes::default()
        .put_u32(NL80211_ATTR_WIPHY, 0)
        .put_u32(NL80211_ATTR_IFINDEX, index);
    let same_network = |one: &AccessPoint, other: &AccessPoint| one.ssid == other.ssid;
    let body = match (&before.joined, &card.joined) {
        (before, joined) if before == joined => return None,
        (Some(before), Some(joined)) if same_network(before, joined) => body(
            NL80211_CMD_ROAM,
            VERSION,
            &about.put(NL80211_ATTR_MAC, &joined.address),
        ),
        (_, Some(joined)) => body(
            NL80211_CMD_CONNECT,
            VERSION,
            &about
                .put(NL80211_ATTR_MAC, &joined.address)
                .put(NL80211_ATTR_STATUS_CODE, &0_u16.to_ne_bytes()),
        ),
        (_, None) => body(
            NL80211_CMD_DISCONNECT,
            VERSION,
            // The station is leaving.
            &about.put(NL80211_ATTR_REASON_CODE, &3_u16.to_ne_bytes()),
        ),
    };
    Some(message(FAMILY, 0, 0, 0, &body))
}

type Found = Result<Vec<Vec<u8>>, i32>;

const VERSION: u8 = 1;

fn family(request: &Request<'_>) -> Found {
    let name = request.attribute(CTRL_ATTR_FAMILY_NAME);
    let name = name.map(|name| name.strip_suffix(&[0]).unwrap_or(name));
    let number = request.attribute(CTRL_ATTR_FAMILY_ID);
    let is = |family: &Family| {
        name == Some(family.name.as_bytes()) || number == Some(&family.number.to_ne_bytes())
    };
    let family = FAMILIES.iter().find(|family| is(family)).ok_or(ENOENT)?;
    let mut operations = Attributes::default();
    for (number, (command, flags)) in (1..).zip(family.operations) {
        let operation = Attributes::default()
            .put_u32(CTRL_ATTR_OP_ID, (*command).into())
            .put_u32(CTRL_ATTR_OP_FLAGS, *flags);
        operations = operations.put_all(number, &operation);
    }
    let mut groups = Attributes::default();
    for ((number, id), name) in (1..).zip(family.first_group..).zip(family.groups) {
        let group = Attributes::default()
            .put_u32(CTRL_ATTR_MCAST_GRP_ID, id)
            .put_text(CTRL_ATTR_MCAST_GRP_NAME, name);
        groups = groups.put_all(number, &group);
    }
    let attributes = Attributes::default()
        .put_text(CTRL_ATTR_FAMILY_NAME, family.name)
        .put(CTRL_ATTR_FAMILY_ID, &family.number.to_ne_bytes())
        .put_u32(CTRL_ATTR_VERSION, family.version)
        .put_u32(CTRL_ATTR_HDRSIZE, 0)
        .put_u32(CTRL_ATTR_MAXATTR, family.attributes)
        .put_all(CTRL_ATTR_OPS, &operations)
        .put_all(CTRL_ATTR_MCAST_GROUPS, &groups);
    Ok(vec![body(CTRL_CMD_NEWFAMILY, 2, &attributes)])
}

fn interfaces(request: &Request<'_>, cards: &[Numbered<'_>], dump: bool) -> Found {
    if dump {
        return Ok(cards.iter().map(interface).collect());
    }
    Ok(vec![interface(one(request, cards)?)])
}

fn one<'a, 'b>(request: &Request<'_>, cards: &'a [Numbered<'b>]) -> Result<&'a Numbered<'b>, i32> {
    let wanted = request.number(NL80211_ATTR_IFINDEX);
    let found = cards.iter().find(|(index, _)| Some(*index) == wanted);
    found.ok_or(ENODEV)
}

fn interface((index, card): &Numbered<'_>) -> Vec<u8> {
    let mut attributes = Attributes::default()
        .put_u32(NL80211_ATTR_IFINDEX, *index)
        .put_text(NL80211_ATTR_IFNAME, &card.link)
        .put_u32(NL80211_ATTR_WIPHY, 0)
        .put_u32(NL80211_ATTR_IFTYPE, NL80211_IFTYPE_STATION.into())
        .put(NL80211_ATTR_WDEV, &1_u64.to_ne_bytes())
        .put(NL80211_ATTR_MAC, &[0x02, 0, 0, 0, 0, 1])
        .put_u32(NL80211_ATTR_GENERATION, 5)
        .put(NL80211_ATTR_4ADDR, &[0]);
    if let Some(joined) = &card.joined {
        attributes = attributes
            .put_u32(NL80211_ATTR_WIPHY_FREQ, MEGAHERTZ)
            .put_u32(NL80211_ATTR_CHANNEL_WIDTH, 1)
            .put_u32(NL80211_ATTR_CENTER_FREQ1, MEGAHERTZ)
            .put(NL80211_ATTR_SSID, joined.ssid.as_bytes());
    }
    body(NL80211_CMD_NEW_INTERFACE, VERSION, &attributes)
}

fn scan(request: &Request<'_>, cards: &[Numbered<'_>]) -> Found {
    let (index, card) = one(request, cards)?;
    // The kernel keeps them by channel and address; the one in use may stand anywhere.
    let others = card.heard.iter().map(|heard| (heard, false));
    let joined = card.joined.iter().map(|joined| (joined, true));
    let heard = others.chain(joined).map(|(heard, joined)| {
        let attributes = Attributes::default()
            .put_u32(NL80211_ATTR_GENERATION, 7)
            .put_u32(NL80211_ATTR_IFINDEX, *index)
            .put(NL80211_ATTR_WDEV, &1_u64.to_ne_bytes())
            .put_all(NL80211_ATTR_BSS, &bss(heard, joined));
        body(NL80211_CMD_NEW_SCAN_RESULTS, VERSION, &attributes)
    });
    Ok(heard.collect())
}

fn bss(heard: &AccessPoint, joined: bool) -> Attributes {
    const MINUS_41_DBM: i32 = -4100;
    let elements = heard.elements();
    let bss = Attributes::default()
        .put(NL80211_BSS_BSSID, &heard.address)
        .put(NL80211_BSS_INFORMATION_ELEMENTS, &elements)
        .put(NL80211_BSS_BEACON_IES, &elements)
        .put(NL80211_BSS_TSF, &77_000_000_u64.to_ne_bytes())
        .put(NL80211_BSS_BEACON_INTERVAL, &100_u16.to_ne_bytes())
        .put(NL80211_BSS_CAPABILITY, &heard.capability().to_ne_bytes())
        .put_u32(NL80211_BSS_FREQUENCY, MEGAHERTZ)
        .put_u32(NL80211_BSS_SEEN_MS_AGO, 40)
        .put(NL80211_BSS_SIGNAL_MBM, &MINUS_41_DBM.to_ne_bytes());
    match joined {
        true => bss.put_u32(NL80211_BSS_STATUS, NL80211_BSS_STATUS_ASSOCIATED.into()),
        false => bss,
    }
}

fn stations(request: &Request<'_>, cards: &[Numbered<'_>]) -> Found {
    let (index, card) = one(request, cards)?;
    let asked = request.attribute(NL80211_ATTR_MAC);
    let joined = card.joined.as_ref();
    let joined = joined.filter(|joined| asked.is_none_or(|asked| asked == joined.address));
    let joined = joined.ok_or(ENOENT)?;
    const MINUS_41_DBM: i8 = -41;
    let told = Attributes::default()
        .put_u32(NL80211_STA_INFO_INACTIVE_TIME, 12)
        .put(NL80211_STA_INFO_SIGNAL, &MINUS_41_DBM.to_ne_bytes());
    let attributes = Attributes::default()
        .put_u32(NL80211_ATTR_IFINDEX, *index)
        .put(NL80211_ATTR_MAC, &joined.address)
        .put_u32(NL80211_ATTR_GENERATION, 3)
        .put_all(NL80211_ATTR_STA_INFO, &told);
    Ok(vec![body(NL80211_CMD_NEW_STATION, VERSION, &attributes)])
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use zzdot_client::network::{
        Security,
        netlink::{protection, station},
    };

    use super::*;
    use crate::radio::Protection;

    const PORT: u32 = 77;

    fn asked(family: u16, flags: u16, command: u16, attributes: &Attributes) -> Vec<u8> {
        message(family, flags, 9, 0, &body(command, 0, attributes))
    }

    fn kind(datagram: &[u8]) -> u16 {
        u16::from_ne_bytes(datagram[4..6].try_into().unwrap())
    }

    fn errno(datagram: &[u8]) -> i32 {
        -i32::from_ne_bytes(datagram[16..20].try_into().unwrap())
    }

    #[test]
    fn the_card_and_its_protection_are_read_by_the_client_as_they_are_played() {
        for (played, read) in [
            (Protection::Open, Security::Open),
            (Protection::Passphrase, Security::Personal),
            (Protection::BothPassphrases, Security::Personal),
            (Protection::Account, Security::Enterprise),
            (Protection::Anybody, Security::Opportunistic),
        ] {
            let card = Card::at("wlan0", AccessPoint::new("home", played));
            let all = asked(
                FAMILY,
                NLM_F_DUMP,
                NL80211_CMD_GET_INTERFACE,
                &Attributes::default(),
            );
            let [interface, end] = &answer(&all, &[(3, &card)], PORT)[..] else {
                panic!("one card, and the end");
            };
            assert_eq!(station(&interface[16..]), Some((3, Some(b"home".to_vec()))));
            assert_eq!(
                (kind(end), errno(end)),
                (super::super::message::NLMSG_DONE, 0)
            );
            let of_card = Attributes::default().put_u32(NL80211_ATTR_IFINDEX, 3);
            let scan = asked(FAMILY, NLM_F_DUMP, NL80211_CMD_GET_SCAN, &of_card);
            let heard = answer(&scan, &[(3, &card)], PORT);
            assert_eq!(protection(&heard[0][16..]), Some(read), "{played:?}");
        }
    }

    #[test]
    fn what_is_not_there_is_refused_as_the_kernel_does() {
        let of_another = Attributes::default().put_u32(NL80211_ATTR_IFINDEX, 4);
        let named = Attributes::default().put_text(CTRL_ATTR_FAMILY_NAME, "ovpn");
        for (request, expected) in [
            (
                asked(FAMILY, NLM_F_DUMP, NL80211_CMD_GET_SCAN, &of_another),
                ENODEV,
            ),
            (
                asked(FAMILY, 0, NL80211_CMD_GET_STATION, &of_another),
                ENODEV,
            ),
            (asked(CONTROLLER, 0, CTRL_CMD_GETFAMILY, &named), ENOENT),
            (asked(FAMILY, 0, 1, &of_another), EOPNOTSUPP),
        ] {
            let answers = answer(&request, &[], PORT);
            let last = answers.last().unwrap();
            assert_eq!(errno(last), expected);
        }
        assert!(answer(&[1, 2, 3], &[], PORT).is_empty());
    }
}
