//! Wireless networks, as nl80211 tells them over generic netlink: which links are wireless, and for each the name of its
//! network and how it is protected.

use std::collections::BTreeMap;
use std::future;
use std::io;
use std::time::Duration;

use netlink_sys::protocols::NETLINK_GENERIC;
use netlink_sys::{AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket};

use super::ask::request;
use super::elements;
use super::parse::{Attributes, Message, Messages, u16_at, u32_at};
use super::socket::is_kernel;
use crate::network::{Security, Wireless};

const NLM_F_DUMP: u16 = 0x300;
/// The family that tells the numbers of all others.
const GENL_ID_CTRL: u16 = 0x10;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
const CTRL_ATTR_MCAST_GROUPS: u16 = 7;
const CTRL_ATTR_MCAST_GRP_NAME: u16 = 1;
const CTRL_ATTR_MCAST_GRP_ID: u16 = 2;

const NL80211_CMD_GET_INTERFACE: u8 = 5;
const NL80211_CMD_GET_SCAN: u8 = 32;
/// A link has joined a network, another access point of its network, or none any more.
const NL80211_CMD_CONNECT: u8 = 46;
const NL80211_CMD_ROAM: u8 = 47;
const NL80211_CMD_DISCONNECT: u8 = 48;
/// The group that is told of these, among other things.
const GROUP_MLME: &[u8] = b"mlme\0";
const NL80211_ATTR_IFINDEX: u16 = 3;
const NL80211_ATTR_IFTYPE: u16 = 5;
const NL80211_ATTR_BSS: u16 = 47;
const NL80211_ATTR_SSID: u16 = 52;
const NL80211_IFTYPE_STATION: u32 = 2;
const NL80211_IFTYPE_P2P_CLIENT: u32 = 8;
const NL80211_BSS_CAPABILITY: u16 = 5;
const NL80211_BSS_INFORMATION_ELEMENTS: u16 = 6;
const NL80211_BSS_STATUS: u16 = 9;
const BSS_STATUS_ASSOCIATED: u32 = 1;

const SSID_BYTES_MAX: usize = 32;
const LINKS_MAX: usize = 64;
/// The kernel answers at once. A driver that does not keeps nobody waiting.
const PATIENCE: Duration = Duration::from_millis(250);
/// `ENOBUFS`: something did not fit, and is lost.
const NO_BUFFERS: i32 = 105;

/// Asks nl80211.
pub struct WirelessSocket {
    socket: TokioSocket,
    family: u16,
    sequence: u32,
    /// Hears of associations; none where the kernel does not let it.
    events: Option<TokioSocket>,
}

impl WirelessSocket {
    /// None where the kernel knows of no wireless networks. Call within a tokio runtime.
    pub async fn open() -> Option<Self> {
        let mut socket = TokioSocket::new(NETLINK_GENERIC).ok()?;
        socket.socket_mut().bind_auto().ok()?;
        let mut this = Self {
            socket,
            family: GENL_ID_CTRL,
            sequence: 0,
            events: None,
        };
        let mut body = vec![CTRL_CMD_GETFAMILY, 1, 0, 0];
        put(&mut body, CTRL_ATTR_FAMILY_NAME, b"nl80211\0");
        let answers = this.ask(0, &body).await.ok()?;
        let (family, group) = answers.iter().find_map(|answer| family(answer))?;
        this.family = family;
        this.events = group.and_then(|group| listen(group).ok());
        Some(this)
    }

