//! SUBSCRIBE, UNSUBSCRIBE, and what is asked for again after a lost session.

use std::mem;
use std::num::NonZeroU16;
use std::sync::Arc;

use midge_codec::{
    Filters, Packet, Properties, Property, QoS, ReasonCode, RetainHandling, SubAck, Subscribe,
    Subscription, SubscriptionOptions, Subscriptions, UnsubAck, Unsubscribe, topic,
};
use midge_proto::Time;

use super::handshake::refusal;
use super::routing::{StreamKey, StreamTerms};
use super::tickets::Call;
use super::{Core, Event, Outcome, Resubscribing, State, Ticket};
use crate::error::{Refusal, SubscribeError};
use crate::message::user_properties;

/// What one call subscribes to.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) filters: Vec<(String, SubscriptionOptions)>,
    pub(crate) terms: StreamTerms,
    pub(crate) user_properties: Vec<(String, String)>,
}

/// A SUBSCRIBE or UNSUBSCRIBE that is not answered.
#[derive(Clone, Debug)]
pub(super) enum Operation {
    Subscribe {
        filters: Vec<Arc<str>>,
        stream: StreamKey,
        ticket: Ticket,
    },
    /// After a lost session.
    Again {
        filters: Vec<Arc<str>>,
        /// The broker may have them all the same: then no retained messages are wanted.
        in_doubt: bool,
    },
    Unsubscribe {
        filters: Vec<Arc<str>>,
        ticket: Option<Ticket>,
    },
}

/// How many filters go into one packet when everything is subscribed to again.
const AGAIN_MAX: usize = 64;

/// How many bytes of filters one call may name; brokers limit the packet.
const FILTERS_BYTES_MAX: usize = 64 * 1024;

fn check(wanted: &Wanted) -> Result<(), SubscribeError> {
    let invalid = |why| Err(SubscribeError::Invalid(why));
    if wanted.filters.is_empty() {
        return invalid("there is no filter to subscribe to [MQTT5-3.8.3-2]");
    }
    let mut bytes = 0;
    for (text, options) in &wanted.filters {
        bytes += text.len() + 3;
        if text.contains('\0') {
            return invalid("a filter has a zero byte");
        }
        match topic::Filter::parse(text) {
            Err(_) => return invalid("a filter is empty, too long, or has a misplaced wildcard"),
            Ok(filter) if filter.share_name.is_some() && options.no_local => {
                return invalid("no local is not allowed on shared subscriptions [MQTT5-3.8.3-4]");
            }
            Ok(_) => {}
        }
    }
    for (name, value) in &wanted.user_properties {
        bytes += name.len() + value.len();
        if name.contains('\0') || value.contains('\0') {
            return invalid("a user property has a zero byte");
        }
    }
    if bytes > FILTERS_BYTES_MAX {
        return invalid("one call subscribes to more than 64 KiB of filters; use several");
    }
    Ok(())
}

impl Core {
    /// Subscribes; messages may come before the ticket says that the broker agrees.
    pub(crate) fn subscribe(
        &mut self,
        wanted: Wanted,
    ) -> Result<(StreamKey, Ticket), SubscribeError> {
        check(&wanted)?;
        if let State::Closed(error) = &self.state {
            return Err(SubscribeError::Closed(Box::new(error.clone())));
        }
        if self.shutdown.is_some() {
            let closed = Box::new(crate::ConnectionError::Closed);
            return Err(SubscribeError::Closed(closed));
        }
        let mut filters: Vec<Arc<str>> = Vec::with_capacity(wanted.filters.len());
        for (filter, _) in &wanted.filters {
            if !filters.iter().any(|known| **known == **filter) {
                filters.push(filter.as_str().into());
            }
        }
        let stream = self.streams.insert(wanted.terms, filters.clone());
        let identifier = self.routes.next_identifier();
        let properties = Arc::new(wanted.user_properties);
        for (filter, options) in &wanted.filters {
            if let Some(filter) = filters.iter().find(|known| ***known == **filter) {
                self.routes
                    .add(filter, *options, identifier, &properties, stream);
            }
        }
        self.streams.claim(stream, &mut self.wakers);
        self.trim(stream);
        let ticket = self.tickets.issue(Call::Subscribe);
        self.operate(Operation::Subscribe {
            filters,
            stream,
            ticket,
        });
        Ok((stream, ticket))
    }

    /// A ticket for an UNSUBSCRIBE to come.
    pub(crate) fn await_unsubscribe(&mut self) -> Ticket {
        self.tickets.issue(Call::Unsubscribe)
    }

