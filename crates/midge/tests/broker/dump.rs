//! `midge dump`, on what Mosquitto and Midge leave.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::num::NonZeroU16;
use std::path::Path;
use std::process::Output;

use midge_codec::{
    Connect, Packet, Properties, Property, Publish, QoS, Subscribe, Subscription,
    SubscriptionOptions, Subscriptions, Version, Will,
};
use tempfile::TempDir;

use crate::process::{Midge, PATIENCE, free_port, midge, text};

const FILE: &[u8] = include_bytes!("../../../persistence/tests/mosquitto_db/debian-2.0.11.db");

fn dump(options: &[&str], path: &Path) -> Output {
    let mut command = midge();
    command.arg("dump").args(options).arg(path);
    command.output().unwrap()
}

#[track_caller]
fn printed(options: &[&str], path: &Path) -> String {
    let output = dump(options, path);
    assert!(output.status.success(), "{}", text(output.stderr));
    text(output.stdout)
}

#[cfg(target_endian = "little")]
#[test]
fn a_database_of_mosquitto_is_printed_in_every_form() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("mosquitto.db");
    fs::write(&file, FILE).unwrap();
    let listing = printed(&[], &file);
    assert!(listing.starts_with("Mosquitto DB dump\n"), "{listing}");
    assert!(listing.contains("\tClient ID: old client\n"));
    let stats = printed(&["--stats"], &file);
    assert!(stats.contains("DB_CHUNK_CLIENT:     3\n"), "{stats}");
    let clients = printed(&["--client-stats"], &file);
    assert_eq!(clients.lines().count(), 3, "{clients}");
    let json = printed(&["--json"], &file);
    assert!(json.contains("\"payload\":\"Werk Süd\""), "{json}");
    // The directory that it is in does as well.
    let output = dump(&["--stats"], directory.path());
    assert_eq!(text(output.stdout), stats);
    let said = format!("This is {}.\n", file.display());
    assert_eq!(text(output.stderr), said);
}

#[test]
fn what_is_no_database_or_damaged_has_status_1_and_says_where() {
    let directory = tempfile::tempdir().unwrap();
    let output = dump(&[], directory.path());
    assert_eq!(output.status.code(), Some(1));
    assert!(text(output.stderr).contains("neither a store of Midge nor a mosquitto.db"));
    let file = directory.path().join("cut");
    fs::write(&file, &FILE[..FILE.len() - 1]).unwrap();
    let output = dump(&["--stats"], &file);
    assert_eq!(output.status.code(), Some(1));
    let said = text(output.stderr);
    let end = format!("byte {}: the file ends", FILE.len() - 1);
    assert!(said.contains(&end), "{said}");
    assert!(text(output.stdout).contains("DB_CHUNK_CFG:"));
    let output = dump(&["--wrong"], &file);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(output.stderr).starts_with("Error: Unknown option '--wrong'."));
}

/// A client that reads no more than it must.
struct Client(TcpStream);

impl Client {
    fn connect(port: u16, connect: Connect<'_>) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut client = Self(stream);
        client.send(&Packet::Connect(connect));
        client.await_packet(0x20);
        client
    }

    fn send(&mut self, packet: &Packet<'_>) {
        let mut bytes = Vec::new();
        packet.encode(Version::V5, &mut bytes).unwrap();
        self.0.write_all(&bytes).unwrap();
    }

    /// Reads up to a packet that begins with this byte.
    fn await_packet(&mut self, first: u8) {
        loop {
            let mut head = [0; 2];
            self.0.read_exact(&mut head).unwrap();
            assert!(head[1] < 128, "a short packet");
            let mut body = vec![0; usize::from(head[1])];
            self.0.read_exact(&mut body).unwrap();
            if head[0] == first {
                return;
            }
        }
    }

    fn subscribe(&mut self, filter: &str) {
        let options = SubscriptionOptions {
            qos: QoS::ExactlyOnce,
            ..SubscriptionOptions::default()
        };
        let list = [Subscription { filter, options }];
        self.send(&Packet::Subscribe(Subscribe {
            packet_id: NonZeroU16::MIN,
            properties: Properties::NONE,
            subscriptions: Subscriptions::from_list(&list),
        }));
        self.await_packet(0x90);
    }

    fn publish(&mut self, topic: &str, payload: &[u8], qos: QoS, id: u16, retain: bool) {
        self.send(&Packet::Publish(Publish {
            dup: false,
            qos,
            retain,
            topic,
            packet_id: NonZeroU16::new(id),
            properties: Properties::NONE,
            payload,
        }));
        self.await_packet(if qos == QoS::AtLeastOnce { 0x40 } else { 0x50 });
    }

    fn leave(mut self) {
        self.0.write_all(b"\xE0\0").unwrap();
        assert_eq!(self.0.read(&mut [0]).unwrap(), 0);
    }
}

fn hello<'a>(client_id: &'a str, properties: &'a [Property<'a>]) -> Connect<'a> {
    Connect {
        version: Version::V5,
        bridge: false,
        clean_start: true,
        keep_alive: 0,
        properties: Properties::from_list(properties),
        client_id,
        will: None,
        user_name: None,
        password: None,
    }
}

