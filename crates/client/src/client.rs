//! The asynchronous front.

use std::borrow::Cow;
use std::future::poll_fn;
use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use midge_codec::ReasonCode;
use midge_proto::Time;

use crate::core::{Core, Farewell, Outcome, Overflow, StreamTerms, Ticket};
use crate::driver;
use crate::error::{ConnectionError, OptionsError, Unfinished};
use crate::event::{Connected, Event};
use crate::message::Message;
use crate::net::Resolving;
use crate::options::{Options, seconds};
use crate::publish::Publish;
use crate::queue::{self, Queue};
use crate::request::Request;
use crate::shared::{Handle, Shared};
use crate::subscribe::{Filters, Subscribe, Subscription};

/// A client. Clones are handles to the same one.
///
/// It needs a Tokio runtime with its I/O and time drivers, on which one task carries the bytes. When the
/// last handle and subscription is gone, what was accepted is still delivered for as long as
/// [`Options::linger`] says, if the runtime lives that long; [`Client::disconnect`] waits for it.
#[derive(Clone)]
pub struct Client {
    pub(crate) handle: Arc<Handle>,
}

impl Client {
    /// Connects and waits until the broker has accepted. `options` are [`Options`] or a URL as in
    /// [`Options::new`].
    ///
    /// # Errors
    /// The failure of this first attempt, after which nothing is left running. For a client that tries
    /// until it succeeds, see [`Self::start`].
    pub async fn connect<O>(options: O) -> Result<Self, ConnectionError>
    where
        O: TryInto<Options>,
        ConnectionError: From<O::Error>,
    {
        let (mut core, queue) = new_core(options.try_into()?)?;
        core.fail_fast();
        let ticket = core.await_connection();
        let client = Self::spawn(core, queue)?;
        outcome_of_connect(&client.handle.shared, ticket).await?;
        Ok(client)
    }

    /// Starts a client that connects in the background, for programs that begin offline. Messages are
    /// queued and subscriptions wait until there is a connection; [`Self::events`] tells what happens.
    ///
    /// # Errors
    /// What is wrong with the options.
    pub fn start<O>(options: O) -> Result<Self, ConnectionError>
    where
        O: TryInto<Options>,
        ConnectionError: From<O::Error>,
    {
        let (core, queue) = new_core(options.try_into()?)?;
        Self::spawn(core, queue)
    }