    /// Takes back what only this stream, which is gone, wanted.
    pub(super) fn unsubscribe(
        &mut self,
        stream: StreamKey,
        filters: &[Arc<str>],
        ticket: Option<Ticket>,
    ) {
        let filters = self.routes.remove(stream, filters);
        let is_closed = matches!(self.state, State::Closed(_));
        if !filters.is_empty() && !is_closed {
            self.operate(Operation::Unsubscribe { filters, ticket });
        } else if let Some(ticket) = ticket {
            self.complete(ticket, Outcome::Unsubscribed(Ok(())));
        }
    }

    fn operate(&mut self, operation: Operation) {
        self.waiting_operations.push_back(operation);
        if self.is_connected() {
            self.send_operations();
        }
    }

    /// Sends what waits for a connection.
    pub(super) fn send_operations(&mut self) {
        let bytes_max = match self.terms.packet_size_max {
            0 => usize::MAX,
            bytes => bytes as usize,
        };
        let mut too_large = Vec::new();
        while let Some(operation) = self.waiting_operations.pop_front() {
            let Some(id) = self.free_id() else {
                self.waiting_operations.push_front(operation);
                break;
            };
            let before = self.outbound.bytes.len();
            let is_wanted = match &operation {
                Operation::Subscribe { filters, .. } => self.send_subscribe(id, filters, false),
                Operation::Again { filters, in_doubt } => {
                    self.send_subscribe(id, filters, *in_doubt)
                }
                Operation::Unsubscribe { filters, .. } => {
                    let list: Vec<&str> = filters.iter().map(|filter| &**filter).collect();
                    self.send(Packet::Unsubscribe(Unsubscribe {
                        packet_id: id,
                        properties: Properties::NONE,
                        filters: Filters::from_list(&list),
                    }));
                    true
                }
            };
            let bytes = self.outbound.bytes.len() - before;
            if bytes > bytes_max {
                self.outbound.bytes.truncate(before);
                if let Some(operation) = self.split(operation) {
                    too_large.push((operation, bytes));
                }
            } else if is_wanted {
                self.last_operation += 1;
                self.operations.insert(id, (self.last_operation, operation));
            } else {
                self.unwanted(operation);
            }
        }
        for (operation, bytes) in too_large {
            self.refuse_operation(operation, bytes, bytes_max);
        }
    }

    /// Has half of an operation wait in front of the other, so that the broker takes their packets
    /// `[MQTT5-3.2.2-15]`. Gives back what cannot be halved: a SUBSCRIBE is granted as a whole.
    fn split(&mut self, operation: Operation) -> Option<Operation> {
        match operation {
            Operation::Again {
                mut filters,
                in_doubt,
            } if filters.len() > 1 => {
                let rest = filters.split_off(filters.len() / 2);
                self.resubscribing.left += 1;
                for filters in [rest, filters] {
                    self.waiting_operations
                        .push_front(Operation::Again { filters, in_doubt });
                }
                None
            }
            Operation::Unsubscribe {
                mut filters,
                ticket,
            } if filters.len() > 1 => {
                let rest = filters.split_off(filters.len() / 2);
                for (filters, ticket) in [(rest, ticket), (filters, None)] {
                    self.waiting_operations
                        .push_front(Operation::Unsubscribe { filters, ticket });
                }
                None
            }
            whole => Some(whole),
        }
    }

    /// The stream of what was to be subscribed to is gone.
    fn unwanted(&mut self, operation: Operation) {
        match operation {
            Operation::Subscribe { ticket, .. } => {
                self.complete(ticket, Outcome::Subscribed(Ok(Vec::new())));
            }
            Operation::Again { .. } => self.resubscribed(0, Vec::new()),
            Operation::Unsubscribe { .. } => {}
        }
    }

    /// The broker takes no packet as large as this operation makes.
    fn refuse_operation(&mut self, operation: Operation, bytes: usize, bytes_max: usize) {
        let error = SubscribeError::TooLarge { bytes, bytes_max };
        match operation {
            Operation::Subscribe { stream, ticket, .. } => {
                self.subscription_failed(stream, ticket, error);
            }
            Operation::Again { filters, .. } => {
                let refusal = Refusal::new(ReasonCode::PACKET_TOO_LARGE);
                let refused = filters.into_iter().map(|filter| (filter, refusal.clone()));
                self.resubscribed(0, refused.collect());
            }
            Operation::Unsubscribe { ticket, .. } => {
                if let Some(ticket) = ticket {
                    self.complete(ticket, Outcome::Unsubscribed(Err(error)));
                }
            }
        }
    }