    /// Returns when a link may be in another wireless network, or with another access point of the same one: of the
    /// latter the tables of links show nothing. Nothing is lost when the future is dropped.
    pub async fn moved(&mut self) {
        while let Some(events) = &mut self.events {
            match events.recv_from_full().await {
                Ok((datagram, sender)) => {
                    let told = |message: Message<'_>| {
                        message.kind == self.family && is_association(message.body)
                    };
                    if is_kernel(&sender) && Messages(&datagram).any(told) {
                        return;
                    }
                }
                Err(error) if error.raw_os_error() == Some(NO_BUFFERS) => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    tracing::warn!(%error, "the kernel does not tell of wireless networks any more");
                    self.events = None;
                }
            }
        }
        future::pending().await
    }

    /// The wireless links that are part of somebody else's network, or could be, by number. None where the kernel does
    /// not say: then what it said before holds.
    pub async fn links(&mut self) -> Option<BTreeMap<u32, Wireless>> {
        let mut links = BTreeMap::new();
        let interfaces = vec![NL80211_CMD_GET_INTERFACE, 0, 0, 0];
        for answer in self.ask(NLM_F_DUMP, &interfaces).await.ok()? {
            if let Some((index, ssid)) = station(&answer)
                && links.len() < LINKS_MAX
            {
                links.insert(
                    index,
                    Wireless {
                        ssid,
                        security: None,
                    },
                );
            }
        }
        for (index, link) in &mut links {
            if link.ssid.is_none() {
                continue;
            }
            let mut scan = vec![NL80211_CMD_GET_SCAN, 0, 0, 0];
            put(&mut scan, NL80211_ATTR_IFINDEX, &index.to_ne_bytes());
            link.security = match self.ask(NLM_F_DUMP, &scan).await {
                Ok(heard) => heard.iter().find_map(|answer| protection(answer)),
                // Who keeps a driver busy must not be the one who has its protection forgotten.
                Err(error) if error.kind() == io::ErrorKind::TimedOut => return None,
                Err(_) => None,
            };
        }
        Some(links)
    }

    /// The bodies of the answers to a request.
    async fn ask(&mut self, flags: u16, body: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        self.sequence = self.sequence.wrapping_add(1);
        let request = request(self.family, flags, self.sequence, body);
        let kernel = SocketAddr::new(0, 0);
        self.socket.socket_ref().send_to(&request, &kernel, 0)?;
        let answers = self.answers(flags & NLM_F_DUMP != 0);
        match tokio::time::timeout(PATIENCE, answers).await {
            Ok(answers) => answers,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    async fn answers(&self, dump: bool) -> io::Result<Vec<Vec<u8>>> {
        let mut bodies = Vec::new();
        loop {
            let (datagram, sender) = self.socket.recv_from_full().await?;
            if !is_kernel(&sender) {
                continue;
            }
            for message in Messages(&datagram).filter(|message| message.sequence == self.sequence) {
                if let Some(outcome) = end(&message) {
                    return outcome.map(|()| bodies);
                }
                bodies.push(message.body.to_vec());
                if !dump {
                    return Ok(bodies);
                }
            }
        }
    }
}

/// What it came to, where a message is the last one.
fn end(message: &Message<'_>) -> Option<io::Result<()>> {
    const NLMSG_ERROR: u16 = 2;
    const NLMSG_DONE: u16 = 3;
    if !matches!(message.kind, NLMSG_ERROR | NLMSG_DONE) {
        return None;
    }
    // The number of the error, negative; 0 where all went well.
    let number = u32_at(message.body, 0).map_or(0, u32::cast_signed);
    Some(match number {
        0.. => Ok(()),
        ..0 => Err(io::Error::from_raw_os_error(number.saturating_neg())),
    })
}

/// A socket that is told what this group is told. Call within a tokio runtime.
fn listen(group: u32) -> io::Result<TokioSocket> {
    let mut socket = TokioSocket::new(NETLINK_GENERIC)?;
    socket.socket_mut().bind_auto()?;
    socket.socket_mut().add_membership(group)?;
    Ok(socket)
}

/// What the body of the answer about the family says: its number, and that of the group that is told of associations.
#[must_use]
pub fn family(body: &[u8]) -> Option<(u16, Option<u32>)> {
    let attributes = Attributes(body.get(4..)?);
    let mut of_kind = attributes.clone();
    let (_, number) = of_kind.find(|(kind, _)| *kind == CTRL_ATTR_FAMILY_ID)?;
    let mut of_kind = attributes;
    let groups = of_kind.find(|(kind, _)| *kind == CTRL_ATTR_MCAST_GROUPS);
    let mut groups = Attributes(groups.map_or(&[][..], |(_, groups)| groups));
    let group = groups.find_map(|(_, group)| {
        let one = |wanted| Attributes(group).find(|(kind, _)| *kind == wanted);
        let (_, name) = one(CTRL_ATTR_MCAST_GRP_NAME)?;
        let (_, number) = one(CTRL_ATTR_MCAST_GRP_ID)?;
        (name == GROUP_MLME).then(|| u32_at(number, 0)).flatten()
    });
    Some((u16_at(number, 0)?, group))
}

fn is_association(body: &[u8]) -> bool {
    matches!(
        body.first(),
        Some(&(NL80211_CMD_CONNECT | NL80211_CMD_ROAM | NL80211_CMD_DISCONNECT))
    )
}

/// What the body of an answer about an interface says: the number of a link that joins networks of others, and the name
/// of the one that it is in.
#[must_use]
pub fn station(body: &[u8]) -> Option<(u32, Option<Vec<u8>>)> {
    let (mut index, mut ssid, mut kind) = (None, None, None);
    for (attribute, value) in Attributes(body.get(4..)?) {
        match attribute {
            NL80211_ATTR_IFINDEX => index = u32_at(value, 0),
            NL80211_ATTR_IFTYPE => kind = u32_at(value, 0),
            NL80211_ATTR_SSID => ssid = Some(value),
            _ => {}
        }
    }
    // An access point of this machine's own is no network that it is in.
    if !matches!(kind?, NL80211_IFTYPE_STATION | NL80211_IFTYPE_P2P_CLIENT) {
        return None;
    }
    let ssid = ssid.filter(|ssid| (1..=SSID_BYTES_MAX).contains(&ssid.len()));
    Some((index?, ssid.map(<[u8]>::to_vec)))
}

/// What the body of an answer about a network that is heard says: its protection if the link is in it; none for the
/// others.
#[must_use]
pub fn protection(body: &[u8]) -> Option<Security> {
    let mut attributes = Attributes(body.get(4..)?);
    let (_, bss) = attributes.find(|(kind, _)| *kind == NL80211_ATTR_BSS)?;
    let (mut associated, mut capability, mut parts) = (false, 0, &[][..]);
    for (kind, value) in Attributes(bss) {
        match kind {
            NL80211_BSS_STATUS => associated = u32_at(value, 0)? == BSS_STATUS_ASSOCIATED,
            NL80211_BSS_CAPABILITY => capability = u16_at(value, 0)?,
            NL80211_BSS_INFORMATION_ELEMENTS => parts = value,
            _ => {}
        }
    }
    associated.then(|| elements::security(capability, parts))
}

fn put(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
    body.extend_from_slice(&length.to_ne_bytes());
    body.extend_from_slice(&kind.to_ne_bytes());
    body.extend_from_slice(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn interface(kind: u32, ssid: Option<&[u8]>) -> Vec<u8> {
        let mut body = vec![NL80211_CMD_GET_INTERFACE, 1, 0, 0];
        put(&mut body, NL80211_ATTR_IFINDEX, &3_u32.to_ne_bytes());
        put(&mut body, NL80211_ATTR_IFTYPE, &kind.to_ne_bytes());
        if let Some(ssid) = ssid {
            put(&mut body, NL80211_ATTR_SSID, ssid);
        }
        body
    }

    fn heard(status: Option<u32>, capability: u16, parts: &[u8]) -> Vec<u8> {
        let mut bss = Vec::new();
        put(&mut bss, NL80211_BSS_CAPABILITY, &capability.to_ne_bytes());
        put(&mut bss, NL80211_BSS_INFORMATION_ELEMENTS, parts);
        if let Some(status) = status {
            put(&mut bss, NL80211_BSS_STATUS, &status.to_ne_bytes());
        }
        let mut body = vec![34, 1, 0, 0];
        put(&mut body, NL80211_ATTR_IFINDEX, &3_u32.to_ne_bytes());
        // Nested, as newer kernels mark it.
        put(&mut body, NL80211_ATTR_BSS | 0x8000, &bss);
        body
    }

    #[test]
    fn a_station_is_in_a_network_and_an_access_point_is_one() {
        let home = Some(b"home".to_vec());
        assert_eq!(station(&interface(2, Some(b"home"))), Some((3, home)));
        assert_eq!(station(&interface(2, None)), Some((3, None)));
        assert_eq!(station(&interface(3, Some(b"home"))), None);
        // Hidden, and longer than any name.
        assert_eq!(station(&interface(2, Some(b""))), Some((3, None)));
        assert_eq!(station(&interface(2, Some(&[0x61; 33]))), Some((3, None)));
    }

    #[test]
    fn only_the_network_that_the_link_is_in_counts() {
        assert_eq!(protection(&heard(Some(1), 0, &[])), Some(Security::Open));
        assert_eq!(protection(&heard(Some(1), 0x10, &[])), Some(Security::Wep));
        assert_eq!(protection(&heard(Some(0), 0, &[])), None);
        assert_eq!(protection(&heard(None, 0, &[])), None);
    }

    #[test]
    fn the_group_that_hears_of_associations_is_found_by_name() {
        let group = |name: &[u8], number: u32| {
            let mut group = Vec::new();
            put(&mut group, CTRL_ATTR_MCAST_GRP_ID, &number.to_ne_bytes());
            put(&mut group, CTRL_ATTR_MCAST_GRP_NAME, name);
            group
        };
        let told = |groups: &[Vec<u8>]| {
            let mut listed = Vec::new();
            for (number, group) in (1..).zip(groups) {
                put(&mut listed, number, group);
            }
            let mut body = vec![1, 2, 0, 0];
            put(&mut body, CTRL_ATTR_FAMILY_ID, &28_u16.to_ne_bytes());
            put(&mut body, CTRL_ATTR_MCAST_GROUPS, &listed);
            body
        };
        let groups = [group(b"scan\0", 6), group(b"mlme\0", 8)];
        assert_eq!(family(&told(&groups)), Some((28, Some(8))));
        assert_eq!(family(&told(&groups[..1])), Some((28, None)));
        assert_eq!(family(&[1, 2, 0, 0]), None);
    }

    proptest! {
        #[test]
        fn octets_that_are_no_messages_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = (station(&bytes), protection(&bytes), family(&bytes));
        }
    }

    #[tokio::test]
    async fn a_machine_is_asked_for_its_wireless_links_whether_it_has_any_or_not() {
        let Some(mut socket) = WirelessSocket::open().await else {
            // Then the kernel has no list of them either.
            assert!(!std::path::Path::new("/sys/class/ieee80211").exists());
            return;
        };
        assert_ne!(socket.family, GENL_ID_CTRL);
        let links = socket.links().await.unwrap_or_default();
        assert!(links.keys().all(|index| *index > 0), "{links:?}");
    }
}
