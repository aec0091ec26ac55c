//! Stores as they are printed.

use midge_broker::persist::{Import, ImportedCopy, ImportedMessage, ImportedSession, Records};
use midge_codec::SubscriptionOptions;
use midge_store::{Log, Submission, Tag, Work};
use std::fs;
use std::num::NonZeroU16;
use std::time::Duration;

use super::*;
use crate::batch::batch_of;
use crate::checkpoint::Snapshot;

/// A store with two messages for one session, in each of its places.
fn make(directory: &Path) {
    let found = recover(FileDisk::open(directory).unwrap(), Options::new(1)).unwrap();
    let mut log = Log::start(found.recovery);
    let mut settle = |work| {
        let tag = Tag {
            writer: 0,
            ticket: 0,
        };
        let mut settled = Vec::new();
        let mut work = [Submission { tag, work }].into();
        log.commit(Duration::ZERO, &mut work, &mut settled);
        let settled = settled.pop().unwrap();
        (settled.outcome.unwrap(), settled.batch)
    };
    let mut import = Import::new(&Image::new());
    let mut records = Records::default();
    let text = ImportedMessage {
        topic: "a/\u{7f}b",
        payload: "21.5 \u{b0}C".as_bytes(),
        properties: b"\x01\x01\x03\0\x04text",
        qos: QoS::AtLeastOnce,
        retain: true,
        expires: Some(2_000_000_000_000),
    };
    let bytes = ImportedMessage {
        topic: "c",
        payload: b"\xff\0",
        properties: b"",
        qos: QoS::ExactlyOnce,
        retain: false,
        expires: None,
    };
    let names = [&text, &bytes].map(|message| import.message(message, &mut records).unwrap());
    let record = records.iter().next().unwrap().payload.to_vec();
    let batch = settle(Work::Append(batch_of(&records).unwrap())).1.unwrap();
    for (name, position) in names.into_iter().zip(batch.positions()) {
        import.placed(name, None, position.to_bytes(), position.length);
    }
    import.session(&ImportedSession {
        client_id: "meter\n7",
        expiry_secs: Some(60),
        ends_at: Some(1_900_000_000_000),
    });
    let options = SubscriptionOptions {
        qos: QoS::AtLeastOnce,
        no_local: true,
        ..SubscriptionOptions::default()
    };
    assert!(import.subscribe("meter\n7", "a/#", options, Some(42)));
    let copy = |message, subscription_id| ImportedCopy {
        message,
        qos: QoS::ExactlyOnce,
        retain: true,
        subscription_id,
    };
    let id = |id| NonZeroU16::new(id).unwrap();
    assert!(import.incoming("meter\n7", id(9), names[1]));
    assert!(import.sent("meter\n7", id(3), copy(names[0], None), false));
    assert!(import.wait("meter\n7", copy(names[0], Some(42))));
    assert!(import.retain(&record));
    let (midge_store::Committed::Begun(checkpoint), _) = settle(Work::BeginCheckpoint) else {
        panic!()
    };
    let mut append = |batch| {
        settle(Work::Append(batch));
        true
    };
    assert!(Snapshot::of(import.finish(), checkpoint).write(&mut append));
    settle(Work::FinishCheckpoint(checkpoint));
    log.close(Duration::ZERO);
}

fn printed(print: impl FnOnce(&Store, &mut Vec<u8>)) -> String {
    let directory = tempfile::tempdir().unwrap();
    make(directory.path());
    let mut out = Vec::new();
    print(&Store::open(directory.path()).unwrap(), &mut out);
    String::from_utf8(out).unwrap()
}

fn no_complaint(unreadable: &Unreadable) {
    panic!("{unreadable}");
}

#[test]
fn the_listing_has_every_field_and_no_control_characters() {
    let text = printed(|store, out| listing(store, out, &mut no_complaint).unwrap());
    let expected = "\
Midge store dump
Message:
\tStore ID: 1
\tTopic: a/\\u{7f}b
\tQoS: 1
\tRetain: 1
\tPayload Length: 8
\tExpiry Time: 2000000000
\tPayload: 21.5 \u{b0}C
\tProperties:
\t\tPayload format indicator: 1
\t\tContent type: text
Message:
\tStore ID: 2
\tTopic: c
\tQoS: 2
\tRetain: 0
\tPayload Length: 2
\tExpiry Time: 0
Session:
\tClient ID: meter\\n7
\tConnected: 0
\tSession expiry time: 1900000000
\tSession expiry interval: 60
Subscription:
\tClient ID: meter\\n7
\tTopic: a/#
\tQoS: 1
\tSubscription ID: 42
\tOptions: 0x04
Client message:
\tClient ID: meter\\n7
\tStore ID: 2
\tMID: 9
\tQoS: 2
\tRetain: 0
\tDirection: 0
\tState: 7 (from the client, PUBREL is to come)
Client message:
\tClient ID: meter\\n7
\tStore ID: 1
\tMID: 3
\tQoS: 2
\tRetain: 1
\tDirection: 1
\tState: 5 (sent, PUBREC is to come)
Client message:
\tClient ID: meter\\n7
\tStore ID: 1
\tMID: 0
\tQoS: 2
\tRetain: 1
\tDirection: 1
\tState: 11 (waits)
\tSubscription identifier: 42
Retained message:
\tStore ID: 1
\tTopic: a/\\u{7f}b
";
    assert_eq!(text, expected);
}

