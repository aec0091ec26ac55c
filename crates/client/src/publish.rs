//! Publishing: what a call says, and what becomes of it.

use std::borrow::Cow;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use midge_codec::{QoS, ReasonCode};

use crate::core::{Accepted, Core, Draft, Outcome, Rejected, Ticket, Written};
use crate::error::PublishError;
use crate::message::MessageProperties;
use crate::shared::Shared;

/// The broker's word that it has a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Published {
    /// [`ReasonCode::SUCCESS`], or [`ReasonCode::NO_MATCHING_SUBSCRIBERS`] from brokers that tell.
    /// Always success for QoS 0, for which the broker says nothing, and with 3.x.
    pub reason: ReasonCode,
    /// What the broker says for people to read (5.0).
    pub reason_string: Option<String>,
}

/// A message that is about to be published. See [`Client::publish`](crate::Client::publish).
#[must_use = "nothing is published until this is awaited"]
pub struct Publish<'a> {
    pub(crate) shared: &'a Arc<Shared>,
    pub(crate) draft: Draft<'a>,
}

impl<'a> Publish<'a> {
    pub(crate) fn new(
        shared: &'a Arc<Shared>,
        topic: impl Into<Cow<'a, str>>,
        payload: impl Into<Bytes>,
    ) -> Self {
        let draft = Draft {
            topic: topic.into(),
            payload: payload.into(),
            ..Draft::default()
        };
        Self { shared, draft }
    }

    /// The delivery that is promised; [`QoS::AtMostOnce`] if not set.
    pub const fn qos(mut self, qos: QoS) -> Self {
        self.draft.qos = qos;
        self
    }

    /// The broker keeps the message for later subscribers; an empty payload removes what it has kept.
    pub const fn retain(mut self) -> Self {
        self.draft.retain = true;
        self
    }

    /// All properties at once (5.0).
    pub fn properties(mut self, properties: MessageProperties) -> Self {
        self.draft.properties = Some(Box::new(properties));
        self
    }

    fn property(&mut self) -> &mut MessageProperties {
        self.draft.properties.get_or_insert_default()
    }

    /// How long the message is of use (5.0), in whole seconds.
    pub fn expiry(mut self, expiry: Duration) -> Self {
        self.property().expiry = Some(expiry);
        self
    }

    /// What the payload is (5.0).
    pub fn content_type(mut self, content_type: impl Into<String>) -> Self {
        self.property().content_type = Some(content_type.into());
        self
    }

    /// Marks the payload as UTF-8 text (5.0).
    pub fn text(mut self) -> Self {
        self.property().text = true;
        self
    }

    /// Where a response is expected (5.0). [`Client::request`](crate::Client::request) does this and
    /// the rest by itself.
    pub fn response_topic(mut self, topic: impl Into<String>) -> Self {
        self.property().response_topic = Some(topic.into());
        self
    }

    /// Which request this belongs to (5.0).
    pub fn correlation_data(mut self, data: impl Into<Bytes>) -> Self {
        self.property().correlation_data = Some(data.into());
        self
    }

    /// A name and a value of the application's own (5.0). May be called again for more.
    pub fn user_property(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let pair = (name.into(), value.into());
        self.property().user_properties.push(pair);
        self
    }

    /// Waits only until the client has accepted the message; with a durable queue, until it is on the
    /// disk. From then on it is delivered whether or not
    /// somebody waits for the [`Delivery`].
    pub const fn enqueue(self) -> Enqueue<'a> {
        Enqueue {
            publish: self,
            waiter: None,
            storing: None,
        }
    }

    /// Has the message accepted without waiting. With a durable queue, it is safe a little later.
    ///
    /// # Errors
    /// [`PublishError::QueueFull`] when there is no room now, and all others.
    pub fn try_enqueue(mut self) -> Result<Delivery, PublishError> {
        let shared = self.shared;
        let accepted = shared.with(|core, now| core.publish(now, &mut self.draft));
        match accepted {
            Ok(accepted) => {
                if let Accepted::Storing { stored, .. } = accepted {
                    shared.enter(|core| core.tickets().abandon(stored));
                }
                Ok(Delivery::new(shared, accepted))
            }
            Err(Rejected::Full) => Err(PublishError::QueueFull),
            Err(Rejected::Error(error)) => Err(error),
        }
    }
}

impl<'a> IntoFuture for Publish<'a> {
    type Output = Result<Published, PublishError>;
    type IntoFuture = PublishFuture<'a>;

    fn into_future(self) -> PublishFuture<'a> {
        PublishFuture {
            enqueue: self.enqueue(),
            delivery: None,
        }
    }
}

/// Resolves when the client has accepted the message. Dropped before, the message is not sent; while the
/// durable queue takes it, it may be.
#[must_use = "nothing is published until this is awaited"]
pub struct Enqueue<'a> {
    publish: Publish<'a>,
    /// The name in the line for room.
    waiter: Option<u64>,
    /// The durable queue takes the message.
    storing: Option<(Ticket, Delivery)>,
}

