//! Requests to the kernel: everything of one kind, please.

const RTM_GETLINK: u16 = 18;
const RTM_GETADDR: u16 = 22;
const RTM_GETROUTE: u16 = 26;
const RTM_GETNEIGH: u16 = 30;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_DUMP: u16 = 0x300;

/// What can be asked for. The order is the one in which it is asked: what is on a link means something only when the
/// link is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Table {
    /// All links.
    Links,
    /// All addresses.
    Addresses,
    /// All routes.
    Routes,
    /// All neighbours.
    Neighbours,
}

impl Table {
    /// Every table, in the order in which they are asked for.
    pub(super) const ALL: [Self; 4] =
        [Self::Links, Self::Addresses, Self::Routes, Self::Neighbours];

    /// The request for the whole table; answers carry its number.
    #[must_use]
    pub(super) fn request(self, sequence: u32) -> Vec<u8> {
        // The family, unspecified, and the rest of the table's own header.
        let (kind, header_bytes) = match self {
            Self::Links => (RTM_GETLINK, 16),
            Self::Addresses => (RTM_GETADDR, 8),
            Self::Routes => (RTM_GETROUTE, 12),
            Self::Neighbours => (RTM_GETNEIGH, 12),
        };
        request(kind, NLM_F_DUMP, sequence, &vec![0; header_bytes])
    }
}

/// A message to the kernel.
pub(super) fn request(kind: u16, flags: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(16 + body.len()).unwrap_or(u32::MAX);
    let mut message = Vec::with_capacity(16 + body.len());
    message.extend_from_slice(&length.to_ne_bytes());
    message.extend_from_slice(&kind.to_ne_bytes());
    message.extend_from_slice(&(NLM_F_REQUEST | flags).to_ne_bytes());
    message.extend_from_slice(&sequence.to_ne_bytes());
    message.extend_from_slice(&0_u32.to_ne_bytes());
    message.extend_from_slice(body);
    message
}
