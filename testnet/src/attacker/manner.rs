//! What an attacker does with DNS and with DNS over TLS, and the rules of nftables that this takes.

use std::{fmt::Write, sync::Arc};

use super::{Answerer, Brood, DNS_PORT, DOT_PORT, Impostor};

/// What becomes of the packets of a laptop. As a default all of them pass.
#[derive(Clone, Debug, Default)]
pub struct Manner {
    /// Of those to port 53.
    pub dns: Dns,
    /// Of those to port 853.
    pub dot: Dot,
}

/// What becomes of cleartext DNS, over UDP and TCP.
#[derive(Clone, Debug, Default)]
pub enum Dns {
    /// The resolver gets it.
    #[default]
    Pass,
    /// Nobody gets it.
    Drop,
    /// The sender is told that nobody gets it.
    Reject,
    /// The attacker answers.
    Answer(Answerer),
}

/// What becomes of DNS over TLS.
#[derive(Clone, Debug, Default)]
pub enum Dot {
    /// The resolver gets it.
    #[default]
    Pass,
    /// Nobody gets it.
    Drop,
    /// An ICMP message says that the port is not reachable.
    Unreachable,
    /// A TCP reset says that nobody listens.
    Reset,
    /// Connections are taken, and nothing is ever said on them.
    Silent,
    /// DNS in cleartext is answered there, without any TLS.
    Cleartext(Answerer),
    /// TLS that the attacker ends with a key of its own.
    Impostor(Impostor, Answerer),
    /// TLS with as many as there are addresses; other names than those of discovery are answered by this one.
    Brood(Arc<Brood>, Answerer),
    /// The genuine TLS goes through the attacker's hands, who cuts it after so many octets of the resolver.
    Cut(usize),
    /// The same, and one bit in every so many octets of the resolver is turned.
    Corrupt(usize),
}

impl Manner {
    /// Nothing in between.
    #[must_use]
    pub fn honest() -> Self {
        Self::default()
    }

    /// What nftables are told on the attacker's host, whose link to the laptops is `link`. The old rules go with the
    /// same transaction.
    #[must_use]
    pub fn ruleset(&self, link: &str) -> String {
        let mut redirect = String::new();
        let mut filter = String::new();
        match self.dns {
            Dns::Pass => {}
            Dns::Drop => filter += "  udp dport 53 drop\n  tcp dport 53 drop\n",
            Dns::Reject => {
                filter += "  udp dport 53 reject\n  tcp dport 53 reject with tcp reset\n";
            }
            Dns::Answer(_) => {
                for transport in ["udp", "tcp"] {
                    let _ = writeln!(redirect, "  {transport} dport 53 redirect to :{DNS_PORT}");
                }
                filter += "  udp dport 53 drop\n  tcp dport 53 reject with tcp reset\n";
            }
        }
        match self.dot {
            Dot::Pass => {}
            Dot::Drop => filter += "  tcp dport 853 drop\n",
            Dot::Unreachable => filter += "  tcp dport 853 reject\n",
            Dot::Reset => filter += "  tcp dport 853 reject with tcp reset\n",
            Dot::Silent
            | Dot::Cleartext(_)
            | Dot::Impostor(..)
            | Dot::Brood(..)
            | Dot::Cut(_)
            | Dot::Corrupt(_) => {
                let _ = writeln!(redirect, "  tcp dport 853 redirect to :{DOT_PORT}");
                // What was let through before is not redirected any more; it has to come again.
                filter += "  tcp dport 853 reject with tcp reset\n";
            }
        }
        format!(
            "table inet attack\ndelete table inet attack\ntable inet attack {{\n chain take {{\n  type nat hook prerouting \
             priority dstnat\n  iifname != \"{link}\" return\n{redirect} }}\n chain pass {{\n  type filter hook forward \
             priority filter\n  iifname != \"{link}\" return\n{filter} }}\n}}\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attacker::answers;

    #[test]
    fn the_rules_take_drop_and_reject_what_the_manner_says_and_nothing_else() {
        let honest = Manner::honest().ruleset("lan1");
        assert!(!honest.contains("dport"), "{honest}");
        let dropped = Manner {
            dns: Dns::Pass,
            dot: Dot::Drop,
        };
        let dropped = dropped.ruleset("lan1");
        assert!(dropped.contains("tcp dport 853 drop"), "{dropped}");
        assert!(!dropped.contains("dport 53 "), "{dropped}");
        let taken = Manner {
            dns: Dns::Answer(answers::refuse(2)),
            dot: Dot::Silent,
        };
        let taken = taken.ruleset("lan1");
        for rule in [
            "udp dport 53 redirect to :10053",
            "tcp dport 53 redirect to :10053",
            "tcp dport 853 redirect to :10853",
            "iifname != \"lan1\" return",
        ] {
            assert!(taken.contains(rule), "{rule}: {taken}");
        }
    }
}
