//! Any text as a master file: an error with its line, or records that are written and read back the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use zzdot_zonegen::master_file;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match master_file::read(text, None) {
        Ok(records) => {
            let written = master_file::write(&records);
            let again = master_file::read(&written, None).expect("what we write we read");
            assert_eq!(again, records);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
