//! Subscribing, and the streams of messages that come of it.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures_core::Stream;
use midge_codec::{QoS, RetainHandling, SubscriptionOptions};

use crate::client::outcome;
use crate::core::{Item, Outcome, Overflow, StreamKey, StreamTerms, Taken, Ticket, Wanted};
use crate::error::SubscribeError;
use crate::message::Message;
use crate::shared::{Handle, Receipt};

/// A topic filter with options of its own.
///
/// ```
/// use midge_client::{Filter, QoS};
///
/// let filters = [
///     Filter::new("garden/+/temperature"),
///     Filter::new("alarms/#").qos(QoS::ExactlyOnce),
/// ];
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    text: String,
    /// What was said about this filter, and not for all of the call.
    options: SubscriptionOptions,
    qos: Option<QoS>,
}

impl Filter {
    /// A filter, e.g. `garden/+/temperature`, or `$share/group/garden/#` for a shared subscription.
    pub fn new(filter: impl Into<String>) -> Self {
        Self {
            text: filter.into(),
            options: SubscriptionOptions::default(),
            qos: None,
        }
    }

    /// The highest QoS that messages come with; if not set, what the call says.
    #[must_use]
    pub const fn qos(mut self, qos: QoS) -> Self {
        self.qos = Some(qos);
        self
    }

    /// Without the messages that this client publishes itself (5.0).
    #[must_use]
    pub const fn no_local(mut self) -> Self {
        self.options.no_local = true;
        self
    }

    /// With the retain flag as it was published (5.0).
    #[must_use]
    pub const fn retain_as_published(mut self) -> Self {
        self.options.retain_as_published = true;
        self
    }

    /// Whether retained messages come at the start (5.0).
    #[must_use]
    pub const fn retain_handling(mut self, handling: RetainHandling) -> Self {
        self.options.retain_handling = handling;
        self
    }
}

/// What can be subscribed to in one call: a filter or several, as text or with options.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filters(Vec<Filter>);

impl From<Filter> for Filters {
    fn from(filter: Filter) -> Self {
        Self(vec![filter])
    }
}

impl From<&str> for Filters {
    fn from(text: &str) -> Self {
        Filter::new(text).into()
    }
}

impl From<String> for Filters {
    fn from(text: String) -> Self {
        Filter::new(text).into()
    }
}

impl From<&String> for Filters {
    fn from(text: &String) -> Self {
        Filter::new(text).into()
    }
}

impl<F: Into<Filter>, const N: usize> From<[F; N]> for Filters {
    fn from(filters: [F; N]) -> Self {
        filters.into_iter().collect()
    }
}

impl<F: Into<Filter>> From<Vec<F>> for Filters {
    fn from(filters: Vec<F>) -> Self {
        filters.into_iter().collect()
    }
}

impl<F: Into<Filter>> FromIterator<F> for Filters {
    fn from_iter<I: IntoIterator<Item = F>>(filters: I) -> Self {
        Self(filters.into_iter().map(Into::into).collect())
    }
}

impl From<&str> for Filter {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<String> for Filter {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl From<&String> for Filter {
    fn from(text: &String) -> Self {
        Self::new(text)
    }
}

/// How many messages wait in a stream, if not set.
const CAPACITY: usize = 4096;

/// A subscription that is about to be made. See [`Client::subscribe`](crate::Client::subscribe).
#[must_use = "nothing is subscribed to until this is awaited"]
pub struct Subscribe<'a> {
    handle: &'a Arc<Handle>,
    filters: Filters,
    qos: QoS,
    terms: StreamTerms,
    user_properties: Vec<(String, String)>,
}

impl<'a> Subscribe<'a> {
    pub(crate) const fn new(handle: &'a Arc<Handle>, filters: Filters) -> Self {
        Self {
            handle,
            filters,
            qos: QoS::AtMostOnce,
            terms: StreamTerms {
                capacity: CAPACITY,
                overflow: Overflow::Wait,
                manual: false,
            },
            user_properties: Vec::new(),
        }
    }

    /// The highest QoS that messages come with, for filters that say nothing themselves;
    /// [`QoS::AtMostOnce`] if not set.
    pub const fn qos(mut self, qos: QoS) -> Self {
        self.qos = qos;
        self
    }

    /// Without the messages that this client publishes itself (5.0), for all filters.
    pub fn no_local(mut self) -> Self {
        for filter in &mut self.filters.0 {
            filter.options.no_local = true;
        }
        self
    }

