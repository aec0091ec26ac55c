//! What is put in comes back through a snapshot.

use super::super::{ContentsView, Kind, SnapshotPart};
use super::*;

const PLACE: Place = [7; 16];

fn id(number: u16) -> NonZeroU16 {
    NonZeroU16::new(number).unwrap()
}

fn copy(message: u64, qos: QoS) -> ImportedCopy {
    ImportedCopy {
        message,
        qos,
        retain: false,
        subscription_id: None,
    }
}

fn session(client_id: &str) -> ImportedSession<'_> {
    ImportedSession {
        client_id,
        expiry_secs: None,
        ends_at: None,
    }
}

/// Adds a message and says where it is; gives its name and record.
fn add(import: &mut Import, topic: &str, payload: &[u8]) -> (u64, Vec<u8>) {
    let mut records = Records::default();
    let message = ImportedMessage {
        topic,
        payload,
        properties: b"",
        qos: QoS::ExactlyOnce,
        retain: true,
        expires: Some(9_000),
    };
    let name = import.message(&message, &mut records).unwrap();
    let record = records.iter().next().unwrap();
    assert_eq!((record.kind, record.holders), (Kind::Message, 0));
    let record = record.payload.to_vec();
    let length = u32::try_from(record.len()).unwrap();
    import.placed(name, Some(9_000), PLACE, length);
    (name, record)
}

/// The image as a start finds it.
fn through_a_snapshot(image: &Image) -> Image {
    let mut found = Image::new();
    let mut last = SnapshotPart::More;
    image.snapshot(1, &mut |record| {
        last = found.apply_snapshot(record).unwrap();
        true
    });
    assert_eq!(last, SnapshotPart::Last);
    found
}

#[test]
fn every_kind_of_state_comes_back() {
    let mut import = Import::new(&Image::new());
    let (one, record) = add(&mut import, "a/b", b"1");
    let (two, _) = add(&mut import, "a/c", b"2");
    let (three, _) = add(&mut import, "a/d", b"3");
    let (unheld, _) = add(&mut import, "a/e", b"4");
    import.session(&ImportedSession {
        client_id: "meter",
        expiry_secs: Some(60),
        ends_at: Some(70_000),
    });
    let options = AskedOptions {
        qos: QoS::AtLeastOnce,
        no_local: true,
        retain_as_published: true,
        ..AskedOptions::default()
    };
    assert!(import.subscribe("meter", "a/+", options, Some(42)));
    assert!(import.subscribe("meter", "$share/crew/a/#", options, None));
    assert!(import.sent("meter", id(9), copy(two, QoS::ExactlyOnce), false));
    assert!(import.sent("meter", id(3), copy(77, QoS::ExactlyOnce), true));
    assert!(import.sent("meter", id(5), copy(two, QoS::AtLeastOnce), false));
    assert!(import.wait(
        "meter",
        ImportedCopy {
            subscription_id: Some(42),
            retain: true,
            ..copy(one, QoS::AtLeastOnce)
        }
    ));
    assert!(import.incoming("meter", id(99), three));
    assert!(import.retain(&record));

    let image = through_a_snapshot(&import.finish());
    assert_eq!(image.next_message, unheld + 1);
    assert!(image.show_message(unheld).is_none());
    let holders = |message| image.show_message(message).unwrap().holders;
    assert_eq!([holders(one), holders(two), holders(three)], [2, 2, 1]);

    let sessions = image.show_sessions();
    let [meter] = sessions[..] else {
        panic!("{sessions:?}")
    };
    assert_eq!(meter.client_id(), "meter");
    assert_eq!(meter.user_name(), None);
    assert!(!meter.is_connected());
    assert_eq!(meter.expiry_secs(), Some(60));
    assert_eq!(meter.ends_at(), Some(70_000));
    let [shared, plain] = meter.subscriptions()[..] else {
        panic!()
    };
    assert_eq!((plain.filter, plain.identifier), ("a/+", Some(42)));
    let expected = SubscriptionOptions::new(1, true, true).persistent();
    assert_eq!(plain.options, expected);
    assert_eq!(shared.filter, "$share/crew/a/#");
    assert!(!shared.options.no_local());
    let sent = meter.sent();
    let steps: Vec<_> = sent
        .iter()
        .map(|sent| (sent.packet_id.get(), sent.received))
        .collect();
    assert_eq!(steps, [(9, false), (3, true), (5, false)]);
    let waiting: Vec<_> = meter.waiting().collect();
    assert_eq!(waiting.len(), 1);
    assert_eq!((waiting[0].message, waiting[0].ids), (one, &[42][..]));
    assert!(waiting[0].retain);
    assert_eq!(meter.incoming().collect::<Vec<_>>(), [(id(99), three)]);
    let retained = image.show_retained();
    assert_eq!(retained.len(), 1);
    assert_eq!((retained[0].topic, retained[0].message), ("a/b", one));
}

#[test]
fn the_record_of_a_message_alone_means_nothing_to_a_later_start() {
    let mut import = Import::new(&Image::new());
    let (name, record) = add(&mut import, "a", b"x");
    let contents = ContentsView::read(&record).unwrap();
    assert_eq!((contents.id, contents.topic), (name, "a"));
    assert_eq!(contents.expires, Some(9_000));
    let mut image = Image::new();
    let length = u32::try_from(record.len()).unwrap();
    image
        .apply(Kind::Message, &record, PLACE, length, false)
        .unwrap();
    assert_eq!(image.counts(), super::super::ImageCounts::default());
    // Names go on, so that nothing is called as it was.
    assert_eq!(Import::new(&image).image.next_message, name + 1);
}

#[test]
fn what_does_not_fit_together_is_left_out() {
    let mut import = Import::new(&Image::new());
    let (name, _) = add(&mut import, "a", b"x");
    let (_, empty) = add(&mut import, "b", b"");
    let one = copy(name, QoS::AtLeastOnce);
    assert!(!import.wait("nobody", one));
    assert!(!import.sent("nobody", id(1), one, false));
    assert!(!import.incoming("nobody", id(1), name));
    assert!(!import.subscribe("nobody", "a", AskedOptions::default(), None));
    import.session(&session("c"));
    assert!(!import.wait("c", copy(99, QoS::AtLeastOnce)));
    assert!(!import.sent("c", id(1), copy(99, QoS::AtLeastOnce), false));
    assert!(!import.incoming("c", id(1), 99));
    assert!(import.sent("c", id(1), one, false));
    assert!(!import.sent("c", id(1), one, false));
    assert!(import.incoming("c", id(1), name));
    assert!(!import.incoming("c", id(1), name));
    assert!(!import.retain(&empty));
    assert!(!import.retain(b"no record"));
    let deep = "a/".repeat(LEVELS_MAX);
    assert!(!import.subscribe("c", &deep, AskedOptions::default(), None));
    let message = ImportedMessage {
        topic: &deep,
        payload: b"",
        properties: b"",
        qos: QoS::AtMostOnce,
        retain: false,
        expires: None,
    };
    assert_eq!(import.message(&message, &mut Records::default()), None);
}

#[test]
fn an_ended_session_leaves_nothing() {
    let mut import = Import::new(&Image::new());
    let (name, _) = add(&mut import, "a", b"x");
    import.session(&session("c"));
    assert!(import.wait("c", copy(name, QoS::AtLeastOnce)));
    import.end_session("c");
    assert!(!import.has_session("c"));
    let image = import.finish();
    assert_eq!(image.counts(), super::super::ImageCounts::default());
}
