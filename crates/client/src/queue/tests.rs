use std::num::NonZeroU16;

use bytes::Bytes;
use midge_codec::QoS;

use super::*;
use crate::core::Kept;
use crate::message::MessageProperties;

fn kept(text: &str) -> Kept {
    Kept {
        topic: "a/b".into(),
        payload: Bytes::copy_from_slice(text.as_bytes()),
        properties: Some(Box::new(MessageProperties {
            content_type: Some("t".to_owned()),
            user_properties: vec![("n".to_owned(), "v".to_owned())],
            ..MessageProperties::default()
        })),
        qos: QoS::ExactlyOnce,
        retain: true,
        expires_in: None,
    }
}

fn message(key: u64) -> Record {
    Record::Message(key, Box::new(kept(&key.to_string())))
}

fn id(number: u16) -> NonZeroU16 {
    NonZeroU16::new(number).unwrap()
}

fn reopen(directory: &Path) -> (Queue, Vec<(u64, bool, Step)>) {
    let (queue, left) = Queue::open(directory, 1).unwrap();
    let left = left
        .into_iter()
        .map(|restored| {
            if let Some(message) = &restored.message {
                assert_eq!(*message, kept(&restored.key.to_string()));
            }
            (restored.key, restored.message.is_some(), restored.step)
        })
        .collect();
    (queue, left)
}

#[test]
fn what_is_live_comes_back_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let (mut queue, left) = reopen(directory.path());
    assert!(left.is_empty());
    let mut records: Vec<Record> = (1..=7).map(message).collect();
    records.extend([
        Record::Sent(3, id(1)),
        Record::Sent(2, id(2)),
        Record::Released(2, id(2)),
        Record::Sent(4, id(3)),
        Record::Queued(4),
        Record::Done(1),
        Record::Sent(5, id(4)),
        Record::Released(5, id(4)),
        Record::Done(5),
    ]);
    assert!(matches!(queue.run(&records), Outcome::Safe));
    let expected = [
        (3, true, Step::Sent(id(1))),
        (2, false, Step::Released(id(2))),
        (4, true, Step::Queued),
        (6, true, Step::Queued),
        (7, true, Step::Queued),
    ];
    // As after a kill.
    drop(queue);
    let (mut queue, left) = reopen(directory.path());
    assert_eq!(left, expected);
    // A checkpoint says the same in fewer words.
    queue.checkpoint(&[
        message(3),
        Record::Sent(3, id(1)),
        Record::Released(2, id(2)),
        message(4),
        message(6),
        message(7),
    ]);
    queue.close();
    drop(queue);
    assert_eq!(reopen(directory.path()).1, expected);
}

#[test]
fn a_queue_is_one_programs_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let first = Queue::open(directory.path(), 1).unwrap();
    let error = Queue::open(directory.path(), 1).err().unwrap();
    assert!(
        error.contains(&directory.path().display().to_string()),
        "{error}"
    );
    drop(first);
    assert!(Queue::open(directory.path(), 1).is_ok());
}

/// How long a message has left to live that was written when the wall clock said `written`.
fn life_left(dated: Kept, written: u64) -> Option<Duration> {
    let mut batch = Batch::new(Purpose::Ordinary);
    format::put(&Record::Message(1, Box::new(dated)), &mut batch, written).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let (mut queue, _) = Queue::open(directory.path(), 1).unwrap();
    queue.commit(Work::Append(batch)).unwrap().outcome.unwrap();
    drop(queue);
    let (_, left) = Queue::open(directory.path(), 1).unwrap();
    left[0].message.as_ref().unwrap().expires_in
}

#[test]
fn what_expires_while_no_program_runs_is_expired() {
    let mut dated = kept("x");
    dated.expires_in = Some(Duration::from_secs(5));
    assert_eq!(life_left(dated, 1000), Some(Duration::ZERO));
}

#[test]
fn a_clock_that_was_set_back_lengthens_no_life() {
    let mut dated = kept("x");
    dated.expires_in = Some(Duration::from_secs(5));
    if let Some(properties) = &mut dated.properties {
        properties.expiry = Some(Duration::from_secs(60));
    }
    let later = wall_clock() + 1_000_000_000;
    assert_eq!(life_left(dated, later), Some(Duration::from_secs(60)));
}

