use super::*;
use midge_codec::UnsubAck;

fn options(version: Version) -> ConnectOptions {
    ConnectOptions {
        version,
        client_id: Some("c".to_owned()),
        ..ConnectOptions::default()
    }
}

/// Flows with what has arrived for them.
struct Peer {
    flows: Flows,
    inbound: Inbound,
}

impl Peer {
    fn new(version: Version) -> Self {
        Self {
            flows: Flows::new(&options(version), Instant::now()),
            inbound: Inbound::default(),
        }
    }

    fn next_event(&mut self) -> Result<Option<Event<'_>>, Failure> {
        self.flows.next_event(&mut self.inbound)
    }

    fn publish(&mut self, qos: QoS) -> u16 {
        self.publish_with(qos, Properties::NONE)
    }

    fn publish_with(&mut self, qos: QoS, properties: Properties<'_>) -> u16 {
        let message = Outgoing {
            topic: "t",
            payload: b"x",
            qos,
            retain: false,
            properties,
        };
        self.flows.publish(&message).unwrap()
    }

    /// Sends what is queued nowhere.
    fn drop_outbound(&mut self) {
        let length = self.flows.outbound().len();
        self.flows.sent(length);
    }
}

impl std::ops::Deref for Peer {
    type Target = Flows;

    fn deref(&self) -> &Flows {
        &self.flows
    }
}

impl std::ops::DerefMut for Peer {
    fn deref_mut(&mut self) -> &mut Flows {
        &mut self.flows
    }
}

/// Flows behind a CONNACK, with an empty outbound buffer.
fn connected(version: Version) -> Peer {
    let mut flows = Peer::new(version);
    connect(&mut flows, false);
    flows
}

fn connect(flows: &mut Peer, session_present: bool) {
    flows
        .flows
        .connect(&options(flows.version()), None)
        .unwrap();
    flows.drop_outbound();
    receive(
        flows,
        &Packet::ConnAck(ConnAck {
            session_present,
            reason: ReasonCode::SUCCESS,
            properties: Properties::NONE,
        }),
    );
    assert_eq!(
        flows.next_event().unwrap(),
        Some(Event::Connected {
            reason: ReasonCode::SUCCESS
        })
    );
}

fn receive(flows: &mut Peer, packet: &Packet<'_>) {
    let mut bytes = Vec::new();
    packet.encode(flows.version(), &mut bytes).unwrap();
    // In two pieces, as a network may.
    flows.inbound.push(&bytes[..1]);
    assert_eq!(flows.next_event().unwrap(), None);
    flows.inbound.push(&bytes[1..]);
}

fn ack(kind: AckKind, id: u16) -> Packet<'static> {
    Packet::Ack(
        kind,
        Ack::new(NonZeroU16::new(id).unwrap(), ReasonCode::SUCCESS),
    )
}

#[track_caller]
fn sends(flows: &mut Peer, expected: &Packet<'_>) {
    let bytes = flows.outbound().to_vec();
    let (packet, length) = Packet::read(&bytes, flows.version()).unwrap().unwrap();
    assert_eq!(&packet, expected);
    flows.sent(length);
}

fn message(qos: QoS, id: u16) -> Packet<'static> {
    Packet::Publish(Publish {
        dup: false,
        qos,
        retain: false,
        topic: "t",
        packet_id: NonZeroU16::new(id),
        properties: Properties::NONE,
        payload: b"x",
    })
}

fn is_message(event: Option<Event<'_>>) -> bool {
    matches!(event, Some(Event::Message(message)) if message.topic == "t" && message.payload == b"x")
}

#[test]
fn a_qos_1_message_is_through_with_its_puback() {
    for version in Version::ALL {
        let mut flows = connected(version);
        flows.publish(QoS::AtLeastOnce);
        sends(&mut flows, &message(QoS::AtLeastOnce, 1));
        assert_eq!(flows.in_flight(), 1);
        receive(&mut flows, &ack(AckKind::PubAck, 1));
        assert_eq!(
            flows.next_event().unwrap(),
            Some(Event::Published {
                packet_id: 1,
                reason: ReasonCode::SUCCESS,
                text: None,
            })
        );
        assert_eq!(flows.in_flight(), 0);
    }
}

