//! What of a file comes back from the store.

use midge_broker::persist::{ContentsView, SessionView};
use midge_codec::SubscriptionOptions;
use midge_store::sim::{Faults, SimDisk};
use midge_store::{Options, Position};

use super::*;
use crate::mosquitto_db::Config;
use crate::mosquitto_db::tests::write::database;
use crate::recover::{Recovered, recover};

/// 2026-11-22, and in milliseconds.
const NOW: u64 = 1_795_375_387;
const TERMS: Terms = Terms {
    now: NOW * 1000,
    session_secs_max: None,
};

fn options() -> Options {
    Options {
        segment_bytes: 64 * 1024,
        ..Options::new(7)
    }
}

fn opened(disk: &SimDisk) -> Recovered<SimDisk> {
    recover(disk.clone(), options()).unwrap()
}

fn import_to(disk: &SimDisk, file: &[u8], terms: Terms) -> Result<Imported, ImportError> {
    let Recovered {
        recovery,
        image,
        is_new,
        ..
    } = opened(disk);
    assert!(is_new);
    import(recovery, &image, Database::open(file).unwrap(), terms)
}

/// Imports a file; gives the report and the store as the next start finds it.
fn imported(file: &[u8], terms: Terms) -> (Imported, Recovered<SimDisk>) {
    let disk = SimDisk::new(1);
    let report = import_to(&disk, file, terms).unwrap();
    let found = opened(&disk);
    assert!(!found.is_new);
    assert_eq!(found.events, []);
    assert_eq!(found.image.counts(), report.counts);
    (report, found)
}

fn session<'a>(found: &'a Recovered<SimDisk>, client_id: &str) -> SessionView<'a> {
    let sessions = found.image.show_sessions();
    *sessions
        .iter()
        .find(|session| session.client_id() == client_id)
        .unwrap_or_else(|| panic!("{client_id} has no session"))
}

/// A message's topic and payload, read from the log.
fn contents(found: &Recovered<SimDisk>, message: u64) -> (String, Vec<u8>) {
    let place = found.image.show_message(message).unwrap().place;
    let mut scratch = Vec::new();
    let reader = found.recovery.reader();
    let record = reader
        .read(Position::from_bytes(place), &mut scratch)
        .unwrap();
    let contents = ContentsView::read(record.payload).unwrap();
    (contents.topic.to_owned(), contents.payload.to_vec())
}

fn client(id: &str) -> Client {
    Client {
        id: id.to_owned(),
        username: None,
        listener_port: 1883,
        last_packet_id: 0,
        expires_at: None,
        expiry_interval: u32::MAX,
        disconnected_at: None,
    }
}

fn message(id: u64, topic: &str) -> BaseMessage {
    BaseMessage {
        id,
        source_id: None,
        source_username: None,
        source_port: 0,
        source_packet_id: 0,
        topic: topic.to_owned(),
        payload: format!("message {id}").into_bytes(),
        qos: QoS::ExactlyOnce,
        retain: true,
        expires_at: None,
        properties: Vec::new(),
    }
}

fn of_client(client_id: &str, message_id: u64, state: MessageState) -> ClientMessage {
    ClientMessage {
        client_id: client_id.to_owned(),
        message_id,
        packet_id: 100 + u16::try_from(message_id).unwrap(),
        qos: QoS::ExactlyOnce,
        retain: false,
        dup: false,
        direction: Direction::Outgoing,
        state,
        subscription_identifier: None,
    }
}

fn subscription(client_id: &str, filter: &str) -> Record {
    Record::Subscription(Subscription {
        client_id: client_id.to_owned(),
        filter: filter.to_owned(),
        options: SubscriptionOptions {
            qos: QoS::AtLeastOnce,
            ..SubscriptionOptions::default()
        },
        identifier: None,
    })
}

fn config() -> Record {
    Record::Config(Config {
        shutdown: true,
        id_size: 8,
        last_id: 1000,
    })
}

/// Packet identifiers and whether PUBREC has come, in the order of sending.
fn sent(session: SessionView<'_>) -> Vec<(u16, bool, QoS)> {
    let sent = session.sent();
    let steps = sent
        .iter()
        .map(|sent| (sent.packet_id.get(), sent.received, sent.copy.qos));
    steps.collect()
}