    fn spawn(core: Core, queue: Option<Queue>) -> Result<Self, ConnectionError> {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            let text = "there is no Tokio runtime here; use midge_client::blocking".to_owned();
            return Err(OptionsError(text).into());
        };
        let shared = Shared::new(core);
        runtime.spawn(driver::drive(Arc::clone(&shared), Resolving::Elsewhere));
        if let Some(queue) = queue {
            runtime.spawn(queue::keep(
                Arc::clone(&shared),
                queue,
                Resolving::Elsewhere,
            ));
        }
        Ok(Self::of(shared))
    }

    pub(crate) fn of(shared: Arc<Shared>) -> Self {
        Self {
            handle: Arc::new(Handle { shared }),
        }
    }

    /// Publishes a message: `client.publish(topic, payload).qos(..).retain().await`.
    ///
    /// The call completes when the delivery that the QoS promises is complete: QoS 0 when the system
    /// has taken the bytes, QoS 1 with PUBACK, QoS 2 with PUBCOMP. It returns the broker's reason. To
    /// have many on their way, wait with [`Publish::enqueue`] until each is accepted, and later or never
    /// for the [`Delivery`](crate::Delivery).
    ///
    /// Without a connection the message is queued. [`Options::queue_max`] says how much is held, and
    /// [`Options::queue_full`] what happens then.
    pub fn publish<'a>(
        &'a self,
        topic: impl Into<Cow<'a, str>>,
        payload: impl Into<Bytes>,
    ) -> Publish<'a> {
        Publish::new(&self.handle.shared, topic, payload)
    }

    /// Subscribes: `client.subscribe("garden/#").qos(..).await`, or with several filters as an array or
    /// a [`Vec`] of text or of [`Filter`](crate::Filter).
    ///
    /// The stream gets the messages that match one of its filters. A message that matches several
    /// subscriptions goes to all of them. Many brokers send a message once for each filter that matches
    /// it: 5.0 says which, so that every subscription gets its own copy alone; with 3.x, and for
    /// filters of one call that overlap, the copies cannot be told apart, and all are handed out. Two
    /// subscriptions with the very same filter share what the broker has: the options of the newer one,
    /// and the higher QoS.
    pub fn subscribe(&self, filters: impl Into<Filters>) -> Subscribe<'_> {
        Subscribe::new(&self.handle, filters.into())
    }

    /// Sends a request and waits for its response (5.0). Any number may be under way.
    ///
    /// The responder answers with [`Self::respond`], or by publishing to the message's response topic
    /// with its correlation data.
    pub fn request<'a>(
        &'a self,
        topic: impl Into<Cow<'a, str>>,
        payload: impl Into<Bytes>,
    ) -> Request<'a> {
        Request(self.publish(topic, payload))
    }

    /// A response to `request`, to be published. `None` when it asks for none.
    pub fn respond(&self, request: &Message, payload: impl Into<Bytes>) -> Option<Publish<'_>> {
        let properties = request.properties();
        let topic = properties.response_topic.clone()?;
        let publish = self.publish(topic, payload).qos(request.qos());
        Some(match &properties.correlation_data {
            Some(data) => publish.correlation_data(data.clone()),
            None => publish,
        })
    }

    /// What happens to the connection from now on. A reader that is slow misses the oldest.
    #[must_use]
    pub fn events(&self) -> Events {
        let shared = Arc::clone(&self.handle.shared);
        let listener = shared.enter(|core| core.listen());
        Events { shared, listener }
    }

    /// Messages that match no subscription of this client: those that a session brings which an earlier
    /// run of the program began. Without such a stream, messages of QoS 1 and 2 wait for a while for the
    /// subscription that they are for. `None` while there is one already.
    #[must_use]
    pub fn unclaimed(&self) -> Option<Subscription> {
        let terms = StreamTerms {
            capacity: 1024,
            overflow: Overflow::Wait,
            manual: false,
        };
        let key = self.handle.shared.enter(|core| core.unclaimed(terms))?;
        Some(Subscription::new(Arc::clone(&self.handle), key, false))
    }

    /// Authenticates anew on the present connection, with the authenticator of the options (5.0).
    ///
    /// # Errors
    /// [`ConnectionError::Authentication`] when that is not possible now, or why the connection was
    /// lost over it.
    pub async fn reauthenticate(&self) -> Result<(), ConnectionError> {
        let shared = &self.handle.shared;
        let ticket = shared.enter(|core| core.reauthenticate())?;
        match outcome(shared, ticket).await {
            Outcome::Reauthenticated(result) => result,
            _ => Err(ConnectionError::Closed),
        }
    }

    /// Ends the client in order: what was accepted is delivered, then DISCONNECT is sent.
    ///
    /// [`Options::linger`] limits how long that may take; see [`DisconnectCall`] for more to say.
    pub fn disconnect(&self) -> DisconnectCall<'_> {
        DisconnectCall {
            shared: &self.handle.shared,
            limit: None,
            farewell: None,
            session_expiry_secs: None,
        }
    }

    /// Whether the broker has accepted the present connection.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.handle.shared.enter(|core| core.is_connected())
    }

    /// What the broker said when it accepted the present connection.
    #[must_use]
    pub fn connection(&self) -> Option<Connected> {
        let shared = &self.handle.shared;
        shared.enter(|core| core.is_connected().then(|| core.terms().clone()))
    }

    /// Why the client has ended, if it has.
    #[must_use]
    pub fn ending(&self) -> Option<ConnectionError> {
        self.handle.shared.enter(|core| core.ending().cloned())
    }

    /// How many messages were accepted and are neither delivered nor given up.
    #[must_use]
    pub fn unfinished(&self) -> usize {
        self.handle.shared.enter(|core| core.unfinished())
    }
}

