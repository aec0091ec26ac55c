//! What an MQTT broker decides, without sockets, clocks or threads.
//!
//! A [`Shard`] holds the sessions and connections of one core and is changed by that core alone. Bytes,
//! time and what other cores say go in; bytes wait in outboxes, and everything else that is to happen
//! outside is listed in [`Effects`]. The same code runs on sockets and in the simulator.
//!
//! Two tables are shared by all shards, behind [`Tables`]: the routing table and the retained store.

#![forbid(unsafe_code)]

mod access;
mod connect;
mod connection;
mod deliver;
mod effects;
mod events;
mod group;
mod hold;
mod known_topics;
mod limits;
mod login;
mod member;
mod message;
mod message_pool;
mod outbox;
pub mod persist;
mod publish;
mod queue;
pub mod retained;
mod retained_walk;
pub mod route;
mod session;
mod session_end;
mod settings;
mod shard;
mod slab;
mod stats;
mod subscribe;
mod sys;
mod tables;
mod timer;
mod window;
mod write;

pub use access::{
    Action, ControlRequest, Identity, Login, LoginAnswer, Method, Review, Reviewed, Rights, Says,
    Shown,
};
pub use connection::{ConnId, Origin};
pub use effects::{Claim, ClaimAnswer, DirectoryRequest, Effects, Load, LogKind, LogLine, Mail};
pub use limits::{Limit, Limits};
pub use message::{Message, MessageView};
pub use midge_proto::Time;
pub use settings::{ListenerSettings, QueueOverflow, Settings, Versions};
pub use shard::{Ended, Moved, Next, Received, Shard, Step};
pub use stats::Stats;
pub use tables::{
    Change, LocalTables, RetainedApplied, RetainedChange, RetainedChanges, RetainedMessages,
    SharedTables, Tables, apply_changes, apply_retained,
};
