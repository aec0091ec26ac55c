//! Messages are accepted: at once, when there is room, or not at all.

use std::mem;
use std::task::{Poll, Waker};

use midge_codec::QoS;
use midge_proto::Time;

use super::held::{Draft, Held, Outward};
use super::sending::OUTBOUND_HIGH;
use super::tickets::Call;
use super::{Core, State, Ticket};
use crate::Published;
use crate::error::PublishError;
use crate::options::QueueFull;

/// How a message was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accepted {
    /// It will be told by this ticket what becomes of it.
    Ticket(Ticket),
    /// The durable queue has to take it first, which `stored` tells; `delivery` tells the rest.
    Storing { stored: Ticket, delivery: Ticket },
    /// It is among the bytes for the connection, and its part is done when they are sent.
    Written(Written),
}

/// A place among the bytes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    pub(super) epoch: u32,
    pub(super) position: u64,
}

/// Why a message was not accepted.
#[derive(Debug)]
pub(crate) enum Rejected {
    /// There is no room now; the draft is as it was.
    Full,
    Error(PublishError),
}

impl From<PublishError> for Rejected {
    fn from(error: PublishError) -> Self {
        Self::Error(error)
    }
}

impl Core {
    /// Accepts a message. After [`Rejected::Full`] the draft is unchanged.
    pub(crate) fn publish(
        &mut self,
        now: Time,
        draft: &mut Draft<'_>,
    ) -> Result<Accepted, Rejected> {
        if let State::Closed(error) = &self.state {
            return Err(PublishError::Closed(Box::new(error.clone())).into());
        }
        if self.shutdown.is_some() {
            let closed = Box::new(crate::ConnectionError::Closed);
            return Err(PublishError::Closed(closed).into());
        }
        draft.check(self.options.version)?;
        if self.journal.is_some() && draft.qos != QoS::AtMostOnce {
            if self.is_connected() {
                self.check_terms(draft.qos, draft.retain)?;
            }
            return self.store(now, draft);
        }
        if !self.is_connected() {
            return self.enqueue(now, draft);
        }
        self.check_terms(draft.qos, draft.retain)?;
        let at_once = self.queue.is_empty() && self.outbound.pending() < OUTBOUND_HIGH;
        if draft.qos != QoS::AtMostOnce {
            if !at_once || !self.outgoing.has_room(self.window()) {
                return self.enqueue(now, draft);
            }
            self.make_room(draft.size())?;
            let held = self.hold(now, draft);
            let ticket = held.ticket;
            self.start(now, held);
            return Ok(Accepted::Ticket(ticket));
        }
        if !at_once {
            return self.enqueue(now, draft);
        }
        let message = Outward {
            topic: &draft.topic,
            payload: &draft.payload,
            properties: draft.properties.as_deref(),
            qos: draft.qos,
            retain: draft.retain,
            dup: false,
            packet_id: None,
            expiry_secs: draft
                .properties
                .as_ref()
                .and_then(|list| list.expiry.map(crate::options::seconds)),
        };
        self.put(&message)?;
        Ok(Accepted::Written(Written {
            epoch: self.outbound.epoch,
            position: self.outbound.end(),
        }))
    }

    fn enqueue(&mut self, now: Time, draft: &mut Draft<'_>) -> Result<Accepted, Rejected> {
        self.make_room(draft.size())?;
        let held = self.hold(now, draft);
        let ticket = held.ticket;
        self.queue.push_back(held);
        Ok(Accepted::Ticket(ticket))
    }

    /// Sees to it that a message of this size may be held.
    pub(super) fn make_room(&mut self, size: usize) -> Result<(), Rejected> {
        while !self.fits(size) {
            match self.options.queue_full {
                QueueFull::Wait => return Err(Rejected::Full),
                QueueFull::Refuse => return Err(PublishError::QueueFull.into()),
                QueueFull::DropOldest => {
                    let Some(oldest) = self.queue.pop_front() else {
                        return Err(PublishError::QueueFull.into());
                    };
                    self.give_up(oldest, PublishError::Dropped);
                }
            }
        }
        Ok(())
    }

    fn fits(&self, size: usize) -> bool {
        let held = self.unfinished();
        held == 0
            || held < self.options.queue_messages_max
                && self.held_bytes + size <= self.options.queue_bytes_max
    }

    pub(super) fn hold(&mut self, now: Time, draft: &mut Draft<'_>) -> Held {
        let size = draft.size();
        self.held_bytes += size;
        let properties = draft.properties.take();
        let expiry = properties.as_ref().and_then(|list| list.expiry);
        Held {
            topic: mem::take(&mut draft.topic).into(),
            payload: mem::take(&mut draft.payload),
            qos: draft.qos,
            retain: draft.retain,
            expires: match expiry {
                Some(expiry) if self.options.version.has_properties() => now + expiry,
                _ => Time::NEVER,
            },
            ticket: self.tickets.issue(Call::Publish),
            size,
            key: 0,
            properties,
        }
    }

    /// Waits for room in the queue; `id` names the waiter from its first call on.
    pub(crate) fn wait_for_room(&mut self, id: &mut Option<u64>, waker: &Waker) {
        let id = *id.get_or_insert_with(|| {
            self.last_waiter += 1;
            self.last_waiter
        });
        match self.room_waiters.iter_mut().find(|(known, _)| *known == id) {
            Some((_, known)) => known.clone_from(waker),
            None => self.room_waiters.push_back((id, waker.clone())),
        }
    }

    /// The waiter gives up, or was woken and has no use for the room: the next one is woken.
    pub(crate) fn stop_waiting_for_room(&mut self, id: u64) {
        self.room_waiters.retain(|(known, _)| *known != id);
        self.room_made();
    }

    /// Wakes as many waiters as there is room for.
    pub(super) fn room_made(&mut self) {
        if self.room_waiters.is_empty() || !self.fits(0) {
            return;
        }
        let free = self
            .options
            .queue_messages_max
            .saturating_sub(self.unfinished());
        let count = free.clamp(1, 64).min(self.room_waiters.len());
        let woken = self.room_waiters.drain(..count);
        self.wakers.extend(woken.map(|(_, waker)| waker));
    }

    /// Whether bytes have gone; until then `ticket` is set to what tells of it.
    pub(crate) fn poll_written(
        &mut self,
        written: Written,
        ticket: &mut Option<Ticket>,
    ) -> Poll<Result<Published, PublishError>> {
        if written.epoch != self.outbound.epoch {
            return Poll::Ready(Err(PublishError::Lost));
        }
        if written.position <= self.outbound.written {
            return Poll::Ready(Ok(Published::default()));
        }
        if let State::Closed(error) = &self.state {
            let closed = Box::new(error.clone());
            return Poll::Ready(Err(PublishError::Closed(closed)));
        }
        let issued = self.tickets.issue(Call::Publish);
        *ticket = Some(issued);
        let awaited = &mut self.outbound.awaited;
        let at = awaited.partition_point(|(position, _)| *position <= written.position);
        awaited.insert(at, (written.position, issued));
        Poll::Pending
    }
}
