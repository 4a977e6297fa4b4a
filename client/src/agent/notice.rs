//! What is shown, in words, and what of it is new. Without IO.

use std::collections::BTreeMap;

use serde_json::Value;

/// Most that is shown at a time: whoever shows many names at once fills no screen.
const SHOWN_MAX: usize = 4;
/// Most letters of an address that a network gives.
const ADDRESS_MAX: usize = 200;

/// Something that a person should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Notice {
    /// The same for the same matter.
    pub(super) key: String,
    pub(super) is_urgent: bool,
    pub(super) summary: String,
    pub(super) body: String,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Show(Notice),
    Close(u32),
}

/// What is on the screen, or was until somebody put it away: it does not come back for that.
#[derive(Debug, Default)]
pub(super) struct Shown(BTreeMap<String, u32>);

impl Shown {
    /// What makes the screen agree with `notices`. What is decided is forgotten here.
    pub(super) fn compare(&mut self, notices: Vec<Notice>) -> Vec<Act> {
        let is_told = |key: &str| notices.iter().any(|notice| notice.key == key);
        let mut acts = Vec::new();
        self.0.retain(|key, id| {
            let stays = is_told(key);
            if !stays {
                acts.push(Act::Close(*id));
            }
            stays
        });
        let room = SHOWN_MAX.saturating_sub(self.0.len());
        let new = notices
            .into_iter()
            .filter(|notice| !self.0.contains_key(&notice.key));
        acts.extend(new.take(room).map(Act::Show));
        acts
    }

    /// The desktop shows it, under this number.
    pub(super) fn is_shown(&mut self, notice: &Notice, id: u32) {
        self.0.insert(notice.key.clone(), id);
    }
}

/// What `pending` tells, and `status` of a portal, in words.
pub(super) fn notices(told: &Value) -> Vec<Notice> {
    let pending = told["pending"].as_array();
    let pending = pending.into_iter().flatten().filter_map(notice);
    portal(&told["portal"]).into_iter().chain(pending).collect()
}

/// A network that wants people to log in first.
fn portal(told: &Value) -> Option<Notice> {
    if told["open"] != true {
        return None;
    }
    // Somebody on the network wrote it.
    let address: Option<String> = told["address"].as_str().map(|address| {
        let shown = address.chars().filter(|letter| !letter.is_control());
        shown.take(ADDRESS_MAX).collect()
    });
    let page = match &address {
        Some(address) => format!("Its page is {address}."),
        None => "It does not say where its page is.".to_owned(),
    };
    Some(Notice {
        key: format!("portal {}", address.unwrap_or_default()),
        is_urgent: true,
        summary: "This network wants you to log in first".to_owned(),
        body: escaped(&format!(
            "{page} For ten minutes the names of that page are looked up, in cleartext, and no others. \
             Nothing is learned about this network before you have logged in."
        )),
    })
}

fn notice(one: &Value) -> Option<Notice> {
    let name = one["name"].as_str()?;
    let why = one["why"].as_str()?;
    let phrase = one["phrase"].as_str().unwrap_or_default();
    let expected = one["expected"].as_str().unwrap_or_default();
    let compare = "Its owner sees the same words with “zzdot identity --qr” on the resolver itself. \
                   “zzdot-client pending” tells what to do next.";
    let (is_urgent, summary, body) = match why {
        "unverified" => (
            false,
            "A DNS resolver is not yet verified",
            format!("{name} is in use. It calls itself: {phrase}. {compare}"),
        ),
        "first-use" => (
            true,
            "A new DNS resolver waits for your decision",
            format!("{name} is not used until then. It calls itself: {phrase}. {compare}"),
        ),
        // No words here: the wish to get on must not be all that it takes to compare them.
        "mismatch" => (
            true,
            "Another DNS resolver answers in this network",
            format!(
                "{expected} is expected here, and {name} answers. Names are not looked up until the one expected is back. \
                 If the resolver was replaced, “zzdot-client pending” tells what to do."
            ),
        ),
        "changed" => (
            false,
            "A known network looks different",
            format!(
                "{name} answers as it should, so nothing is wrong with the answers. If you know why, for its \
                 router is new, “zzdot-client networks accept” remembers it as it is now."
            ),
        ),
        _ => return None,
    };
    Some(Notice {
        key: format!("{why} {name} {phrase}"),
        is_urgent,
        summary: summary.to_owned(),
        body: escaped(&body),
    })
}

