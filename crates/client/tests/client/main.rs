//! The client against brokers over real sockets: Midge in this process, and one that is scripted.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::panic,
    clippy::print_stdout,
    reason = "these are tests, and helpers of tests"
)]

mod blocking;
mod broker;
mod delivery;
mod durable;
mod killed;
mod life;
mod links;
mod mosquitto;
mod outage;
mod proxy;
mod requests;
mod scripted;
mod secure;
mod streams;
mod wire;

use std::time::Duration;

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for what must happen.
async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("what was waited for did not happen")
}
