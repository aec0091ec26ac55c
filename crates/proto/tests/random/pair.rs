//! A client and a server exchange messages over a connection that breaks whenever it likes.

use std::collections::{BTreeSet, VecDeque};
use std::num::NonZeroU16;

use midge_codec::{Ack, AckKind, Header, Packet, Properties, Publish, QoS, ReasonCode, Version};
use midge_proto::{Acked, Connection, Incoming, Outgoing, Resend};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// A message is its QoS and a number that rises from message to message.
type Message = (QoS, u32);

/// One end with its session, which lasts, and its connection, which does not.
struct End {
    version: Version,
    outgoing: Outgoing<Message>,
    incoming: Incoming<Message>,
    /// Messages that wait for room in the window.
    queue: VecDeque<Message>,
    delivered: Vec<Message>,
    connection: Connection,
    /// The other end's.
    receive_maximum: u16,
    /// Identifiers of PUBLISHes of this connection that are unfinished.
    under_way: BTreeSet<NonZeroU16>,
    /// On the way to the other end.
    wire: Vec<u8>,
    /// Arrived, and no whole packet yet.
    arrived: Vec<u8>,
}

impl End {
    fn new(version: Version, connection: Connection) -> Self {
        Self {
            version,
            outgoing: Outgoing::default(),
            incoming: Incoming::default(),
            queue: VecDeque::new(),
            delivered: Vec::new(),
            connection,
            receive_maximum: 3,
            under_way: BTreeSet::new(),
            wire: Vec::new(),
            arrived: Vec::new(),
        }
    }

    fn reconnected(&mut self, connection: Connection, receive_maximum: u16) {
        self.outgoing.disconnected();
        self.connection = connection;
        self.connection.connected(self.version, false);
        self.receive_maximum = receive_maximum;
        self.under_way.clear();
        self.wire.clear();
        self.arrived.clear();
        self.pump();
    }

    fn send(&mut self, packet: &Packet<'_>) {
        packet.encode(self.version, &mut self.wire).unwrap();
    }

    fn publish(&mut self, (qos, number): Message, packet_id: Option<NonZeroU16>, dup: bool) {
        self.under_way.extend(packet_id);
        assert!(
            self.under_way.len() <= usize::from(self.receive_maximum),
            "MQTT5-4.9.0-2"
        );
        self.send(&Packet::Publish(Publish {
            dup,
            qos,
            retain: false,
            topic: "t",
            packet_id,
            properties: Properties::NONE,
            payload: &number.to_be_bytes(),
        }));
    }

    fn acknowledge(&mut self, kind: AckKind, id: NonZeroU16) {
        self.send(&Packet::Ack(kind, Ack::new(id, ReasonCode::SUCCESS)));
    }

    /// Sends what may be sent.
    fn pump(&mut self) {
        while let Some(resend) = self.outgoing.next_resend(self.receive_maximum) {
            match resend {
                Resend::Publish(id, qos, message) => {
                    let message = *message;
                    assert_eq!(qos, message.0);
                    self.publish(message, Some(id), true);
                }
                Resend::PubRel(id) => self.acknowledge(AckKind::PubRel, id),
            }
        }
        while let Some(message) = self.queue.front().copied() {
            let mut id = None;
            if message.0 > QoS::AtMostOnce {
                if !self.outgoing.has_room(self.receive_maximum) {
                    break;
                }
                id = Some(self.outgoing.push(message.0, message).unwrap());
            }
            self.queue.pop_front();
            self.publish(message, id, false);
        }
    }

    /// Takes bytes from the other end.
    fn receive(&mut self, bytes: &[u8]) {
        self.arrived.extend_from_slice(bytes);
        while let Some(header) = Header::peek(&self.arrived).unwrap() {
            let arrived = std::mem::take(&mut self.arrived);
            let Some(body) = header.body(&arrived) else {
                self.arrived = arrived;
                break;
            };
            let kind = self.connection.admit(&header).unwrap();
            let packet = self.connection.decode(kind, &header, body).unwrap();
            self.handle(&packet);
            self.arrived = arrived[header.packet_length()..].to_vec();
        }
    }

