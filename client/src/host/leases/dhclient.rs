//! `dhclient.leases(5)`: a file that grows by a declaration with every renewal; the last one of each interface holds.

use std::collections::BTreeMap;

use zzdot_zonegen::clock::UnixTime;

use super::{plain, server, tail};
use crate::host::{Dhcp, Domain, LINKS_MAX, LinkSays};

/// Words of one statement that are looked at.
const WORDS_MAX: usize = 64;

/// How dhclient names DHCP's option 114, which is the portal's (RFC 8910 §2.1); its table is older than that.
///
/// What it names `v4-captive-portal` is option 160, which RFC 7710 had taken and RFC 8910 §4.2 gave back: others use it for
/// something else, and it says nothing here.
const DEFAULT_URL: &str = "default-url";
/// How it names DHCPv6's option 103 (RFC 8910 §2.2).
const V6_CAPTIVE_PORTAL: &str = "dhcp6.v6-captive-portal";

/// The last lease of each interface, for IPv4 and for IPv6.
#[must_use]
pub fn dhclient(text: &str) -> Vec<LinkSays> {
    let mut last: BTreeMap<(String, bool), LinkSays> = BTreeMap::new();
    let mut reader = Reader::new(text);
    while let Some(statement) = reader.statement() {
        let of_v6 = match statement.as_slice() {
            [word, end] if end == "{" && word == "lease" => false,
            [word, end] if end == "{" && word == "lease6" => true,
            _ => continue,
        };
        let Some((name, says)) = lease(&mut reader) else {
            continue;
        };
        if last.len() < LINKS_MAX || last.contains_key(&(name.clone(), of_v6)) {
            last.insert((name, of_v6), says);
        }
    }
    last.into_values().collect()
}

/// The inside of one declaration. A declaration that does not end is one that is being written: it counts for nothing.
fn lease(reader: &mut Reader<'_>) -> Option<(String, LinkSays)> {
    let mut says = LinkSays::default();
    let mut dhcp = Dhcp::default();
    let mut starts = None;
    let mut depth = 1;
    while depth > 0 {
        let statement = reader.statement()?;
        let words: Vec<&str> = statement.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["}"] => depth -= 1,
            ["iaaddr" | "iaprefix", address, "{"] => {
                depth += 1;
                says.leased = says.leased.or_else(|| address.parse().ok());
            }
            [.., "{"] => depth += 1,
            ["interface", name, ";"] => says.name = plain(name),
            ["fixed-address", address, ";"] => says.leased = address.parse().ok(),
            [
                "option",
                "domain-name-servers" | "dhcp6.name-servers",
                servers @ ..,
                ";",
            ] => {
                says.servers = servers
                    .iter()
                    .filter_map(|word| word.parse().ok())
                    .map(server)
                    .collect();
            }
            ["option", "dhcp-server-identifier", address, ";"] => {
                dhcp.server = address.parse().ok()
            }
            ["option", "domain-name", name, ";"] => dhcp.domain = plain(name),
            [
                "option",
                "domain-search" | "dhcp6.domain-search",
                domains @ ..,
                ";",
            ] => {
                says.domains
                    .extend(domains.iter().filter_map(|word| word.parse().ok()));
            }
            ["option", DEFAULT_URL | V6_CAPTIVE_PORTAL, uri, ";"] => {
                says.captive_portal = plain(uri);
            }
            ["expire", when @ .., ";"] => says.expires = moment(when),
            ["starts", seconds, ";"] => starts = seconds.parse::<u64>().ok(),
            ["max-life", seconds, ";"] => {
                let life = seconds.parse::<u64>().ok();
                let end = starts
                    .zip(life)
                    .map(|(starts, life)| starts.saturating_add(life));
                says.expires = end.map(UnixTime).max(says.expires);
            }
            _ => {}
        }
    }
    // Applications on the link use the domain name as their search list when there is no other.
    if says.domains.is_empty() {
        let own = dhcp.domain.iter().flat_map(|names| names.split(' '));
        says.domains
            .extend(own.filter_map(|name| name.parse::<Domain>().ok()));
    }
    says.dhcp = (dhcp != Dhcp::default()).then_some(dhcp);
    Some((says.name.clone()?, says))
}

