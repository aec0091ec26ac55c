//! CONNECT and its answer.

use midge_codec::{ConnAck, Connect, Properties, Property, QoS, ReasonCode};
use midge_proto::KeepAlive;

use super::{Core, Failed, Failure, Found, Frame};
use crate::aliases::Aliases as _;
use crate::authentication::Exchange as _;
use crate::extras::{Extras, Parts};
use crate::{Options, QueueError};

impl<X: Extras> Core<'_, '_, X> {
    /// Queues CONNECT.
    pub(super) fn introduce(
        &mut self,
        options: &Options<'_>,
        receive_bytes: u32,
    ) -> Result<(), QueueError> {
        let version = self.session.version();
        let received_max = u16::try_from(self.session.received_max()).unwrap_or(u16::MAX);
        if !version.has_properties() && options.password.is_some() && options.user_name.is_none() {
            return Err(QueueError::Invalid(
                "3.1.1 has no password without user name",
            ));
        }
        let common = [
            Property::MaximumPacketSize(receive_bytes.max(1)),
            Property::SessionExpiryInterval(options.session_expiry_secs),
            // Without room for any, none of QoS 2 is expected, and QoS 1 needs none.
            Property::ReceiveMaximum(received_max),
        ];
        let end = if received_max == 0 { 2 } else { 3 };
        let outbox = &mut self.outbox;
        let mut queue = |properties| {
            let connect = Connect {
                version,
                bridge: false,
                clean_start: options.clean_start,
                keep_alive: options.keep_alive_secs,
                properties: Properties::from_list(properties),
                client_id: options.client_id,
                will: options.will,
                user_name: options.user_name,
                password: options.password,
            };
            outbox.queue(0, usize::MAX, |sink| connect.encode(sink))
        };
        if !<X as Parts>::Aliases::IS_USED && !<X as Parts>::Exchange::IS_USED {
            return queue(common.get(..end).unwrap_or_default());
        }
        if !version.has_properties() && <X as Parts>::Exchange::IS_USED {
            return Err(QueueError::Invalid("3.1.1 has no authentication methods"));
        }
        let aliases_max = self.extras.aliases().incoming_max();
        let exchange = self.extras.exchange_mut();
        exchange.set_under_way(true);
        let method = exchange.method();
        let data = exchange.begin();
        let [size, expiry, receive] = common;
        let properties = [
            Property::AuthenticationData(data.unwrap_or_default()),
            Property::AuthenticationMethod(method),
            // 0 may be said or not.
            Property::TopicAliasMaximum(aliases_max),
            size,
            expiry,
            receive,
        ];
        let begin = if <X as Parts>::Exchange::IS_USED {
            usize::from(data.is_none())
        } else {
            2
        };
        queue(properties.get(begin..3 + end).unwrap_or_default())
    }

    /// Takes CONNACK.
    pub(super) fn accept(&mut self, frame: &Frame) -> Result<Option<Found>, Failed> {
        let version = self.session.version();
        let connack = match ConnAck::decode(version, self.inbox.body(frame)) {
            Ok(connack) => connack,
            Err(error) => return Err(self.malformed(frame.kind, error)),
        };
        if connack.reason != ReasonCode::SUCCESS {
            let reason = connack.reason;
            return Err(self.fail(Failure::Refused(reason)));
        }
        let accepted = &mut self.accepted;
        accepted.session_present = connack.session_present;
        for property in connack.properties.iter() {
            match property {
                Property::ServerKeepAlive(seconds) => accepted.keep_alive_secs = seconds,
                Property::ReceiveMaximum(count) => self.receive_maximum = count,
                Property::MaximumPacketSize(bytes) => accepted.packet_size_max = bytes,
                Property::MaximumQos(0) => accepted.maximum_qos = QoS::AtMostOnce,
                Property::MaximumQos(_) => accepted.maximum_qos = QoS::AtLeastOnce,
                Property::RetainAvailable(available) => accepted.retain_available = available > 0,
                _ => {}
            }
            if <X as Parts>::Aliases::IS_USED
                && let Property::TopicAliasMaximum(count) = property
            {
                self.extras.aliases_mut().allow(count);
            }
        }
        if !accepted.session_present {
            self.session.forget_received();
        }
        if <X as Parts>::Exchange::IS_USED {
            self.take_proof(frame)?;
        }
        self.keep_alive = KeepAlive::new(self.accepted.keep_alive_secs, self.now);
        self.is_accepted = true;
        Ok(Some(Found::Done))
    }
}