/// Every kind of record, in an order in which a client writes them.
fn a_life() -> Vec<Record> {
    vec![
        message(1),
        message(2),
        Record::Received(id(9)),
        Record::Sent(1, id(1)),
        Record::Released(1, id(1)),
        message(3),
        Record::Sent(2, id(2)),
        Record::Gone(id(9)),
        Record::Done(1),
        Record::Queued(2),
        Record::Received(id(7)),
        Record::Sent(2, id(3)),
        Record::Done(3),
    ]
}

/// The bytes of a queue with these records, and the end of each. The file is as long from the start.
fn written(records: &[Record]) -> (String, Vec<u8>, Vec<usize>) {
    let directory = tempfile::tempdir().unwrap();
    let (mut queue, _) = Queue::open(directory.path(), 1).unwrap();
    let name = "00000000.seg";
    let read = || std::fs::read(directory.path().join(name)).unwrap();
    // Records are padded to words.
    let end = |bytes: &[u8]| {
        let last = bytes.iter().rposition(|byte| *byte != 0).unwrap();
        (last + 1).next_multiple_of(4)
    };
    let mut ends = Vec::new();
    for record in records {
        assert!(matches!(
            queue.run(std::slice::from_ref(record)),
            Outcome::Safe
        ));
        ends.push(end(&read()));
    }
    let mut bytes = read();
    bytes.truncate(*ends.last().unwrap());
    (name.to_owned(), bytes, ends)
}

/// What a queue gives whose only file has these bytes.
fn opened_with(name: &str, bytes: &[u8]) -> Vec<Restored> {
    // Thousands of files that are synced would hold up the disk for all other tests.
    let in_memory = tempfile::tempdir_in("/dev/shm");
    let directory = in_memory.or_else(|_| tempfile::tempdir()).unwrap();
    std::fs::write(directory.path().join(name), bytes).unwrap();
    let (_, left) = Queue::open(directory.path(), 1).unwrap();
    left
}

#[test]
fn a_queue_that_is_cut_at_any_byte_has_all_that_was_written_before() {
    let records = a_life();
    let (name, bytes, ends) = written(&records);
    let start = ends[0] - 200;
    for cut in start..=bytes.len() {
        let left = opened_with(&name, &bytes[..cut]);
        let before = ends.iter().filter(|end| **end <= cut).count();
        assert_eq!(left, left_by(&records[..before]), "cut at {cut}");
    }
}

#[test]
fn a_bit_that_flips_costs_one_record_at_most() {
    let records = a_life();
    let (name, bytes, ends) = written(&records);
    let states: Vec<Vec<Restored>> = std::iter::once(None)
        .chain((0..records.len()).map(Some))
        .map(|lost| left_without(&records, lost))
        .collect();
    for at in ends[0] - 200..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        let left = opened_with(&name, &flipped);
        // The last record may have been under way when the program fell.
        let last = left_by(&records[..records.len() - 1]);
        assert!(
            states.contains(&left) || left == last,
            "flipped at {at}: {left:?}"
        );
    }
}

#[test]
fn a_lost_record_does_not_make_a_new_message_pass_for_an_old_one() {
    let records = [Record::Received(id(9)), Record::Gone(id(9)), message(1)];
    assert_eq!(left_without(&records, Some(1)), left_by(&records));
}

#[test]
fn records_of_others_are_refused_and_no_bytes_panic() {
    let mut record = 7_u64.to_be_bytes().to_vec();
    record.extend_from_slice(&[
        5, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, b'a', 0, 0, 0, 0, b'p',
    ]);
    assert!(matches!(
        format::read(1, &record, 0),
        Ok(Entry::Message(7, _))
    ));
    for cut in 0..record.len() - 1 {
        assert!(format::read(1, &record[..cut], 0).is_err());
    }
    for at in 0..record.len() {
        for value in [0, 1, 0x7F, 0xFF] {
            let mut changed = record.clone();
            changed[at] = value;
            let _ = format::read(1, &changed, 0);
        }
    }
    assert!(format::read(9, &record, 0).is_err());
    assert!(format::read(2, &[0; 10], 0).is_err(), "identifier 0");
    assert!(format::read(5, &[0; 9], 0).is_err());
}