    fn handle(&mut self, packet: &Packet<'_>) {
        match packet {
            Packet::Publish(publish) => {
                let number = u32::from_be_bytes(publish.payload.try_into().unwrap());
                let message = (publish.qos, number);
                match (publish.qos, publish.packet_id) {
                    (QoS::ExactlyOnce, Some(id)) => {
                        match self.incoming.get_mut(id) {
                            Some(known) => assert_eq!(*known, message, "it is the same message"),
                            None => assert_eq!(self.incoming.insert(id, message), None),
                        }
                        self.acknowledge(AckKind::PubRec, id);
                    }
                    (_, Some(id)) => {
                        self.delivered.push(message);
                        self.acknowledge(AckKind::PubAck, id);
                    }
                    (_, None) => self.delivered.push(message),
                }
            }
            Packet::Ack(AckKind::PubRel, ack) => {
                self.delivered.extend(self.incoming.release(ack.packet_id));
                self.acknowledge(AckKind::PubComp, ack.packet_id);
            }
            Packet::Ack(kind, ack) => {
                let id = ack.packet_id;
                match self.outgoing.acknowledge(*kind, id, false) {
                    Acked::Finished(_) => {
                        self.under_way.remove(&id);
                        self.pump();
                    }
                    Acked::Release(_) => self.acknowledge(AckKind::PubRel, id),
                    acked @ (Acked::Unknown | Acked::Mismatch) => panic!("{kind:?}: {acked:?}"),
                }
            }
            other => panic!("{other:?}"),
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Event {
    /// An end, 0 or 1, has a message.
    Publish(usize, QoS),
    /// So many bytes of an end arrive at the other.
    Arrive(usize, usize),
    /// The connection is lost with all that is on its way; the next one has these receive maxima.
    Reconnect(u16, u16),
}

fn event() -> impl Strategy<Value = Event> {
    let qos = select(vec![QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce]);
    prop_oneof![
        8 => (0..2_usize, qos).prop_map(|(end, qos)| Event::Publish(end, qos)),
        20 => (0..2_usize, 1..40_usize).prop_map(|(end, bytes)| Event::Arrive(end, bytes)),
        1 => (1..6_u16, 1..6_u16).prop_map(|(one, other)| Event::Reconnect(one, other)),
    ]
}

struct Pair {
    ends: [End; 2],
    published: [Vec<Message>; 2],
}

impl Pair {
    fn new(version: Version) -> Self {
        let client = End::new(version, Connection::client(version, false));
        let server = End::new(version, Connection::server());
        let mut pair = Self {
            ends: [client, server],
            published: [Vec::new(), Vec::new()],
        };
        pair.happen(Event::Reconnect(3, 3));
        pair
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Publish(end, qos) => {
                let message = (qos, u32::try_from(self.published[end].len()).unwrap());
                self.published[end].push(message);
                self.ends[end].queue.push_back(message);
                self.ends[end].pump();
            }
            Event::Arrive(from, count) => {
                let wire = &mut self.ends[from].wire;
                let bytes: Vec<_> = wire.drain(..count.min(wire.len())).collect();
                self.ends[1 - from].receive(&bytes);
            }
            Event::Reconnect(one, other) => {
                let version = self.ends[0].version;
                self.ends[0].reconnected(Connection::client(version, false), one);
                self.ends[1].reconnected(Connection::server(), other);
            }
        }
    }

    /// A last connection that does not break.
    fn finish(&mut self) {
        self.happen(Event::Reconnect(2, 2));
        while self.ends.iter().any(|end| !end.wire.is_empty()) {
            self.happen(Event::Arrive(0, usize::MAX));
            self.happen(Event::Arrive(1, usize::MAX));
        }
    }
}

fn of(messages: &[Message], qos: QoS) -> Vec<u32> {
    let wanted = messages.iter().filter(|message| message.0 == qos);
    wanted.map(|(_, number)| *number).collect()
}

/// The messages in the order in which each came first.
fn first_times(messages: Vec<u32>) -> Vec<u32> {
    let mut known = BTreeSet::new();
    let mut messages = messages;
    messages.retain(|number| known.insert(*number));
    messages
}

proptest! {
    #[test]
    fn every_promise_of_qos_holds_over_a_connection_that_breaks(
        version in select(Version::ALL.to_vec()),
        events in vec(event(), 0..400),
    ) {
        let mut pair = Pair::new(version);
        for event in events {
            pair.happen(event);
        }
        pair.finish();
        for (from, to) in [(0, 1), (1, 0)] {
            let (sender, published) = (&pair.ends[from], &pair.published[from]);
            let delivered = &pair.ends[to].delivered;
            prop_assert!(sender.outgoing.is_empty() && sender.queue.is_empty());
            prop_assert!(sender.incoming.is_empty());

            let at_most_once = of(delivered, QoS::AtMostOnce);
            prop_assert!(at_most_once.is_sorted_by(|a, b| a < b), "no duplicate, in order");

            // [MQTT5-4.3.2-3], [MQTT5-4.6.0-1], [MQTT311-4.3.2-1], [MQTT311-4.6.0-1]
            let at_least_once = first_times(of(delivered, QoS::AtLeastOnce));
            prop_assert_eq!(at_least_once, of(published, QoS::AtLeastOnce));

            // [MQTT5-4.3.3-10], [MQTT5-4.4.0-1], [MQTT311-4.3.3-2], [MQTT311-4.4.0-1]
            let exactly_once = of(delivered, QoS::ExactlyOnce);
            prop_assert_eq!(exactly_once, of(published, QoS::ExactlyOnce));
        }
    }
}
