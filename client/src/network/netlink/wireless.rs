//! Wireless networks, as nl80211 tells them over generic netlink: which links are wireless, and for each the name of its
//! network and how it is protected.

use std::collections::BTreeMap;
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

const NL80211_CMD_GET_INTERFACE: u8 = 5;
const NL80211_CMD_GET_SCAN: u8 = 32;
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

/// Asks nl80211.
pub struct WirelessSocket {
    socket: TokioSocket,
    family: u16,
    sequence: u32,
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
        };
        let mut body = vec![CTRL_CMD_GETFAMILY, 1, 0, 0];
        put(&mut body, CTRL_ATTR_FAMILY_NAME, b"nl80211\0");
        let answers = this.ask(0, &body).await.ok()?;
        this.family = answers.iter().find_map(|answer| {
            let mut attributes = Attributes(answer.get(4..)?);
            let id = attributes.find(|(kind, _)| *kind == CTRL_ATTR_FAMILY_ID)?;
            u16_at(id.1, 0)
        })?;
        Some(this)
    }

    /// The wireless links that are part of somebody else's network, or could be, by number. Nothing new where the kernel
    /// does not say.
    pub async fn links(&mut self) -> BTreeMap<u32, Wireless> {
        let mut links = BTreeMap::new();
        let interfaces = vec![NL80211_CMD_GET_INTERFACE, 0, 0, 0];
        for answer in self.ask(NLM_F_DUMP, &interfaces).await.unwrap_or_default() {
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
            let networks = self.ask(NLM_F_DUMP, &scan).await.unwrap_or_default();
            link.security = networks.iter().find_map(|answer| protection(answer));
        }
        links
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
                if ends(&message) {
                    return Ok(bodies);
                }
                bodies.push(message.body.to_vec());
                if !dump {
                    return Ok(bodies);
                }
            }
        }
    }
}

fn ends(message: &Message<'_>) -> bool {
    const NLMSG_ERROR: u16 = 2;
    const NLMSG_DONE: u16 = 3;
    matches!(message.kind, NLMSG_ERROR | NLMSG_DONE)
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

    proptest! {
        #[test]
        fn octets_that_are_no_messages_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = (station(&bytes), protection(&bytes));
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
        let links = socket.links().await;
        assert!(links.keys().all(|index| *index > 0), "{links:?}");
    }
}
