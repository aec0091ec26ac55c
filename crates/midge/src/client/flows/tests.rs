use super::*;
use midge_codec::UnsubAck;

fn options(version: Version) -> ConnectOptions {
    ConnectOptions {
        version,
        client_id: Some("c".to_owned()),
        ..ConnectOptions::default()
    }
}

/// Flows behind a CONNACK, with an empty outbound buffer.
fn connected(version: Version) -> Flows {
    let mut flows = Flows::new(&options(version), Instant::now());
    flows.connect(&options(version)).unwrap();
    receive(
        &mut flows,
        &Packet::ConnAck(ConnAck {
            session_present: false,
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
    flows.sent(flows.outbound().len());
    flows
}

fn receive(flows: &mut Flows, packet: &Packet<'_>) {
    let mut bytes = Vec::new();
    packet.encode(flows.version(), &mut bytes).unwrap();
    // In two pieces, as a network may.
    flows.received(&bytes[..1]);
    assert_eq!(flows.next_event().unwrap(), None);
    flows.received(&bytes[1..]);
}

fn ack(kind: AckKind, id: u16) -> Packet<'static> {
    Packet::Ack(
        kind,
        Ack::new(NonZeroU16::new(id).unwrap(), ReasonCode::SUCCESS),
    )
}

#[track_caller]
fn sends(flows: &mut Flows, expected: &Packet<'_>) {
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

fn is_message(event: Option<Event>) -> bool {
    matches!(event, Some(Event::Message { topic, payload, .. }) if topic == "t" && payload == b"x")
}

#[test]
fn a_qos_1_message_is_through_with_its_puback() {
    for version in Version::ALL {
        let mut flows = connected(version);
        flows.publish("t", b"x", QoS::AtLeastOnce, false).unwrap();
        sends(&mut flows, &message(QoS::AtLeastOnce, 1));
        assert_eq!(flows.in_flight(), 1);
        receive(&mut flows, &ack(AckKind::PubAck, 1));
        assert_eq!(
            flows.next_event().unwrap(),
            Some(Event::Published {
                packet_id: 1,
                reason: ReasonCode::SUCCESS
            })
        );
        assert_eq!(flows.in_flight(), 0);
    }
}

#[test]
fn mqtt311_4_3_3_1_a_qos_2_message_takes_four_packets() {
    let mut flows = connected(Version::V3_1_1);
    flows.publish("t", b"x", QoS::ExactlyOnce, false).unwrap();
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
    flows.publish("t", b"x", QoS::ExactlyOnce, false).unwrap();
    flows.sent(flows.outbound().len());
    let refusal = Ack::new(NonZeroU16::MIN, ReasonCode::QUOTA_EXCEEDED);
    receive(&mut flows, &Packet::Ack(AckKind::PubRec, refusal));
    assert_eq!(
        flows.next_event().unwrap(),
        Some(Event::Published {
            packet_id: 1,
            reason: ReasonCode::QUOTA_EXCEEDED
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
    flows.received(&bytes);
    assert!(is_message(flows.next_event().unwrap()));
    assert_eq!(flows.outbound().len(), 4);
    let unread = flows.take_unread();
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
    let mut flows = Flows::new(&options(Version::V5), Instant::now());
    let start = flows.last_ping;
    assert!(!flows.tend(start + Duration::from_secs(60)).unwrap());
}

#[test]
fn packet_ids_in_use_are_passed_over() {
    let mut flows = connected(Version::V5);
    flows.publish("t", b"x", QoS::AtLeastOnce, false).unwrap();
    flows.last_packet_id = u16::MAX;
    let id = flows.publish("t", b"x", QoS::AtLeastOnce, false).unwrap();
    assert_eq!(id, NonZeroU16::new(2));
}

#[test]
fn what_a_broker_may_not_send_is_a_fault_of_its() {
    let mut early = Flows::new(&options(Version::V5), Instant::now());
    early.received(&[0xD0, 0]);
    assert!(matches!(early.next_event(), Err(Failure::Protocol(_))));

    let unsuback = Packet::UnsubAck(UnsubAck {
        packet_id: NonZeroU16::MIN,
        properties: Properties::NONE,
        codes: &[0],
    });
    let mut flows = connected(Version::V5);
    receive(&mut flows, &unsuback);
    assert_eq!(flows.next_event().unwrap(), None);

    for bytes in [
        &[0xC0_u8, 0][..],
        &[0x00, 0],
        &[0x30, 0xFF, 0xFF, 0xFF, 0xFF],
        &[0x20, 3, 0, 0, 0],
    ] {
        let mut flows = connected(Version::V5);
        flows.received(bytes);
        assert!(
            matches!(flows.next_event(), Err(Failure::Protocol(_))),
            "{bytes:?}"
        );
    }
}