/// `4 2026/11/22 05:10:00` in UTC, `epoch 1795324200`, or `never`, which is none.
fn moment(words: &[&str]) -> Option<UnixTime> {
    match words {
        ["epoch", seconds] => seconds.parse().ok().map(UnixTime),
        [_weekday, date, time] => {
            let mut date = date.split('/').map(str::parse::<u32>);
            let mut time = time.split(':').map(str::parse::<u8>);
            let year = i32::try_from(date.next()?.ok()?).ok()?;
            let month = u8::try_from(date.next()?.ok()?).ok()?;
            let day = u8::try_from(date.next()?.ok()?).ok()?;
            let month = time::Month::try_from(month).ok()?;
            let moment = time::Date::from_calendar_date(year, month, day)
                .ok()?
                .with_hms(time.next()?.ok()?, time.next()?.ok()?, time.next()?.ok()?)
                .ok()?;
            let seconds = moment.assume_utc().unix_timestamp();
            u64::try_from(seconds).ok().map(UnixTime)
        }
        _ => None,
    }
}

/// Statements, each with the `;`, `{` or `}` that ends it.
struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    /// The file's end is what counts: the newest leases stand there.
    fn new(text: &'a str) -> Self {
        Self { rest: tail(text) }
    }

    fn statement(&mut self) -> Option<Vec<String>> {
        let mut words = Vec::new();
        loop {
            let word = self.word()?;
            let ends = matches!(word.as_str(), ";" | "{" | "}");
            if words.len() < WORDS_MAX || ends {
                words.push(word);
            }
            if ends {
                return Some(words);
            }
        }
    }

    fn word(&mut self) -> Option<String> {
        loop {
            self.rest = self.rest.trim_start_matches(is_between);
            match self.rest.strip_prefix('#') {
                Some(comment) => self.rest = comment.split_once('\n').map_or("", |(_, rest)| rest),
                None => break,
            }
        }
        let first = self.rest.chars().next()?;
        if let ';' | '{' | '}' = first {
            return Some(self.take(1));
        }
        if first == '"' {
            return self.quoted();
        }
        let ends = |c: char| is_between(c) || matches!(c, ';' | '{' | '}' | '"');
        let end = self.rest.find(ends).unwrap_or(self.rest.len());
        Some(self.take(end))
    }

    fn take(&mut self, length: usize) -> String {
        let (word, rest) = self.rest.split_at(length);
        self.rest = rest;
        word.to_owned()
    }

    /// A text in quotes. dhclient writes what is not printable in octal; such texts are of no use here, and keep
    /// their backslash, which no address and no domain has.
    fn quoted(&mut self) -> Option<String> {
        let inside = &self.rest[1..];
        let mut escaped = false;
        let end = inside.find(|c| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        let end = end?;
        // A `;` in quotes is no end of a statement.
        let word = match &inside[..end] {
            ";" | "{" | "}" => String::new(),
            text => text.to_owned(),
        };
        self.rest = &inside[end + 1..];
        Some(word)
    }
}

