//! Damaged files: always an offset, never a panic, never memory for what is not there.

use std::io::Read;

use super::{
    ALL_VERSIONS, Outcome, base_message, client, client_message, one_of_each, read, write,
};
use crate::mosquitto_db::{Database, Kind, Reason, Record, Retained, Stop};

fn stop_of(file: &[u8]) -> Stop {
    read(file).stop.expect("the file cannot be read")
}

/// The words for the one damage in a chunk of version 6 that is between good ones.
fn words_for(number: u32, content: &[u8]) -> String {
    words_for_version(6, number, content)
}

fn words_for_version(version: u32, number: u32, content: &[u8]) -> String {
    let message = Record::BaseMessage(base_message(version));
    let mut file = write::database(version, &[message]);
    file.extend(write::chunk(version, number, content));
    let last = Record::Client(client(version));
    file.extend(write::chunk(
        version,
        Kind::Client as u32,
        &write::content(version, &last),
    ));
    let outcome = read(&file[..]);
    assert!(outcome.stop.is_none());
    assert_eq!(outcome.records.len(), 2, "the chunks around it are read");
    assert_eq!(outcome.records[1], last);
    assert_eq!(outcome.counts.damaged, 1);
    assert_eq!(outcome.damage.len(), 1);
    outcome.damage[0].to_string()
}

fn with(content: &[u8], place: usize, byte: u8) -> Vec<u8> {
    let mut content = content.to_vec();
    content[place] = byte;
    content
}

#[test]
fn other_files_are_refused() {
    assert_eq!(stop_of(b"").to_string(), "the file is empty");
    for other in [
        &b"SQLite format 3\0"[..],
        &[0; 4096],
        b"\0\xB5x",
        b"\x89PNG",
    ] {
        let stop = stop_of(other);
        assert!(matches!(stop.reason, Reason::NotADatabase));
        assert_eq!(
            stop.to_string(),
            "byte 0: not a database of Mosquitto, which begins with 00 b5 00 and \"mosquitto db\""
        );
    }
}

#[test]
fn unknown_versions_are_refused_by_name() {
    let newer = stop_of(&write::header(7)).to_string();
    let expected = "byte 19: format version 7 is newer than version 6, the last that is known here";
    assert_eq!(newer, expected);
    for version in [0, 1] {
        let older = stop_of(&write::header(version)).to_string();
        let expected = format!("byte 19: format version {version}, expected 2 to 6");
        assert_eq!(older, expected);
    }
}

#[test]
fn ids_of_another_size_end_the_reading() {
    for (version, at) in [(2, 30), (6, 40)] {
        let mut file = write::database(version, &one_of_each(version));
        file[at] = 4;
        let stop = stop_of(&file);
        assert_eq!(
            stop.to_string(),
            format!("byte {at}: record ids of 4 bytes, expected 8")
        );
    }
}

#[test]
fn a_file_cut_anywhere_gives_its_whole_chunks_and_the_offset_of_the_cut() {
    for version in ALL_VERSIONS {
        let records = one_of_each(version);
        let file = write::database(version, &records);
        let mut ends = vec![write::header(version).len()];
        for count in 1..=records.len() {
            ends.push(write::database(version, &records[..count]).len());
        }
        for length in 1..file.len() {
            let outcome = read(&file[..length]);
            let whole = ends.iter().filter(|end| **end <= length).count();
            assert_eq!(outcome.records, records[..whole.saturating_sub(1)]);
            assert_eq!(outcome.damage, []);
            if ends.contains(&length) {
                assert!(
                    outcome.stop.is_none(),
                    "nothing tells that more should follow"
                );
                continue;
            }
            let stop = outcome.stop.expect("the cut is noticed");
            assert_eq!(stop.offset, length as u64);
            assert!(matches!(
                stop.reason,
                Reason::Truncated { missing: 1.., .. }
            ));
        }
    }
}

#[test]
fn the_words_for_a_cut_say_what_was_cut() {
    let file = write::database(6, &one_of_each(6));
    assert_eq!(
        stop_of(&file[..9]).to_string(),
        "byte 9: the file ends inside its header, expected 14 bytes more"
    );
    assert_eq!(
        stop_of(&file[..26]).to_string(),
        "byte 26: the file ends inside the chunk that begins at byte 23, expected 5 bytes more"
    );
    assert_eq!(
        stop_of(&file[..file.len() - 3]).to_string(),
        format!(
            "byte {}: the file ends inside the retained message that begins at byte {}, expected 3 \
             bytes more",
            file.len() - 3,
            file.len() - 16
        )
    );
}

