//! What the kernel says: links, addresses, routes, neighbours and wireless networks, over netlink.

mod advertised;
mod ask;
mod dump;
mod elements;
mod parse;
mod socket;
mod wireless;

pub use dump::Told;
pub use parse::{AddressRow, Event, LinkRow, NeighbourRow, RouteRow, Said, read};
pub use socket::RouteSocket;
pub use wireless::{WirelessSocket, family, protection, station};
