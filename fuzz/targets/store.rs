//! Snapshots of the store and exports, sound ones with edits anywhere: of today and of version 1.
#![no_main]

use std::{fs, net::SocketAddr, sync::LazyLock};

use libfuzzer_sys::{
    arbitrary::{self, Arbitrary},
    fuzz_target,
};
use zzdot_client::{
    network::{Fingerprint, SignalKind, Signals},
    place::{NetworkId, Surroundings},
    store::{Exported, Pending, SNAPSHOT_FILE, Store, WhyPending, salvage},
    trust::{AnchorDs, Enrolled, KnownIdentity, VerifiedBy},
};
use zzdot_fuzz::{ADDRESS, Appliance, honest_walk, now};

/// A snapshot of today, one of version 1, and an export.
static TEXTS: LazyLock<[Vec<u8>; 3]> = LazyLock::new(|| {
    let version1 = include_bytes!("../../client/src/store/tests/version1/snapshot.json");
    let (snapshot, export) = filled();
    [snapshot, version1.to_vec(), export]
});

/// Some octets at one place are replaced by others.
#[derive(Arbitrary, Debug)]
struct Edit {
    at: u16,
    cut: u8,
    put: Vec<u8>,
}

#[derive(Arbitrary, Debug)]
struct Edited {
    text: u8,
    edits: Vec<Edit>,
    /// How much of it is left.
    end: Option<u16>,
}

fuzz_target!(|input: Edited| {
    let mut text = TEXTS[usize::from(input.text) % TEXTS.len()].clone();
    for Edit { at, cut, put } in input.edits.into_iter().take(8) {
        let at = usize::from(at) % (text.len() + 1);
        let end = text.len().min(at + usize::from(cut));
        text.splice(at..end, put);
    }
    if let Some(end) = input.end {
        text.truncate(end.into());
    }
    if let Ok(told) = salvage(&text) {
        let written = told.text().expect("what was read can be written");
        assert_eq!(Exported::read(&written).expect("and read again"), told);
    }
    if let Ok(text) = str::from_utf8(&text)
        && let Ok(told) = Exported::read(text)
    {
        assert_eq!(Exported::read(&told.text().expect("text")).expect("the same"), told);
    }
});

/// The snapshot and the export of a store with one of everything.
fn filled() -> (Vec<u8>, Vec<u8>) {
    let [here, there, elsewhere] =
        [(); 3].map(|()| KnownIdentity::first_met(&honest_walk(&Appliance::new())));
    let folder = std::env::temp_dir().join(format!("zzdot-fuzz-store-{}", std::process::id()));
    let (store, _) = Store::open(&folder).expect("a store in a folder of its own");
    let server = SocketAddr::new(ADDRESS, 53);
    let mut signals = Signals::default();
    signals.insert(SignalKind::GatewayMacV4, Fingerprint::from_bytes([7; 16]));
    let network = Surroundings::of_network(NetworkId::from_bytes([1; 8]), signals);
    let enrolled = Enrolled {
        name: elsewhere.name.clone(),
        ds: elsewhere.anchor.trusted().iter().map(AnchorDs::of).collect(),
        by: VerifiedBy::Uri,
        at: now(),
    };
    let pending = Pending {
        why: WhyPending::Mismatch { expected: here.name.clone() },
        identity: there,
        surroundings: network.clone(),
        server,
        since: now(),
    };
    let at_server = Surroundings::of_server(server);
    store.remember(&at_server, server, here.clone()).expect("written");
    store.remember(&network, server, here).expect("written");
    store.set_pending(pending).expect("written");
    store.enrol(enrolled).expect("written");
    let snapshot = fs::read(folder.join(SNAPSHOT_FILE)).expect("just written");
    let export = store.export().text().expect("text").into_bytes();
    drop(store);
    fs::remove_dir_all(&folder).expect("it is ours");
    (snapshot, export)
}
