//! What a broker of one or more shards does, shown at the interface that a worker uses.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on says so"
)]

mod access;
mod alias;
mod client;
mod cluster;
mod connect;
mod cross_shard;
mod disk;
mod expiry;
mod faults;
mod flow_control;
mod limits;
mod mount_point;
mod overlapping;
mod persistence;
mod publish_qos;
mod retained;
mod routing;
mod session;
mod shared;
mod subscribe;
mod sys;
mod takeover;
mod topics;
mod will;
