//! A connection, and the loop that carries its bytes.

use embedded_io_async::{Read, Write};
use midge_codec::{
    DecodeError, PacketType, Publish, QoS, ReasonCode, SubAck, Subscription, UnsubAck,
};
use midge_proto::{Fault, Time};

use crate::aliases::Aliases;
use crate::authentication::{Authentication, Authenticator, Exchange as _};
use crate::core::{Core, Failure, Found, Goal, Want};
use crate::{Error, Event, Extras, Message, Options, PacketId, QueueError, Session, With};

/// Memory for one connection. See [Memory](crate#memory) for the sizes.
#[derive(Debug)]
pub struct Buffers<'a> {
    /// Holds what has arrived: the largest packet.
    pub receive: &'a mut [u8],
    /// Holds what is on its way out, but for messages of QoS 1 and 2.
    pub send: &'a mut [u8],
}

/// What the broker said when it accepted the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Accepted {
    /// The broker has kept the session, with its subscriptions. Otherwise subscribe again.
    pub session_present: bool,
    /// The keep alive that holds: what was asked for, unless a 5.0 broker chose another.
    pub keep_alive_secs: u16,
    /// The highest QoS that it takes.
    pub maximum_qos: QoS,
    /// Whether it retains messages.
    pub retain_available: bool,
    /// The largest packet in bytes that it takes.
    pub packet_size_max: u32,
}

/// A connection to a broker.
///
/// `C` is the clock: milliseconds since any moment, never going back. `X` is what it does beside the common.
pub struct Client<'a, 's, T, C, X = With> {
    transport: T,
    clock: C,
    core: Core<'a, 's, X>,
}

impl<E> From<Failure> for Error<E> {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Closed => Self::Closed,
            Failure::TimedOut => Self::TimedOut,
            Failure::Refused(reason) => Self::Refused(reason),
            Failure::Disconnected(reason) => Self::Disconnected(reason),
            Failure::Protocol(fault) => Self::Protocol(fault),
        }
    }
}

impl<'a, 's, T, C> Client<'a, 's, T, C>
where
    T: Read + Write,
    C: Fn() -> Time,
{
    /// Introduces the client on a transport that was just opened, and waits for the broker's answer. There
    /// is no time limit but the caller's: drop the future, and with it the transport.
    ///
    /// Messages that the session has from earlier connections are sent again by the calls that follow.
    ///
    /// # Errors
    /// [`Error::Refused`] with the broker's reason; [`QueueError::TooLarge`] if the send buffer does not
    /// hold CONNECT; the others as they say.
    pub fn connect(
        transport: T,
        clock: C,
        session: &'a mut Session<'s>,
        buffers: Buffers<'a>,
        options: &Options<'_>,
    ) -> impl Future<Output = Result<(Self, Accepted), Error<T::Error>>> {
        Self::connect_with(transport, clock, session, buffers, options, With::new())
    }
}

