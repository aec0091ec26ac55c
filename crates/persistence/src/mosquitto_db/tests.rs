//! Every layout, every damage, and a file that Mosquitto wrote.

mod damage;
#[cfg(target_endian = "little")]
pub(crate) mod mosquitto;
pub(crate) mod write;

use std::io::{self, Read};

use midge_codec::{QoS, RetainHandling, SubscriptionOptions};

use super::{
    BaseMessage, Client, ClientMessage, Config, Counts, Damage, Database, Direction, MessageState,
    Reason, Record, Records, Retained, Stop, Subscription,
};

const ALL_VERSIONS: [u32; 5] = [2, 3, 4, 5, 6];

pub(super) fn config() -> Config {
    Config {
        shutdown: true,
        id_size: 8,
        last_id: 0x0102_0304_0506_0708,
    }
}

pub(super) fn client(version: u32) -> Client {
    Client {
        id: "meter 7".to_owned(),
        username: (version >= 6).then(|| "alice".to_owned()),
        listener_port: if version >= 6 { 8883 } else { 0 },
        last_packet_id: 513,
        expires_at: (version >= 5).then_some(1_900_000_000),
        expiry_interval: if version >= 5 { 604_800 } else { u32::MAX },
        disconnected_at: matches!(version, 3 | 4).then_some(1_400_000_000),
    }
}

pub(super) fn subscription(version: u32) -> Subscription {
    let mut options = SubscriptionOptions {
        qos: QoS::ExactlyOnce,
        ..SubscriptionOptions::default()
    };
    if version >= 5 {
        options.no_local = true;
        options.retain_as_published = true;
        options.retain_handling = RetainHandling::DoNotSend;
    }
    Subscription {
        client_id: "meter 7".to_owned(),
        filter: "Süd/+/#".to_owned(),
        options,
        identifier: (version >= 5).then_some(268_435_455),
    }
}

pub(super) fn base_message(version: u32) -> BaseMessage {
    BaseMessage {
        id: 77,
        source_id: Some("source".to_owned()),
        source_username: (version >= 4).then(|| "bob".to_owned()),
        source_port: if version >= 4 { 1883 } else { 0 },
        source_packet_id: 258,
        topic: "Süd/1".to_owned(),
        payload: b"21.5".to_vec(),
        qos: QoS::AtLeastOnce,
        retain: true,
        expires_at: (version >= 5).then_some(2_000_000_000),
        properties: if version >= 5 {
            b"\x01\x01\x03\0\x04text\x26\0\x01k\0\x01v".to_vec()
        } else {
            Vec::new()
        },
    }
}

pub(super) fn client_message(version: u32) -> ClientMessage {
    ClientMessage {
        client_id: "meter 7".to_owned(),
        message_id: 77,
        packet_id: 259,
        qos: QoS::ExactlyOnce,
        retain: true,
        dup: true,
        direction: Direction::Outgoing,
        state: MessageState::WaitForPubcomp,
        subscription_identifier: (version >= 5).then_some(42),
    }
}

/// A chunk of each kind, in Mosquitto's order.
pub(super) fn one_of_each(version: u32) -> Vec<Record> {
    vec![
        Record::Config(config()),
        Record::BaseMessage(base_message(version)),
        Record::Client(client(version)),
        Record::ClientMessage(client_message(version)),
        Record::Subscription(subscription(version)),
        Record::Retained(Retained { message_id: 77 }),
    ]
}

/// What reading a file gives: records, what was left out, and how it ended.
pub(super) struct Outcome {
    records: Vec<Record>,
    damage: Vec<Damage>,
    counts: Counts,
    stop: Option<Stop>,
}

pub(super) fn read(source: impl Read) -> Outcome {
    let mut outcome = Outcome {
        records: Vec::new(),
        damage: Vec::new(),
        counts: Counts::default(),
        stop: None,
    };
    let mut records = match Database::open(source) {
        Ok(database) => Records::new(database),
        Err(stop) => {
            outcome.stop = Some(stop);
            return outcome;
        }
    };
    loop {
        match records.next() {
            Ok(None) => break,
            Ok(Some(Ok(record))) => outcome.records.push(record),
            Ok(Some(Err(damage))) => outcome.damage.push(damage),
            Err(stop) => {
                outcome.stop = Some(stop);
                assert!(matches!(records.next(), Ok(None)), "an end stays an end");
                break;
            }
        }
    }
    outcome.counts = records.counts();
    outcome
}

pub(super) fn read_all(file: &[u8]) -> Vec<Record> {
    let outcome = read(file);
    assert!(outcome.stop.is_none(), "{}", outcome.stop.unwrap());
    assert_eq!(outcome.damage, []);
    outcome.records
}

#[test]
fn each_version_is_read_as_it_was_written() {
    for version in ALL_VERSIONS {
        let records = one_of_each(version);
        let file = write::database(version, &records);
        assert_eq!(Database::open(&file[..]).unwrap().version(), version);
        assert_eq!(read_all(&file), records, "version {version}");
    }
}