/// Checks what every file must hold, however broken.
fn check_sanity(outcome: &Outcome, length: usize) {
    let offsets = outcome.damage.iter().map(|damage| damage.offset);
    for offset in offsets.chain(outcome.stop.iter().map(|stop| stop.offset)) {
        assert!(offset <= length as u64);
    }
    for damage in &outcome.damage {
        assert!(damage.chunk <= damage.offset);
        assert!(damage.to_string().contains("left out: "));
    }
    assert!(outcome.records.len() + outcome.damage.len() <= length / 6);
}

#[test]
fn a_flipped_bit_anywhere_does_no_harm() {
    for version in ALL_VERSIONS {
        let records = one_of_each(version);
        let file = write::database(version, &records);
        let mut file_changed = file.clone();
        for place in 0..file.len() {
            for bit in 0..8 {
                file_changed[place] = file[place] ^ (1 << bit);
                check_sanity(&read(&file_changed[..]), file.len());
            }
            file_changed[place] = file[place];
        }
    }
}

#[test]
fn any_two_bytes_at_their_extremes_do_no_harm() {
    let file = write::database(6, &one_of_each(6));
    for place in 23..file.len() - 1 {
        for pair in [[0, 0], [0xFF, 0xFF], [0x7F, 0xFF], [0x80, 0]] {
            let mut file = file.clone();
            file[place..place + 2].copy_from_slice(&pair);
            check_sanity(&read(&file[..]), file.len());
        }
    }
}

#[test]
fn lengths_of_four_gibibytes_in_a_short_file_are_refused() {
    for version in ALL_VERSIONS {
        for record in one_of_each(version) {
            let number = record.kind() as u32;
            let start = write::header(version).len();
            let mut chunk = write::chunk(version, number, &write::content(version, &record));
            let length_at = if version >= 5 { 4 } else { 2 };
            chunk[length_at..length_at + 4].fill(0xFF);
            let file = [write::header(version), chunk].concat();
            let stop = stop_of(&file);
            assert_eq!(stop.offset, file.len() as u64);
            match stop.reason {
                Reason::Truncated {
                    start: at,
                    kind,
                    missing,
                } => {
                    assert_eq!((at, kind), (start as u64, Some(record.kind())));
                    assert!(missing > 4_000_000_000);
                }
                // The settings of a broken chunk are believed as far as they go.
                other => panic!("{other:?}"),
            }
        }
    }
}

/// A source that never ends, and counts.
struct Endless {
    head: Vec<u8>,
    given: u64,
}

impl Read for &mut Endless {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        out.fill(0);
        let place = usize::try_from(self.given).unwrap();
        let head = self.head.get(place..).unwrap_or_default();
        let count = head.len().min(out.len());
        out[..count].copy_from_slice(&head[..count]);
        self.given += out.len() as u64;
        Ok(out.len())
    }
}

#[test]
fn a_payload_longer_than_mqtt_allows_is_not_read_into_memory() {
    let mut content = write::content(6, &Record::BaseMessage(base_message(6)));
    content[16..20].copy_from_slice(&0x1000_0000_u32.to_be_bytes());
    let mut head = [write::header(6), write::chunk(6, 2, &content)].concat();
    head[27..31].copy_from_slice(&0x1000_0100_u32.to_be_bytes());
    let mut source = Endless { head, given: 0 };
    let mut database = Database::open(&mut source).unwrap();
    let chunk = database.next_chunk().unwrap().unwrap();
    assert_eq!(
        chunk.content.unwrap_err().to_string(),
        "stored message at byte 23 left out: payload of 268435456 bytes, expected at most \
         268435455 (byte 47)"
    );
    drop(database);
    assert!(source.given >= 0x1000_0100, "the chunk was passed over");
}

