//! The task that drives a core: it waits, opens connections and carries bytes.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use midge_proto::Time;
use tokio::time::Sleep;

use crate::core::{Challenge, Core, Duty};
use crate::credentials::{
    Authenticator, BoxFuture, CredentialRequest, Credentials, CredentialsError, Occasion,
};
use crate::error::ConnectionError;
use crate::net::{Link, Resolving};
use crate::shared::{OnDrop, Shared};

type Asker = Box<dyn Authenticator>;

/// Runs a client to its end.
pub(crate) async fn drive(shared: Arc<Shared>, resolving: Resolving) {
    // Without this task nothing that waits would ever come.
    let _ended = OnDrop(|| shared.enter(|core| core.close(ConnectionError::RuntimeEnded)));
    let factory = shared.enter(|core| core.options().authenticator.clone());
    let make = || factory.as_ref().map(|factory| factory.make());
    let mut authenticator = make();
    loop {
        match shared.with(|core, now| core.duty(now)) {
            Duty::End => return,
            Duty::Wait(until) => wait(&shared, until).await,
            Duty::Dial(attempt) => {
                let dialing = dial(&shared, &mut authenticator, attempt, resolving);
                let dialed = unless_closed(&shared, dialing).await;
                match dialed {
                    None => return,
                    Some(Err(error)) => {
                        shared.with(|core, now| core.dial_failed(now, error));
                    }
                    Some(Ok((link, credentials, authentication))) => {
                        shared.with(|core, now| {
                            core.opened(now, &credentials, authentication);
                            #[cfg(feature = "tls")]
                            core.secured(link.tls_info());
                        });
                        let mut talk = Talk::new(&shared, link, authenticator.take());
                        let why = poll_fn(|context| talk.poll(context)).await;
                        // One that is at work may never come to an end.
                        authenticator = talk.authenticator.or_else(make);
                        shared.with(|core, now| core.lost(now, why));
                    }
                }
            }
            // The connection was made and lost in between; `lost` says what follows.
            Duty::Talk => shared.with(|core, now| core.lost(now, ConnectionError::ClosedByBroker)),
        }
    }
}

/// Waits until a moment, or until a call of the application's changes what is to be done.
async fn wait(shared: &Shared, until: Time) {
    let mut sleep = pin!(tokio::time::sleep_until(shared.instant(until).into()));
    let mut is_first = true;
    poll_fn(|context| {
        shared.enter(|core| core.set_driver(context.waker()));
        let roused = !std::mem::take(&mut is_first);
        if sleep.as_mut().poll(context).is_ready() || roused {
            return Poll::Ready(());
        }
        Poll::Pending
    })
    .await;
}

/// What `future` gives, or `None` when the client ends first.
async fn unless_closed<T>(shared: &Shared, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut sleep = pin!(tokio::time::sleep_until(shared.instant(Time::NEVER).into()));
    poll_fn(|context| {
        loop {
            let (is_closed, deadline) = shared.with(|core, now| {
                core.set_driver(context.waker());
                let _ = core.duty(now);
                (core.ending().is_some(), core.next_deadline())
            });
            if is_closed {
                return Poll::Ready(None);
            }
            // An end that was asked for meanwhile has a time limit.
            sleep.as_mut().reset(shared.instant(deadline).into());
            if sleep.as_mut().poll(context).is_pending() {
                break;
            }
        }
        future.as_mut().poll(context).map(Some)
    })
    .await
}

type Dialed = (Link, Credentials, Option<(String, Vec<u8>)>);

/// Opens a connection, with all that CONNECT needs to know.
async fn dial(
    shared: &Arc<Shared>,
    authenticator: &mut Option<Asker>,
    attempt: u32,
    resolving: Resolving,
) -> Result<Dialed, ConnectionError> {
    let (options, refused) = shared.enter(|core| (core.options().clone(), core.refused().cloned()));
    let work = async {
        let credentials = match &options.credential_source {
            None => options.credentials.clone(),
            Some(source) => source
                .credentials(CredentialRequest { attempt, refused })
                .await
                .map_err(authentication)?,
        };
        let authentication = match authenticator {
            None => None,
            Some(asker) => {
                let method = asker.method();
                let first = asker.start(Occasion::Connect).await;
                Some((method, first.map_err(authentication)?))
            }
        };
        let turn = attempt.saturating_sub(1) as usize % options.servers.len().max(1);
        let Some(server) = options.servers.get(turn) else {
            return Err(ConnectionError::Closed);
        };
        let link = options.dialer.open(server, resolving).await?;
        Ok((link, credentials, authentication))
    };
    tokio::time::timeout(options.dialer.timeout, work)
        .await
        .unwrap_or(Err(ConnectionError::TimedOut))
}

