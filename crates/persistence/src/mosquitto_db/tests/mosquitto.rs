//! The file that Mosquitto 2.0.11 wrote; `tests/mosquitto_db/make.py` says what it was told.

use midge_codec::{Properties, Property, QoS, SubscriptionOptions};

use super::{read, read_all};
use crate::mosquitto_db::{
    BaseMessage, Client, ClientMessage, Config, Database, Direction, MessageState, Record,
    Retained, Subscription,
};

pub(crate) const FILE: &[u8] = include_bytes!("../../../tests/mosquitto_db/debian-2.0.11.db");
const PORT: u16 = 55_079;

fn message(id: u64, packet_id: u16, topic: &str, payload: &[u8], qos: QoS) -> BaseMessage {
    BaseMessage {
        id,
        source_id: Some("source".to_owned()),
        source_username: Some("bob".to_owned()),
        source_port: PORT,
        source_packet_id: packet_id,
        topic: topic.to_owned(),
        payload: payload.to_vec(),
        qos,
        retain: false,
        expires_at: None,
        properties: Vec::new(),
    }
}

fn client(id: &str, username: Option<&str>, last_packet_id: u16) -> Client {
    Client {
        id: id.to_owned(),
        username: username.map(str::to_owned),
        listener_port: PORT,
        last_packet_id,
        expires_at: None,
        expiry_interval: u32::MAX,
        disconnected_at: None,
    }
}

fn queued(client_id: &str, message_id: u64, packet_id: u16, qos: QoS) -> ClientMessage {
    ClientMessage {
        client_id: client_id.to_owned(),
        message_id,
        packet_id,
        qos,
        retain: false,
        dup: false,
        direction: Direction::Outgoing,
        state: MessageState::Queued,
        subscription_identifier: None,
    }
}

fn in_flight(message_id: u64, packet_id: u16, qos: QoS, state: MessageState) -> ClientMessage {
    ClientMessage {
        dup: true,
        state,
        ..queued("flight", message_id, packet_id, qos)
    }
}

fn subscription(client_id: &str, filter: &str, qos: QoS) -> Subscription {
    Subscription {
        client_id: client_id.to_owned(),
        filter: filter.to_owned(),
        options: SubscriptionOptions {
            qos,
            ..SubscriptionOptions::default()
        },
        identifier: None,
    }
}

fn messages() -> Vec<BaseMessage> {
    use QoS::{AtLeastOnce, AtMostOnce, ExactlyOnce};
    let mut messages = vec![
        BaseMessage {
            source_id: Some("flight".to_owned()),
            source_username: None,
            ..message(62, 99, "flight/in", b"waits for PUBREL", ExactlyOnce)
        },
        message(61, 0, "retained/zero", b"0", AtMostOnce),
        message(60, 8, "flight/four", b"waits in the queue", AtLeastOnce),
        message(59, 7, "flight/three", b"waits for PUBCOMP", ExactlyOnce),
        message(58, 6, "flight/two", b"waits for PUBREC", ExactlyOnce),
        message(57, 5, "flight/one", b"waits for PUBACK", AtLeastOnce),
        message(56, 4, "jobs/1", b"", AtLeastOnce),
        message(55, 3, "plant/logo", &Vec::from_iter(0..32), ExactlyOnce),
        message(54, 2, "plant/name", "Werk Süd".as_bytes(), AtLeastOnce),
        message(53, 1, "plant/1/temp", b"21.5", AtLeastOnce),
    ];
    for message in &mut messages {
        message.retain = matches!(message.id, 54 | 55 | 61);
    }
    messages
}

#[test]
fn stored_messages_are_read_with_their_properties() {
    let mut read: Vec<_> = read_all(FILE)
        .into_iter()
        .filter_map(|record| match record {
            Record::BaseMessage(message) => Some(message),
            _ => None,
        })
        .collect();
    let rich = read.last_mut().unwrap();
    assert_eq!(rich.expires_at.take(), Some(2_110_735_387));
    let encoded = std::mem::take(&mut rich.properties);
    let properties: Vec<_> = Properties::from_encoded(&encoded, &[]).iter().collect();
    let expected = [
        Property::PayloadFormatIndicator(1),
        Property::ContentType("text/plain"),
        Property::ResponseTopic("plant/answers"),
        Property::CorrelationData(b"\0\xFF\x10"),
        Property::UserProperty("unit", "°C"),
        Property::UserProperty("unit", "K"),
    ];
    assert_eq!(properties, expected);
    assert_eq!(read, messages());
}