/// Bodies may be read as markup.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NAME: &str = "8g2l0qv7c4m1t5b9r3se.zz";
    const OTHER: &str = "00000000000000000001.zz";

    fn told(why: &str, name: &str) -> Value {
        json!({ "pending": [{ "name": name, "why": why, "phrase": "baby skate", "expected": OTHER }] })
    }

    #[test]
    fn each_matter_is_shown_once_and_closed_when_it_is_decided() {
        let mut shown = Shown::default();
        let first = notices(&told("first-use", NAME));
        let acts = shown.compare(first.clone());
        assert_eq!(acts, [Act::Show(first[0].clone())]);
        // It could not be shown: it is tried again.
        assert_eq!(shown.compare(first.clone()), acts);
        shown.is_shown(&first[0], 7);
        assert_eq!(shown.compare(first), []);
        // Accepted, and not yet verified: another matter.
        let next = notices(&told("unverified", NAME));
        assert_eq!(
            shown.compare(next.clone()),
            [Act::Close(7), Act::Show(next[0].clone())]
        );
        shown.is_shown(&next[0], 8);
        assert_eq!(shown.compare(Vec::new()), [Act::Close(8)]);
        assert_eq!(shown.compare(Vec::new()), []);
    }

    #[test]
    fn the_words_are_shown_where_they_are_to_be_compared_and_not_with_an_impostor() {
        for (why, words) in [
            ("unverified", true),
            ("first-use", true),
            ("mismatch", false),
            ("changed", false),
        ] {
            let notice = &notices(&told(why, NAME))[0];
            assert_eq!(notice.body.contains("baby skate"), words, "{why}");
            assert!(notice.body.contains(NAME), "{why}");
        }
        let mismatch = &notices(&told("mismatch", NAME))[0];
        assert!(mismatch.is_urgent && mismatch.body.contains(OTHER));
    }

    #[test]
    fn a_portal_is_told_while_it_is_open_and_its_address_is_text() {
        let told = |open: bool, address: Value| json!({ "pending": [], "portal": { "open": open, "address": address } });
        let notice = &notices(&told(true, json!("https://login.example/<b>\u{7}")))[0];
        assert!(notice.is_urgent);
        assert!(
            notice
                .body
                .starts_with("Its page is https://login.example/&lt;b&gt;. For ten minutes"),
            "{}",
            notice.body
        );
        let long = format!("https://{}", "a".repeat(1000));
        assert!(notices(&told(true, json!(long)))[0].key.len() < 220);
        let nowhere = &notices(&told(true, Value::Null))[0];
        assert!(nowhere.body.starts_with("It does not say where"));
        assert_eq!(notices(&told(false, json!("https://login.example/"))), []);
        assert_eq!(notices(&json!({ "pending": [], "portal": null })), []);
    }

    #[test]
    fn many_at_once_fill_no_screen() {
        let all: Vec<Value> = (0..32)
            .map(|number| json!({ "name": format!("{number:0>20}.zz"), "why": "first-use" }))
            .collect();
        let acts = Shown::default().compare(notices(&json!({ "pending": all })));
        assert_eq!(acts.len(), SHOWN_MAX);
    }

    #[test]
    fn markup_in_what_is_told_is_text() {
        let notice = &notices(&told("first-use", "<b>&</b>"))[0];
        assert!(
            notice.body.contains("&lt;b&gt;&amp;&lt;/b&gt;"),
            "{}",
            notice.body
        );
    }

    #[test]
    fn what_is_not_understood_is_left_out() {
        for told in [
            json!(null),
            json!({ "pending": 7 }),
            json!({ "pending": [{}, { "name": NAME }, { "name": NAME, "why": "tomorrow" }] }),
        ] {
            assert_eq!(notices(&told), []);
        }
    }
}
