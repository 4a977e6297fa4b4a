//! Numbers of `linux/nl80211.h` and `linux/genetlink.h`, under the names that they have there.

macro_rules! numbers {
    ($($name:ident = $value:literal;)*) => {
        $(pub(super) const $name: u16 = $value;)*

        #[cfg(test)]
        const ALL: &[(&str, u16)] = &[$((stringify!($name), $value)),*];
    };
}

numbers! {
    CTRL_CMD_NEWFAMILY = 1;
    CTRL_CMD_GETFAMILY = 3;
    CTRL_ATTR_FAMILY_ID = 1;
    CTRL_ATTR_FAMILY_NAME = 2;
    CTRL_ATTR_VERSION = 3;
    CTRL_ATTR_HDRSIZE = 4;
    CTRL_ATTR_MAXATTR = 5;
    CTRL_ATTR_OPS = 6;
    CTRL_ATTR_MCAST_GROUPS = 7;
    CTRL_ATTR_OP_ID = 1;
    CTRL_ATTR_OP_FLAGS = 2;
    CTRL_ATTR_MCAST_GRP_NAME = 1;
    CTRL_ATTR_MCAST_GRP_ID = 2;

    NL80211_CMD_GET_INTERFACE = 5;
    NL80211_CMD_NEW_INTERFACE = 7;
    NL80211_CMD_GET_STATION = 17;
    NL80211_CMD_NEW_STATION = 19;
    NL80211_CMD_GET_SCAN = 32;
    NL80211_CMD_NEW_SCAN_RESULTS = 34;
    NL80211_CMD_CONNECT = 46;
    NL80211_CMD_ROAM = 47;
    NL80211_CMD_DISCONNECT = 48;

    NL80211_ATTR_WIPHY = 1;
    NL80211_ATTR_IFINDEX = 3;
    NL80211_ATTR_IFNAME = 4;
    NL80211_ATTR_IFTYPE = 5;
    NL80211_ATTR_MAC = 6;
    NL80211_ATTR_STA_INFO = 21;
    NL80211_ATTR_WIPHY_FREQ = 38;
    NL80211_ATTR_GENERATION = 46;
    NL80211_ATTR_BSS = 47;
    NL80211_ATTR_SSID = 52;
    NL80211_ATTR_REASON_CODE = 54;
    NL80211_ATTR_STATUS_CODE = 72;
    NL80211_ATTR_4ADDR = 83;
    NL80211_ATTR_WDEV = 153;
    NL80211_ATTR_CHANNEL_WIDTH = 159;
    NL80211_ATTR_CENTER_FREQ1 = 160;

    NL80211_BSS_BSSID = 1;
    NL80211_BSS_FREQUENCY = 2;
    NL80211_BSS_TSF = 3;
    NL80211_BSS_BEACON_INTERVAL = 4;
    NL80211_BSS_CAPABILITY = 5;
    NL80211_BSS_INFORMATION_ELEMENTS = 6;
    NL80211_BSS_SIGNAL_MBM = 7;
    NL80211_BSS_STATUS = 9;
    NL80211_BSS_SEEN_MS_AGO = 10;
    NL80211_BSS_BEACON_IES = 11;

    NL80211_STA_INFO_INACTIVE_TIME = 1;
    NL80211_STA_INFO_SIGNAL = 7;

    NL80211_IFTYPE_STATION = 2;
    NL80211_BSS_STATUS_ASSOCIATED = 1;
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{collections::BTreeMap, fs};

    use super::*;

    /// Every name in an enumeration of a header, with its number.
    fn enumerated(header: &str) -> BTreeMap<String, u16> {
        let path = format!("/usr/include/linux/{header}");
        let text = fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{path}: {error}; apt-get install linux-libc-dev"));
        let mut numbers = BTreeMap::new();
        for body in without_comments(&text).split("enum ").skip(1) {
            let Some((_, body)) = body.split_once('{') else {
                continue;
            };
            let Some((body, _)) = body.split_once('}') else {
                continue;
            };
            let mut next = 0;
            for item in body.split(',').map(str::trim).filter(|it| !it.is_empty()) {
                let (name, value) = match item.split_once('=') {
                    Some((name, value)) => (name.trim(), Some(value.trim())),
                    None => (item, None),
                };
                let known = |name: &str| numbers.get(name).copied();
                let Some(value) = value.map_or(Some(next), |it| it.parse().ok().or(known(it)))
                else {
                    // A sum that only closes an enumeration.
                    continue;
                };
                numbers.insert(name.to_owned(), value);
                next = value + 1;
            }
        }
        numbers
    }

    fn without_comments(text: &str) -> String {
        let mut parts = text.split("/*");
        let mut kept = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            kept += part.split_once("*/").map_or("", |(_, after)| after);
        }
        kept
    }

    #[test]
    fn the_numbers_are_those_of_the_kernels_headers() {
        let mut kernels = enumerated("genetlink.h");
        kernels.extend(enumerated("nl80211.h"));
        for (name, number) in ALL {
            assert_eq!(kernels.get(*name), Some(number), "{name}");
        }
    }
}