/// A broker with a will, a shared group's queue, a retained message and deliveries both ways.
fn broker_with_everything(location: &TempDir, port: u16) -> (Midge, Client) {
    let broker = Midge::with_config(&format!(
        "listener {port} 127.0.0.1\nallow_anonymous true\npersistence true\n\
         persistence_location {}\n",
        location.path().display()
    ));
    let expiry = [Property::SessionExpiryInterval(1000)];
    let delay = [Property::WillDelayInterval(30)];
    let mut waiter = Client::connect(port, hello("waiter", &expiry));
    waiter.subscribe("plain/#");
    waiter.subscribe("$share/crew/jobs/#");
    waiter.leave();
    let will = Will {
        qos: QoS::AtLeastOnce,
        retain: true,
        properties: Properties::from_list(&delay),
        topic: "wills/source",
        payload: b"gone",
    };
    let connect = Connect {
        will: Some(will),
        user_name: Some("somebody"),
        ..hello("source", &expiry)
    };
    let mut source = Client::connect(port, connect);
    source.publish("plain/1", b"one", QoS::AtLeastOnce, 1, true);
    source.publish("jobs/1", b"two", QoS::AtLeastOnce, 2, false);
    source.publish("plain/2", b"three", QoS::ExactlyOnce, 77, false);
    (broker, source)
}

const EXPECTED: [&str; 16] = [
    "\tTopic: plain/1\n",
    "\tPayload: one\n",
    "\tClient ID: source\n\tUsername: somebody\n\tConnected: 1\n",
    "\tWill topic: wills/source\n\tWill QoS: 1\n\tWill retain: 1\n",
    "\tWill delay interval: 30\n",
    "\tMID: 77\n\tQoS: 2\n\tRetain: 0\n\tDirection: 0\n\tState: 7 (",
    "\tClient ID: waiter\n\tConnected: 0\n",
    "\tSession expiry interval: 1000\n",
    "\tTopic: plain/#\n\tQoS: 2\n",
    "\tTopic: $share/crew/jobs/#\n",
    "\tState: 11 (waits)\n",
    "\tTopic: jobs/1\n",
    "Retained message:\n",
    "Message of a shared group:\n",
    "\tShare name: crew\n\tTopic: jobs/#\n",
    "\tTopic: plain/2\n",
];

#[test]
fn a_store_is_printed_while_its_broker_runs_and_after_its_end() {
    let location = tempfile::tempdir().unwrap();
    let port = free_port();
    let (broker, mut source) = broker_with_everything(&location, port);
    let store = location.path().join("midge");
    for path in [&store, location.path()] {
        let listing = printed(&[], path);
        for words in EXPECTED {
            assert!(listing.contains(words), "{words:?} is not in\n{listing}");
        }
    }
    let stats = printed(&["--stats"], &store);
    for line in [
        "Sessions:            2\n",
        "Connected:           1\n",
        "Subscriptions:       2\n",
        "Client messages:     2\n",
        "Group messages:      1\n",
        "Retained messages:   1\n",
    ] {
        assert!(stats.contains(line), "{line:?} is not in\n{stats}");
    }
    let json = printed(&["--json"], &store);
    for words in [
        "\"will\":{\"topic\":\"wills/source\",\"qos\":1,\"retain\":1,\"delay-interval\":30",
        "\"share-name\":\"crew\",\"topic\":\"jobs/#\"}",
        "\"mid\":77,\"qos\":2,\"state\":7,",
        "\"payload\":\"three\"",
    ] {
        assert!(json.contains(words), "{words:?} is not in\n{json}");
    }
    // The broker has noticed nothing.
    source.publish("plain/3", b"four", QoS::AtLeastOnce, 3, false);
    assert_eq!(broker.terminate().status.code(), Some(0));
    let clients = printed(&["--client-stats"], &store);
    assert!(clients.contains("SC: 2 SS: 25 MC: 2 MS: "), "{clients}");
}

#[cfg(target_endian = "little")]
#[test]
fn an_imported_database_reads_as_it_did_before() {
    let location = tempfile::tempdir().unwrap();
    fs::write(location.path().join("mosquitto.db"), FILE).unwrap();
    let before = printed(&["--json"], &location.path().join("mosquitto.db"));
    let port = free_port();
    let broker = Midge::with_config(&format!(
        "listener {port} 127.0.0.1\nallow_anonymous true\npersistence true\n\
         persistence_location {}\n",
        location.path().display()
    ));
    broker.expect_log("Imported ");
    let after = printed(&["--json"], &location.path().join("midge"));
    for words in [
        "\"mid\":1,\"qos\":1,\"state\":3,\"retain-dup\":1,\"direction\":1,",
        "\"mid\":2,\"qos\":2,\"state\":5,\"retain-dup\":1,\"direction\":1,",
        "\"mid\":3,\"qos\":2,\"state\":9,\"retain-dup\":1,\"direction\":1,",
        "\"mid\":99,\"qos\":2,\"state\":7,\"retain-dup\":0,\"direction\":0,",
        "{\"clientid\":\"old client\",\"topic\":\"plant/#\",\"qos\":1,\"options\":0,\"identifier\":0}",
        "\"topic\":\"plant/name\",",
        "\"payload\":\"Werk Süd\"",
    ] {
        assert!(before.contains(words), "{words:?} is not in\n{before}");
        assert!(after.contains(words), "{words:?} is not in\n{after}");
    }
    assert_eq!(broker.terminate().status.code(), Some(0));
}
