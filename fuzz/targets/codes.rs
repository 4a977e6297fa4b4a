//! Any text where a QR code's or a verification phrase is expected.
#![no_main]

use libfuzzer_sys::fuzz_target;
use zzdot_zonegen::phrase::Phrase;
use zzdot_zonegen::uri::{VerificationUri, check};

fuzz_target!(|text: &str| {
    // As it came, and with a check that fits, which no fuzzer finds: the parser behind it is to be reached.
    let sealed = format!("{text}&c={}", check(text));
    for text in [text, &sealed] {
        if let Ok(uri) = text.parse::<VerificationUri>() {
            assert_eq!(uri.to_string(), text, "a content has one text");
        }
    }
    if let Ok(phrase) = text.parse::<Phrase>() {
        assert_eq!(phrase.to_string().parse(), Ok(phrase));
        assert_eq!(phrase.digits().parse(), Ok(phrase));
    }
});
