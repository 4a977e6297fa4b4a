//! What helps where a chain is not as it should be, for whoever runs the resolvers in it.

use super::model::Who;
use super::why::Why;

impl Why {
    /// What helps where `from` asks `to`, in a sentence without a full stop; none where nothing is wrong, or nothing helps.
    #[must_use]
    pub fn cure_of_hop(&self, from: &Who, to: &Who) -> Option<String> {
        let ours = *from == Who::Client;
        Some(match self {
            Self::Met { .. } | Self::NotMet { .. } | Self::NoName => return None,
            Self::SaysPlain if ours => {
                "an upgraded resolver in its place; `legacy = \"encrypted\"` asks nothing in cleartext meanwhile".to_owned()
            }
            Self::SaysPlain => format!(
                "on {from}: an upstream that is asked over TLS, such as tls://ADDRESS#NAME in `[resolve] upstreams`; \
                 `require = \"encrypted\"` keeps it so"
            ),
            Self::SaysPlainWithin => format!(
                "on {from}: let it resolve by itself (`[resolve] mode = \"recursive\"`), or ask whom that server asks, \
                 over TLS"
            ),
            Self::NotAuthenticated if ours => {
                "an upgraded resolver in its place, which proves who it is".to_owned()
            }
            Self::NotAuthenticated => format!(
                "on {from}: say who it is that is to answer, by tls://ADDRESS#NAME or ?pin= in `[resolve] upstreams`; \
                 `require = \"authenticated\"` keeps it so"
            ),
            Self::OtherKey => format!(
                "if {to} was set up anew: `zzdot upstreams forget {to}` on {from}; otherwise somebody answers in its place"
            ),
            Self::ClaimUnreadable { .. } => format!("on {from}: {PUBLISHES}"),
            Self::NotRead { .. } | Self::ZoneUnreadable { .. } => format!("on {to}: {PUBLISHES}"),
            Self::NamesNobody => format!("on {to}: `zzdot status` tells why it has no upstream"),
            Self::OtherServerType { .. }
            | Self::OtherAddresses
            | Self::OtherTlsa
            | Self::AsksAfterAll
            | Self::Changing => AGAIN.to_owned(),
            Self::Limit { .. } => FURTHER.to_owned(),
            Self::SaysNothing => UNSEEN.to_owned(),
        })
    }

    /// What helps where it is not known whom `node` asks.
    #[must_use]
    pub fn cure_of_node(&self, node: &Who) -> Option<String> {
        self.cure_of_hop(node, node)
    }
}

const PUBLISHES: &str = "`zzdot status` tells what it publishes; changes are told within a minute";
const AGAIN: &str = "look again in a minute, by when changes are told everywhere; if it stays so, one of the two \
                     does not tell the truth";
const FURTHER: &str = "nothing may be wrong there: nobody looks any further than that";
const UNSEEN: &str = "nobody can look behind such a server; who asks it can resolve by itself (`[resolve] mode = \
                      \"recursive\"`), or ask one that is upgraded";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_is_wrong_has_a_cure_that_says_where() {
        let named = |letter: &str| Who::Named {
            name: format!("{}.zz", letter.repeat(20)).parse().unwrap(),
        };
        let (near, far) = (named("a"), named("c"));
        let plain = Why::SaysPlain;
        assert!(
            plain
                .cure_of_hop(&near, &far)
                .unwrap()
                .starts_with("on aaaaaaaaaaaaaaaaaaaa.zz: ")
        );
        assert!(
            !plain
                .cure_of_hop(&Who::Client, &far)
                .unwrap()
                .contains("on this computer")
        );
        let other = Why::OtherKey.cure_of_hop(&near, &far).unwrap();
        assert!(other.contains(
            "`zzdot upstreams forget cccccccccccccccccccc.zz` on aaaaaaaaaaaaaaaaaaaa.zz"
        ));
        let unreadable = Why::ZoneUnreadable {
            detail: "x".to_owned(),
        };
        assert!(
            unreadable
                .cure_of_node(&far)
                .unwrap()
                .starts_with("on cccccccccccccccccccc.zz")
        );
        let met = Why::Met {
            address: "192.0.2.1:853".parse().unwrap(),
        };
        assert_eq!(met.cure_of_hop(&near, &far), None);
    }
}