#[cfg(target_endian = "little")]
#[test]
fn the_file_of_mosquitto_comes_back_with_every_step() {
    use crate::mosquitto_db::tests::mosquitto::FILE;
    let (report, found) = imported(FILE, TERMS);
    assert_eq!((report.version, report.damaged), (6, 0));
    assert_eq!((report.left_out, report.expired_messages), (0, 0));
    let counts = report.counts;
    assert_eq!((counts.sessions, counts.subscriptions), (3, 5));
    assert_eq!((counts.copies, counts.retained), (12, 3));
    // The message of "flight/three" is with its receiver.
    assert_eq!(counts.messages, 9);

    let meter = session(&found, "meter-7");
    assert_eq!(meter.user_name(), None);
    assert_eq!(meter.ends_at(), Some(1_795_980_187_000));
    assert_eq!(meter.expiry_secs(), Some(604_800));
    let waiting: Vec<_> = meter
        .waiting()
        .map(|copy| (contents(&found, copy.message).0, copy.qos.bits(), copy.ids))
        .collect();
    let expected: [(String, u8, &[u32]); 5] = [
        ("plant/1/temp".to_owned(), 1, &[42]),
        ("plant/1/temp".to_owned(), 1, &[]),
        ("plant/name".to_owned(), 1, &[]),
        ("plant/logo".to_owned(), 2, &[]),
        ("jobs/1".to_owned(), 1, &[7]),
    ];
    assert_eq!(waiting, expected);
    let temp = meter.subscriptions()[1];
    assert_eq!((temp.filter, temp.identifier), ("plant/+/temp", Some(42)));
    assert!(temp.options.no_local() && temp.options.retain_as_published());
    assert!(temp.options.is_persistent());

    let flight = session(&found, "flight");
    assert_eq!(flight.ends_at(), None);
    assert_eq!(
        sent(flight),
        [
            (1, false, QoS::AtLeastOnce),
            (2, false, QoS::ExactlyOnce),
            (3, true, QoS::ExactlyOnce)
        ]
    );
    let incoming: Vec<_> = flight.incoming().collect();
    assert_eq!(incoming[0].0.get(), 99);
    assert_eq!(contents(&found, incoming[0].1).1, b"waits for PUBREL");
    assert_eq!(flight.waiting().len(), 1);
    let retained: Vec<_> = found
        .image
        .show_retained()
        .iter()
        .map(|retained| retained.topic.to_owned())
        .collect();
    assert_eq!(retained, ["plant/logo", "plant/name", "retained/zero"]);
}

#[test]
fn every_state_of_a_delivery_has_its_place() {
    use MessageState::{
        PublishQos0, PublishQos1, PublishQos2, Queued, ResendPubcomp, ResendPubrel, SendPubrec,
        WaitForPuback, WaitForPubcomp, WaitForPubrec, WaitForPubrel,
    };
    let from = |message: ClientMessage| ClientMessage {
        direction: Direction::Incoming,
        ..message
    };
    let again = |message: ClientMessage| ClientMessage {
        dup: true,
        ..message
    };
    let of = |message_id, state| of_client("c", message_id, state);
    let mut records = vec![config()];
    records.extend((1..=13).map(|id| Record::BaseMessage(message(id, "a"))));
    records.push(Record::Client(client("c")));
    records.extend(
        [
            again(of(1, PublishQos1)),
            of(2, WaitForPuback),
            again(of(3, PublishQos2)),
            of(4, WaitForPubrec),
            of(5, ResendPubrel),
            of(6, WaitForPubcomp),
            of(7, PublishQos1),
            of(8, PublishQos0),
            of(9, Queued),
            of(10, PublishQos2),
            from(of(11, WaitForPubrel)),
            from(of(12, SendPubrec)),
            from(of(13, ResendPubcomp)),
            from(ClientMessage {
                packet_id: 0,
                ..of(13, WaitForPubrel)
            }),
        ]
        .map(Record::ClientMessage),
    );
    let (report, found) = imported(&database(6, &records), TERMS);
    assert_eq!(report.left_out, 1);
    let c = session(&found, "c");
    let (one, two) = (QoS::AtLeastOnce, QoS::ExactlyOnce);
    let expected = [
        (101, false, one),
        (102, false, one),
        (103, false, two),
        (104, false, two),
        (105, true, two),
        (106, true, two),
    ];
    assert_eq!(sent(c), expected);
    // What was never sent has no need of its identifier.
    let waiting: Vec<_> = c
        .waiting()
        .map(|copy| contents(&found, copy.message).1)
        .collect();
    assert_eq!(
        waiting,
        [7, 8, 9, 10].map(|id| format!("message {id}").into_bytes())
    );
    let incoming: Vec<_> = c.incoming().map(|(id, _)| id.get()).collect();
    assert_eq!(incoming, [111, 112]);
}