    fn send_subscribe(&mut self, id: NonZeroU16, filters: &[Arc<str>], in_doubt: bool) -> bool {
        let mut identifier = 0;
        let mut list = Vec::with_capacity(filters.len());
        let mut users = None;
        for filter in filters {
            let Some(entry) = self.routes.get(filter) else {
                // It was unsubscribed before it was sent. The broker has to be asked all the same, so
                // that the codes of SUBACK fit; UNSUBSCRIBE follows.
                let options = SubscriptionOptions::default();
                list.push(Subscription { filter, options });
                continue;
            };
            identifier = entry.identifier;
            users = Some(Arc::clone(&entry.user_properties));
            let mut options = entry.options;
            if in_doubt && options.retain_handling == RetainHandling::Send {
                options.retain_handling = RetainHandling::SendIfNew;
            }
            list.push(Subscription { filter, options });
        }
        let Some(users) = users else {
            return false;
        };
        self.routes.identify(filters, identifier);
        let mut properties = Vec::new();
        if self.options.version.has_properties() {
            if self.terms.subscription_identifiers_available {
                properties.push(Property::SubscriptionIdentifier(identifier));
            }
            properties.extend(user_properties(&users));
        }
        let packet = Subscribe {
            packet_id: id,
            properties: Properties::from_list(&properties),
            subscriptions: Subscriptions::from_list(&list),
        };
        let _ = packet.encode(self.options.version, &mut self.outbound.bytes);
        self.rouse();
        true
    }

    /// A packet identifier that nothing uses. Messages take theirs from the other end.
    fn free_id(&self) -> Option<NonZeroU16> {
        let is_free = |id: &NonZeroU16| {
            !self.operations.contains_key(id) && !self.outgoing.iter().any(|(used, _)| used == *id)
        };
        (1..=u16::MAX)
            .rev()
            .filter_map(NonZeroU16::new)
            .find(is_free)
    }

    /// The connection is gone: what was not answered is asked again.
    pub(super) fn operations_disconnected(&mut self) {
        let mut unanswered: Vec<(u64, Operation)> =
            self.operations.drain().map(|(_, sent)| sent).collect();
        unanswered.sort_by_key(|(order, _)| *order);
        for (_, operation) in unanswered.into_iter().rev() {
            self.waiting_operations.push_front(operation);
        }
    }

    /// The broker has no session, so there is nothing to unsubscribe from.
    pub(super) fn forget_unsubscribes(&mut self) {
        for operation in mem::take(&mut self.waiting_operations) {
            match operation {
                Operation::Unsubscribe { ticket, .. } => {
                    if let Some(ticket) = ticket {
                        self.complete(ticket, Outcome::Unsubscribed(Ok(())));
                    }
                }
                other => self.waiting_operations.push_back(other),
            }
        }
    }

    /// Asks again for everything that the broker had granted, and for what an earlier connection has asked
    /// for again in vain.
    pub(super) fn resubscribe(&mut self, in_doubt: bool) {
        self.resubscribing = Resubscribing::default();
        let mut lost: Vec<(u32, Arc<str>)> = Vec::new();
        for operation in mem::take(&mut self.waiting_operations) {
            let Operation::Again { filters, .. } = operation else {
                self.waiting_operations.push_back(operation);
                continue;
            };
            for filter in filters {
                if let Some(entry) = self.routes.get_mut(&filter) {
                    entry.granted = true;
                }
            }
        }
        for (filter, entry) in self.routes.iter_mut() {
            if mem::take(&mut entry.granted) {
                lost.push((entry.identifier, Arc::clone(filter)));
            }
        }
        lost.sort();
        // One packet has one subscription identifier.
        for group in lost.chunk_by(|one, other| one.0 == other.0) {
            for part in group.chunks(AGAIN_MAX) {
                let filters = part.iter().map(|(_, filter)| Arc::clone(filter)).collect();
                self.waiting_operations
                    .push_back(Operation::Again { filters, in_doubt });
                self.resubscribing.left += 1;
            }
        }
    }