#[test]
fn what_is_absent_in_the_file_is_absent_in_the_record() {
    for version in ALL_VERSIONS {
        let records = [
            Record::BaseMessage(BaseMessage {
                source_id: None,
                source_username: None,
                source_port: 0,
                payload: Vec::new(),
                retain: false,
                expires_at: None,
                properties: Vec::new(),
                ..base_message(version)
            }),
            Record::Client(Client {
                username: None,
                listener_port: 0,
                expires_at: None,
                expiry_interval: u32::MAX,
                disconnected_at: None,
                ..client(version)
            }),
            Record::ClientMessage(ClientMessage {
                packet_id: 0,
                retain: false,
                dup: false,
                direction: Direction::Incoming,
                state: MessageState::Queued,
                subscription_identifier: None,
                ..client_message(version)
            }),
            Record::Subscription(Subscription {
                options: SubscriptionOptions::default(),
                identifier: None,
                ..subscription(version)
            }),
        ];
        assert_eq!(
            read_all(&write::database(version, &records)),
            records,
            "version {version}"
        );
    }
}

#[test]
fn every_state_of_a_message_is_known() {
    for number in 0..=11 {
        let state = MessageState::from_number(number).unwrap();
        assert_eq!(state as u8, number);
    }
    assert_eq!(MessageState::from_number(12), None);
}

#[test]
fn chunks_are_counted_by_kind() {
    let file = write::database(6, &one_of_each(6));
    let outcome = read(&file[..]);
    let expected = Counts {
        messages: 1,
        clients: 1,
        client_messages: 1,
        subscriptions: 1,
        retained: 1,
        damaged: 0,
    };
    assert_eq!(outcome.counts, expected);
}

#[test]
fn a_database_without_chunks_is_one() {
    for version in ALL_VERSIONS {
        assert_eq!(read_all(&write::header(version)), []);
    }
}

#[test]
fn the_layout_of_machines_of_32_bits_is_read() {
    // Structures end without the padding that 8 byte numbers ask for elsewhere.
    let mut file = write::header(6);
    let config_content = write::content(6, &Record::Config(config()));
    file.extend(write::chunk(6, 1, &config_content[..12]));
    let mut client_content = write::content(6, &Record::Client(client(6)));
    client_content.drain(20..24);
    file.extend(write::chunk(6, 6, &client_content));
    let expected = [Record::Config(config()), Record::Client(client(6))];
    assert_eq!(read_all(&file), expected);

    // `time_t` has four bytes.
    for version in [3, 4] {
        let mut content = write::content(version, &Record::Client(client(version)));
        content.truncate(content.len() - 8);
        content.extend(1_400_000_000_i32.to_ne_bytes());
        let file = [write::header(version), write::chunk(version, 6, &content)].concat();
        assert_eq!(read_all(&file), [Record::Client(client(version))]);
    }
}

#[test]
fn chunks_of_unknown_kinds_are_passed_over() {
    for version in ALL_VERSIONS {
        let mut file = write::header(version);
        file.extend(write::chunk(version, 7, b"what a later version would say"));
        file.extend(write::chunk(version, 0, b""));
        file.extend(write::chunk(
            version,
            6,
            &write::content(version, &Record::Client(client(version))),
        ));
        let outcome = read(&file[..]);
        assert!(outcome.stop.is_none());
        assert_eq!(outcome.records, [Record::Client(client(version))]);
        let words: Vec<_> = outcome.damage.iter().map(ToString::to_string).collect();
        assert_eq!(words.len(), 2);
        assert_eq!(
            words[0],
            "chunk at byte 23 left out: kind 7 with 30 bytes, expected a kind from 1 to 6 (byte 23)"
        );
    }
}

#[test]
fn a_client_keeps_no_user_name_that_mosquitto_2_0_wrote_with_memory_behind_it() {
    let mut overrun = client(6);
    overrun.username = Some("alice".to_owned() + &"x".repeat(1275));
    let mut content = write::content(6, &Record::Client(overrun));
    let memory = content.len() - 1275;
    content[memory] = 0;
    content[memory + 1] = 0xFF;
    let file = [write::header(6), write::chunk(6, 6, &content)].concat();
    let expected = Client {
        username: None,
        ..client(6)
    };
    assert_eq!(read_all(&file), [Record::Client(expected)]);
}

#[test]
fn negative_times_count_as_none() {
    let mut content = write::content(6, &Record::Client(client(6)));
    content[..8].copy_from_slice(&(-5_i64).to_ne_bytes());
    let file = [write::header(6), write::chunk(6, 6, &content)].concat();
    let expected = Client {
        expires_at: None,
        ..client(6)
    };
    assert_eq!(read_all(&file), [Record::Client(expected)]);
}

/// Gives a byte at a time, and is interrupted before each.
struct Hesitant<'a> {
    bytes: &'a [u8],
    is_ready: bool,
    end: io::ErrorKind,
}

impl Read for Hesitant<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.is_ready = !self.is_ready;
        if !self.is_ready {
            return Err(io::ErrorKind::Interrupted.into());
        }
        match (self.bytes.split_first(), out.first_mut()) {
            (Some((byte, rest)), Some(place)) => {
                *place = *byte;
                self.bytes = rest;
                Ok(1)
            }
            (None, _) => Err(self.end.into()),
            (_, None) => Ok(0),
        }
    }
}

#[test]
fn an_error_of_the_disk_comes_with_its_offset_after_what_was_read() {
    let file = write::database(6, &one_of_each(6));
    let outcome = read(Hesitant {
        bytes: &file,
        is_ready: false,
        end: io::ErrorKind::PermissionDenied,
    });
    assert_eq!(outcome.records, one_of_each(6));
    let stop = outcome.stop.unwrap();
    assert_eq!(stop.offset, file.len() as u64);
    assert!(matches!(stop.reason, Reason::Io(_)));
    assert_eq!(
        stop.to_string(),
        format!("byte {}: permission denied", file.len())
    );
}
