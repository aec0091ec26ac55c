//! A bare relay: the least that moving MQTT messages between sockets can cost.
//!
//! It is what a broker is compared with, not a broker: one thread, no sessions, no retained messages, no
//! wildcards, no QoS 2, no keep alive, no check of topics, no limits but those that keep it alive. All
//! clients of a run speak one protocol version, since messages are passed on as they are.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a tool for the terminal: its port is its result"
)]

use std::io::Write as _;
use std::process::ExitCode;

mod outbox;
mod relay;
mod wire;

use relay::Relay;

const USAGE: &str =
    "Usage: midge-relay [port]\n\nListens on the loopback; without a port, on a free one.";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let port = match (args.next().map(|arg| arg.parse::<u16>()), args.next()) {
        (None, _) => 0,
        (Some(Ok(port)), None) => port,
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match serve(port) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("midge-relay: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(port: u16) -> std::io::Result<()> {
    let mut relay = Relay::listen(port)?;
    println!("listening on {}", relay.address()?);
    std::io::stdout().flush()?;
    loop {
        relay.turn(None)?;
    }
}
