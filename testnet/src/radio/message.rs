//! Netlink messages as the kernel writes them: what there is of generic netlink (`linux/netlink.h`, `linux/genetlink.h`).

/// The header of every message.
pub(super) const HEADER_BYTES: usize = 16;
pub(super) const NLMSG_ERROR: u16 = 2;
pub(super) const NLMSG_DONE: u16 = 3;
pub(super) const NLM_F_MULTI: u16 = 0x2;
pub(super) const NLM_F_ACK: u16 = 0x4;
pub(super) const NLM_F_DUMP: u16 = 0x300;
/// The answer to a request does not repeat it.
pub(super) const NLM_F_CAPPED: u16 = 0x100;

/// A request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request<'a> {
    /// The header, which errors repeat.
    pub(super) header: &'a [u8],
    pub(super) family: u16,
    pub(super) flags: u16,
    pub(super) sequence: u32,
    pub(super) command: u16,
    attributes: &'a [u8],
}

impl<'a> Request<'a> {
    /// The request at the start of a datagram; none where it is cut off.
    pub(super) fn read(datagram: &'a [u8]) -> Option<Self> {
        let length = usize::try_from(u32_at(datagram, 0)?).ok()?;
        let header = datagram.get(..HEADER_BYTES)?;
        let body = datagram.get(HEADER_BYTES..length)?;
        Some(Self {
            header,
            family: u16_at(header, 4)?,
            flags: u16_at(header, 6)?,
            sequence: u32_at(header, 8)?,
            command: u16::from(*body.first()?),
            attributes: body.get(4..)?,
        })
    }

    /// The value of an attribute.
    pub(super) fn attribute(&self, wanted: u16) -> Option<&'a [u8]> {
        let mut rest = self.attributes;
        loop {
            let length = usize::from(u16_at(rest, 0)?);
            let value = rest.get(4..length)?;
            // The upper two bits say how it is written.
            if u16_at(rest, 2)? & 0x3fff == wanted {
                return Some(value);
            }
            rest = rest.get(length.next_multiple_of(4)..)?;
        }
    }

    pub(super) fn number(&self, wanted: u16) -> Option<u32> {
        u32_at(self.attribute(wanted)?, 0)
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at + 2)?;
    bytes.try_into().ok().map(u16::from_ne_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?;
    bytes.try_into().ok().map(u32::from_ne_bytes)
}

/// Attributes, one after the other.
#[derive(Clone, Debug, Default)]
pub(super) struct Attributes(Vec<u8>);

impl Attributes {
    pub(super) fn put(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(4 + value.len()).expect("what a radio says is short");
        self.0.extend(length.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    pub(super) fn put_u32(self, kind: u16, value: u32) -> Self {
        self.put(kind, &value.to_ne_bytes())
    }

    /// With the nul at its end.
    pub(super) fn put_text(self, kind: u16, text: &str) -> Self {
        let mut value = text.as_bytes().to_vec();
        value.push(0);
        self.put(kind, &value)
    }

    /// Attributes in an attribute, in the older form, which does not say so: nl80211 and the controller keep to it.
    pub(super) fn put_all(self, kind: u16, inner: &Self) -> Self {
        self.put(kind, &inner.0)
    }
}

/// The body of a message of generic netlink.
pub(super) fn body(command: u16, version: u8, attributes: &Attributes) -> Vec<u8> {
    let command = u8::try_from(command).expect("commands are numbers of one octet");
    let mut body = vec![command, version, 0, 0];
    body.extend(&attributes.0);
    body
}

/// A message to the socket with this port.
pub(super) fn message(kind: u16, flags: u16, sequence: u32, port: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER_BYTES + body.len()).expect("what a radio says is short");
    let mut message = Vec::with_capacity(HEADER_BYTES + body.len());
    message.extend(length.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend(sequence.to_ne_bytes());
    message.extend(port.to_ne_bytes());
    message.extend(body);
    message
}

/// What closes the answer to a single request: an error, or 0 for those who want to know that it was done.
pub(super) fn outcome(request: &Request<'_>, errno: i32, port: u32) -> Vec<u8> {
    let mut body = (-errno).to_ne_bytes().to_vec();
    body.extend(request.header);
    let flags = if errno == 0 { NLM_F_CAPPED } else { 0 };
    message(NLMSG_ERROR, flags, request.sequence, port, &body)
}

/// What closes the answer to a request for all of something.
pub(super) fn done(request: &Request<'_>, errno: i32, port: u32) -> Vec<u8> {
    let body = (-errno).to_ne_bytes();
    message(NLMSG_DONE, NLM_F_MULTI, request.sequence, port, &body)
}
