//! Any text as what people and files say: names, records, configuration, what was remembered.
#![no_main]

use libfuzzer_sys::fuzz_target;
use zzdot_client::{discover::Tlsa, trust::KnownIdentity};
use zzdot_zonegen::name::ResolverName;

fuzz_target!(|text: &str| {
    if let Ok(name) = text.parse::<ResolverName>() {
        let shown = name.to_string();
        assert!(!shown.ends_with('.'));
        assert_eq!(shown.parse::<ResolverName>().expect("what we show we read"), name);
    }
    if let Ok(tlsa) = text.parse::<Tlsa>() {
        let shown = tlsa.to_string();
        assert_eq!(shown.parse::<Tlsa>().expect("what we show we read"), tlsa);
    }
    if let Ok(file) = toml::from_str::<zzdot::config::file::File>(text) {
        let again = toml::from_str(text).expect("the same text");
        assert_eq!(file, again);
    }
    if let Ok(identity) = serde_json::from_str::<KnownIdentity>(text) {
        let written = serde_json::to_string(&identity).expect("what was read can be written");
        let again: KnownIdentity = serde_json::from_str(&written).expect("and read again");
        assert_eq!(again, identity);
    }
});