fn authentication(error: CredentialsError) -> ConnectionError {
    ConnectionError::Authentication(error.to_string())
}

/// An answer that is being worked out.
type Asking = BoxFuture<'static, (Asker, Challenge, Result<Vec<u8>, CredentialsError>)>;

/// One connection while it stands.
struct Talk<'a> {
    shared: &'a Arc<Shared>,
    link: Link,
    /// On its way to the connection; `sent` bytes of it have gone.
    outbound: Vec<u8>,
    sent: usize,
    /// Bytes that the core has not been told of as sent.
    untold: usize,
    /// Whether the core took more bytes when it was last asked.
    wants_bytes: bool,
    sleep: Pin<Box<Sleep>>,
    sleeps_until: Time,
    authenticator: Option<Asker>,
    asking: Option<Asking>,
}

/// How often one turn goes round before other tasks get theirs.
const ROUNDS_MAX: usize = 16;

/// A buffer that grew larger is given back while nothing happens.
const IDLE_CAPACITY: usize = 8 * 1024;

const READ_BUFFER: usize = 64 * 1024;

/// After a read of as many bytes it is the readers' turn. TLS gives no more than two records at once.
const MUCH: usize = 16 * 1024;

thread_local! {
    // Clients that idle have no buffer.
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BUFFER].into_boxed_slice());
}

impl<'a> Talk<'a> {
    fn new(shared: &'a Arc<Shared>, link: Link, authenticator: Option<Asker>) -> Self {
        Self {
            link,
            outbound: Vec::new(),
            sent: 0,
            untold: 0,
            wants_bytes: false,
            sleep: Box::pin(tokio::time::sleep_until(shared.instant(Time::NEVER).into())),
            sleeps_until: Time::NEVER,
            authenticator,
            asking: None,
            shared,
        }
    }