impl Enqueue<'_> {
    /// Tries, and lines up for room if there is none.
    fn attempt(
        &mut self,
        and_then: impl FnOnce(&mut Core, Accepted),
        waker: &Waker,
    ) -> Poll<Result<Accepted, PublishError>> {
        let Publish { shared, draft } = &mut self.publish;
        let waiter = &mut self.waiter;
        shared.with(|core, now| match core.publish(now, draft) {
            Err(Rejected::Full) => {
                core.wait_for_room(waiter, waker);
                Poll::Pending
            }
            result => {
                if let Some(waiter) = waiter.take() {
                    core.stop_waiting_for_room(waiter);
                }
                Poll::Ready(match result {
                    Ok(accepted) => {
                        and_then(core, accepted);
                        Ok(accepted)
                    }
                    Err(Rejected::Error(error)) => Err(error),
                    Err(Rejected::Full) => Err(PublishError::QueueFull),
                })
            }
        })
    }
}

impl Future for Enqueue<'_> {
    type Output = Result<Delivery, PublishError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.storing.is_none() {
            match self.attempt(|_, _| {}, context.waker()) {
                Poll::Ready(Ok(Accepted::Storing { stored, delivery })) => {
                    let delivery = Accepted::Ticket(delivery);
                    let delivery = Delivery::new(self.publish.shared, delivery);
                    self.storing = Some((stored, delivery));
                }
                other => {
                    return other.map_ok(|accepted| Delivery::new(self.publish.shared, accepted));
                }
            }
        }
        let Some((stored, delivery)) = self.storing.take() else {
            return Poll::Pending;
        };
        let shared = self.publish.shared;
        match shared.enter(|core| core.tickets().poll(stored, context.waker())) {
            Poll::Pending => {
                self.storing = Some((stored, delivery));
                Poll::Pending
            }
            Poll::Ready(Outcome::Published(Err(error))) => Poll::Ready(Err(error)),
            Poll::Ready(_) => Poll::Ready(Ok(delivery)),
        }
    }
}

impl Drop for Enqueue<'_> {
    fn drop(&mut self) {
        if let Some((stored, _)) = self.storing.take() {
            let shared = self.publish.shared;
            shared.enter(|core| core.tickets().abandon(stored));
        }
        if let Some(waiter) = self.waiter.take() {
            let shared = self.publish.shared;
            shared.enter(|core| core.stop_waiting_for_room(waiter));
        }
    }
}

/// Resolves when the delivery that the QoS promises is complete. Dropped before the client has accepted
/// the message, it is not sent; dropped after, it is delivered all the same.
#[must_use = "nothing is published until this is awaited"]
pub struct PublishFuture<'a> {
    enqueue: Enqueue<'a>,
    delivery: Option<Delivery>,
}

impl Future for PublishFuture<'_> {
    type Output = Result<Published, PublishError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let Some(delivery) = &mut this.delivery {
            return Pin::new(delivery).poll(context);
        }
        let mut state = State::Taken;
        let accepted = this.enqueue.attempt(
            |core, accepted| {
                if let Accepted::Storing { stored, .. } = accepted {
                    core.tickets().abandon(stored);
                }
                state = accepted.into();
                // Under the same lock, so that nobody needs it twice.
                if let Poll::Ready(result) = state.poll(core, context.waker()) {
                    state = State::Ready(result);
                }
            },
            context.waker(),
        );
        match accepted {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(_)) => match state {
                State::Ready(result) => Poll::Ready(result),
                state => {
                    this.delivery = Some(Delivery {
                        shared: Arc::clone(this.enqueue.publish.shared),
                        state,
                    });
                    Poll::Pending
                }
            },
        }
    }
}

/// A message that the client has accepted. Resolves when its delivery is complete; dropping it changes
/// nothing about the delivery.
pub struct Delivery {
    shared: Arc<Shared>,
    state: State,
}

#[derive(Debug)]
enum State {
    Written(Written),
    Ticket(Ticket),
    Ready(Result<Published, PublishError>),
    Taken,
}

impl From<Accepted> for State {
    fn from(accepted: Accepted) -> Self {
        match accepted {
            Accepted::Ticket(ticket)
            | Accepted::Storing {
                delivery: ticket, ..
            } => Self::Ticket(ticket),
            Accepted::Written(written) => Self::Written(written),
        }
    }
}

impl State {
    fn poll(&mut self, core: &mut Core, waker: &Waker) -> Poll<Result<Published, PublishError>> {
        if let Self::Written(written) = self {
            let mut ticket = None;
            let polled = core.poll_written(*written, &mut ticket);
            match ticket {
                None => return polled,
                Some(ticket) => *self = Self::Ticket(ticket),
            }
        }
        match mem::replace(self, Self::Taken) {
            Self::Ticket(ticket) => match core.tickets().poll(ticket, waker) {
                Poll::Ready(Outcome::Published(result)) => Poll::Ready(result),
                Poll::Ready(_) => Poll::Ready(Err(PublishError::Lost)),
                Poll::Pending => {
                    *self = Self::Ticket(ticket);
                    Poll::Pending
                }
            },
            Self::Ready(result) => Poll::Ready(result),
            Self::Written(_) | Self::Taken => Poll::Pending,
        }
    }
}

impl Delivery {
    pub(crate) fn new(shared: &Arc<Shared>, accepted: Accepted) -> Self {
        Self {
            shared: Arc::clone(shared),
            state: accepted.into(),
        }
    }
}

impl Future for Delivery {
    type Output = Result<Published, PublishError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let state = &mut this.state;
        this.shared.enter(|core| state.poll(core, context.waker()))
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if let State::Ticket(ticket) = self.state {
            self.shared.enter(|core| core.tickets().abandon(ticket));
        }
    }
}
