//! Sessions that are away while messages are queued for them, and then come back.

use std::time::{Duration, Instant};

use midge_codec::PacketType;

use super::feed::{Message, publish_all};
use super::link::Link;
use super::load;
use super::party::{Incoming, Party, Received};
use super::phase::{Meter, Phases, memory, resident};
use super::plan::{Plan, Scenario};
use super::tally::{Flow, Receipt, Tally};
use super::template::{Delivery, Stamp};
use crate::failure::Failure;

const TICK: Duration = Duration::from_millis(100);
const FAREWELL: Duration = Duration::from_secs(10);

/// How long a session outlives a run that was broken off, in seconds. 3.x sessions cannot say.
const SESSION_EXPIRY: u32 = 3600;

/// Runs the phases.
pub(crate) fn run(plan: &Plan) -> Result<Phases, Failure> {
    let Scenario::Offline {
        sessions,
        messages,
        publishers,
    } = plan.scenario
    else {
        return Ok(Phases::default());
    };
    let mut persistent = plan.clone();
    persistent.connect.clean_start = false;
    persistent.connect.session_expiry_secs = Some(SESSION_EXPIRY);
    for index in 0..sessions {
        let mut client = load::connect(&persistent, 's', index)?;
        load::subscribe(plan, &mut client, &plan.filters(index))?;
        client.disconnect(Instant::now() + FAREWELL)?;
    }
    let count = u64::from(sessions) * u64::from(messages);
    let mut tally = Tally::default();
    let before = resident(plan);
    let meter = Meter::start(plan);
    let publishers = publishers.min(sessions);
    let share = |publisher| u64::from(sessions_of(sessions, publishers, publisher));
    let counts: Vec<u64> = (0..publishers)
        .map(|publisher| share(publisher) * u64::from(messages))
        .collect();
    let message = |publisher: usize, number| {
        let publisher = u32::try_from(publisher).unwrap_or_default();
        message(plan, publishers, publisher, number)
    };
    publish_all(plan, &counts, message, &mut tally)?;
    let queue = meter.end("queue", "message", count);
    let held = resident(plan);

    let mut readers = Readers {
        plan,
        flows: vec![Flow::default(); sessions as usize],
        messages: u64::from(messages),
        missing: count,
        tally,
    };
    let mut party = Party::new()?;
    let meter = Meter::start(plan);
    for index in 0..sessions {
        let client = load::connect(&persistent, 's', index)?;
        party.add(Link::from_parts(client.into_parts()?))?;
    }
    while readers.missing > 0 && !party.is_silent() {
        party.serve(TICK, &mut |index, incoming, answers| {
            readers.take(index, incoming, answers)
        })?;
    }
    let drain = meter.end("drain", "message", readers.tally.received);
    for flow in &readers.flows {
        readers.tally.lost += flow.lost(u64::from(messages));
    }
    party.part();
    let end = resident(plan);
    for index in 0..sessions {
        // A clean start ends the session.
        load::connect(plan, 's', index)?.disconnect(Instant::now() + FAREWELL)?;
    }
    Ok(Phases {
        phases: vec![queue, drain],
        tally: readers.tally,
        memory: memory([before, held, end]),
        held: (count, "message"),
        ..Phases::default()
    })
}

/// How many sessions get their messages from this publisher: every so many-th.
const fn sessions_of(sessions: u32, publishers: u32, publisher: u32) -> u32 {
    (sessions - publisher).div_ceil(publishers)
}

/// A publisher's messages go round its sessions.
fn message(plan: &Plan, publishers: u32, publisher: u32, number: u64) -> Message {
    let sessions = u64::from(sessions_of(plan.subscribers(), publishers, publisher));
    let session = u32::try_from(number.checked_rem(sessions).unwrap_or_default());
    let session = publisher + publishers * session.unwrap_or_default();
    Message {
        topic: plan.topic(session),
        retain: false,
        stamp: Some(Stamp {
            run: plan.run,
            publisher: session,
            sequence: number.checked_div(sessions).unwrap_or_default(),
            sent_nanos: 0,
        }),
    }
}

/// The sessions, each of which is to get its own messages in their order.
struct Readers<'a> {
    plan: &'a Plan,
    flows: Vec<Flow>,
    /// Messages for each session.
    messages: u64,
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
        let stamp = Stamp::read(delivery.payload).filter(|stamp| {
            stamp.run == self.plan.run
                && usize::try_from(stamp.publisher).is_ok_and(|session| session == index)
                && stamp.sequence < self.messages
                && delivery.payload.len() == self.plan.payload
                && delivery.topic == self.plan.topic(stamp.publisher).as_bytes()
        });
        let (Some(stamp), Some(flow)) = (stamp, self.flows.get_mut(index)) else {
            self.tally.misrouted += 1;
            return Ok(());
        };
        match flow.receive(stamp.sequence) {
            Receipt::Forward => self.missing -= 1,
            Receipt::Late => {
                self.missing -= 1;
                self.tally.disordered += 1;
            }
            Receipt::Duplicate => self.tally.duplicates += 1,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::plan::{Request, parse};
    use crate::options::OFFLINE;
    use midge_codec::QoS;

    #[test]
    fn messages_go_round_the_sessions_in_order() {
        let line = ["--clients", "3"].map(Into::into).to_vec();
        let Ok(Request::Run(plan)) = parse(&OFFLINE, line) else {
            panic!("no plan");
        };
        assert_eq!(plan.qos, QoS::AtLeastOnce);
        let stamps: Vec<_> = (0..7)
            .map(|number| message(&plan, 1, 0, number).stamp.unwrap())
            .map(|stamp| (stamp.publisher, stamp.sequence))
            .collect();
        let expected = [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1), (0, 2)];
        assert_eq!(stamps, expected);
        assert_eq!(message(&plan, 1, 0, 5).topic, plan.topic(2));
        // With two publishers, the first has sessions 0 and 2.
        let of = |publisher, number| message(&plan, 2, publisher, number).stamp.unwrap();
        assert_eq!((of(0, 1).publisher, of(0, 2).sequence), (2, 1));
        assert_eq!((of(1, 1).publisher, of(1, 1).sequence), (1, 1));
    }
}
