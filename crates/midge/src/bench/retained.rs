//! Retained messages: stored, given to new subscribers, removed.

use std::time::Duration;

use midge_codec::PacketType;

use super::feed::{Message, publish_all};
use super::link::Link;
use super::load;
use super::party::{Incoming, Party, Received};
use super::phase::{Meter, Phases, memory, resident};
use super::plan::{Plan, Scenario};
use super::tally::{Seen, Tally};
use super::template::{Delivery, Stamp};
use crate::failure::Failure;

const TICK: Duration = Duration::from_millis(100);

/// Runs the three phases.
pub(crate) fn run(plan: &Plan) -> Result<Phases, Failure> {
    let Scenario::Retained {
        messages,
        subscribers,
    } = plan.scenario
    else {
        return Ok(Phases::default());
    };
    let count = u64::from(messages);
    let mut tally = Tally::default();
    let before = resident(plan);
    let meter = Meter::start(plan);
    publish_all(
        plan,
        &[count],
        |_, number| message(plan, number),
        &mut tally,
    )?;
    let store = meter.end("store", "message", count);
    let held = resident(plan);

    let mut readers = Readers {
        plan,
        seen: vec![Seen::default(); subscribers as usize],
        count,
        missing: count * u64::from(subscribers),
        tally,
    };
    let mut party = Party::new()?;
    let mut clients = Vec::new();
    for index in 0..subscribers {
        clients.push(load::connect(plan, 's', index)?);
    }
    let meter = Meter::start(plan);
    for mut client in clients {
        load::request(plan, &mut client, &plan.filters(0))?;
        let subscribe = client.flows.outbound().to_vec();
        let mut link = Link::from_parts(client.into_parts()?);
        link.send(&subscribe)?;
        party.add(link)?;
    }
    while readers.missing > 0 && !party.is_silent() {
        party.serve(TICK, &mut |index, incoming, answers| {
            readers.take(index, incoming, answers)
        })?;
    }
    let delivered = readers.tally.received;
    let deliver = meter.end("deliver", "message", delivered);
    readers.tally.lost = readers.missing;
    party.part();
    let mut tally = readers.tally;

    let meter = Meter::start(plan);
    let removal = |number| Message {
        stamp: None,
        ..message(plan, number)
    };
    let mut removed = Tally::default();
    publish_all(plan, &[count], |_, number| removal(number), &mut removed)?;
    let remove = meter.end("remove", "message", count);
    tally.unacknowledged += removed.unacknowledged;
    tally.bad_acks += removed.bad_acks;
    Ok(Phases {
        phases: vec![store, deliver, remove],
        tally,
        memory: memory([before, held, resident(plan)]),
        held: (count, "message"),
        ..Phases::default()
    })
}

fn message(plan: &Plan, number: u64) -> Message {
    Message {
        topic: plan.topic(u32::try_from(number).unwrap_or(u32::MAX)),
        retain: true,
        stamp: Some(Stamp {
            run: plan.run,
            publisher: 0,
            sequence: number,
            sent_nanos: 0,
        }),
    }
}

/// The subscribers, each of which is to get each message once.
struct Readers<'a> {
    plan: &'a Plan,
    seen: Vec<Seen>,
    count: u64,
    missing: u64,
    tally: Tally,
}

impl Readers<'_> {
    fn take(
        &mut self,
        index: usize,
        incoming: Incoming<'_>,
        answers: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let Incoming::Packet(received) = incoming else {
            return Err(Failure::Lost);
        };
        match received.kind {
            PacketType::Publish => self.message(index, &received, answers),
            PacketType::SubAck if received.body.last().is_some_and(|code| *code <= 2) => Ok(()),
            PacketType::SubAck => Err(Failure::Other(
                "The broker refused a subscription.".to_owned(),
            )),
            PacketType::PubRel => {
                received.acknowledge(0, answers);
                Ok(())
            }
            _ => Err(received.unexpected()),
        }
    }

    fn message(
        &mut self,
        index: usize,
        received: &Received<'_>,
        answers: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let delivery = Delivery::read(received.first, self.plan.connect.version, received.body);
        let Some(delivery) = delivery else {
            return Err(Failure::Protocol("PUBLISH is malformed".to_owned()));
        };
        received.acknowledge(delivery.packet_id, answers);
        self.tally.received += 1;
        let is_retained = received.first & 1 == 1;
        let number = Stamp::read(delivery.payload)
            .filter(|stamp| {
                stamp.run == self.plan.run
                    && stamp.sequence < self.count
                    && is_retained
                    && delivery.payload.len() == self.plan.payload
                    && delivery.topic == message(self.plan, stamp.sequence).topic.as_bytes()
            })
            .map(|stamp| stamp.sequence);
        let (Some(number), Some(seen)) = (number, self.seen.get_mut(index)) else {
            self.tally.misrouted += 1;
            return Ok(());
        };
        if seen.insert(number) {
            self.missing -= 1;
        } else {
            self.tally.duplicates += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::plan::{Request, parse};
    use crate::options::RETAINED;
    use midge_codec::{Properties, Publish, QoS};

    fn take(readers: &mut Readers<'_>, index: usize, retain: bool, number: u64, topic: &str) {
        let mut payload = vec![b'.'; 128];
        let stamp = message(readers.plan, number).stamp.unwrap();
        payload[..24].copy_from_slice(&stamp.bytes());
        let mut bytes = Vec::new();
        Publish {
            dup: false,
            qos: QoS::AtMostOnce,
            retain,
            topic,
            packet_id: None,
            properties: Properties::NONE,
            payload: &payload,
        }
        .encode(readers.plan.connect.version, &mut bytes)
        .unwrap();
        let header = midge_codec::Header::peek(&bytes).unwrap().unwrap();
        let received = Received {
            kind: PacketType::Publish,
            first: header.first,
            body: header.body(&bytes).unwrap(),
        };
        readers
            .take(index, Incoming::Packet(received), &mut Vec::new())
            .unwrap();
    }

    #[test]
    fn each_subscriber_gets_each_message_once() {
        let Ok(Request::Run(plan)) = parse(&RETAINED, Vec::new()) else {
            panic!("no plan");
        };
        let mut readers = Readers {
            plan: &plan,
            seen: vec![Seen::default(); 2],
            count: 2,
            missing: 4,
            tally: Tally::default(),
        };
        let topics = [plan.topic(0), plan.topic(1)];
        take(&mut readers, 0, true, 1, &topics[1]);
        take(&mut readers, 0, true, 0, &topics[0]);
        take(&mut readers, 1, true, 1, &topics[1]);
        assert_eq!((readers.missing, readers.tally.received), (1, 3));
        take(&mut readers, 1, true, 1, &topics[1]);
        assert_eq!((readers.missing, readers.tally.duplicates), (1, 1));
        take(&mut readers, 1, true, 0, &topics[1]);
        take(&mut readers, 1, false, 0, &topics[0]);
        take(&mut readers, 1, true, 2, &plan.topic(2));
        assert_eq!((readers.missing, readers.tally.misrouted), (1, 3));
    }
}
