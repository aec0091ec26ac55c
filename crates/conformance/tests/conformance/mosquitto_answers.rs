//! The answers of Mosquitto 2.1, byte for byte, where the standards leave a choice or ask the same.
//!
//! Where Mosquitto deviates from a standard, the row has the standard's answer.

mod after_connack;
mod connecting;
mod habits;
mod publishing;
mod subscribing;

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::support::*;

const V3: [Version; 2] = [Version::V3_1, Version::V3_1_1];
const ONLY_V3_1: [Version; 1] = [Version::V3_1];
const ONLY_V3_1_1: [Version; 1] = [Version::V3_1_1];
const V5: [Version; 1] = [Version::V5];

/// Malformed packet, as most faults of form.
const MALFORMED: Answer = Disconnect(&[0x81]);
/// Protocol error.
const PROTOCOL: Answer = Disconnect(&[0x82]);

/// What the broker says to some bytes.
#[derive(Clone)]
enum Answer {
    /// These bytes, and the connection ends.
    Last(Vec<u8>),
    /// The connection ends without a byte.
    Close,
    /// DISCONNECT with one of these codes and nothing else, and the end; in 3.x only the end.
    Disconnect(&'static [u8]),
    /// These packets, and the connection goes on.
    GoOn(Vec<Vec<u8>>),
}

use Answer::{Close, Disconnect, GoOn, Last};

/// One line of the table: a name, the versions, what is sent, what is answered.
type Row<'a> = (&'a str, &'a [Version], Sent<'a>, Answer);
/// What is sent in one version.
type Sent<'a> = &'a dyn Fn(Version) -> Vec<u8>;

/// Checks rows on connections without CONNECT.
fn check_fresh(broker: &Broker, rows: &[Row<'_>]) {
    check(rows, |version| RawClient::open(broker, version));
}

/// Checks rows on connections behind CONNACK.
fn check_connected(broker: &Broker, rows: &[Row<'_>]) {
    check(rows, |version| RawClient::join(broker, version));
}

/// Goes through all rows before it fails, so that one run tells all that differ.
fn check(rows: &[Row<'_>], open: impl Fn(Version) -> RawClient) {
    let mut failed = Vec::new();
    for (name, versions, sent, answer) in rows {
        for version in *versions {
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                let mut client = open(*version);
                client.send(&sent(*version));
                expect_answer(&mut client, answer);
            }));
            if outcome.is_err() {
                failed.push(format!("{name} ({version:?})"));
            }
        }
    }
    assert!(
        failed.is_empty(),
        "answered otherwise:\n  {}",
        failed.join("\n  ")
    );
}

fn expect_answer(client: &mut RawClient, answer: &Answer) {
    match answer {
        Last(bytes) => {
            client.expect_bytes(bytes);
            client.expect_closed();
        }
        Close => client.expect_closed(),
        Disconnect(_) if !client.version().is_v5() => client.expect_closed(),
        Disconnect(codes) => {
            let (bytes, _) = client.expect_packet("DISCONNECT");
            let fits = matches!(bytes.as_slice(), [0xE0, 1, code] if codes.contains(code));
            if !fits {
                client.fail(&format!("expected DISCONNECT with one of {codes:02x?}"));
            }
            client.expect_closed();
        }
        GoOn(packets) => {
            for bytes in packets {
                client.expect_bytes(bytes);
            }
            client.expect_silence_until_pong();
        }
    }
}

/// A refusing CONNACK, and the end.
fn connack(version: Version, code: u8) -> Answer {
    Last(refusal(version, code, code))
}