impl<'a, 's, T, C, X> Client<'a, 's, T, C, X>
where
    T: Read + Write,
    C: Fn() -> Time,
    X: Extras,
{
    /// As [`Client::connect`], for a client that does more.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub async fn connect_with(
        transport: T,
        clock: C,
        session: &'a mut Session<'s>,
        buffers: Buffers<'a>,
        options: &Options<'_>,
        with: X,
    ) -> Result<(Self, Accepted), Error<T::Error>> {
        let core = Core::new(clock(), session, buffers, options, with)?;
        let mut client = Self {
            transport,
            clock,
            core,
        };
        client.drive(Goal::Accepted).await?;
        let accepted = client.core.accepted;
        Ok((client, accepted))
    }

    /// When [`Self::next`] has to be called again at the latest, because of the keep alive.
    #[must_use]
    pub const fn deadline(&self) -> Time {
        self.core.keep_alive.client_deadline()
    }

    /// The session, e.g. to count what is not acknowledged.
    #[must_use]
    pub const fn session(&self) -> &Session<'s> {
        self.core.session
    }

    /// Goes on until the goal is reached. All calls wait here, and only here.
    async fn drive(&mut self, goal: Goal) -> Result<Found, Error<T::Error>> {
        loop {
            let now = (self.clock)();
            match self.core.want(now, goal) {
                Want::Write => {
                    let count = self.transport.write(self.core.outgoing()).await;
                    let count = count.map_err(Error::Transport)?;
                    self.core.wrote(count);
                }
                Want::Flush => {
                    self.transport.flush().await.map_err(Error::Transport)?;
                    self.core.is_unflushed = false;
                }
                Want::Read => {
                    let count = self.transport.read(self.core.room()).await;
                    self.core.read(count.map_err(Error::Transport)?);
                }
                Want::Found(found) => return Ok(found),
                Want::Fail(failure) => return Err(failure.into()),
            }
        }
    }

    /// Waits for the next event. Sends what is due meanwhile: messages, acknowledgements, PINGREQ.
    ///
    /// # Errors
    /// Why the connection is over.
    pub async fn next(&mut self) -> Result<Event<'_>, Error<T::Error>> {
        let frame = match self.drive(Goal::Event).await? {
            Found::Packet(frame) => frame,
            Found::Delivered(id, reason) => return Ok(Event::Delivered { id, reason }),
            // No event ends so.
            Found::Done => return Err(Error::Closed),
        };
        if X::SAVED && matches!(frame.kind, PacketType::PubRec | PacketType::PubRel) {
            return Ok(Event::SessionChanged);
        }
        if X::Exchange::IS_USED && frame.kind == PacketType::Auth {
            return Ok(Event::Authenticated);
        }
        let version = self.core.session.version();
        let body = self.core.body(&frame);
        // It was decoded before, so it can be.
        let event = match frame.kind {
            PacketType::SubAck => SubAck::decode(version, body).map(|answer| Event::Subscribed {
                id: answer.packet_id,
                codes: answer.codes,
            }),
            PacketType::UnsubAck => {
                UnsubAck::decode(version, body).map(|answer| Event::Unsubscribed {
                    id: answer.packet_id,
                    codes: answer.codes,
                })
            }
            PacketType::PubRec | PacketType::PubRel if X::SAVED => {
                return Ok(Event::SessionChanged);
            }
            PacketType::Auth if X::Exchange::IS_USED => return Ok(Event::Authenticated),
            _ => {
                let mut message = Publish::decode(frame.header.first, version, body);
                if X::Aliases::IS_USED
                    && let Ok(message) = &mut message
                {
                    self.core.name(message);
                }
                message.map(Event::Message)
            }
        };
        event.map_err(|error: DecodeError| Error::Protocol(Fault::decode(frame.kind, error)))
    }

    /// Queues a message. Nothing is sent before the next call of [`Self::flush`] or [`Self::next`].
    ///
    /// With QoS 1 and 2 it gives the number that [`Event::Delivered`] will have; the message is in the
    /// session from here on.
    ///
    /// # Errors
    /// Why it cannot be queued, and then nothing has changed.
    pub fn try_publish(&mut self, message: &Message<'_>) -> Result<Option<PacketId>, QueueError> {
        self.core.publish(message)
    }

    /// Queues a message as [`Self::try_publish`] does, and sends what is queued. A full buffer of QoS 0 is
    /// waited for.
    ///
    /// If the future is dropped, the message may be queued or not.
    ///
    /// # Errors
    /// As [`Self::try_publish`], in [`Error::Queue`]; or why the connection is over. With
    /// [`With::session_saved`] none of QoS 2 is taken: there has to be time to save the session before it is
    /// sent.
    pub async fn publish(
        &mut self,
        message: &Message<'_>,
    ) -> Result<Option<PacketId>, Error<T::Error>> {
        if X::SAVED && message.qos == QoS::ExactlyOnce {
            let why = "save the session between `try_publish` and `flush`";
            return Err(QueueError::Invalid(why).into());
        }
        loop {
            let queued = self.core.publish(message);
            // What is queued makes room when it has gone, but for messages that wait for the broker.
            let is_full = queued == Err(QueueError::Full) && message.qos == QoS::AtMostOnce;
            if !is_full {
                queued?;
            }
            self.drive(Goal::Flushed).await?;
            if let Ok(id) = queued {
                return Ok(id);
            }
        }
    }

    /// Asks for messages, and sends what is queued. The answer is an [`Event::Subscribed`] with the same
    /// number. Waits in the session's buffer for unacknowledged messages meanwhile.
    ///
    /// # Errors
    /// [`Error::Queue`] if it cannot be asked for; or why the connection is over.
    pub async fn subscribe(
        &mut self,
        subscriptions: &[Subscription<'_>],
    ) -> Result<PacketId, Error<T::Error>> {
        let id = self.core.subscribe(subscriptions)?;
        self.flush().await?;
        Ok(id)
    }

    /// Asks for no more messages. The answer is an [`Event::Unsubscribed`] with the same number.
    ///
    /// # Errors
    /// As [`Self::subscribe`].
    pub async fn unsubscribe(&mut self, filters: &[&str]) -> Result<PacketId, Error<T::Error>> {
        let id = self.core.unsubscribe(filters)?;
        self.flush().await?;
        Ok(id)
    }

    /// Sends everything that may be sent now.
    ///
    /// # Errors
    /// Why the connection is over.
    pub async fn flush(&mut self) -> Result<(), Error<T::Error>> {
        self.drive(Goal::Flushed).await?;
        Ok(())
    }

    /// Ends the connection in order, after what is queued has been sent. The broker does not publish the
    /// will then. Gives the transport back.
    ///
    /// # Errors
    /// Why it could not be said.
    pub async fn disconnect(mut self) -> Result<T, Error<T::Error>> {
        self.flush().await?;
        self.core.say_goodbye(ReasonCode::SUCCESS)?;
        self.flush().await?;
        Ok(self.transport)
    }
}

impl<T, C, A, U, const SAVED: bool> Client<'_, '_, T, C, With<A, Authentication<U>, SAVED>>
where
    T: Read + Write,
    C: Fn() -> Time,
    A: Aliases,
    U: Authenticator,
{
    /// Authenticates again, as before a token expires. [`Event::Authenticated`] says that it is done; a broker
    /// that refuses ends the connection. Messages are exchanged meanwhile.
    ///
    /// # Errors
    /// [`Error::Queue`] if it cannot be begun, as while it is done already; or why the connection is over.
    pub async fn authenticate(&mut self) -> Result<(), Error<T::Error>> {
        self.flush().await?;
        self.core.authenticate()?;
        self.flush().await
    }
}