#[test]
fn what_is_over_is_not_imported_but_a_delivery_that_began_is_finished() {
    let past = |mut message: BaseMessage| {
        message.expires_at = Some(NOW);
        Record::BaseMessage(message)
    };
    let mut gone = client("gone");
    (gone.expiry_interval, gone.expires_at) = (60, Some(NOW));
    let records = [
        past(message(1, "a")),
        past(message(2, "b")),
        Record::BaseMessage(message(3, "$SYS/broker/uptime")),
        Record::BaseMessage(message(4, "c")),
        Record::Client(gone),
        Record::ClientMessage(of_client("gone", 4, MessageState::Queued)),
        Record::Client(client("here")),
        Record::ClientMessage(of_client("here", 1, MessageState::WaitForPubrec)),
        Record::ClientMessage(of_client("here", 2, MessageState::Queued)),
        subscription("gone", "a"),
        subscription("here", "a"),
        Record::Retained(Retained { message_id: 2 }),
        Record::Retained(Retained { message_id: 3 }),
    ];
    let (report, found) = imported(&database(6, &records), TERMS);
    assert_eq!((report.expired_sessions, report.expired_messages), (1, 2));
    assert_eq!(report.left_out, 1);
    assert_eq!((report.counts.sessions, report.counts.messages), (1, 1));
    assert_eq!(
        (report.counts.subscriptions, report.counts.retained),
        (1, 0)
    );
    let here = session(&found, "here");
    assert_eq!(sent(here), [(101, false, QoS::ExactlyOnce)]);
    assert_eq!(here.waiting().len(), 0);
}

#[test]
fn sessions_end_as_mosquitto_would_end_them() {
    let day = 86_400;
    let with = |id: &str, interval, expires_at| Client {
        expiry_interval: interval,
        expires_at,
        ..client(id)
    };
    let file = database(
        6,
        &[
            Record::Client(with("never", u32::MAX, None)),
            Record::Client(with("old", 0, None)),
            Record::Client(with("later", 3600, Some(NOW + 10))),
            Record::Client(with("whole", 3600, None)),
            subscription("unnamed", "a"),
        ],
    );
    let ends = |terms| {
        let (_, found) = imported(&file, terms);
        let names = ["never", "old", "later", "whole", "unnamed"];
        names.map(|name| {
            let ends_at = session(&found, name).ends_at();
            ends_at.map(|at| at / 1000 - NOW)
        })
    };
    assert_eq!(ends(TERMS), [None, None, Some(10), Some(3600), None]);
    let limited = Terms {
        session_secs_max: Some(day),
        ..TERMS
    };
    let limit = Some(day);
    assert_eq!(ends(limited), [limit, limit, Some(10), Some(3600), limit]);

    // Versions 3 and 4 know when a client left.
    let left = |days| Client {
        disconnected_at: Some(NOW - days * day),
        ..client("left")
    };
    let file = database(4, &[Record::Client(left(3))]);
    let within = |days| Terms {
        session_secs_max: Some(days * day),
        ..TERMS
    };
    let (report, found) = imported(&file, within(7));
    assert_eq!(report.version, 4);
    let ends_at = session(&found, "left").ends_at();
    assert_eq!(ends_at, Some((NOW + 4 * day) * 1000));
    let (report, _) = imported(&file, within(2));
    assert_eq!((report.expired_sessions, report.counts.sessions), (1, 0));
}

#[test]
fn damage_costs_a_chunk_and_a_cut_the_rest_and_both_are_told() {
    let records = [
        Record::BaseMessage(message(1, "a")),
        Record::BaseMessage(message(2, "b")),
        Record::Retained(Retained { message_id: 1 }),
        Record::Retained(Retained { message_id: 2 }),
        Record::Retained(Retained { message_id: 9 }),
        Record::Client(client("c")),
    ];
    let file = database(6, &records);
    let whole = database(6, &records[..5]).len();
    let (report, _) = imported(&file[..whole + 9], TERMS);
    assert_eq!(report.counts.retained, 2);
    assert_eq!(report.counts.sessions, 0);
    assert_eq!(report.damaged, 1);
    assert!(report.damage[0].to_string().contains("id 9"));
    let stop = report.stop.unwrap();
    assert_eq!(stop.offset, (whole + 9) as u64);
}

#[test]
fn a_file_of_which_nothing_can_be_read_leaves_the_store_new() {
    let disk = SimDisk::new(1);
    let cut = database(6, &[Record::Client(client("c"))]);
    let unread = import_to(&disk, &cut[..40], TERMS);
    assert!(matches!(unread, Err(ImportError::Read(_))), "{unread:?}");
    let unknown = Record::Retained(Retained { message_id: 9 });
    let damaged = import_to(&disk, &database(6, &[unknown]), TERMS);
    assert!(
        matches!(damaged, Err(ImportError::Damaged { count: 1, .. })),
        "{damaged:?}"
    );
    assert!(opened(&disk).is_new);
    // There may be nothing to import all the same.
    let (report, _) = imported(&database(6, &[config()]), TERMS);
    assert_eq!(report.counts, ImageCounts::default());
}

