//! Publishers that send a given number of messages each as fast as their windows allow.

use std::num::NonZeroU16;
use std::time::Duration;

use midge_codec::{PacketType, Properties, Publish, QoS};

use super::link::{Link, put_ack};
use super::load;
use super::party::{Incoming, Party, Received};
use super::plan::{Pace, Plan};
use super::tally::Tally;
use super::template::{STAMP_SIZE, Stamp, packet_id};
use crate::failure::Failure;

/// A message to be published.
pub(crate) struct Message {
    pub(crate) topic: String,
    pub(crate) retain: bool,
    /// `None` for an empty payload.
    pub(crate) stamp: Option<Stamp>,
}

/// How much a feed encodes before it writes.
const BLOCK: usize = 64 * 1024;

const TICK: Duration = Duration::from_millis(100);

/// A publisher with what it has sent and what of it has been acknowledged.
struct Feed {
    qos: QoS,
    count: u64,
    window: u64,
    next: u64,
    acked: u64,
    /// QoS 2: how many were answered by PUBREC.
    recorded: u64,
    /// QoS 0: the ping behind the last message was sent, and answered.
    pinged: bool,
    ponged: bool,
}

/// Connects a publisher for each of `counts`, publishes so many messages by each, and disconnects when
/// the broker has taken them all: QoS 0 is taken when a ping behind it is answered. `message` gives a
/// publisher's message by its number.
pub(crate) fn publish_all(
    plan: &Plan,
    counts: &[u64],
    message: impl Fn(usize, u64) -> Message,
    tally: &mut Tally,
) -> Result<(), Failure> {
    let window = match plan.pace {
        Pace::Closed { window } => u64::from(window),
        Pace::Open { .. } => u64::from(u16::MAX),
    };
    let mut party = Party::new()?;
    let mut feeds = Vec::new();
    for (number, count) in (0..).zip(counts) {
        let parts = load::connect(plan, 'p', number)?.into_parts()?;
        feeds.push(Feed {
            qos: plan.qos,
            count: *count,
            window: window.min(u64::from(parts.receive_maximum)).max(1),
            next: 0,
            acked: 0,
            recorded: 0,
            pinged: false,
            ponged: false,
        });
        // The first is number 0 here too.
        party.add(Link::from_parts(parts))?;
    }
    let mut payload = vec![b'.'; plan.payload];
    let mut block = Vec::with_capacity(2 * BLOCK);
    // Those that have to be looked at.
    let mut awake: Vec<usize> = (0..feeds.len()).collect();
    let mut left = feeds.len();
    while left > 0 && !party.is_silent() {
        for index in std::mem::take(&mut awake) {
            let (Some(feed), Some(link)) = (feeds.get_mut(index), party.link(index)) else {
                continue;
            };
            let message = |number| message(index, number);
            while link.is_flushed() && feed.fill(plan, &mut block, &mut payload, message)? {
                link.send(&block)?;
                block.clear();
            }
            if !link.is_flushed() {
                awake.push(index);
            }
        }
        party.serve(TICK, &mut |index, incoming, answers| {
            let Incoming::Packet(received) = incoming else {
                return Err(Failure::Lost);
            };
            let Some(feed) = feeds.get_mut(index) else {
                return Ok(());
            };
            let fits = feed.take(&received, answers)?;
            tally.bad_acks += u64::from(!fits);
            if feed.is_done() {
                left -= 1;
            } else if awake.last() != Some(&index) {
                awake.push(index);
            }
            Ok(())
        })?;
    }
    party.part();
    for feed in feeds {
        tally.sent += feed.next;
        if !feed.is_done() {
            tally.unacknowledged += feed.next - feed.acked;
        }
    }
    Ok(())
}

impl Feed {
    fn is_done(&self) -> bool {
        match self.qos {
            QoS::AtMostOnce => self.ponged,
            QoS::AtLeastOnce | QoS::ExactlyOnce => self.acked >= self.count,
        }
    }

    /// How many messages may be sent now. Half a window at once costs both sides less than crumbs would.
    fn allowance(&self) -> u64 {
        let left = self.count - self.next;
        if self.qos == QoS::AtMostOnce {
            return left;
        }
        let room = self.window.saturating_sub(self.next - self.acked);
        if room * 2 >= self.window {
            room.min(left)
        } else {
            0
        }
    }

