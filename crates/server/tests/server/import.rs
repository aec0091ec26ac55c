//! The first start where Mosquitto was.

use std::fs;
use std::path::{Path, PathBuf};

use midge_codec::{AckKind, Packet, Property, QoS};
use midge_server::config::Config;
use midge_server::{Ending, Server};
use tempfile::TempDir;

use crate::client::{Broker, Came, Client, V3, V5, ack, config, hello, persistent, publish};

/// What Mosquitto 2.0.11 wrote; `make.py` beside it says what it had been told.
const FILE: &[u8] = include_bytes!("../../../persistence/tests/mosquitto_db/debian-2.0.11.db");

/// A persistence location with a database of Mosquitto.
struct Location(TempDir);

impl Location {
    fn with(file: &[u8]) -> Self {
        let location = Self(tempfile::tempdir().unwrap());
        fs::write(location.file(), file).unwrap();
        location
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("mosquitto.db")
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn config(&self, options: &str) -> Config {
        let path = self.path().display();
        let mut config = config(
            2,
            &format!("persistence true\npersistence_location {path}\n{options}"),
        );
        let log = format!("log_dest file {path}/log\nlog_timestamp false\nlog_type all\n");
        let log = Config::parse(&log, "log.conf").unwrap();
        config.general.log = log.general.log;
        config
    }

    fn start(&self) -> Broker {
        Broker::from(self.config(""))
    }

    /// Why a broker does not start here.
    fn refusal(&self) -> String {
        match Server::start(self.config("")) {
            Ok(_) => panic!("it started"),
            Err(error) => error.to_string(),
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path().join("log")).unwrap()
    }
}

fn resume(broker: &Broker, client_id: &str) -> (Client, bool) {
    let expiry = [Property::SessionExpiryInterval(u32::MAX)];
    Client::open(broker.address, &persistent(client_id, &expiry))
}

fn message(topic: &str, payload: &str, qos: QoS, id: u16) -> Came {
    Came::Publish {
        topic: topic.to_owned(),
        payload: payload.into(),
        qos,
        id,
        retain: false,
    }
}

#[cfg(target_endian = "little")]
#[test]
fn clients_find_their_sessions_and_every_delivery_goes_on_where_it_was() {
    let location = Location::with(FILE);
    let modified = fs::metadata(location.file()).unwrap().modified().unwrap();
    let broker = location.start();

    let (mut flight, present) = resume(&broker, "flight");
    assert!(present);
    let came: Vec<_> = (0..4).map(|_| flight.next()).collect();
    let expected = [
        message("flight/one", "waits for PUBACK", QoS::AtLeastOnce, 1),
        message("flight/two", "waits for PUBREC", QoS::ExactlyOnce, 2),
        Came::Ack(AckKind::PubRel, 3, 0),
        message("flight/four", "waits in the queue", QoS::AtLeastOnce, 4),
    ];
    for one in &expected {
        assert!(came.contains(one), "{one:?} is not in {came:?}");
    }
    flight.send(&ack(AckKind::PubAck, 1));
    flight.send(&ack(AckKind::PubRec, 2));
    flight.expect_ack(AckKind::PubRel, 2);
    flight.send(&ack(AckKind::PubComp, 2));
    flight.send(&ack(AckKind::PubComp, 3));
    flight.send(&ack(AckKind::PubAck, 4));
    // What it had sent and not released is passed on now, to itself among others.
    flight.send(&ack(AckKind::PubRel, 99));
    let came: Vec<_> = (0..2).map(|_| flight.next()).collect();
    assert!(
        came.contains(&Came::Ack(AckKind::PubComp, 99, 0)),
        "{came:?}"
    );
    let own = message("flight/in", "waits for PUBREL", QoS::ExactlyOnce, 5);
    assert!(came.contains(&own), "{came:?}");
    flight.send(&ack(AckKind::PubRec, 5));
    flight.expect_ack(AckKind::PubRel, 5);
    flight.send(&ack(AckKind::PubComp, 5));
    flight.disconnect();

    let old = midge_codec::Connect {
        clean_start: false,
        ..hello(V3, "old client")
    };
    let (mut client, present) = Client::open(broker.address, &old);
    assert!(present);
    let queued = ["plant/1/temp", "plant/name", "plant/logo"];
    for topic in queued {
        assert_eq!(client.take().0, topic);
    }
    // Its subscriptions are there.
    client.send(&publish("plant/new", b"1", QoS::AtMostOnce, 0));
    assert_eq!(client.take().0, "plant/new");
    client.disconnect();

    let mut reader = Client::connect(broker.address, V5, "reader");
    reader.subscribe("#", QoS::AtMostOnce);
    let mut retained: Vec<_> = (0..3).map(|_| reader.take()).collect();
    retained.sort();
    assert_eq!(retained[0].1, Vec::from_iter(0..32));
    assert_eq!(retained[1], ("plant/name".to_owned(), "Werk Süd".into()));
    assert_eq!(retained[2], ("retained/zero".to_owned(), b"0".to_vec()));
    reader.send(&Packet::PingReq);
    assert_eq!(reader.next(), Came::Pong);
    drop(reader);
    assert_eq!(broker.handle.shut_down(), Ending::Asked);

    // The second start goes on from the store.
    let broker = location.start();
    let (mut flight, present) = resume(&broker, "flight");
    assert!(present);
    flight.expect_silence();
    drop(flight);
    assert_eq!(broker.handle.shut_down(), Ending::Asked);
    let log = location.log();
    assert_eq!(log.matches("Imported ").count(), 1, "{log}");
    assert!(!log.contains("Warning: In "), "{log}");
    assert_eq!(fs::read(location.file()).unwrap(), FILE);
    let now = fs::metadata(location.file()).unwrap().modified().unwrap();
    assert_eq!(now, modified);
}

#[cfg(target_endian = "little")]
#[test]
fn a_cut_file_is_imported_as_far_as_it_goes_and_its_end_is_told() {
    // In the middle of the last chunk, which says what is retained.
    let location = Location::with(&FILE[..FILE.len() - 3]);
    let broker = location.start();
    assert!(resume(&broker, "flight").1);
    assert_eq!(broker.handle.shut_down(), Ending::Asked);
    let log = location.log();
    let end = FILE.len() - 3;
    let expected = format!("could not be read to its end: byte {end}: the file ends inside the");
    assert!(log.contains(&expected), "{log}");
}

#[cfg(target_endian = "little")]
#[test]
fn a_damaged_part_costs_itself_and_is_told_with_its_place() {
    let topic = b"plant/name";
    let place = FILE.windows(topic.len()).position(|part| part == topic);
    let place = place.unwrap();
    let mut file = FILE.to_vec();
    file[place + 5] = b'+';
    let location = Location::with(&file);
    let broker = location.start();
    let (mut client, present) = resume(&broker, "old client");
    assert!(present);
    assert_eq!(client.take().0, "plant/1/temp");
    assert_eq!(client.take().0, "plant/logo");
    client.expect_silence();
    assert_eq!(broker.handle.shut_down(), Ending::Asked);
    let log = location.log();
    let expected =
        format!("topic with a wildcard, expected a topic name (byte {place}); the rest was");
    assert!(log.contains(&expected), "{log}");
    assert!(
        log.contains("the message with id 54 is not in the file"),
        "{log}"
    );
}

#[test]
fn a_file_that_nothing_can_be_read_of_refuses_the_start_until_it_is_moved_away() {
    let mut newer = FILE[..40].to_vec();
    newer[22] = 7;
    for (file, why) in [
        (
            &newer[..],
            "byte 19: format version 7 is newer than version 6",
        ),
        (b"something else", "byte 0: not a database of Mosquitto"),
        (&FILE[..20], "the file ends inside its header"),
        (&FILE[..30], "the file ends inside the"),
    ] {
        let location = Location::with(file);
        let said = location.refusal();
        for words in [
            &*location.file().display().to_string(),
            why,
            "persistence_file",
        ] {
            assert!(said.contains(words), "{words:?} is not in {said}");
        }
        // Trying again does not lose it either.
        assert_eq!(location.refusal(), said);
        assert_eq!(fs::read(location.file()).unwrap(), file);
        fs::rename(location.file(), location.path().join("aside")).unwrap();
        assert_eq!(location.start().handle.shut_down(), Ending::Asked);
    }
}

#[test]
fn an_empty_file_is_as_none() {
    let location = Location::with(b"");
    assert_eq!(location.start().handle.shut_down(), Ending::Asked);
    assert!(
        location
            .log()
            .contains("is empty: there is nothing to import")
    );
}

#[cfg(target_endian = "little")]
#[test]
fn a_store_that_is_in_use_has_no_need_of_the_file() {
    let location = Location::with(b"");
    let broker = location.start();
    drop(resume(&broker, "somebody"));
    assert_eq!(broker.handle.shut_down(), Ending::Asked);
    fs::write(location.file(), FILE).unwrap();
    let broker = location.start();
    assert!(!resume(&broker, "flight").1);
    assert!(resume(&broker, "somebody").1);
    assert_eq!(broker.handle.shut_down(), Ending::Asked);
    assert!(!location.log().contains("Imported"));
}

#[cfg(target_endian = "little")]
#[test]
fn another_name_is_looked_for_where_the_configuration_says_so() {
    let location = Location::with(b"not looked at");
    fs::write(location.path().join("other.db"), FILE).unwrap();
    let config = location.config("persistence_file other.db\n");
    let broker = Broker::from(config);
    assert!(resume(&broker, "flight").1);
    assert_eq!(broker.handle.shut_down(), Ending::Asked);
}