#[test]
fn json_has_the_names_of_mosquittos_dump() {
    let text = printed(|store, out| json(store, Payloads::Text, out, &mut no_complaint).unwrap());
    let expected = r#"{"base-messages":[
{"storeid":1,"expiry-time":2000000000,"qos":1,"retain":1,"topic":"a/\u007fb","payload":"21.5 °C","properties":[{"identifier":"payload-format-indicator","value":1},{"identifier":"content-type","value":"text"}]},
{"storeid":2,"expiry-time":0,"qos":2,"retain":0,"topic":"c","payload":"/wA=","payload-encoding":"base64"}
],"clients":[
{"clientid":"meter\n7","connected":false,"session-expiry-time":1900000000,"session-expiry-interval":60}
],"client-messages":[
{"clientid":"meter\n7","storeid":2,"mid":9,"qos":2,"state":7,"retain-dup":0,"direction":0,"subscription-identifier":0},
{"clientid":"meter\n7","storeid":1,"mid":3,"qos":2,"state":5,"retain-dup":17,"direction":1,"subscription-identifier":0},
{"clientid":"meter\n7","storeid":1,"mid":0,"qos":2,"state":11,"retain-dup":16,"direction":1,"subscription-identifier":42}
],"retained-messages":[
{"storeid":1,"topic":"a/\u007fb"}
],"subscriptions":[
{"clientid":"meter\n7","topic":"a/#","qos":1,"options":4,"identifier":42}
],"group-messages":[
]}
"#;
    assert_eq!(text, expected);
}

#[test]
fn numbers_are_counted_over_all_and_by_client() {
    let text = printed(|store, out| stats(store, out).unwrap());
    for line in [
        "Sessions:            1\n",
        "Connected:           0\n",
        "Subscriptions:       1\n",
        "Messages:            2\n",
        "Client messages:     3\n",
        "Retained messages:   1\n",
    ] {
        assert!(text.contains(line), "{line:?} is not in {text}");
    }
    let text = printed(|store, out| client_stats(store, out).unwrap());
    assert!(text.starts_with("SC: 1 SS: 3 MC: 3 MS: "), "{text}");
    assert!(text.ends_with("   meter\\n7\n"), "{text}");
}

#[test]
fn a_message_that_cannot_be_read_is_told_and_the_rest_is_printed() {
    let directory = tempfile::tempdir().unwrap();
    make(directory.path());
    let segment = directory.path().join("00000000.seg");
    let mut bytes = fs::read(&segment).unwrap();
    let place = bytes.windows(4).position(|part| part == b"21.5").unwrap();
    bytes[place] ^= 1;
    fs::write(&segment, bytes).unwrap();
    let store = Store::open(directory.path()).unwrap();
    let (mut out, mut told) = (Vec::new(), Vec::new());
    listing(&store, &mut out, &mut |unreadable| {
        told.push(unreadable.to_string());
    })
    .unwrap();
    assert_eq!(told.len(), 1);
    assert!(told[0].starts_with("message 1 left out: "), "{told:?}");
    let text = String::from_utf8(out).unwrap();
    assert!(text.contains("\tTopic: c\n") && text.contains("\tTopic: a/#\n"));
}

#[test]
fn looking_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    make(directory.path());
    let look = || {
        let mut files: Vec<_> = fs::read_dir(directory.path())
            .unwrap()
            .map(|entry| {
                let path = entry.unwrap().path();
                (fs::read(&path).unwrap(), path)
            })
            .collect();
        files.sort();
        files
    };
    let before = look();
    let _running = FileDisk::open(directory.path()).unwrap();
    let held = look();
    let store = Store::open(directory.path()).unwrap();
    json(&store, Payloads::Base64, &mut Vec::new(), &mut no_complaint).unwrap();
    assert!(look() == held);
    assert_eq!(before.len(), held.len());
}

#[test]
fn a_path_is_a_file_a_store_or_the_place_of_either() {
    let directory = tempfile::tempdir().unwrap();
    let location = directory.path();
    let missing = find(&location.join("nowhere")).unwrap_err();
    assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    assert_eq!(find(location).unwrap_err().kind(), io::ErrorKind::NotFound);
    let (file, store) = (location.join("mosquitto.db"), location.join("midge"));
    fs::write(&file, b"").unwrap();
    assert_eq!(find(location).unwrap(), Found::File(file.clone()));
    assert_eq!(find(&file).unwrap(), Found::File(file.clone()));
    // A store that was never used does not hide the file.
    drop(FileDisk::open(&store).unwrap());
    assert_eq!(find(location).unwrap(), Found::File(file));
    assert_eq!(find(&store).unwrap(), Found::Store(store.clone()));
    make(&store);
    assert_eq!(find(location).unwrap(), Found::Store(store.clone()));
    assert_eq!(find(&store).unwrap(), Found::Store(store));
}