    /// Encodes what may be sent now, up to a block; whether that is anything.
    fn fill(
        &mut self,
        plan: &Plan,
        block: &mut Vec<u8>,
        payload: &mut [u8],
        message: impl Fn(u64) -> Message,
    ) -> Result<bool, Failure> {
        let mut allowance = self.allowance();
        while allowance > 0 && block.len() < BLOCK {
            let Message {
                topic,
                retain,
                stamp,
            } = message(self.next);
            let payload = match stamp {
                None => &[][..],
                Some(stamp) => {
                    if let Some(place) = payload.get_mut(..STAMP_SIZE) {
                        place.copy_from_slice(&stamp.bytes());
                    }
                    &*payload
                }
            };
            Publish {
                dup: false,
                qos: self.qos,
                retain,
                topic: &topic,
                packet_id: NonZeroU16::new(packet_id(self.next))
                    .filter(|_| self.qos != QoS::AtMostOnce),
                properties: Properties::NONE,
                payload,
            }
            .encode(plan.connect.version, block)?;
            self.next += 1;
            allowance -= 1;
        }
        if self.qos == QoS::AtMostOnce && self.next == self.count && !self.pinged {
            self.pinged = true;
            block.extend_from_slice(&[PacketType::PingReq.first_byte(), 0]);
        }
        Ok(!block.is_empty())
    }

    /// Takes an answer; whether it is the one that is due. They come in the order of the messages
    /// (`[MQTT5-4.6.0-2]` to `[MQTT5-4.6.0-4]`).
    fn take(&mut self, received: &Received<'_>, answers: &mut Vec<u8>) -> Result<bool, Failure> {
        let awaited = match received.kind {
            PacketType::PubAck | PacketType::PubComp => &mut self.acked,
            PacketType::PubRec => &mut self.recorded,
            PacketType::PingResp => {
                self.ponged = self.pinged;
                return Ok(self.pinged);
            }
            _ => return Err(received.unexpected()),
        };
        let fits =
            *awaited < self.next && packet_id(*awaited) == received.id() && !received.is_failure();
        *awaited += 1;
        if received.kind == PacketType::PubRec {
            put_ack(PacketType::PubRel, received.id(), answers);
        }
        Ok(fits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(qos: QoS, count: u64, window: u64) -> Feed {
        Feed {
            qos,
            count,
            window,
            next: 0,
            acked: 0,
            recorded: 0,
            pinged: false,
            ponged: false,
        }
    }

    fn take(feed: &mut Feed, packet: &[u8], answers: &mut Vec<u8>) -> Result<bool, Failure> {
        let header = midge_codec::Header::peek(packet).unwrap().unwrap();
        let received = Received {
            kind: header.packet_type().unwrap(),
            first: header.first,
            body: header.body(packet).unwrap(),
        };
        feed.take(&received, answers)
    }

    #[test]
    fn a_window_is_used_when_half_of_it_is_free() {
        let mut feed = feed(QoS::AtLeastOnce, 100, 10);
        assert_eq!(feed.allowance(), 10);
        feed.next = 10;
        feed.acked = 4;
        assert_eq!(feed.allowance(), 0);
        feed.acked = 5;
        assert_eq!(feed.allowance(), 5);
        (feed.next, feed.acked) = (98, 98);
        assert_eq!(feed.allowance(), 2);
    }

    #[test]
    fn qos_0_is_done_when_the_ping_behind_it_is_answered() {
        let mut feed = feed(QoS::AtMostOnce, 2, 10);
        let mut answers = Vec::new();
        assert!(!take(&mut feed, &[0xD0, 0], &mut answers).unwrap());
        assert!(!feed.is_done());
        feed.pinged = true;
        assert!(take(&mut feed, &[0xD0, 0], &mut answers).unwrap());
        assert!(feed.is_done());
    }

    #[test]
    fn qos_2_goes_its_four_steps_in_order() {
        let mut feed = feed(QoS::ExactlyOnce, 2, 10);
        feed.next = 2;
        let mut answers = Vec::new();
        assert!(take(&mut feed, &[0x50, 2, 0, 1], &mut answers).unwrap());
        assert_eq!(answers, [0x62, 2, 0, 1]);
        assert!(take(&mut feed, &[0x70, 2, 0, 1], &mut answers).unwrap());
        assert!(!take(&mut feed, &[0x50, 2, 0, 1], &mut answers).unwrap());
        assert!(!take(&mut feed, &[0x70, 3, 0, 2, 0x92], &mut answers).unwrap());
        assert!(take(&mut feed, &[0x90, 3, 0, 1, 0], &mut answers).is_err());
    }
}
