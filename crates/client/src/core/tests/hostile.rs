//! A broker that sends what it likes: whole packets in the wrong place, and packets that were changed on
//! their way.

use super::*;
use midge_codec::{
    Ack, AckKind, Auth, ConnAck, Disconnect, Packet, Properties, Property, Publish, ReasonCode,
    SubAck, UnsubAck,
};

/// The next number below a bound.
fn below(random: &mut Random, bound: usize) -> usize {
    usize::try_from(random.next() % bound as u64).unwrap()
}

/// One of a few identifiers, so that some of them mean something.
fn identifier(random: &mut Random) -> NonZeroU16 {
    let all = [1, 2, 3, 4, 5, 65_533, 65_534, 65_535];
    NonZeroU16::new(all[below(random, all.len())]).unwrap()
}

fn put_packet(random: &mut Random, version: Version, bytes: &mut Vec<u8>) {
    let id = identifier(random);
    let all = [
        Property::TopicAlias(u16::try_from(below(random, 40)).unwrap() + 1),
        Property::SubscriptionIdentifier(1),
        Property::SubscriptionIdentifier(2),
        Property::ContentType("text"),
        Property::ResponseTopic("answers"),
        Property::CorrelationData(b"data"),
        Property::UserProperty("name", "value"),
        Property::MessageExpiryInterval(60),
    ];
    let mut list = Vec::new();
    if version == Version::V5 {
        list.extend(all.into_iter().filter(|_| random.next().is_multiple_of(4)));
    }
    let codes = vec![[0, 1, 2, 0x80][below(random, 4)]; below(random, 3) + 1];
    let reason = [
        ReasonCode::SUCCESS,
        ReasonCode::NO_MATCHING_SUBSCRIBERS,
        ReasonCode::QUOTA_EXCEEDED,
        ReasonCode::PACKET_IDENTIFIER_NOT_FOUND,
    ][below(random, 4)];
    let payload = vec![b'x'; below(random, 300)];
    let packet = match below(random, 16) {
        0..7 => {
            let qos = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][below(random, 3)];
            let topics = ["a/b", "a/c", "answers", "other", ""];
            Packet::Publish(Publish {
                dup: qos != QoS::AtMostOnce && random.next().is_multiple_of(2),
                qos,
                retain: random.next().is_multiple_of(2),
                topic: topics[below(random, topics.len())],
                packet_id: (qos != QoS::AtMostOnce).then_some(id),
                properties: Properties::from_list(&list),
                payload: &payload,
            })
        }
        7 => Packet::Ack(AckKind::PubAck, Ack::new(id, reason)),
        8 => Packet::Ack(AckKind::PubRec, Ack::new(id, reason)),
        9 => Packet::Ack(AckKind::PubRel, Ack::new(id, ReasonCode::SUCCESS)),
        10 => Packet::Ack(AckKind::PubComp, Ack::new(id, ReasonCode::SUCCESS)),
        11 => Packet::SubAck(SubAck {
            packet_id: id,
            properties: Properties::NONE,
            codes: &codes,
        }),
        12 => Packet::UnsubAck(UnsubAck {
            packet_id: id,
            properties: Properties::NONE,
            codes: &codes,
        }),
        13 => Packet::PingResp,
        14 if version == Version::V5 && random.next().is_multiple_of(4) => Packet::Auth(Auth {
            reason: ReasonCode::CONTINUE_AUTHENTICATION,
            properties: Properties::from_list(&[Property::AuthenticationMethod("M")]),
        }),
        15 if random.next().is_multiple_of(8) => {
            Packet::Disconnect(Disconnect::new(ReasonCode::SERVER_BUSY))
        }
        _ => Packet::PingResp,
    };
    let _ = packet.encode(version, bytes);
}

fn put_connack(random: &mut Random, version: Version, bytes: &mut Vec<u8>) {
    let all = [
        Property::ReceiveMaximum(1),
        Property::TopicAliasMaximum(2),
        Property::MaximumPacketSize(60),
        Property::MaximumQos(1),
        Property::RetainAvailable(0),
        Property::ServerKeepAlive(0),
        Property::AssignedClientIdentifier("chosen"),
        Property::SessionExpiryInterval(0),
        Property::SubscriptionIdentifierAvailable(0),
    ];
    let mut list = Vec::new();
    if version == Version::V5 {
        list.extend(all.into_iter().filter(|_| random.next().is_multiple_of(4)));
    }
    let connack = Packet::ConnAck(ConnAck {
        session_present: random.next().is_multiple_of(2),
        reason: ReasonCode::SUCCESS,
        properties: Properties::from_list(&list),
    });
    connack.encode(version, bytes).unwrap();
}

/// Changes bytes here and there, or leaves some out, or has some twice.
fn mutate(random: &mut Random, bytes: &mut Vec<u8>) {
    if bytes.is_empty() {
        return;
    }
    for _ in 0..below(random, 4) {
        let at = below(random, bytes.len());
        let end = (at + below(random, 6)).min(bytes.len());
        match below(random, 4) {
            0 => bytes[at] ^= 1 << below(random, 8),
            1 => bytes[at] = [0, 1, 0x7F, 0x80, 0xFF][below(random, 5)],
            2 if bytes.len() > end - at => drop(bytes.drain(at..end)),
            _ => {
                let twice = bytes[at..end].to_vec();
                bytes.splice(at..at, twice);
            }
        }
    }
}