    /// With the retain flag as it was published (5.0), for all filters.
    pub fn retain_as_published(mut self) -> Self {
        for filter in &mut self.filters.0 {
            filter.options.retain_as_published = true;
        }
        self
    }

    /// Whether retained messages come at the start (5.0), for all filters.
    pub fn retain_handling(mut self, handling: RetainHandling) -> Self {
        for filter in &mut self.filters.0 {
            filter.options.retain_handling = handling;
        }
        self
    }

    /// How many messages wait for the reader before `overflow` applies, at least one; 4,096 and
    /// [`Overflow::Wait`] if not set. The reader takes them in batches, so up to twice as many are in
    /// memory. Messages of QoS 1 and 2 are bounded by
    /// [`receive_maximum`](crate::Options::receive_maximum), too.
    pub const fn buffer(mut self, messages: usize, overflow: Overflow) -> Self {
        self.terms.capacity = if messages == 0 { 1 } else { messages };
        self.terms.overflow = overflow;
        self
    }

    /// The application calls [`Message::acknowledge`] for each message of QoS 1 and 2. Otherwise that
    /// happens when the reader asks for the next one, or drops the subscription.
    pub const fn manual_acknowledgement(mut self) -> Self {
        self.terms.manual = true;
        self
    }

    /// A user property of SUBSCRIBE (5.0). May be called again for more.
    pub fn user_property(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.user_properties.push((name.into(), value.into()));
        self
    }
}

impl<'a> IntoFuture for Subscribe<'a> {
    type Output = Result<Subscription, SubscribeError>;
    type IntoFuture = SubscribeFuture;

    fn into_future(self) -> SubscribeFuture {
        let qos = self.qos;
        let filters = self.filters.0.into_iter().map(|filter| {
            let options = SubscriptionOptions {
                qos: filter.qos.unwrap_or(qos),
                ..filter.options
            };
            (filter.text, options)
        });
        SubscribeFuture {
            state: State::Wanted(Box::new(Wanted {
                filters: filters.collect(),
                terms: self.terms,
                user_properties: self.user_properties,
            })),
            handle: Arc::clone(self.handle),
        }
    }
}

enum State {
    Wanted(Box<Wanted>),
    Asked(Subscription, Ticket),
    Done,
}

/// Resolves when the broker has agreed to all filters. Dropped before, everything is taken back.
#[must_use = "nothing is subscribed to until this is awaited"]
pub struct SubscribeFuture {
    handle: Arc<Handle>,
    state: State,
}

impl Future for SubscribeFuture {
    type Output = Result<Subscription, SubscribeError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let shared = &this.handle.shared;
        let (mut subscription, ticket) = match mem::replace(&mut this.state, State::Done) {
            State::Done => return Poll::Pending,
            State::Asked(subscription, ticket) => (subscription, ticket),
            State::Wanted(wanted) => {
                let is_manual = wanted.terms.manual;
                let (key, ticket) = match shared.enter(|core| core.subscribe(*wanted)) {
                    Ok(asked) => asked,
                    Err(error) => return Poll::Ready(Err(error)),
                };
                let subscription = Subscription::new(Arc::clone(&this.handle), key, is_manual);
                (subscription, ticket)
            }
        };
        match shared.enter(|core| core.tickets().poll(ticket, context.waker())) {
            Poll::Pending => {
                this.state = State::Asked(subscription, ticket);
                Poll::Pending
            }
            Poll::Ready(Outcome::Subscribed(Ok(granted))) => {
                subscription.granted = granted;
                Poll::Ready(Ok(subscription))
            }
            Poll::Ready(Outcome::Subscribed(Err(error))) => Poll::Ready(Err(error)),
            Poll::Ready(_) => Poll::Pending,
        }
    }
}

impl Drop for SubscribeFuture {
    fn drop(&mut self) {
        if let State::Asked(_, ticket) = self.state {
            let shared = &self.handle.shared;
            shared.enter(|core| core.tickets().abandon(ticket));
        }
    }
}