#[test]
fn a_failing_read_imports_nothing() {
    struct Failing<'a>(&'a [u8]);
    impl Read for Failing<'_> {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            match self.0.read(into)? {
                0 => Err(std::io::ErrorKind::TimedOut.into()),
                count => Ok(count),
            }
        }
    }
    let file = database(6, &[Record::Client(client("c"))]);
    let disk = SimDisk::new(1);
    let found = opened(&disk);
    let database = Database::open(Failing(&file)).unwrap();
    let failed = import(found.recovery, &found.image, database, TERMS);
    assert!(matches!(failed, Err(ImportError::Read(_))), "{failed:?}");
    assert!(opened(&disk).is_new);
}

/// An import on a disk that may die; whether it was told to be done.
fn attempt(disk: &SimDisk, file: &[u8]) -> bool {
    let Ok(found) = recover(disk.clone(), options()) else {
        return false;
    };
    assert!(found.is_new);
    let database = Database::open(file).unwrap();
    import(found.recovery, &found.image, database, TERMS).is_ok()
}

/// Several batches of messages, and somebody who waits for each.
fn large_file() -> Vec<u8> {
    let mut records = vec![config()];
    for id in 1..=14 {
        let mut large = message(id, &format!("topic/{id}"));
        large.payload = vec![u8::try_from(id).unwrap(); 12_000];
        records.push(Record::BaseMessage(large));
    }
    records.push(Record::Client(client("c")));
    for id in 1..=14 {
        let state = MessageState::Queued;
        records.push(Record::ClientMessage(of_client("c", id, state)));
        records.push(Record::Retained(Retained { message_id: id }));
    }
    database(6, &records)
}

#[test]
fn a_full_disk_refuses_the_import_and_the_next_try_has_all() {
    let file = large_file();
    let disk = SimDisk::new(1);
    let full = |capacity| Faults {
        capacity,
        ..Faults::default()
    };
    disk.set_faults(full(Some(300_000)));
    let refused = import_to(&disk, &file, TERMS);
    assert!(
        matches!(refused, Err(ImportError::Refused(Refused::Full { .. }))),
        "{refused:?}"
    );
    disk.set_faults(full(None));
    let report = import_to(&disk, &file, TERMS).unwrap();
    assert_eq!((report.counts.messages, report.counts.copies), (14, 14));
    assert!(!opened(&disk).is_new);
}

#[cfg(target_endian = "little")]
#[test]
fn flipped_bits_never_make_a_store_that_reads_otherwise_than_it_was_told() {
    let mut file = mosquitto_db::tests::mosquitto::FILE.to_vec();
    for place in (23..file.len()).step_by(11) {
        file[place] ^= 1 << (place % 8);
        let disk = SimDisk::new(1);
        match import_to(&disk, &file, TERMS) {
            Ok(report) => {
                let found = opened(&disk);
                assert_eq!(found.image.counts(), report.counts, "{place}");
                assert_eq!((found.is_new, found.unknown), (false, 0), "{place}");
            }
            Err(error) => {
                assert!(matches!(error, ImportError::Read(_)), "{place}: {error}");
                assert!(opened(&disk).is_new);
            }
        }
        file[place] ^= 1 << (place % 8);
    }
}

#[test]
fn an_import_that_is_cut_short_anywhere_begins_again_and_is_whole_then() {
    let file = large_file();
    let is_whole = |found: &Recovered<SimDisk>, reads: bool| {
        let counts = found.image.counts();
        assert_eq!((counts.sessions, counts.messages), (1, 14));
        assert_eq!((counts.copies, counts.retained), (14, 14));
        for copy in session(found, "c").waiting().filter(|_| reads) {
            assert_eq!(contents(found, copy.message).1.len(), 12_000);
        }
    };
    let operations = {
        let disk = SimDisk::new(0);
        import_to(&disk, &file, TERMS).unwrap();
        disk.operations()
    };
    let (mut again, mut done) = (0, 0);
    for cut in 0..=operations {
        let mut disk = SimDisk::new(cut);
        disk.die_after(cut);
        let was_told = attempt(&disk, &file);
        disk = if cut % 3 == 0 {
            disk.kill()
        } else {
            disk.crash()
        };
        let found = opened(&disk);
        if found.is_new {
            assert!(!was_told, "{cut}");
            assert_eq!(found.image.counts(), ImageCounts::default(), "{cut}");
            drop(found);
            // Once more in the middle, then to the end.
            disk.die_after(cut / 2);
            attempt(&disk, &file);
            disk = disk.crash();
            if opened(&disk).is_new {
                import_to(&disk, &file, TERMS).unwrap();
                again += 1;
            }
        } else {
            done += 1;
        }
        let found = opened(&disk);
        assert!(!found.is_new, "{cut}");
        is_whole(&found, cut % 8 == 0);
    }
    assert!(again > 20 && done > 0, "{again} {done} {operations}");
}
