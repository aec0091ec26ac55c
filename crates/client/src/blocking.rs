//! The blocking front: the same client, calls and names, for programs without an asynchronous runtime.
//!
//! [`Client`] runs on one thread of its own, whatever it does. Its calls are those of
//! [`midge_client::Client`](crate::Client), and [`Wait::wait`] stands where `.await` would:
//!
//! ```no_run
//! use midge_client::QoS;
//! use midge_client::blocking::{Client, Wait};
//!
//! let client = Client::connect("mqtt://localhost")?;
//! let mut garden = client.subscribe("garden/#").qos(QoS::AtLeastOnce).wait()?;
//! client.publish("garden/temperature", "21.5").qos(QoS::AtLeastOnce).wait()?;
//! for message in garden.blocking() {
//!     println!("{}: {:?}", message.topic(), message.payload());
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A process that forks takes no thread along: make clients after the fork, in the process that uses them.

use std::ops::Deref;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use crate::client::{Client as Inner, new_core, outcome_of_connect};
use crate::core::Core;
use crate::driver;
use crate::error::ConnectionError;
use crate::message::Message;
use crate::net::Resolving;
use crate::options::Options;
use crate::queue::{self, Queue};
use crate::shared::Shared;
use crate::subscribe::Subscription;

/// Waits for a call of a client on the present thread.
///
/// Never in asynchronous code: the thread that waits would be missing there.
pub trait Wait: IntoFuture {
    /// Waits until the call completes.
    fn wait(self) -> Self::Output;

    /// Waits until the call completes, but no longer than `limit`; `None` when the time is up, and then
    /// it is as if the call's future had been dropped.
    fn wait_for(self, limit: Duration) -> Option<Self::Output>;
}

impl<F: IntoFuture> Wait for F {
    fn wait(self) -> Self::Output {
        let mut future = pin!(self.into_future());
        let waker = unpark_waker();
        let mut context = Context::from_waker(&waker);
        loop {
            match future.as_mut().poll(&mut context) {
                Poll::Ready(output) => return output,
                Poll::Pending => thread::park(),
            }
        }
    }

    fn wait_for(self, limit: Duration) -> Option<Self::Output> {
        let mut future = pin!(self.into_future());
        let waker = unpark_waker();
        let mut context = Context::from_waker(&waker);
        let start = Instant::now();
        loop {
            if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
                return Some(output);
            }
            let left = limit.saturating_sub(start.elapsed());
            if left.is_zero() {
                return None;
            }
            thread::park_timeout(left);
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

fn unpark_waker() -> Waker {
    Waker::from(Arc::new(Unpark(thread::current())))
}

/// A client on a thread of its own. Clones are handles to the same one.
///
/// It has every method of [`midge_client::Client`](crate::Client) but those that connect, which are
/// here.
#[derive(Clone)]
pub struct Client(Inner);

impl Client {
    /// Connects and waits until the broker has accepted; see
    /// [`Client::connect`](crate::Client::connect).
    ///
    /// # Errors
    /// The failure of this first attempt, after which nothing is left running.
    pub fn connect<O>(options: O) -> Result<Self, ConnectionError>
    where
        O: TryInto<Options>,
        ConnectionError: From<O::Error>,
    {
        let (mut core, queue) = new_core(options.try_into()?)?;
        core.fail_fast();
        let ticket = core.await_connection();
        let client = Self::spawn(core, queue)?;
        outcome_of_connect(&client.0.handle.shared, ticket).wait()?;
        Ok(client)
    }

    /// Starts a client that connects in the background; see [`Client::start`](crate::Client::start).
    ///
    /// # Errors
    /// What is wrong with the options, or the system's refusal of a thread.
    pub fn start<O>(options: O) -> Result<Self, ConnectionError>
    where
        O: TryInto<Options>,
        ConnectionError: From<O::Error>,
    {
        let (core, queue) = new_core(options.try_into()?)?;
        Self::spawn(core, queue)
    }

    fn spawn(core: Core, queue: Option<Queue>) -> Result<Self, ConnectionError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(ConnectionError::io)?;
        let shared = Shared::new(core);
        let driven = Arc::clone(&shared);
        thread::Builder::new()
            .name("midge-client".to_owned())
            .spawn(move || {
                let keeping = queue.map(|queue| {
                    runtime.spawn(queue::keep(Arc::clone(&driven), queue, Resolving::Here))
                });
                runtime.block_on(async move {
                    driver::drive(driven, Resolving::Here).await;
                    if let Some(keeping) = keeping {
                        let _ = keeping.await;
                    }
                });
            })
            .map_err(ConnectionError::io)?;
        Ok(Self(Inner::of(shared)))
    }
}

impl Deref for Client {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

/// The messages of a subscription, one after the other. See [`Subscription::blocking`].
pub struct Messages<'a>(&'a mut Subscription);

impl Messages<'_> {
    /// The next message, unless none comes for as long as `limit`.
    pub fn next_within(&mut self, limit: Duration) -> Option<Message> {
        self.0.next().wait_for(limit).flatten()
    }
}

impl Iterator for Messages<'_> {
    type Item = Message;

    fn next(&mut self) -> Option<Message> {
        self.0.next().wait()
    }
}

impl Subscription {
    /// The messages for a loop of the blocking front. It ends with the subscription.
    pub const fn blocking(&mut self) -> Messages<'_> {
        Messages(self)
    }
}