#[test]
fn mqtt311_4_3_3_1_a_qos_2_message_takes_four_packets() {
    let mut flows = connected(Version::V3_1_1);
    flows.publish(QoS::ExactlyOnce);
    sends(&mut flows, &message(QoS::ExactlyOnce, 1));
    receive(&mut flows, &ack(AckKind::PubRec, 1));
    assert_eq!(flows.next_event().unwrap(), None);
    sends(&mut flows, &ack(AckKind::PubRel, 1));
    assert_eq!(flows.in_flight(), 1);
    receive(&mut flows, &ack(AckKind::PubComp, 1));
    assert!(flows.next_event().unwrap().is_some());
    assert_eq!(flows.in_flight(), 0);
}

#[test]
fn mqtt5_4_3_3_a_refused_qos_2_message_ends_with_its_pubrec() {
    let mut flows = connected(Version::V5);
    flows.publish(QoS::ExactlyOnce);
    flows.drop_outbound();
    let refusal = Ack::new(NonZeroU16::MIN, ReasonCode::QUOTA_EXCEEDED);
    receive(&mut flows, &Packet::Ack(AckKind::PubRec, refusal));
    assert_eq!(
        flows.next_event().unwrap(),
        Some(Event::Published {
            packet_id: 1,
            reason: ReasonCode::QUOTA_EXCEEDED,
            text: None,
        })
    );
    assert!(flows.outbound().is_empty());
}

#[test]
fn received_messages_are_acknowledged_and_a_repeated_qos_2_message_is_handed_out_once() {
    let mut flows = connected(Version::V5);
    receive(&mut flows, &message(QoS::AtLeastOnce, 9));
    assert!(is_message(flows.next_event().unwrap()));
    sends(&mut flows, &ack(AckKind::PubAck, 9));

    receive(&mut flows, &message(QoS::ExactlyOnce, 7));
    assert!(is_message(flows.next_event().unwrap()));
    sends(&mut flows, &ack(AckKind::PubRec, 7));
    receive(&mut flows, &message(QoS::ExactlyOnce, 7));
    assert_eq!(flows.next_event().unwrap(), None);
    sends(&mut flows, &ack(AckKind::PubRec, 7));
    receive(&mut flows, &ack(AckKind::PubRel, 7));
    assert_eq!(flows.next_event().unwrap(), None);
    sends(&mut flows, &ack(AckKind::PubComp, 7));

    receive(&mut flows, &message(QoS::ExactlyOnce, 7));
    assert!(is_message(flows.next_event().unwrap()));
}

#[test]
fn messages_behind_one_event_are_not_acknowledged_yet() {
    let mut flows = connected(Version::V3_1_1);
    let mut bytes = Vec::new();
    for id in 1..=3 {
        message(QoS::AtLeastOnce, id)
            .encode(Version::V3_1_1, &mut bytes)
            .unwrap();
    }
    flows.inbound.push(&bytes);
    assert!(is_message(flows.next_event().unwrap()));
    assert_eq!(flows.outbound().len(), 4);
    let unread = flows.inbound.take_unread();
    assert_eq!(unread, bytes[bytes.len() / 3..]);
}

#[test]
fn a_ping_is_sent_each_keep_alive_and_silence_after_it_ends_the_connection() {
    let mut flows = connected(Version::V3_1_1);
    let start = flows.last_ping;
    let second = Duration::from_secs(1);
    assert!(flows.tend(start + 59 * second).unwrap());
    assert!(flows.outbound().is_empty());
    assert_eq!(flows.next_deadline(), start + 60 * second);
    assert!(flows.tend(start + 60 * second).unwrap());
    sends(&mut flows, &Packet::PingReq);
    receive(&mut flows, &Packet::PingResp);
    assert_eq!(flows.next_event().unwrap(), None);
    assert!(flows.tend(start + 120 * second).unwrap());
    sends(&mut flows, &Packet::PingReq);
    assert!(flows.tend(start + 179 * second).unwrap());
    assert!(!flows.tend(start + 180 * second).unwrap());
}

#[test]
fn a_broker_that_never_answers_connect_is_given_up() {
    let mut flows = Peer::new(Version::V5);
    let start = flows.last_ping;
    assert!(!flows.tend(start + Duration::from_secs(60)).unwrap());
}