const PACKET_SIZE_MAX: u32 = 4096;
const INBOUND_BYTES_MAX: usize = 8192;
const RECEIVE_MAXIMUM: u16 = 8;

/// The application uses the client as if nothing were wrong.
fn use_client(random: &mut Random, world: &mut World, streams: &mut Vec<StreamKey>) {
    let qos = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][below(random, 3)];
    match below(random, 6) {
        0..2 => {
            let mut message = draft("out", "text", qos);
            message.retain = random.next().is_multiple_of(3);
            match world.core.publish(world.now, &mut message) {
                Ok(Accepted::Ticket(ticket)) => world.core.tickets().abandon(ticket),
                Ok(Accepted::Storing { stored, delivery }) => {
                    world.core.tickets().abandon(stored);
                    world.core.tickets().abandon(delivery);
                }
                Ok(Accepted::Written(_)) | Err(_) => {}
            }
        }
        2 if streams.len() < 4 && world.core.ending().is_none() => {
            let terms = StreamTerms {
                capacity: 3,
                overflow: [Overflow::Wait, Overflow::DropNewest, Overflow::DropOldest]
                    [below(random, 3)],
                ..TERMS
            };
            let (key, ticket) = world.subscribe_with(&["a/#", "a/b"], terms);
            world.core.tickets().abandon(ticket);
            streams.push(key);
        }
        3 => {
            if let Some(key) = streams.pop() {
                world.core.drop_stream(key, std::iter::empty(), None);
            }
        }
        4 => {
            let request = world.core.request(world.now, &mut draft("ask", "?", qos));
            if let Ok(ticket) = request {
                world.core.forget_request(ticket);
            }
        }
        _ => {
            for key in streams.iter() {
                let mut last = None;
                let _ = world.next(*key, &mut last);
                world.batch.clear();
                if let Some(sequence) = last {
                    world.core.acknowledge(sequence);
                }
            }
        }
    }
}

fn check_bounds(world: &World, seed: u64) {
    let core = &world.core;
    let most = 2 * INBOUND_BYTES_MAX + PACKET_SIZE_MAX as usize;
    assert!(core.streams.bytes <= most, "seed {seed}");
    if core.options.version == Version::V5 {
        assert!(core.receipts.len() <= RECEIVE_MAXIMUM.into(), "seed {seed}");
    }
    assert!(core.outbound.bytes.len() < 600 * 1024, "seed {seed}");
    if let Some(link) = &core.link {
        // A read may end in the midst of a packet.
        assert!(
            link.unread.len() < PACKET_SIZE_MAX as usize + 4096,
            "seed {seed}"
        );
    }
    assert!(core.unfinished() <= 50, "seed {seed}");
}

fn run(seed: u64) {
    let random = &mut Random(seed);
    let version = [Version::V5, Version::V5, Version::V3_1_1][below(random, 3)];
    let options = options()
        .version(version)
        .client_id("c")
        .clean_start(false)
        .packet_size_max(PACKET_SIZE_MAX)
        .inbound_bytes_max(INBOUND_BYTES_MAX)
        .receive_maximum(RECEIVE_MAXIMUM)
        .queue_max(50, 1 << 20)
        .queue_full(QueueFull::DropOldest);
    let mut world = World::new(options);
    let is_durable = random.next().is_multiple_of(2);
    if is_durable {
        world.core.restore(world.now, Vec::new());
    }
    let mut streams = Vec::new();
    let mut up = Vec::new();
    for _ in 0..300 {
        use_client(random, &mut world, &mut streams);
        if is_durable && let Poll::Ready(Some(records)) = world.core.next_records(Waker::noop()) {
            world.core.committed(world.now, records.len(), None);
        }
        let mut down = Vec::new();
        match world.core.duty(world.now) {
            Duty::Wait(until) => world.now = until,
            Duty::Dial(_) => {
                let credentials = Credentials::default();
                world.core.opened(world.now, &credentials, None);
                put_connack(random, version, &mut down);
            }
            Duty::Talk => {
                for _ in 0..below(random, 5) {
                    put_packet(random, version, &mut down);
                }
            }
            Duty::End => return,
        }
        if random.next().is_multiple_of(3) {
            mutate(random, &mut down);
        }
        let size = [1, 7, 100, 5000][below(random, 4)];
        for piece in down.chunks(size) {
            if world.core.wants_bytes() {
                world.core.received(world.now, piece);
            } else {
                world.core.resume(world.now);
            }
        }
        check_bounds(&world, seed);
        world.pass(Duration::from_millis(random.next() % 2000));
        let is_late = world.core.next_deadline() <= world.now && !world.core.tick(world.now);
        up.clear();
        world.core.take_outbound(&mut up);
        world.core.written(world.now, up.len());
        if is_late || world.core.is_to_close() || random.next().is_multiple_of(40) {
            world.core.lost(world.now, ConnectionError::ClosedByBroker);
        }
    }
}

#[test]
fn no_packets_of_a_broker_make_the_core_panic_or_grow() {
    for seed in 0..1500 {
        run(seed);
    }
}