/// What stands between words. One rule for where a word ends and where the next begins: a character that were the first
/// and not the second would be a word without end.
fn is_between(c: char) -> bool {
    c.is_ascii_whitespace() || c == ','
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const LEASES: &str = r#"
# a comment; with a { in it
default-duid "\000\001";
lease {
  interface "eth0";
  fixed-address 10.9.9.9;
  option domain-name-servers 10.9.9.1;
  expire 4 2020/01/02 03:04:05;
}
lease {
  interface "wlan0";
  fixed-address 10.0.0.7;
  option domain-name-servers 10.0.0.1;
  expire never;
}
lease {
  interface "eth0";
  fixed-address 192.168.1.7;
  filename "a;b}c\"d";
  option subnet-mask 255.255.255.0;
  option routers 192.168.1.1;
  option dhcp-server-identifier 192.168.1.1;
  option domain-name-servers 192.168.1.1,192.168.1.2;
  option domain-name "lan";
  option default-url "https://portal.example/";
  option v4-captive-portal "https://a-telephone.example/";
  renew 0 2026/11/22 05:05:00;
  expire 0 2026/11/22 05:10:00;
}
lease6 {
  interface "eth0";
  ia-na 11:22:33:44 {
    starts 1795324000;
    renew 1800;
    iaaddr 2001:db8::7 {
      starts 1795324000;
      preferred-life 100;
      max-life 200;
    }
  }
  option dhcp6.name-servers 2001:db8::1,fe80::1;
  option dhcp6.domain-search "a.example.","b.example.";
  option dhcp6.v6-captive-portal "https://six.portal.example/";
}
lease {
  interface "eth1";
  option domain-name-servers 192.0.2.1;
"#;

    fn named<'a>(leases: &'a [LinkSays], name: &str) -> Vec<&'a LinkSays> {
        leases
            .iter()
            .filter(|says| says.name.as_deref() == Some(name))
            .collect()
    }

    #[test]
    fn the_last_whole_lease_of_each_interface_and_family_holds() {
        let leases = dhclient(LEASES);
        let [v4, v6] = named(&leases, "eth0")[..] else {
            panic!("{leases:?}");
        };
        let servers: Vec<_> = v4.servers.iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["192.168.1.1:53", "192.168.1.2:53"]);
        assert_eq!(v4.leased, Some("192.168.1.7".parse().unwrap()));
        assert_eq!(v4.expires, Some(UnixTime(1_795_324_200)));
        assert_eq!(v4.domains[0].to_string(), "lan");
        let dhcp = v4.dhcp.as_ref().unwrap();
        assert_eq!(dhcp.server, Some("192.168.1.1".parse().unwrap()));
        assert_eq!(dhcp.domain.as_deref(), Some("lan"));
        assert_eq!(
            v4.captive_portal.as_deref(),
            Some("https://portal.example/")
        );
        assert_eq!(
            v6.captive_portal.as_deref(),
            Some("https://six.portal.example/")
        );
        assert_eq!(v6.servers.len(), 2);
        assert_eq!(v6.leased, Some("2001:db8::7".parse().unwrap()));
        assert_eq!(v6.expires, Some(UnixTime(1_795_324_200)));
        assert_eq!(v6.domains.len(), 2);
        assert_eq!(named(&leases, "wlan0")[0].expires, None, "never");
        assert!(named(&leases, "eth1").is_empty(), "half written");
    }

    #[test]
    fn times_are_read_in_each_of_their_forms() {
        assert_eq!(moment(&["epoch", "17"]), Some(UnixTime(17)));
        assert_eq!(moment(&["5", "1970/01/01", "00:00:01"]), Some(UnixTime(1)));
        for none in [
            &["never"][..],
            &["5", "1970/13/01", "00:00:01"],
            &["5", "1970/1", "0:0"],
            &[],
        ] {
            assert_eq!(moment(none), None, "{none:?}");
        }
    }

    #[test]
    fn rubbish_says_nothing_and_what_follows_it_is_read() {
        for rubbish in [
            "",
            "{",
            "}",
            "lease",
            "lease {",
            "\"",
            "lease { interface \"",
            "lease { } ;;; }}}",
            "\u{8}\u{2}\n\u{c}",
            "lease {\u{b}\u{c}\u{a0} interface",
            "#",
        ] {
            assert!(dhclient(rubbish).is_empty(), "{rubbish:?}");
        }
        let text = format!("}} garbage \u{1} ; {LEASES}");
        assert_eq!(dhclient(&text), dhclient(LEASES));
        let long = format!("{}{LEASES}", "option x \"y\";\n".repeat(100_000));
        assert_eq!(
            dhclient(&long),
            dhclient(LEASES),
            "the end of a file that grew"
        );
    }
}
