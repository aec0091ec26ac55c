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

#[test]
fn what_expires_while_no_program_runs_is_expired() {
    let mut batch = Batch::new(Purpose::Ordinary);
    let mut dated = kept("x");
    dated.expires_in = Some(Duration::from_secs(5));
    let record = Record::Message(1, Box::new(dated));
    format::put(&record, &mut batch, 1000).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let (mut queue, _) = Queue::open(directory.path(), 1).unwrap();
    queue.commit(Work::Append(batch)).unwrap().outcome.unwrap();
    drop(queue);
    let (_, left) = Queue::open(directory.path(), 1).unwrap();
    let left = left[0].message.as_ref().unwrap();
    assert_eq!(left.expires_in, Some(Duration::ZERO));
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
