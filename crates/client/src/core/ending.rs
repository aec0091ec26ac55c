//! The end of a client: asked for, or because nothing else is left.

use std::mem;

use midge_codec::{Disconnect, Packet, Properties, Property, ReasonCode};
use midge_proto::{Outgoing, Time};

use super::journal::Journal;
use super::tickets::{self, Ticket};
use super::{Core, Event, Outcome, State};
use crate::error::{ConnectionError, SubscribeError, Unfinished};

/// An orderly end that has been asked for.
#[derive(Clone, Debug)]
pub(super) struct Shutdown {
    pub(super) deadline: Time,
    pub(super) farewell: Farewell,
    pub(super) ticket: Option<Ticket>,
}

/// What DISCONNECT says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Farewell {
    pub(crate) reason: ReasonCode,
    pub(crate) session_expiry_secs: Option<u32>,
}

impl Default for Farewell {
    fn default() -> Self {
        Self {
            reason: ReasonCode::SUCCESS,
            session_expiry_secs: None,
        }
    }
}

/// How many milliseconds DISCONNECT has to leave.
const FAREWELL: u64 = 1000;

impl Core {
    /// Ends the client: everybody who waits is told why.
    pub(crate) fn close(&mut self, error: ConnectionError) {
        if matches!(self.state, State::Closed(_)) {
            return;
        }
        self.state = State::Closed(error.clone());
        self.link = None;
        let unfinished = self.unfinished();
        self.queue.clear();
        self.outgoing = Outgoing::default();
        self.releasing.clear();
        self.outbound.awaited.clear();
        self.operations.clear();
        self.waiting_operations.clear();
        let farewell = self.shutdown.take().and_then(|shutdown| shutdown.ticket);
        if let Some(ticket) = farewell {
            let result = match unfinished {
                0 => Ok(()),
                messages => Err(Unfinished { messages }),
            };
            self.bid_farewell(ticket, Outcome::Disconnected(result));
        }
        self.wake_keeper();
        self.tickets.close(&error, &mut self.wakers);
        let end = SubscribeError::Closed(Box::new(error.clone()));
        self.streams.close(&end, &mut self.wakers);
        self.wakers
            .extend(self.room_waiters.drain(..).map(|(_, waker)| waker));
        self.tell(Event::Closed(error));
        self.rouse();
    }

    /// Why the client has ended, if it has.
    pub(crate) const fn ending(&self) -> Option<&ConnectionError> {
        match &self.state {
            State::Closed(error) => Some(error),
            _ => None,
        }
    }

    /// Begins an orderly end: what was accepted is delivered first, until `deadline`.
    pub(crate) fn shut_down(
        &mut self,
        now: Time,
        deadline: Time,
        farewell: Farewell,
        ticket: Option<Ticket>,
    ) {
        if matches!(self.state, State::Closed(_)) {
            if let Some(ticket) = ticket {
                self.complete(ticket, Outcome::Disconnected(Ok(())));
            }
            return;
        }
        if let Some(earlier) = &mut self.shutdown {
            // The last call is the one that counts; both hear of the end.
            earlier.deadline = deadline;
            earlier.farewell = farewell;
            if let Some(replaced) = mem::replace(&mut earlier.ticket, ticket) {
                self.complete(replaced, Outcome::Disconnected(Ok(())));
            }
        } else {
            self.shutdown = Some(Shutdown {
                deadline,
                farewell,
                ticket,
            });
        }
        self.check_shutdown(now);
        self.rouse();
    }

    /// Whether an end has been asked for.
    pub(crate) const fn is_shutting_down(&self) -> bool {
        self.shutdown.is_some()
    }

    /// A ticket for the end that is asked for with it.
    pub(crate) fn await_end(&mut self) -> Ticket {
        self.tickets.issue(tickets::Call::Disconnect)
    }

    pub(super) fn check_shutdown(&mut self, now: Time) {
        let Some(shutdown) = &self.shutdown else {
            return;
        };
        let farewell = shutdown.farewell;
        let out_of_time = shutdown.deadline <= now;
        if !(out_of_time || self.unfinished() == 0 && self.operations.is_empty()) {
            return;
        }
        match &self.link {
            Some(link) if link.closing.is_some() => {
                // Not even DISCONNECT leaves.
                if out_of_time {
                    self.close(ConnectionError::Closed);
                }
            }
            Some(_) if self.is_connected() => {
                if let Some(shutdown) = &mut self.shutdown {
                    shutdown.deadline = shutdown.deadline.max(now.plus_millis(FAREWELL));
                }
                self.send_disconnect(farewell);
                self.end_link(ConnectionError::Closed);
            }
            Some(_) | None => self.close(ConnectionError::Closed),
        }
    }

    pub(super) fn send_disconnect(&mut self, farewell: Farewell) {
        let mut list = Vec::new();
        // A session that nobody asked to keep is only kept for short outages.
        let expiry = match farewell.session_expiry_secs {
            None if self.options.session_expiry_secs.is_none() && self.options.clean_start => {
                Some(0)
            }
            given => given,
        };
        if let Some(seconds) = expiry {
            list.push(Property::SessionExpiryInterval(seconds));
        }
        self.send(Packet::Disconnect(Disconnect {
            reason: farewell.reason,
            properties: Properties::from_list(&list),
        }));
    }

    /// Lets what is queued go out, then has the connection closed.
    pub(super) fn end_link(&mut self, error: ConnectionError) {
        if let Some(link) = &mut self.link {
            link.closing.get_or_insert(error);
        }
        self.rouse();
    }

    /// How many messages are neither delivered nor given up.
    pub(crate) fn unfinished(&self) -> usize {
        let storing = self.journal.as_ref().map_or(0, Journal::storing);
        self.queue.len() + self.outgoing.len() + storing
    }
}
