//! What the kernel says: links, addresses, routes, neighbours and wireless networks, over netlink.

mod ask;
mod dump;
mod parse;
mod socket;

pub use dump::Told;
pub use parse::{AddressRow, Event, LinkRow, NeighbourRow, RouteRow, Said, read};
pub use socket::RouteSocket;