/// Waits for what becomes of a call.
pub(crate) async fn outcome(shared: &Arc<Shared>, ticket: Ticket) -> Outcome {
    let mut waiting = Waiting {
        shared,
        ticket: Some(ticket),
    };
    poll_fn(|context| {
        let polled = shared.enter(|core| core.tickets().poll(ticket, context.waker()));
        if polled.is_ready() {
            waiting.ticket = None;
        }
        polled
    })
    .await
}

/// Waits for the first CONNACK.
pub(crate) async fn outcome_of_connect(
    shared: &Arc<Shared>,
    ticket: Ticket,
) -> Result<(), ConnectionError> {
    let Outcome::Connected(Err(error)) = outcome(shared, ticket).await else {
        return Ok(());
    };
    // Whoever tries again wants to open the same durable queue.
    let closed = shared.enter(|core| core.await_queue_closed());
    outcome(shared, closed).await;
    Err(error)
}

/// A ticket that is abandoned when nobody waits any more.
struct Waiting<'a> {
    shared: &'a Arc<Shared>,
    ticket: Option<Ticket>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.shared.enter(|core| core.tickets().abandon(ticket));
        }
    }
}

/// A core, with the files of its durable queue if it is to have one.
pub(crate) fn new_core(options: Options) -> Result<(Core, Option<Queue>), ConnectionError> {
    options.check()?;
    // Every hasher has keys of its own.
    let random = || RandomState::new().hash_one(std::process::id());
    let directory = options.durable_queue.clone();
    let mut core = Core::new(options, random());
    let queue = match directory {
        None => None,
        Some(directory) => {
            let opened = Queue::open(&directory, random());
            let (queue, left) = opened.map_err(ConnectionError::Queue)?;
            core.restore(Time(0), left);
            Some(queue)
        }
    };
    Ok((core, queue))
}

/// An end of the client that is about to be asked for. See [`Client::disconnect`].
#[must_use = "the client goes on until this is awaited"]
pub struct DisconnectCall<'a> {
    shared: &'a Arc<Shared>,
    limit: Option<Duration>,
    farewell: Option<ReasonCode>,
    session_expiry_secs: Option<u32>,
}

impl<'a> DisconnectCall<'a> {
    /// How long deliveries may take; [`Options::linger`] if not set. Zero ends at once.
    pub const fn within(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Has the broker publish the will all the same (5.0).
    pub const fn with_will(mut self) -> Self {
        self.farewell = Some(ReasonCode::DISCONNECT_WITH_WILL);
        self
    }

    /// How long the broker keeps the session (5.0), in whole seconds, if it is not to be as the options
    /// say. A session that was to end with its connection cannot be prolonged `[MQTT5-3.14.2-2]`.
    pub fn session_expiry(mut self, expiry: Duration) -> Self {
        self.session_expiry_secs = Some(seconds(expiry));
        self
    }
}

impl<'a> IntoFuture for DisconnectCall<'a> {
    type Output = Result<(), Unfinished>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let farewell = Farewell {
                reason: self.farewell.unwrap_or(ReasonCode::SUCCESS),
                session_expiry_secs: self.session_expiry_secs,
            };
            let ticket = self.shared.with(|core, now| {
                let ticket = core.await_end();
                let deadline = now + self.limit.unwrap_or(core.options().linger);
                core.shut_down(now, deadline, farewell, Some(ticket));
                ticket
            });
            match outcome(self.shared, ticket).await {
                Outcome::Disconnected(result) => result,
                _ => Ok(()),
            }
        })
    }
}

/// A stream of [`Event`]s. See [`Client::events`].
pub struct Events {
    shared: Arc<Shared>,
    listener: usize,
}

impl Events {
    /// The next event; `None` when the client has ended and all were read.
    pub async fn next(&mut self) -> Option<Event> {
        poll_fn(|context| self.poll_event(context)).await
    }

    fn poll_event(&self, context: &Context<'_>) -> Poll<Option<Event>> {
        let next = |core: &mut Core| core.next_event(self.listener, context.waker());
        match self.shared.enter(|core| next(core)) {
            Ok(event) => Poll::Ready(event),
            Err(()) => Poll::Pending,
        }
    }
}

impl Stream for Events {
    type Item = Event;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Event>> {
        self.poll_event(context)
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let listener = self.listener;
        self.shared.enter(|core| core.stop_listening(listener));
    }
}
