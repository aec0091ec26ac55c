//! Clients with pre-shared keys that guess.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use midge_transport::tls::{ClientTls, PreSharedKey, PskClientOptions, Tls, TlsVersion};

use crate::client::{Broker, tcp};

const KEY: &str = "0102030405060708090a0b0c0d0e0f10";
const WRONG: &str = "ffffffffffffffffffffffffffffffff";

fn broker(folder: &tempfile::TempDir) -> Broker {
    let file = folder.path().join("keys");
    std::fs::write(&file, format!("device:{KEY}\n")).unwrap();
    let options = format!(
        "psk_hint midge\npsk_file {}\nauth_fail_max 3\nauth_fail_exempt none\n",
        file.display()
    );
    Broker::with(1, &options)
}

/// What came of a handshake.
#[derive(Debug, PartialEq, Eq)]
enum Came {
    Open,
    /// With an alert.
    Refused,
    /// Without a byte.
    Nothing,
}

fn shake(broker: &Broker, identity: &str, hex: &str) -> Came {
    let key = PreSharedKey::from_hex(identity, hex).unwrap();
    let client = ClientTls::with_key(PskClientOptions {
        key: &key,
        oldest_version: TlsVersion::V12,
        newest_version: TlsVersion::V13,
        ciphers: None,
        ciphers_tls13: None,
        protocols: &[],
        key_logger: None,
    })
    .unwrap();
    let mut socket = tcp(broker.address);
    let mut wire = Vec::new();
    let mut tls = Tls::connect(&client, "localhost", &mut wire).unwrap();
    // A broker that turns the connection away may have closed it already.
    let _ = socket.write_all(&wire);
    let mut has_come = false;
    while !tls.is_open() {
        let mut bytes = [0; 4096];
        let Ok(count @ 1..) = socket.read(&mut bytes) else {
            return if has_come {
                Came::Refused
            } else {
                Came::Nothing
            };
        };
        has_come = true;
        let mut answer = Vec::new();
        if tls
            .receive(&mut bytes[..count], &mut Vec::new(), &mut answer)
            .is_err()
        {
            wait_for_end(&socket);
            return Came::Refused;
        }
        let _ = socket.write_all(&answer);
    }
    Came::Open
}

/// The broker closes when it has noted why.
fn wait_for_end(mut socket: &TcpStream) {
    let _ = socket.shutdown(Shutdown::Write);
    while let Ok(1..) = socket.read(&mut [0; 4096]) {}
}

#[test]
fn who_guesses_keys_is_banned_before_the_next_handshake() {
    let folder = tempfile::tempdir().unwrap();
    let broker = broker(&folder);
    assert_eq!(shake(&broker, "device", KEY), Came::Open);
    for _ in 0..3 {
        assert_eq!(shake(&broker, "device", WRONG), Came::Refused);
    }
    // A right key is of no use now, and cannot be told from a wrong one.
    assert_eq!(shake(&broker, "device", KEY), Came::Nothing);
}

#[test]
fn what_is_no_guess_bans_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let broker = broker(&folder);
    for _ in 0..5 {
        let mut monitor = tcp(broker.address);
        monitor.shutdown(Shutdown::Write).unwrap();
        let _ = monitor.read(&mut [0; 8]);
        let mut plain = tcp(broker.address);
        plain
            .write_all(b"\x10\x0C\x00\x04MQTT\x04\x02\x00\x00\x00\x00")
            .unwrap();
        wait_for_end(&plain);
        // One device with the name of another.
        assert_eq!(shake(&broker, "stranger", KEY), Came::Refused);
    }
    assert_eq!(shake(&broker, "device", KEY), Came::Open);
}
