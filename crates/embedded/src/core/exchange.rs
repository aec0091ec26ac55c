//! Enhanced authentication.

use midge_codec::{Auth, ConnAck, PacketType, Properties, Property, ReasonCode, Version};

use super::{Core, Failed, Found, Frame};
use crate::QueueError;
use crate::authentication::{Exchange as _, Unconvinced};
use crate::extras::Extras;
use crate::outbox::{Outbox, RESERVED};

/// What is wrong with the broker's part.
enum Wrong {
    /// It does not belong to an exchange.
    Astray,
    Unconvinced,
    /// The answer does not fit into the send buffer.
    TooLarge,
}

impl From<Unconvinced> for Wrong {
    fn from(_: Unconvinced) -> Self {
        Self::Unconvinced
    }
}

impl From<QueueError> for Wrong {
    fn from(_: QueueError) -> Self {
        Self::TooLarge
    }
}

/// Method and data of a packet.
fn said<'p>(properties: &Properties<'p>) -> (Option<&'p str>, Option<&'p [u8]>) {
    let (mut method, mut data) = (None, None);
    for property in properties.iter() {
        match property {
            Property::AuthenticationMethod(name) => method = Some(name),
            Property::AuthenticationData(bytes) => data = Some(bytes),
            _ => {}
        }
    }
    (method, data)
}

/// Queues AUTH, if it is no longer than `length_max`.
fn queue(
    outbox: &mut Outbox<'_>,
    length_max: usize,
    reason: ReasonCode,
    method: &str,
    data: Option<&[u8]>,
) -> Result<(), QueueError> {
    let list = [
        Property::AuthenticationMethod(method),
        Property::AuthenticationData(data.unwrap_or_default()),
    ];
    let count = if data.is_some() { 2 } else { 1 };
    let auth = Auth {
        reason,
        properties: Properties::from_list(list.get(..count).unwrap_or_default()),
    };
    outbox.queue(RESERVED, length_max, |sink| auth.encode(Version::V5, sink))
}

impl<X: Extras> Core<'_, '_, X> {
    /// Begins an exchange on a connection that is there.
    pub(crate) fn authenticate(&mut self) -> Result<(), QueueError> {
        let length_max = self.length_max();
        let exchange = self.extras.exchange_mut();
        if exchange.is_under_way() {
            return Err(QueueError::Invalid("an authentication is under way"));
        }
        // [MQTT5-4.12.1-1]
        let method = exchange.method();
        let reason = ReasonCode::RE_AUTHENTICATE;
        queue(
            &mut self.outbox,
            length_max,
            reason,
            method,
            exchange.begin(),
        )?;
        exchange.set_under_way(true);
        Ok(())
    }

    /// Takes AUTH: a step of an exchange, or the end of one that was begun on this connection.
    pub(super) fn take_auth(&mut self, frame: &Frame) -> Result<Option<Found>, Failed> {
        let auth = match Auth::decode(Version::V5, self.inbox.body(frame)) {
            Ok(auth) => auth,
            Err(error) => return Err(self.malformed(PacketType::Auth, error)),
        };
        let length_max = usize::try_from(self.accepted.packet_size_max).unwrap_or(usize::MAX);
        let (said_method, data) = said(&auth.properties);
        let exchange = self.extras.exchange_mut();
        let method = exchange.method();
        let taken = if !exchange.is_under_way() || said_method != Some(method) {
            Err(Wrong::Astray)
        } else if auth.reason == ReasonCode::CONTINUE_AUTHENTICATION {
            // [MQTT5-4.12.0-3]
            let outbox = &mut self.outbox;
            let answer = exchange.answer(data).map_err(Wrong::from);
            answer
                .and_then(|data| Ok(queue(outbox, length_max, auth.reason, method, data)?))
                .map(|()| None)
        } else if auth.reason == ReasonCode::SUCCESS && self.is_accepted {
            exchange.set_under_way(false);
            let finished = exchange.finish(data).map_err(Wrong::from);
            finished.map(|()| Some(Found::Packet(*frame)))
        } else {
            Err(Wrong::Astray)
        };
        taken.map_err(|wrong| self.end_exchange(&wrong))
    }

    /// Looks at what an accepting CONNACK says at the end of the exchange.
    pub(super) fn take_proof(&mut self, frame: &Frame) -> Result<(), Failed> {
        let connack = ConnAck::decode(Version::V5, self.inbox.body(frame));
        let connack = connack.map_err(|_| Failed)?;
        let (method, data) = said(&connack.properties);
        let exchange = self.extras.exchange_mut();
        exchange.set_under_way(false);
        // [MQTT5-4.12.0-5]
        let taken = if method == Some(exchange.method()) {
            exchange.finish(data).map_err(Wrong::from)
        } else {
            Err(Wrong::Astray)
        };
        taken.map_err(|wrong| self.end_exchange(&wrong))
    }

    fn end_exchange(&mut self, wrong: &Wrong) -> Failed {
        let (reason, why) = match wrong {
            Wrong::Astray => (
                ReasonCode::PROTOCOL_ERROR,
                "what it says belongs to no authentication",
            ),
            Wrong::Unconvinced => (
                ReasonCode::NOT_AUTHORIZED,
                "its part of the authentication is not accepted",
            ),
            Wrong::TooLarge => (
                ReasonCode::IMPLEMENTATION_SPECIFIC_ERROR,
                "the send buffer does not hold the answer to AUTH",
            ),
        };
        self.misbehaved(reason, why)
    }
}
