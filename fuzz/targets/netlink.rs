//! Any octets as what the kernel says on its netlink sockets, whole messages of the kinds that are read among them, and
//! what is seen of the networks from it.
#![no_main]

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use libfuzzer_sys::{
    arbitrary::{self, Arbitrary},
    fuzz_target,
};
use zzdot_client::{
    network::{
        Given, Observer, Recognised, Sighting, Wireless,
        netlink::{Event, Said, Told, family, protection, read, station},
        recognise,
    },
    place::NetworkId,
};

/// Beyond the octets that the kernel allows (`IFNAMSIZ`) nothing hangs on the length of a name; it is bounded by the
/// datagram all the same. A replaced octet takes three.
const LONGER_BY: usize = 3;
/// One route says at most so many next hops, and one outside of the list.
const NEXT_HOPS_MAX: usize = 17;
const SSID_BYTES_MAX: usize = 32;
/// After that nothing is waited for any more.
const LONG: Duration = Duration::from_secs(60);

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    messages: Vec<(Kind, u16, &'a [u8])>,
    octets: &'a [u8],
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Kind {
    Error = 2,
    Done = 3,
    Overrun = 4,
    NewLink = 16,
    DelLink = 17,
    NewAddress = 20,
    DelAddress = 21,
    NewRoute = 24,
    DelRoute = 25,
    NewNeighbour = 28,
    DelNeighbour = 29,
    NewUserOption = 68,
}

fuzz_target!(|input: Input<'_>| {
    let mut datagram = Vec::new();
    for (kind, flags, body) in &input.messages {
        push(&mut datagram, *kind as u16, *flags, body);
    }
    let shaped = read(&datagram).count();
    assert!(shaped <= input.messages.len());
    // What is no message ends the datagram, and takes nothing back.
    datagram.extend_from_slice(input.octets);
    let said: Vec<Said> = read(&datagram).collect();
    assert!(said.len() >= shaped);

    let mut observer = Observer::default();
    let start = Instant::now();
    let mut given = BTreeMap::new();
    let mut wireless = BTreeMap::new();
    for (_, _, body) in &input.messages {
        let _ = protection(body);
        let _ = family(body);
        if let Some((index, ssid)) = station(body) {
            assert!(
                ssid.as_ref()
                    .is_none_or(|ssid| (1..=SSID_BYTES_MAX).contains(&ssid.len()))
            );
            let security = protection(input.octets);
            wireless.insert(index, Wireless { ssid, security });
        }
    }
    for said in said {
        match said {
            Said::Event(event) => {
                bounded(&event, datagram.len());
                if let Event::Address(row) = event {
                    let resolvers = vec![(row.on_link.network(), 53).into()];
                    let says = Given {
                        resolvers,
                        ..Given::default()
                    };
                    given.insert(row.index, says);
                }
                observer.told(start, Told::Event(event));
            }
            Said::Overrun => observer.told(start, Told::Afresh),
            Said::DumpEnds { .. } => observer.told(start, Told::Whole),
            Said::Refused { errno, .. } => assert_ne!(errno, 0),
        }
    }
    observer.told(start, Told::Whole);
    observer.give(given);
    observer.tune(start, wireless);
    let _ = observer.views(start);
    let later = start + LONG;
    assert!(observer.next_timeout(later).is_none());
    for sight in observer.views(later) {
        assert!(observer.is_physical(sight.view.index));
        judge(&Sighting::of(&sight.view, &[7; 32]));
    }
});

/// Nothing that is told is larger than what told it.
fn bounded(event: &Event, octets: usize) {
    match event {
        Event::Link(link) => {
            let kind = link.kind.as_deref().unwrap_or_default();
            assert!(link.name.len() + kind.len() <= LONGER_BY * octets);
            assert!(!link.name.contains('\0') && !kind.contains('\0'));
            assert!(!(link.reaches_out && link.below.is_some()));
        }
        Event::Default(hops) | Event::DefaultGone(hops) => assert!(hops.len() <= NEXT_HOPS_MAX),
        Event::Portal(_, page) => assert!(page.len() <= octets),
        Event::Address(_) | Event::AddressGone(_) | Event::LinkGone(_) | Event::Neighbour(_) => {}
    }
}

/// What is seen is new where nothing is known, and differs in nothing from itself.
fn judge(sighting: &Sighting) {
    assert_eq!(recognise(sighting, [], None), Recognised::New);
    let itself = "0011223344556677"
        .parse::<NetworkId>()
        .expect("a constant is a number");
    let known = [(itself, sighting.signals())];
    match recognise(sighting, known, None) {
        Recognised::Expect(network) => assert_eq!(network, itself),
        Recognised::Suspect { network, differs } => {
            assert_eq!((network, differs), (itself, Vec::new()));
        }
        Recognised::New => {}
    }
}

/// A message as the kernel writes it (`struct nlmsghdr`), at the next multiple of four octets.
fn push(datagram: &mut Vec<u8>, kind: u16, flags: u16, body: &[u8]) {
    let length = u32::try_from(16 + body.len()).expect("inputs are short");
    datagram.extend_from_slice(&length.to_ne_bytes());
    datagram.extend_from_slice(&kind.to_ne_bytes());
    datagram.extend_from_slice(&flags.to_ne_bytes());
    datagram.extend_from_slice(&[0; 8]);
    datagram.extend_from_slice(body);
    datagram.resize(datagram.len().next_multiple_of(4), 0);
}
