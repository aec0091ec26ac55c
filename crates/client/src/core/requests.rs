//! Requests and their responses (MQTT5 4.10).

use std::collections::HashMap;

use bytes::Bytes;
use midge_codec::SubscriptionOptions;
use midge_proto::Time;

use super::accepting::{Accepted, Rejected};
use super::held::Draft;
use super::routing::{Overflow, StreamKey, StreamTerms};
use super::subscribing::Wanted;
use super::tickets::Call;
use super::{Core, Outcome, Random, Ticket};
use crate::error::{PublishError, RequestError, SubscribeError};
use crate::message::Message;

/// Requests that wait for their response.
pub(super) struct Requests {
    random: Random,
    waiting: HashMap<Bytes, Ticket>,
    last: u64,
    /// The subscription to responses, once there is one.
    stream: Option<StreamKey>,
    topic: String,
}

impl Requests {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            random: Random(seed),
            waiting: HashMap::new(),
            last: 0,
            stream: None,
            topic: String::new(),
        }
    }

    pub(super) fn is_stream(&self, key: StreamKey) -> bool {
        self.stream == Some(key)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

impl Core {
    /// Sends a request. The draft's response topic and correlation data are set here.
    pub(crate) fn request(
        &mut self,
        now: Time,
        draft: &mut Draft<'_>,
    ) -> Result<Ticket, Result<RequestError, Rejected>> {
        if !self.options.version.has_properties() {
            return Err(Ok(RequestError::NotInVersion));
        }
        self.listen_for_responses()
            .map_err(|error| Ok(RequestError::Subscribe(error)))?;
        self.requests.last += 1;
        let mut data = Vec::with_capacity(16);
        // A guess at somebody else's correlation data must not be a response.
        data.extend_from_slice(&self.requests.random.next().to_be_bytes());
        data.extend_from_slice(&self.requests.last.to_be_bytes());
        let data = Bytes::from(data);
        let properties = draft.properties.get_or_insert_default();
        properties.response_topic = Some(self.requests.topic.clone());
        properties.correlation_data = Some(data.clone());
        match self.publish(now, draft) {
            Ok(Accepted::Ticket(published)) => self.tickets.abandon(published),
            Ok(Accepted::Storing { stored, delivery }) => {
                self.tickets.abandon(stored);
                self.tickets.abandon(delivery);
            }
            Ok(Accepted::Written(_)) => {}
            Err(rejected) => return Err(Err(rejected)),
        }
        let ticket = self.tickets.issue(Call::Request);
        self.requests.waiting.insert(data, ticket);
        Ok(ticket)
    }

    fn listen_for_responses(&mut self) -> Result<(), SubscribeError> {
        if self.requests.stream.is_some() {
            return Ok(());
        }
        let topic = match &self.options.response_topic {
            Some(topic) => topic.clone(),
            None => {
                let base = self.terms.response_information.as_deref();
                let base = base.unwrap_or("response").trim_end_matches('/');
                let unique = (self.requests.random.next(), self.requests.random.next());
                format!("{base}/{:016x}{:016x}", unique.0, unique.1)
            }
        };
        let options = SubscriptionOptions {
            qos: midge_codec::QoS::AtLeastOnce,
            ..SubscriptionOptions::default()
        };
        let terms = StreamTerms {
            capacity: 1,
            overflow: Overflow::DropNewest,
            manual: false,
        };
        let (stream, ticket) = self.subscribe(Wanted {
            filters: vec![(topic.clone(), options)],
            terms,
            user_properties: Vec::new(),
        })?;
        self.tickets.abandon(ticket);
        self.requests.stream = Some(stream);
        self.requests.topic = topic;
        Ok(())
    }

    pub(super) fn on_response(&mut self, message: Message) {
        let data = message.properties().correlation_data.as_ref();
        // A response that comes too late, or twice, has nobody who waits.
        if let Some(ticket) = data.and_then(|data| self.requests.waiting.remove(data)) {
            self.complete(ticket, Outcome::Responded(Ok(message)));
        }
    }

    /// Responses cannot come.
    pub(super) fn fail_requests(&mut self, error: &SubscribeError) {
        self.requests.stream = None;
        for (_, ticket) in std::mem::take(&mut self.requests.waiting) {
            let error = RequestError::Subscribe(error.clone());
            self.complete(ticket, Outcome::Responded(Err(error)));
        }
    }

    /// Nobody waits for this response any more.
    pub(crate) fn forget_request(&mut self, ticket: Ticket) {
        self.requests.waiting.retain(|_, known| *known != ticket);
        self.tickets.abandon(ticket);
    }
}

impl From<PublishError> for RequestError {
    fn from(error: PublishError) -> Self {
        Self::Publish(error)
    }
}