#[test]
fn a_wrong_field_is_named_with_its_offset() {
    // The chunk begins at byte 99, its content at 107.
    let message = write::content(6, &Record::ClientMessage(client_message(6)));
    let cases: [(usize, u8, &str); 7] = [
        (
            10,
            0xFF,
            "client id of 65287 bytes, expected at most 10 (byte 123)",
        ),
        (12, 3, "QoS is 3, expected 0 to 2 (byte 119)"),
        (13, 12, "state is 12, expected 0 to 11 (byte 120)"),
        (15, 2, "direction is 2, expected 0 or 1 (byte 122)"),
        (
            18,
            0xC0,
            "client id is not UTF-8 as MQTT allows it (byte 123)",
        ),
        (18, 0, "client id is not UTF-8 as MQTT allows it (byte 123)"),
        (24, 99, "properties: there is no property 0x63 (byte 130)"),
    ];
    for (place, byte, expected) in cases {
        let words = words_for(3, &with(&message, place, byte));
        let expected = format!("client message at byte 99 left out: {expected}");
        assert_eq!(words, expected);
    }
    let words = words_for(3, &[&message[..], b"!"].concat());
    assert_eq!(
        words,
        "client message at byte 99 left out: 1 bytes too many, expected the end of the chunk \
         (byte 134)"
    );
}

#[test]
fn wrong_fields_of_stored_messages_are_named() {
    let mut message = base_message(6);
    message.topic = "a/+".to_owned();
    let words = words_for(2, &write::content(6, &Record::BaseMessage(message.clone())));
    assert!(
        words.contains("topic with a wildcard, expected a topic name"),
        "{words}"
    );
    message.topic = String::new();
    for version in [2, 6] {
        let content = write::content(version, &Record::BaseMessage(message.clone()));
        let words = words_for_version(version, 2, &content);
        assert!(words.contains("topic is empty"), "{words}");
    }
}

#[test]
fn wrong_fields_of_subscriptions_are_named() {
    let mut subscription = super::subscription(6);
    subscription.filter = "a/#/b".to_owned();
    let content = write::content(6, &Record::Subscription(subscription.clone()));
    let words = words_for(5, &content);
    assert!(words.contains("expected a valid topic filter"), "{words}");
    subscription.filter = "a".to_owned();
    let content = write::content(6, &Record::Subscription(subscription));
    let words = words_for(5, &with(&content, 0, 0xFF));
    assert!(
        words.contains("subscription identifier is 4294967295"),
        "{words}"
    );
    let words = words_for(5, &with(&content, 9, 0x30));
    assert!(
        words.contains("subscription options is 50, expected a QoS"),
        "{words}"
    );
    let content = write::content(3, &Record::Subscription(super::subscription(3)));
    let words = words_for_version(3, 5, &with(&content, content.len() - 1, 3));
    assert!(
        words.contains("subscription options is 3, expected a QoS"),
        "{words}"
    );
}

#[test]
fn clients_without_an_id_are_left_out_as_mosquitto_does() {
    for version in ALL_VERSIONS {
        let mut nobody = client(version);
        nobody.id = String::new();
        let content = write::content(version, &Record::Client(nobody));
        let words = words_for_version(version, 6, &content);
        assert!(words.contains("client id is empty"), "{words}");
    }
}

#[test]
fn a_chunk_that_is_longer_or_shorter_than_its_fields_is_left_out() {
    for version in ALL_VERSIONS {
        for record in one_of_each(version) {
            let number = record.kind() as u32;
            let content = write::content(version, &record);
            words_for_version(version, number, &[&content[..], &[0; 9]].concat());
            words_for_version(version, number, &content[..content.len() - 1]);
            words_for_version(version, number, b"");
        }
    }
}

#[test]
fn references_to_messages_that_are_not_there_are_left_out() {
    for version in ALL_VERSIONS {
        let mut message = client_message(version);
        message.message_id = 5;
        let content = write::content(version, &Record::ClientMessage(message));
        let words = words_for_version(version, 3, &content);
        assert!(
            words.contains(": the message with id 5 is not in the file"),
            "{words}"
        );
        let content = write::content(version, &Record::Retained(Retained { message_id: 5 }));
        let words = words_for_version(version, 4, &content);
        assert!(
            words.contains(": the message with id 5 is not in the file"),
            "{words}"
        );
    }
}

#[test]
fn a_second_message_with_the_same_id_is_left_out() {
    let content = write::content(6, &Record::BaseMessage(base_message(6)));
    let words = words_for(2, &content);
    assert!(
        words.contains(": a message with id 77 was there before"),
        "{words}"
    );
}
