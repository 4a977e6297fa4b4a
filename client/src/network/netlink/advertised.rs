//! What a router advertises beside addresses and routes (RFC 4861 §4.2). The kernel passes on the options that it has no
//! use for itself, and only those of advertisements that it follows: where NetworkManager or systemd-networkd read them
//! in its place, it says nothing.

use super::parse::{u16_at, u32_at};

/// `struct nduseroptmsg` of `linux/rtnetlink.h`.
const HEADER_BYTES: usize = 16;
const AF_INET6: u8 = 10;
/// RFC 4861 §4.2.
const ROUTER_ADVERTISEMENT: u8 = 134;
/// RFC 8910 §2.3.
const CAPTIVE_PORTAL: u8 = 37;

/// The link, and the page that a router on it names for those who have to log in.
pub(super) fn portal(body: &[u8]) -> Option<(u32, String)> {
    if *body.first()? != AF_INET6 || *body.get(8)? != ROUTER_ADVERTISEMENT {
        return None;
    }
    let length = usize::from(u16_at(body, 2)?);
    let mut options = body.get(HEADER_BYTES..HEADER_BYTES.checked_add(length)?)?;
    let index = u32_at(body, 4)?;
    loop {
        // The length counts eight octets, and these two are among them; none is an end, too (RFC 4861 §4.6).
        let octets = usize::from(*options.get(1)?) * 8;
        let option = options.get(..octets).filter(|option| !option.is_empty())?;
        if option[0] == CAPTIVE_PORTAL {
            return Some((index, uri(&option[2..])?));
        }
        options = &options[octets..];
    }
}

/// Filled up with zeros (RFC 8910 §2.3). A URI has nothing in it but printable ASCII (RFC 3986 §2).
fn uri(value: &[u8]) -> Option<String> {
    let end = value.iter().rposition(|octet| *octet != 0)?;
    let text = &value[..=end];
    let printable = text.iter().all(u8::is_ascii_graphic);
    printable.then(|| String::from_utf8_lossy(text).into_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// A message of the kernel's about link 7.
    fn message(family: u8, kind: u8, options: &[u8]) -> Vec<u8> {
        let mut body = vec![family, 0];
        body.extend(u16::try_from(options.len()).unwrap().to_ne_bytes());
        body.extend(7_u32.to_ne_bytes());
        body.extend([kind, 0, 0, 0, 0, 0, 0, 0]);
        body.extend(options);
        body
    }

    fn option(kind: u8, value: &[u8]) -> Vec<u8> {
        let mut option = vec![kind, 0];
        option.extend(value);
        option.resize(option.len().next_multiple_of(8), 0);
        option[1] = u8::try_from(option.len() / 8).unwrap();
        option
    }

    #[test]
    fn the_page_that_a_router_names_is_read_without_what_fills_it_up() {
        let page = b"https://portal.example/api";
        let alone = option(37, page);
        let behind = [option(31, b"\0\0lan"), alone.clone()].concat();
        for options in [alone, behind] {
            let read = portal(&message(10, 134, &options));
            assert_eq!(read, Some((7, String::from_utf8(page.to_vec()).unwrap())));
        }
    }

    #[test]
    fn what_names_no_page_or_lies_about_its_length_says_nothing() {
        let page = option(37, b"https://portal.example/");
        let mut short = message(10, 134, &page);
        short.truncate(30);
        for body in [
            Vec::new(),
            short,
            message(2, 134, &page),
            message(10, 135, &page),
            message(10, 134, &[]),
            message(10, 134, &[37]),
            message(10, 134, &[37, 0, 1, 2, 3, 4, 5, 6]),
            message(10, 134, &[37, 9, b'h', b't', 0, 0, 0, 0]),
            message(10, 134, &option(37, b"")),
            message(10, 134, &option(37, b"https://a\nb/")),
            message(10, 134, &option(37, &[b'h', 0xff, 0xfe])),
        ] {
            assert_eq!(portal(&body), None, "{body:?}");
        }
    }
}
