//! Calls that wait for what becomes of them.

use std::mem;
use std::task::{Poll, Waker};

use midge_codec::QoS;
use slab::Slab;

use crate::Published;
use crate::error::{ConnectionError, PublishError, RequestError, SubscribeError, Unfinished};
use crate::event::Connected;
use crate::message::Message;

/// Names a call until its outcome has been taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket(usize);

/// What became of a call.
#[derive(Debug)]
pub(crate) enum Outcome {
    Connected(Result<Box<Connected>, ConnectionError>),
    Published(Result<Published, PublishError>),
    Subscribed(Result<Vec<QoS>, SubscribeError>),
    Unsubscribed(Result<(), SubscribeError>),
    Responded(Result<Message, RequestError>),
    Reauthenticated(Result<(), ConnectionError>),
    Disconnected(Result<(), Unfinished>),
}

/// What a ticket is for, so that the end of the client can be told in its terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Connect,
    Publish,
    Subscribe,
    Unsubscribe,
    Request,
    Reauthenticate,
    Disconnect,
}

enum Slot {
    Waiting(Call, Option<Waker>),
    /// Nobody wants to know any more.
    Abandoned,
    Done(Outcome),
}

#[derive(Default)]
pub(crate) struct Tickets(Slab<Slot>);

impl Tickets {
    pub(crate) fn issue(&mut self, call: Call) -> Ticket {
        Ticket(self.0.insert(Slot::Waiting(call, None)))
    }

    pub(super) fn complete(&mut self, ticket: Ticket, outcome: Outcome, wakers: &mut Vec<Waker>) {
        let Some(slot) = self.0.get_mut(ticket.0) else {
            return;
        };
        match mem::replace(slot, Slot::Done(outcome)) {
            Slot::Waiting(_, waker) => wakers.extend(waker),
            Slot::Abandoned => {
                self.0.try_remove(ticket.0);
            }
            done @ Slot::Done(_) => *slot = done,
        }
    }

    /// Takes the outcome, which ends the ticket; without one, `waker` is kept.
    pub(crate) fn poll(&mut self, ticket: Ticket, waker: &Waker) -> Poll<Outcome> {
        match self.0.get_mut(ticket.0) {
            Some(Slot::Waiting(_, known)) => {
                match known {
                    Some(known) => known.clone_from(waker),
                    None => *known = Some(waker.clone()),
                }
                Poll::Pending
            }
            _ => match self.0.try_remove(ticket.0) {
                Some(Slot::Done(outcome)) => Poll::Ready(outcome),
                _ => Poll::Pending,
            },
        }
    }

    /// Nobody wants the outcome. The call itself goes on.
    pub(crate) fn abandon(&mut self, ticket: Ticket) {
        match self.0.get_mut(ticket.0) {
            Some(slot @ Slot::Waiting(..)) => *slot = Slot::Abandoned,
            Some(Slot::Done(_)) => {
                self.0.try_remove(ticket.0);
            }
            Some(Slot::Abandoned) | None => {}
        }
    }

    /// The first CONNACK is here.
    pub(super) fn first_connected(&mut self, connected: &Connected, wakers: &mut Vec<Waker>) {
        for (_, slot) in &mut self.0 {
            if let Slot::Waiting(Call::Connect, waker) = slot {
                wakers.extend(waker.take());
                *slot = Slot::Done(Outcome::Connected(Ok(Box::new(connected.clone()))));
            }
        }
    }

    /// The client has ended: nothing that waits will come.
    pub(super) fn close(&mut self, error: &ConnectionError, wakers: &mut Vec<Waker>) {
        self.0.retain(|_, slot| !matches!(slot, Slot::Abandoned));
        for (_, slot) in &mut self.0 {
            let Slot::Waiting(call, waker) = slot else {
                continue;
            };
            if *call == Call::Disconnect {
                // It is told how that went.
                continue;
            }
            wakers.extend(waker.take());
            let closed = || Box::new(error.clone());
            *slot = Slot::Done(match call {
                Call::Connect => Outcome::Connected(Err(error.clone())),
                Call::Publish => Outcome::Published(Err(PublishError::Closed(closed()))),
                Call::Subscribe => Outcome::Subscribed(Err(SubscribeError::Closed(closed()))),
                Call::Unsubscribe => Outcome::Unsubscribed(Ok(())),
                Call::Request => {
                    Outcome::Responded(Err(RequestError::Publish(PublishError::Closed(closed()))))
                }
                Call::Reauthenticate => Outcome::Reauthenticated(Err(error.clone())),
                Call::Disconnect => Outcome::Disconnected(Ok(())),
            });
        }
    }
}
