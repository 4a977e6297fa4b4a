#![allow(clippy::unwrap_used)]

//! Another implementation writes the messages: the crate `netlink-packet-route`.

use netlink_packet_core::{NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{
    InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage,
};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteNextHop, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use proptest::prelude::*;

use super::*;

fn written(message: RouteNetlinkMessage) -> Vec<u8> {
    let mut message = NetlinkMessage::new(
        NetlinkHeader::default(),
        NetlinkPayload::InnerMessage(message),
    );
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

fn events(bytes: &[u8]) -> Vec<Said> {
    read(bytes).collect()
}

fn link_message() -> LinkMessage {
    let mut link = LinkMessage::default();
    link.header.index = 7;
    link.header.link_layer_type = LinkLayerType::Ether;
    link.header.flags = LinkFlags::Up | LinkFlags::Running;
    link.attributes = vec![
        LinkAttribute::IfName("vlan7".to_owned()),
        LinkAttribute::Mtu(1500),
        LinkAttribute::Link(3),
        LinkAttribute::Controller(9),
        LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Vlan)]),
    ];
    link
}

fn route_message() -> RouteMessage {
    let mut route = RouteMessage::default();
    route.header.address_family = AddressFamily::Inet;
    route.header.table = 254;
    route.header.kind = RouteType::Unicast;
    route.attributes = vec![
        RouteAttribute::Gateway(RouteAddress::Inet([192, 168, 1, 1].into())),
        RouteAttribute::Oif(2),
        RouteAttribute::Priority(600),
    ];
    route
}

#[test]
fn a_link_is_read_as_another_writes_it() {
    let bytes = written(RouteNetlinkMessage::NewLink(link_message()));
    let row = LinkRow {
        index: 7,
        name: "vlan7".to_owned(),
        hardware: 1,
        flags: 0x41,
        kind: Some("vlan".to_owned()),
        below: Some(3),
        master: Some(9),
        reaches_out: false,
    };
    assert_eq!(events(&bytes), [Said::Event(Event::Link(row))]);
    let gone = written(RouteNetlinkMessage::DelLink(link_message()));
    assert_eq!(events(&gone), [Said::Event(Event::LinkGone(7))]);
}

#[test]
fn the_number_of_a_link_in_another_namespace_is_not_taken_for_one_here() {
    let mut link = link_message();
    link.attributes.push(LinkAttribute::LinkNetNsId(4));
    let bytes = written(RouteNetlinkMessage::NewLink(link));
    let [Said::Event(Event::Link(row))] = &events(&bytes)[..] else {
        panic!("no link");
    };
    assert!(row.reaches_out);
    assert_eq!(row.below, None);
}

#[test]
fn a_bridge_that_loses_a_port_is_no_link_that_is_gone() {
    let mut link = link_message();
    link.header.interface_family = AddressFamily::Bridge;
    for message in [
        RouteNetlinkMessage::NewLink(link.clone()),
        RouteNetlinkMessage::DelLink(link),
    ] {
        assert_eq!(events(&written(message)), []);
    }
}

#[test]
fn an_address_is_read_with_what_is_on_the_link() {
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.prefix_len = 24;
    message.header.index = 2;
    message.attributes = vec![
        AddressAttribute::Address("192.168.1.7".parse().unwrap()),
        AddressAttribute::Local("192.168.1.7".parse().unwrap()),
    ];
    let row = AddressRow {
        index: 2,
        address: "192.168.1.7".parse().unwrap(),
        on_link: "192.168.1.7/24".parse().unwrap(),
        tentative: false,
    };
    let bytes = written(RouteNetlinkMessage::NewAddress(message.clone()));
    assert_eq!(events(&bytes), [Said::Event(Event::Address(row))]);
    let bytes = written(RouteNetlinkMessage::DelAddress(message));
    assert_eq!(events(&bytes), [Said::Event(Event::AddressGone(row))]);
}