    pub(super) fn on_suback(&mut self, now: Time, suback: &SubAck<'_>) {
        let filters = match self.operations.get(&suback.packet_id) {
            Some((_, Operation::Subscribe { filters, .. } | Operation::Again { filters, .. })) => {
                filters
            }
            Some((_, Operation::Unsubscribe { .. })) => {
                self.protocol_error("SUBACK in answer to UNSUBSCRIBE");
                return;
            }
            None => {
                self.protocol_error("SUBACK with an unknown packet identifier");
                return;
            }
        };
        // What was answered wrongly stays unanswered, and is asked again on the next connection.
        if filters.len() != suback.codes.len() {
            self.protocol_error("SUBACK has not one code for each filter [MQTT5-3.9.3-1]");
            return;
        }
        let Some((_, operation)) = self.operations.remove(&suback.packet_id) else {
            return;
        };
        let (Operation::Subscribe { filters, .. }
        | Operation::Again { filters, .. }
        | Operation::Unsubscribe { filters, .. }) = &operation;
        let mut granted = Vec::with_capacity(filters.len());
        let mut refused: Vec<(Arc<str>, Refusal)> = Vec::new();
        for (filter, code) in filters.iter().zip(suback.codes) {
            if let Some(qos) = QoS::from_bits(*code) {
                granted.push(qos);
                if let Some(entry) = self.routes.get_mut(filter) {
                    entry.granted = true;
                }
            } else {
                let refusal = refusal(ReasonCode(*code), suback.properties);
                refused.push((Arc::clone(filter), refusal));
            }
        }
        match operation {
            Operation::Subscribe { stream, ticket, .. } => {
                self.subscribed(stream, ticket, granted, refused);
            }
            _ => self.resubscribed(granted.len(), refused),
        }
        self.check_shutdown(now);
    }

    fn subscribed(
        &mut self,
        stream: StreamKey,
        ticket: Ticket,
        granted: Vec<QoS>,
        refused: Vec<(Arc<str>, Refusal)>,
    ) {
        let Some((filter, refusal)) = refused.into_iter().next() else {
            self.complete(ticket, Outcome::Subscribed(Ok(granted)));
            return;
        };
        let error = SubscribeError::Refused {
            filter: filter.to_string(),
            refusal,
        };
        self.subscription_failed(stream, ticket, error);
    }

    /// All or nothing: what was granted is taken back with the stream.
    fn subscription_failed(&mut self, stream: StreamKey, ticket: Ticket, error: SubscribeError) {
        if self.requests.is_stream(stream) {
            self.fail_requests(&error);
        }
        self.drop_stream(stream, std::iter::empty(), None);
        self.complete(ticket, Outcome::Subscribed(Err(error)));
    }

    fn resubscribed(&mut self, granted: usize, refused: Vec<(Arc<str>, Refusal)>) {
        for (filter, refusal) in refused {
            let streams = self.routes.get(&filter).map(|entry| entry.streams.clone());
            for stream in streams.unwrap_or_default() {
                let error = SubscribeError::Refused {
                    filter: filter.to_string(),
                    refusal: refusal.clone(),
                };
                if self.requests.is_stream(stream) {
                    self.fail_requests(&error);
                }
                self.streams.end(stream, Some(error), &mut self.wakers);
            }
            let refused = &mut self.resubscribing.refused;
            refused.push((filter.to_string(), refusal));
        }
        self.resubscribing.granted += granted;
        self.resubscribing.left = self.resubscribing.left.saturating_sub(1);
        if self.resubscribing.left == 0 {
            let Resubscribing {
                granted, refused, ..
            } = mem::take(&mut self.resubscribing);
            self.tell(Event::Resubscribed {
                filters: granted,
                refused,
            });
        }
    }

    pub(super) fn on_unsuback(&mut self, now: Time, unsuback: &UnsubAck<'_>) {
        let filters = match self.operations.get(&unsuback.packet_id) {
            Some((_, Operation::Unsubscribe { filters, .. })) => filters,
            Some(_) => {
                self.protocol_error("UNSUBACK in answer to SUBSCRIBE");
                return;
            }
            None => {
                self.protocol_error("UNSUBACK with an unknown packet identifier");
                return;
            }
        };
        if self.options.version.has_properties() && filters.len() != unsuback.codes.len() {
            self.protocol_error("UNSUBACK has not one code for each filter [MQTT5-3.11.3-1]");
            return;
        }
        let Some((_, Operation::Unsubscribe { filters, ticket })) =
            self.operations.remove(&unsuback.packet_id)
        else {
            return;
        };
        let failed = filters
            .iter()
            .zip(unsuback.codes)
            .find(|(_, code)| ReasonCode(**code).is_failure());
        let result = match failed {
            None => Ok(()),
            Some((filter, code)) => Err(SubscribeError::Refused {
                filter: filter.to_string(),
                refusal: refusal(ReasonCode(*code), unsuback.properties),
            }),
        };
        if let Some(ticket) = ticket {
            self.complete(ticket, Outcome::Unsubscribed(result));
        }
        self.check_shutdown(now);
    }
}