#[test]
fn packet_ids_in_use_are_passed_over() {
    let mut flows = connected(Version::V5);
    flows.publish(QoS::AtLeastOnce);
    flows.last_packet_id = u16::MAX;
    let id = flows.publish(QoS::AtLeastOnce);
    assert_eq!(id, 2);
}

#[test]
fn what_a_broker_may_not_send_is_a_fault_of_its() {
    let mut early = Peer::new(Version::V5);
    early.inbound.push(&[0xD0, 0]);
    assert!(matches!(early.next_event(), Err(Failure::Protocol(_))));

    let unsuback = Packet::UnsubAck(UnsubAck {
        packet_id: NonZeroU16::MIN,
        properties: Properties::NONE,
        codes: &[0],
    });
    let mut flows = connected(Version::V5);
    receive(&mut flows, &unsuback);
    assert_eq!(flows.next_event().unwrap(), Some(Event::Unsubscribed));

    for bytes in [
        &[0xC0_u8, 0][..],
        &[0x00, 0],
        &[0x30, 0xFF, 0xFF, 0xFF, 0xFF],
        &[0x20, 3, 0, 0, 0],
    ] {
        let mut flows = connected(Version::V5);
        flows.inbound.push(bytes);
        assert!(
            matches!(flows.next_event(), Err(Failure::Protocol(_))),
            "{bytes:?}"
        );
    }
}

#[test]
fn mqtt5_4_4_0_1_another_connection_gets_again_what_was_not_acknowledged() {
    for known in [false, true] {
        let mut flows = connected(Version::V5);
        flows.publish(QoS::AtLeastOnce);
        flows.publish(QoS::ExactlyOnce);
        flows.publish(QoS::ExactlyOnce);
        flows.drop_outbound();
        receive(&mut flows, &ack(AckKind::PubRec, 3));
        assert_eq!(flows.next_event().unwrap(), None);
        flows.begin_again(Instant::now());
        connect(&mut flows, known);
        let again = |qos, id| match message(qos, id) {
            Packet::Publish(message) => Packet::Publish(Publish {
                dup: known,
                ..message
            }),
            other => other,
        };
        sends(&mut flows, &again(QoS::AtLeastOnce, 1));
        sends(&mut flows, &again(QoS::ExactlyOnce, 2));
        sends(&mut flows, &ack(AckKind::PubRel, 3));
        assert!(flows.outbound().is_empty());
    }
}

#[test]
fn an_alias_stands_for_the_topic_until_the_connection_ends() {
    let list = [Property::TopicAlias(4)];
    let properties = Properties::from_list(&list);
    let mut flows = connected(Version::V5);
    let mut topics = Vec::new();
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
        flows.publish_with(qos, properties);
        let bytes = flows.outbound().to_vec();
        let (packet, _) = Packet::read(&bytes, Version::V5).unwrap().unwrap();
        let Packet::Publish(message) = packet else {
            panic!("{packet:?}");
        };
        topics.push(message.topic.to_owned());
        flows.drop_outbound();
    }
    assert_eq!(topics, ["t", ""]);
    flows.begin_again(Instant::now());
    connect(&mut flows, true);
    let bytes = flows.outbound().to_vec();
    let (packet, _) = Packet::read(&bytes, Version::V5).unwrap().unwrap();
    assert!(matches!(packet, Packet::Publish(message) if message.topic == "t"));
}

#[test]
fn mqtt5_3_3_2_3_4_an_alias_of_the_broker_is_resolved() {
    let alias = [Property::TopicAlias(2)];
    let with = |topic| {
        Packet::Publish(Publish {
            dup: false,
            qos: QoS::AtMostOnce,
            retain: false,
            topic,
            packet_id: None,
            properties: Properties::from_list(&alias),
            payload: b"x",
        })
    };
    let mut flows = connected(Version::V5);
    receive(&mut flows, &with("t"));
    assert!(is_message(flows.next_event().unwrap()));
    receive(&mut flows, &with(""));
    assert!(is_message(flows.next_event().unwrap()));
    let mut flows = connected(Version::V5);
    receive(&mut flows, &with(""));
    assert!(matches!(flows.next_event(), Err(Failure::Protocol(_))));
}
