//! The client on a simulated link: against the broker's own state machine, against a scripted broker, and
//! against bytes that mean no good.

mod aliases;
mod authentication;
mod hostile;
mod link;
mod power;
mod promises;
mod protocol;
mod saved;
#[path = "../../client/src/core/tests/shard.rs"]
mod shard;

use crate::{Client, TopicAliases, With};

/// What the documentation says of memory; a pointer has half the size on a microcontroller.
#[test]
fn a_client_is_small() {
    let bytes = size_of::<Client<'_, '_, (), ()>>();
    assert!(bytes <= 256, "{bytes}");
    assert_eq!(size_of::<With>(), 0);
    let bytes = size_of::<TopicAliases<'_>>();
    assert!(bytes <= 48, "{bytes}");
}
