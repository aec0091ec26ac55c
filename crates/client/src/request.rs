//! A request and its response as one call.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::core::{Outcome, Rejected, Ticket};
use crate::error::RequestError;
use crate::message::Message;
use crate::publish::Publish;
use crate::shared::Shared;

/// A request that is about to be sent. See [`Client::request`](crate::Client::request).
#[must_use = "nothing is sent until this is awaited"]
pub struct Request<'a>(pub(crate) Publish<'a>);

impl<'a> Request<'a> {
    /// The delivery that the request is promised; [`QoS::AtMostOnce`](crate::QoS::AtMostOnce) if not
    /// set.
    pub const fn qos(mut self, qos: crate::QoS) -> Self {
        self.0.draft.qos = qos;
        self
    }

    /// Everything else that a message can say. Response topic and correlation data are the client's.
    pub fn properties(self, properties: crate::MessageProperties) -> Self {
        Self(self.0.properties(properties))
    }
}

impl<'a> IntoFuture for Request<'a> {
    type Output = Result<Message, RequestError>;
    type IntoFuture = RequestFuture<'a>;

    fn into_future(self) -> RequestFuture<'a> {
        RequestFuture {
            publish: self.0,
            waiter: None,
            ticket: None,
        }
    }
}

/// Resolves with the response. It waits as long as it takes: put a time limit around it.
#[must_use = "nothing is sent until this is awaited"]
pub struct RequestFuture<'a> {
    publish: Publish<'a>,
    waiter: Option<u64>,
    ticket: Option<Ticket>,
}

impl RequestFuture<'_> {
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        self.publish.shared
    }
}

impl Future for RequestFuture<'_> {
    type Output = Result<Message, RequestError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Self {
            publish,
            waiter,
            ticket,
        } = &mut *self;
        let Publish { shared, draft } = publish;
        shared.with(|core, now| {
            let waiting = match *ticket {
                Some(waiting) => waiting,
                None => match core.request(now, draft) {
                    Ok(issued) => {
                        if let Some(waiter) = waiter.take() {
                            core.stop_waiting_for_room(waiter);
                        }
                        *ticket = Some(issued);
                        issued
                    }
                    Err(Err(Rejected::Full)) => {
                        core.wait_for_room(waiter, context.waker());
                        return Poll::Pending;
                    }
                    Err(Err(Rejected::Error(error))) => return Poll::Ready(Err(error.into())),
                    Err(Ok(error)) => return Poll::Ready(Err(error)),
                },
            };
            let polled = core.tickets().poll(waiting, context.waker());
            polled.map(|outcome| {
                *ticket = None;
                match outcome {
                    Outcome::Responded(result) => result,
                    _ => Err(RequestError::TimedOut),
                }
            })
        })
    }
}

impl Drop for RequestFuture<'_> {
    fn drop(&mut self) {
        let (waiter, ticket) = (self.waiter.take(), self.ticket.take());
        if waiter.is_none() && ticket.is_none() {
            return;
        }
        self.shared().enter(|core| {
            if let Some(waiter) = waiter {
                core.stop_waiting_for_room(waiter);
            }
            if let Some(ticket) = ticket {
                core.forget_request(ticket);
            }
        });
    }
}