#[test]
fn sessions_are_read_with_their_queues_and_windows() {
    let mut records = read_all(FILE);
    assert_eq!(
        records.remove(0),
        Record::Config(Config {
            shutdown: true,
            id_size: 8,
            last_id: 62,
        })
    );
    records.retain(|record| !matches!(record, Record::BaseMessage(_)));
    let (one, two) = (QoS::AtLeastOnce, QoS::ExactlyOnce);
    let with = |message: ClientMessage, identifier| {
        Record::ClientMessage(ClientMessage {
            subscription_identifier: Some(identifier),
            ..message
        })
    };
    let expected = [
        Record::Client(Client {
            expires_at: Some(1_795_980_187),
            expiry_interval: 604_800,
            ..client("meter-7", Some("alice"), 5)
        }),
        with(queued("meter-7", 53, 1, one), 42),
        Record::ClientMessage(queued("meter-7", 53, 2, one)),
        Record::ClientMessage(queued("meter-7", 54, 3, one)),
        Record::ClientMessage(queued("meter-7", 55, 4, two)),
        with(queued("meter-7", 56, 5, one), 7),
        // This client has no user name. Mosquitto wrote "alice" and 1,275 bytes of its memory.
        Record::Client(client("old client", None, 3)),
        Record::ClientMessage(queued("old client", 53, 1, one)),
        Record::ClientMessage(queued("old client", 54, 2, one)),
        Record::ClientMessage(queued("old client", 55, 3, one)),
        // Nor has this one; the length of the name is right again, so that nothing tells.
        Record::Client(client("flight", Some("alice"), 4)),
        Record::ClientMessage(ClientMessage {
            direction: Direction::Incoming,
            state: MessageState::WaitForPubrel,
            ..queued("flight", 62, 99, two)
        }),
        Record::ClientMessage(in_flight(57, 1, one, MessageState::WaitForPuback)),
        Record::ClientMessage(in_flight(58, 2, two, MessageState::WaitForPubrec)),
        Record::ClientMessage(in_flight(59, 3, two, MessageState::WaitForPubcomp)),
        Record::ClientMessage(queued("flight", 60, 4, one)),
        Record::Subscription(Subscription {
            options: SubscriptionOptions {
                qos: one,
                no_local: true,
                retain_as_published: true,
                ..SubscriptionOptions::default()
            },
            identifier: Some(42),
            ..subscription("meter-7", "plant/+/temp", one)
        }),
        Record::Subscription(subscription("meter-7", "plant/#", two)),
        Record::Subscription(subscription("old client", "plant/#", one)),
        Record::Subscription(subscription("old client", "/", QoS::AtMostOnce)),
        Record::Subscription(subscription("flight", "flight/#", two)),
        Record::Retained(Retained { message_id: 54 }),
        Record::Retained(Retained { message_id: 55 }),
        Record::Retained(Retained { message_id: 61 }),
    ];
    assert_eq!(records, expected);
}

#[test]
fn a_cut_at_any_byte_is_noticed_but_for_the_ends_of_chunks() {
    let mut starts = Vec::new();
    let mut database = Database::open(FILE).unwrap();
    while let Some(chunk) = database.next_chunk().unwrap() {
        starts.push(chunk.offset);
    }
    let all = read_all(FILE);
    for length in 23..FILE.len() {
        let outcome = read(&FILE[..length]);
        assert_eq!(outcome.stop.is_none(), starts.contains(&(length as u64)));
        assert_eq!(outcome.records, all[..outcome.records.len()]);
        assert_eq!(outcome.damage, []);
    }
}

#[test]
fn a_flipped_bit_anywhere_does_no_harm() {
    let mut file = FILE.to_vec();
    for place in 0..file.len() {
        file[place] ^= 1 << (place % 8);
        let outcome = read(&file[..]);
        let offsets = outcome.damage.iter().map(|damage| damage.offset);
        for offset in offsets.chain(outcome.stop.iter().map(|stop| stop.offset)) {
            assert!(offset <= FILE.len() as u64);
        }
        file[place] ^= 1 << (place % 8);
    }
}