    /// Carries bytes until the connection ends; then says why.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<ConnectionError> {
        for _ in 0..ROUNDS_MAX {
            let step = BUFFER.with_borrow_mut(|buffer| self.round(context, buffer));
            match step {
                Step::Again => {}
                Step::GiveWay => {
                    // Whoever was woken comes before the rest of what there is to read: what is in the
                    // caches is worked on, and streams do not fill. Polled once, it wakes this task.
                    let _ = pin!(tokio::task::yield_now()).poll(context);
                    return Poll::Pending;
                }
                Step::Wait(deadline) => {
                    if self.sleep_until(context, deadline) {
                        return Poll::Pending;
                    }
                }
                Step::End(error) => return Poll::Ready(error),
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Reads once and writes once.
    fn round(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Step {
        let read = if self.wants_bytes {
            self.link.poll_read(context, buffer)
        } else {
            Poll::Pending
        };
        let (bytes, end) = match read {
            Poll::Pending => (&[][..], None),
            Poll::Ready(Ok(0)) => (&[][..], Some(ConnectionError::ClosedByBroker)),
            Poll::Ready(Ok(count)) => (buffer.get(..count).unwrap_or_default(), None),
            Poll::Ready(Err(error)) => (&[][..], Some(broken(error))),
        };
        let turn = self.exchange(context, bytes);
        self.ask(turn.challenge);
        if let Some(error) = end {
            return Step::End(error);
        }
        if !turn.in_time {
            return Step::End(ConnectionError::TimedOut);
        }
        if turn.is_over {
            self.link.close(context);
            return Step::End(ConnectionError::Closed);
        }
        // A call may have made room: then the connection has to be asked, or nobody is woken for it.
        let goes_on = turn.wants_bytes && !self.wants_bytes;
        self.wants_bytes = turn.wants_bytes;
        let asked = self.poll_asking(context);
        match self.write(context) {
            Err(error) => {
                // The broker may have said why before it closed: read that first.
                let told = self.drain(context, buffer);
                Step::End(broken(told.unwrap_or(error)))
            }
            Ok(_) if bytes.len() >= MUCH => Step::GiveWay,
            Ok(wrote) if wrote || asked || !bytes.is_empty() || goes_on => Step::Again,
            Ok(_) => Step::Wait(turn.deadline),
        }
    }

    /// One visit to the core: what has happened, and what there is to do.
    fn exchange(&mut self, context: &Context<'_>, bytes: &[u8]) -> Turn {
        let untold = std::mem::take(&mut self.untold);
        let outbound = &mut self.outbound;
        if self.sent == outbound.len() {
            outbound.clear();
            self.sent = 0;
            if bytes.is_empty() && outbound.capacity() > IDLE_CAPACITY {
                *outbound = Vec::new();
            }
        }
        self.shared.with(|core, now| {
            core.set_driver(context.waker());
            if untold > 0 {
                core.written(now, untold);
            }
            if bytes.is_empty() {
                // A call may have ended a pause.
                core.resume(now);
            } else {
                core.received(now, bytes);
            }
            let in_time = core.next_deadline() > now || core.tick(now);
            if outbound.is_empty() {
                core.take_outbound(outbound);
            }
            Turn {
                in_time,
                wants_bytes: core.wants_bytes(),
                is_over: core.is_to_close() || core.ending().is_some(),
                challenge: core.take_challenge(),
                deadline: core.next_deadline(),
            }
        })
    }

    /// Writes what the connection takes; whether that was something.
    fn write(&mut self, context: &mut Context<'_>) -> io::Result<bool> {
        let rest = self.outbound.get(self.sent..).unwrap_or_default();
        if rest.is_empty() {
            return match self.link.poll_flush(context) {
                Poll::Ready(Err(error)) => Err(error),
                Poll::Ready(Ok(())) | Poll::Pending => Ok(false),
            };
        }
        match self.link.poll_write(context, rest) {
            Poll::Pending => Ok(false),
            Poll::Ready(Ok(0)) => Err(io::ErrorKind::WriteZero.into()),
            Poll::Ready(Ok(count)) => {
                self.sent += count;
                self.untold += count;
                Ok(true)
            }
            Poll::Ready(Err(error)) => Err(error),
        }
    }

    /// Reads what is still there; gives what the layers of the connection say of its end.
    fn drain(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Option<io::Error> {
        for _ in 0..ROUNDS_MAX {
            match self.link.poll_read(context, buffer) {
                Poll::Ready(Ok(count @ 1..)) => {
                    let bytes = buffer.get(..count).unwrap_or_default();
                    self.shared.with(|core, now| core.received(now, bytes));
                }
                Poll::Ready(Err(error)) if error.get_ref().is_some() => return Some(error),
                _ => return None,
            }
        }
        None
    }

    /// Sleeps until the deadline; `false`: it is here.
    fn sleep_until(&mut self, context: &mut Context<'_>, deadline: Time) -> bool {
        // A later deadline is found out when the sleep ends: most move on with every packet.
        if deadline < self.sleeps_until || self.sleep.is_elapsed() {
            let instant = self.shared.instant(deadline);
            self.sleep.as_mut().reset(instant.into());
            self.sleeps_until = deadline;
        }
        self.sleep.as_mut().poll(context).is_pending()
    }

    /// Puts a question to the authenticator.
    fn ask(&mut self, challenge: Option<Challenge>) {
        let Some(challenge) = challenge else {
            return;
        };
        let Some(mut asker) = self.authenticator.take() else {
            let why = "the broker asks twice at once".to_owned();
            self.shared.enter(|core| core.authentication_failed(why));
            return;
        };
        self.asking = Some(Box::pin(async move {
            let answer = match &challenge {
                Challenge::Answer(data) => asker.answer(data.clone()).await,
                Challenge::Reauthenticate => asker.start(Occasion::Reauthenticate).await,
                Challenge::Finish(data) => asker.finish(data).map(|()| Vec::new()),
            };
            (asker, challenge, answer)
        }));
    }

    /// Whether the authenticator has answered.
    fn poll_asking(&mut self, context: &mut Context<'_>) -> bool {
        let Some(asking) = &mut self.asking else {
            return false;
        };
        let Poll::Ready((asker, challenge, answer)) = asking.as_mut().poll(context) else {
            return false;
        };
        self.asking = None;
        let method = asker.method();
        self.authenticator = Some(asker);
        self.shared.with(|core, now| match (&challenge, answer) {
            (_, Err(error)) => core.authentication_failed(error.to_string()),
            (Challenge::Finish(_), Ok(_)) => core.authentication_finished(now),
            (_, Ok(data)) => core.authenticated(&challenge, &method, &data),
        });
        true
    }
}

/// What the core had to say in one visit.
struct Turn {
    in_time: bool,
    wants_bytes: bool,
    is_over: bool,
    challenge: Option<Challenge>,
    deadline: Time,
}

enum Step {
    Again,
    /// There is more to read, and somebody else's turn.
    GiveWay,
    Wait(Time),
    End(ConnectionError),
}

fn broken(error: io::Error) -> ConnectionError {
    match error.kind() {
        io::ErrorKind::BrokenPipe
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::NotConnected
        | io::ErrorKind::UnexpectedEof => ConnectionError::ClosedByBroker,
        _ => error.into(),
    }
}

#[expect(
    dead_code,
    reason = "shows that the future of the driver can be spawned"
)]
fn is_send(shared: Arc<Shared>) -> impl Send {
    fn core_is_send<T: Send>() {}
    core_is_send::<Core>();
    drive(shared, Resolving::Elsewhere)
}