#[test]
fn default_routes_of_the_main_table_are_read_and_no_others() {
    let row = RouteRow {
        index: 2,
        gateway: Some("192.168.1.1".parse().unwrap()),
        metric: 600,
        v6: false,
    };
    let bytes = written(RouteNetlinkMessage::NewRoute(route_message()));
    assert_eq!(events(&bytes), [Said::Event(Event::Default(vec![row]))]);

    let mut of_a_vpn = route_message();
    of_a_vpn.header.table = 100;
    let mut not_default = route_message();
    not_default.header.destination_prefix_length = 1;
    let mut refusing = route_message();
    refusing.header.kind = RouteType::Unreachable;
    for other in [of_a_vpn, not_default, refusing] {
        let bytes = written(RouteNetlinkMessage::NewRoute(other));
        assert_eq!(events(&bytes), []);
    }
}

#[test]
fn each_next_hop_of_a_route_is_read() {
    let mut route = route_message();
    let hop = |index, address: [u8; 4]| {
        let mut hop = RouteNextHop::default();
        hop.interface_index = index;
        hop.attributes = vec![RouteAttribute::Gateway(RouteAddress::Inet(address.into()))];
        hop
    };
    let hops = vec![hop(2, [10, 0, 0, 1]), hop(3, [10, 0, 1, 1])];
    route.attributes = vec![RouteAttribute::MultiPath(hops), RouteAttribute::Priority(5)];
    let row = |index, gateway: &str| RouteRow {
        index,
        gateway: Some(gateway.parse().unwrap()),
        metric: 5,
        v6: false,
    };
    let bytes = written(RouteNetlinkMessage::NewRoute(route));
    let rows = vec![row(2, "10.0.0.1"), row(3, "10.0.1.1")];
    assert_eq!(events(&bytes), [Said::Event(Event::Default(rows))]);
}

#[test]
fn a_neighbour_has_a_hardware_address_only_while_the_kernel_would_use_it() {
    let neighbour = |state| {
        let mut message = NeighbourMessage::default();
        message.header.family = AddressFamily::Inet6;
        message.header.ifindex = 2;
        message.header.state = state;
        message.attributes = vec![
            NeighbourAttribute::Destination(NeighbourAddress::Inet6("fe80::1".parse().unwrap())),
            NeighbourAttribute::LinkLayerAddress(vec![2, 0, 0, 1, 2, 3]),
        ];
        written(RouteNetlinkMessage::NewNeighbour(message))
    };
    for (state, known) in [
        (NeighbourState::Reachable, true),
        (NeighbourState::Stale, true),
        (NeighbourState::Permanent, true),
        (NeighbourState::Incomplete, false),
        (NeighbourState::Failed, false),
    ] {
        let row = NeighbourRow {
            index: 2,
            address: "fe80::1".parse().unwrap(),
            mac: known.then_some(MacAddress([2, 0, 0, 1, 2, 3])),
        };
        let said = events(&neighbour(state));
        assert_eq!(said, [Said::Event(Event::Neighbour(row))], "{state}");
    }
}

#[test]
fn several_messages_in_one_datagram_are_read() {
    let mut bytes = written(RouteNetlinkMessage::NewLink(link_message()));
    bytes.extend(written(RouteNetlinkMessage::NewRoute(route_message())));
    assert_eq!(events(&bytes).len(), 2);
}

proptest! {
    #[test]
    fn octets_that_are_no_messages_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(read(&bytes).count() <= bytes.len() / 16);
    }

    #[test]
    fn a_message_with_any_octet_changed_does_no_harm(at in 0_usize..200, octet in any::<u8>()) {
        let mut bytes = written(RouteNetlinkMessage::NewLink(link_message()));
        bytes.extend(written(RouteNetlinkMessage::NewRoute(route_message())));
        let at = at % bytes.len();
        bytes[at] = octet;
        prop_assert!(read(&bytes).count() <= bytes.len() / 16);
    }
}
