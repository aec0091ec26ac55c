mod crashes;
mod cuts;
mod faults;
mod hostile;
mod limits;
mod peer;
mod pieces;
mod seeds;
mod sessions;
mod shard;

use std::collections::VecDeque;
use std::task::{Poll, Waker};
use std::time::Duration;

use midge_codec::{QoS, SubscriptionOptions, Version};
use midge_proto::Time;

use super::*;
use crate::Published;
use crate::credentials::Credentials;
use crate::error::SubscribeError;
use crate::message::Message;
use crate::options::QueueFull;
use peer::Peer;

/// A core, a scripted broker, and the link between them.
struct World {
    core: Core,
    peer: Peer,
    now: Time,
    /// The link breaks after so many bytes in both directions.
    cut_after: Option<usize>,
    /// How many connections were made.
    connections: usize,
    batch: VecDeque<Item>,
}

fn options() -> Options {
    Options::new("mqtt://test").unwrap()
}

fn draft(topic: &str, payload: &str, qos: QoS) -> Draft<'static> {
    Draft {
        topic: topic.to_owned().into(),
        payload: payload.to_owned().into(),
        qos,
        ..Draft::default()
    }
}

impl World {
    fn new(options: Options) -> Self {
        let version = options.version;
        Self {
            core: Core::new(options, 7),
            peer: Peer::new(version),
            now: Time(1000),
            cut_after: None,
            connections: 0,
            batch: VecDeque::new(),
        }
    }

    fn connected(options: Options) -> Self {
        let mut world = Self::new(options);
        world.settle();
        assert!(world.core.is_connected());
        world
    }

    /// Carries bytes, and lets time pass while the core waits to connect, until nothing moves.
    fn settle(&mut self) {
        for _ in 0..100_000 {
            match self.core.duty(self.now) {
                Duty::End => return,
                Duty::Wait(until) => self.now = until,
                Duty::Dial(_) => {
                    self.connections += 1;
                    self.core.opened(self.now, &Credentials::default(), None);
                    self.peer.opened();
                }
                Duty::Talk => {
                    if !self.carry() {
                        return;
                    }
                }
            }
        }
        panic!("it never comes to rest");
    }

    /// Moves what there is, up and down; whether something moved.
    fn carry(&mut self) -> bool {
        let mut up = Vec::new();
        self.core.take_outbound(&mut up);
        let kept = self.allow(up.len());
        self.core.written(self.now, kept);
        self.peer.received(&up[..kept]);
        if kept < up.len() {
            self.lose();
            return true;
        }
        let down = mem::take(&mut self.peer.outbound);
        let kept = self.allow(down.len());
        if kept > 0 {
            self.core.received(self.now, &down[..kept]);
        } else {
            self.core.resume(self.now);
        }
        if kept < down.len() {
            self.lose();
            return true;
        }
        if self.core.is_to_close() || self.peer.is_closed {
            self.lose();
            return true;
        }
        !up.is_empty() || !down.is_empty()
    }

    fn allow(&mut self, bytes: usize) -> usize {
        let Some(left) = &mut self.cut_after else {
            return bytes;
        };
        let kept = bytes.min(*left);
        *left -= kept;
        kept
    }

    fn lose(&mut self) {
        self.cut_after = None;
        self.peer.lost();
        self.core.lost(self.now, ConnectionError::ClosedByBroker);
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
    }

    fn publish(&mut self, topic: &str, payload: &str, qos: QoS) -> Ticket {
        match self.core.publish(self.now, &mut draft(topic, payload, qos)) {
            Ok(Accepted::Ticket(ticket)) => ticket,
            other => panic!("{other:?}"),
        }
    }

    fn outcome(&mut self, ticket: Ticket) -> Option<Outcome> {
        match self.core.tickets().poll(ticket, Waker::noop()) {
            Poll::Ready(outcome) => Some(outcome),
            Poll::Pending => None,
        }
    }

    fn published(&mut self, ticket: Ticket) -> Result<Published, PublishError> {
        match self.outcome(ticket) {
            Some(Outcome::Published(result)) => result,
            other => panic!("{other:?}"),
        }
    }

    fn subscribe_with(&mut self, filters: &[&str], terms: StreamTerms) -> (StreamKey, Ticket) {
        let options = SubscriptionOptions {
            qos: QoS::ExactlyOnce,
            ..SubscriptionOptions::default()
        };
        let filters = filters.iter().map(|filter| ((*filter).to_owned(), options));
        self.core
            .subscribe(Wanted {
                filters: filters.collect(),
                terms,
                user_properties: Vec::new(),
            })
            .unwrap()
    }

    fn subscribe(&mut self, filter: &str) -> (StreamKey, Ticket) {
        self.subscribe_with(&[filter], TERMS)
    }

    /// Takes the next message; it is acknowledged when the one after it is taken.
    fn next(&mut self, key: StreamKey, last: &mut Option<u64>) -> Option<Message> {
        if self.batch.is_empty() {
            let finished = last.take();
            self.core.take(
                self.now,
                key,
                finished,
                &mut self.batch,
                Some(Waker::noop()),
            );
        } else if let Some(sequence) = last.take() {
            self.core.acknowledge(sequence);
        }
        let item = self.batch.pop_front()?;
        *last = item.sequence;
        Some(item.message)
    }

    /// All payloads in a stream, acknowledged.
    fn texts(&mut self, key: StreamKey) -> Vec<String> {
        let mut last = None;
        std::iter::from_fn(|| self.next(key, &mut last))
            .map(|message| message.text().unwrap().to_owned())
            .collect()
    }

    fn events(&mut self, listener: usize) -> Vec<Event> {
        std::iter::from_fn(|| {
            let next = self.core.next_event(listener, Waker::noop());
            next.ok().flatten()
        })
        .collect()
    }
}

const TERMS: StreamTerms = StreamTerms {
    capacity: 1000,
    overflow: Overflow::Wait,
    manual: false,
};
