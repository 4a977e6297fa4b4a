//! Chains of forwarders: the lab knows who asks whom and how, and `zzdot-client trace` has to say just that.

mod endless;
mod flat;
mod ground;
mod lies;
mod links;
mod nat;
mod route;
mod streamed;
mod trips;
mod truth;
mod weak;

pub(super) use flat::CHAINS;
pub(super) use ground::settle_at;
pub(super) use nat::OVERLAP;
pub(super) use route::ROUTES;