/// The messages of one call of [`Client::subscribe`](crate::Client::subscribe), in order.
///
/// Dropping it unsubscribes from filters that no other subscription of this client has, and counts what is
/// unread as acknowledged. For a session that goes on without the program, keep it until
/// [`Client::disconnect`](crate::Client::disconnect) has returned: then the broker keeps filters and messages.
/// It survives reconnects, and ends with the client, or when the broker refuses a filter after a lost session.
#[must_use = "dropping a subscription unsubscribes"]
pub struct Subscription {
    handle: Arc<Handle>,
    key: StreamKey,
    /// Taken from the core and not read.
    batch: VecDeque<Item>,
    /// The message that the reader has and that is not acknowledged.
    finished: Option<u64>,
    is_manual: bool,
    granted: Vec<QoS>,
    end: Option<SubscribeError>,
    is_gone: bool,
}

impl Subscription {
    pub(crate) const fn new(handle: Arc<Handle>, key: StreamKey, is_manual: bool) -> Self {
        Self {
            handle,
            key,
            batch: VecDeque::new(),
            finished: None,
            is_manual,
            granted: Vec::new(),
            end: None,
            is_gone: false,
        }
    }

    /// The next message; `None` when no more will come, and then [`Self::end`] may say why.
    ///
    /// A message of QoS 1 or 2 is acknowledged when the next one is asked for, so a program that fails
    /// while it works on one gets it again. Cancellation-safe: no message is lost when the future is
    /// dropped.
    pub async fn next(&mut self) -> Option<Message> {
        poll_fn(|context| self.poll_next_message(context)).await
    }

    /// The next message if there is one now.
    pub fn try_next(&mut self) -> Option<Message> {
        match self.advance(None) {
            Poll::Ready(message) => message,
            Poll::Pending => None,
        }
    }

    pub(crate) fn poll_next_message(&mut self, context: &mut Context<'_>) -> Poll<Option<Message>> {
        self.advance(Some(context.waker()))
    }

    fn advance(&mut self, waker: Option<&Waker>) -> Poll<Option<Message>> {
        let finished = self.finished.take();
        if self.batch.is_empty() {
            let Self {
                handle, key, batch, ..
            } = self;
            let taken = handle
                .shared
                .with(|core, now| core.take(now, *key, finished, batch, waker));
            match taken {
                Taken::Messages => {}
                Taken::Nothing => return Poll::Pending,
                Taken::End(why) => {
                    self.end = why;
                    return Poll::Ready(None);
                }
            }
        } else if let Some(sequence) = finished {
            let shared = &self.handle.shared;
            shared.enter(|core| core.acknowledge(sequence));
        }
        let Some(Item {
            mut message,
            sequence,
        }) = self.batch.pop_front()
        else {
            return Poll::Pending;
        };
        if let Some(sequence) = sequence {
            if self.is_manual {
                message.receipt = Some(Receipt::new(&self.handle.shared, sequence));
            } else {
                self.finished = Some(sequence);
            }
        }
        Poll::Ready(Some(message))
    }

    /// Why the stream has ended; `None` while it goes on.
    #[must_use]
    pub const fn end(&self) -> Option<&SubscribeError> {
        self.end.as_ref()
    }

    /// The QoS that the broker granted for each filter, in the order of the call. It may be lower than
    /// what was asked for.
    #[must_use]
    pub fn granted(&self) -> &[QoS] {
        &self.granted
    }

    /// How many messages were dropped because the stream was full.
    #[must_use]
    pub fn lost(&self) -> u64 {
        let shared = &self.handle.shared;
        shared.enter(|core| core.lost_messages(self.key))
    }

    /// Unsubscribes and waits until the broker has confirmed that. Without a connection, until there is
    /// one.
    ///
    /// # Errors
    /// The broker's refusal.
    pub async fn unsubscribe(mut self) -> Result<(), SubscribeError> {
        let shared = Arc::clone(&self.handle.shared);
        let ticket = shared.enter(|core| core.await_unsubscribe());
        self.leave(Some(ticket));
        match outcome(&shared, ticket).await {
            Outcome::Unsubscribed(result) => result,
            _ => Ok(()),
        }
    }

    fn leave(&mut self, ticket: Option<Ticket>) {
        if mem::replace(&mut self.is_gone, true) {
            return;
        }
        let read = self.finished.take();
        let unread = mem::take(&mut self.batch);
        let unread = unread.into_iter().filter_map(|item| item.sequence);
        self.handle.shared.enter(|core| {
            core.drop_stream(self.key, read.into_iter().chain(unread), ticket);
        });
    }
}

impl Stream for Subscription {
    type Item = Message;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Message>> {
        self.poll_next_message(context)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.leave(None);
    }
}
