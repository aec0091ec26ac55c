//! Streams of messages that the application reads.

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;
use std::task::Waker;

use midge_codec::{QoS, topic};
use midge_proto::Time;
use slab::Slab;

use super::routing::{Overflow, StreamKey, StreamTerms};
use super::{Core, Outcome};
use crate::error::SubscribeError;
use crate::message::Message;

/// A message in a stream.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) message: Message,
    /// What to name when the application is done with it; for QoS 1 and 2.
    pub(crate) sequence: Option<u64>,
}

/// What a reader of a stream gets.
#[derive(Debug)]
pub(crate) enum Taken {
    /// The batch is not empty.
    Messages,
    /// Nothing yet; the waker is kept.
    Nothing,
    /// Nothing will follow, for this reason if it is one.
    End(Option<SubscribeError>),
}

pub(super) struct Stream {
    queue: VecDeque<Item>,
    bytes: usize,
    terms: StreamTerms,
    /// Whether it is among those that stop reading.
    is_full: bool,
    lost: u64,
    waker: Option<Waker>,
    pub(super) filters: Vec<Arc<str>>,
    end: Option<Option<SubscribeError>>,
}

#[derive(Default)]
pub(super) struct Streams {
    streams: Slab<Stream>,
    /// The bytes of all messages that wait.
    pub(super) bytes: usize,
    /// What they should stay below.
    bytes_max: usize,
    full: usize,
    /// Messages of an earlier run whose subscription may still be made.
    unclaimed: VecDeque<Item>,
}

impl Streams {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max: bytes_max.max(1),
            ..Self::default()
        }
    }

    pub(super) fn insert(&mut self, terms: StreamTerms, filters: Vec<Arc<str>>) -> StreamKey {
        StreamKey(self.streams.insert(Stream {
            queue: VecDeque::new(),
            bytes: 0,
            terms,
            is_full: false,
            lost: 0,
            waker: None,
            filters,
            end: None,
        }))
    }

    pub(super) fn get(&self, key: StreamKey) -> Option<&Stream> {
        self.streams.get(key.0)
    }

    /// Whether reading is to stop, unless the application waits for the broker.
    pub(super) const fn has_enough(&self) -> bool {
        self.full > 0 || self.bytes >= self.bytes_max
    }

    /// Whether nothing more may come, whoever waits.
    pub(super) const fn is_brimful(&self) -> bool {
        self.bytes >= self.bytes_max.saturating_mul(2)
    }

    /// Adds a message; whether it will have to be acknowledged once it has been taken.
    pub(super) fn push(&mut self, key: StreamKey, item: Item, wakers: &mut Vec<Waker>) -> bool {
        let Some(stream) = self.streams.get_mut(key.0) else {
            return false;
        };
        if stream.end.is_some() {
            return false;
        }
        let owes = item.sequence.is_some();
        let is_full = stream.queue.len() >= stream.terms.capacity || self.bytes >= self.bytes_max;
        if is_full
            && item.message.qos == QoS::AtMostOnce
            && stream.terms.overflow != Overflow::DropOldest
        {
            stream.lost += 1;
            return false;
        }
        let size = item.message.size();
        stream.queue.push_back(item);
        stream.bytes += size;
        self.bytes += size;
        if stream.terms.overflow == Overflow::Wait
            && !stream.is_full
            && stream.queue.len() >= stream.terms.capacity
        {
            stream.is_full = true;
            self.full += 1;
        }
        wakers.extend(stream.waker.take());
        owes
    }

    /// Takes the oldest message of a stream that drops the oldest and has too many.
    fn pop_surplus(&mut self, key: StreamKey) -> Option<Item> {
        let stream = self.streams.get_mut(key.0)?;
        let has_room = stream.queue.len() <= stream.terms.capacity
            && (self.bytes < self.bytes_max || stream.queue.len() <= 1);
        if stream.terms.overflow != Overflow::DropOldest || has_room {
            return None;
        }
        let item = stream.queue.pop_front()?;
        let size = item.message.size();
        stream.bytes -= size;
        self.bytes -= size;
        stream.lost += 1;
        Some(item)
    }

    /// Keeps a message for a subscription to come; gives the one that is given up for it.
    pub(super) fn keep_unclaimed(&mut self, item: Item, unclaimed_max: usize) -> Option<Item> {
        self.bytes += item.message.size();
        self.unclaimed.push_back(item);
        if self.unclaimed.len() <= unclaimed_max {
            return None;
        }
        let oldest = self.unclaimed.pop_front()?;
        self.bytes -= oldest.message.size();
        Some(oldest)
    }

    /// Moves what waited for a subscription like that of this stream.
    pub(super) fn claim(&mut self, key: StreamKey, wakers: &mut Vec<Waker>) {
        if self.unclaimed.is_empty() {
            return;
        }
        let filters = match self.streams.get(key.0) {
            Some(stream) => stream.filters.clone(),
            None => return,
        };
        let matches = |name: &str| {
            filters.iter().any(|filter| {
                let parsed = topic::Filter::parse(filter);
                parsed.is_ok_and(|filter| topic::matches(filter.filter, name))
            })
        };
        // The fallback has no filters and takes all.
        for item in mem::take(&mut self.unclaimed) {
            if filters.is_empty() || matches(&item.message.topic) {
                self.bytes -= item.message.size();
                self.push(key, item, wakers);
            } else {
                self.unclaimed.push_back(item);
            }
        }
    }

    /// Ends a stream for its reader, who still gets what is in it.
    pub(super) fn end(
        &mut self,
        key: StreamKey,
        why: Option<SubscribeError>,
        wakers: &mut Vec<Waker>,
    ) {
        if let Some(stream) = self.streams.get_mut(key.0) {
            stream.end.get_or_insert(why);
            wakers.extend(stream.waker.take());
        }
    }

    pub(super) fn close(&mut self, why: &SubscribeError, wakers: &mut Vec<Waker>) {
        for (_, stream) in &mut self.streams {
            stream.end.get_or_insert_with(|| Some(why.clone()));
            wakers.extend(stream.waker.take());
        }
        self.unclaimed.clear();
    }

    /// Removes a stream with what nobody has read.
    pub(super) fn remove(&mut self, key: StreamKey) -> Option<Stream> {
        let stream = self.streams.try_remove(key.0)?;
        self.bytes -= stream.bytes;
        self.full -= usize::from(stream.is_full);
        Some(stream)
    }
}

impl Stream {
    pub(super) fn unread(&self) -> impl Iterator<Item = u64> {
        self.queue.iter().filter_map(|item| item.sequence)
    }
}

impl Core {
    /// Gives everything that waits in a stream, swapped with the empty `batch`, after noting that the
    /// reader is done with `finished`.
    pub(crate) fn take(
        &mut self,
        now: Time,
        key: StreamKey,
        finished: Option<u64>,
        batch: &mut VecDeque<Item>,
        waker: Option<&Waker>,
    ) -> Taken {
        if let Some(sequence) = finished {
            self.acknowledge(sequence);
        }
        let was_paused = self.is_paused();
        let Some(stream) = self.streams.streams.get_mut(key.0) else {
            return Taken::End(None);
        };
        if stream.queue.is_empty() {
            if let Some(end) = &stream.end {
                return Taken::End(end.clone());
            }
            if let Some(waker) = waker {
                match &mut stream.waker {
                    Some(known) => known.clone_from(waker),
                    None => stream.waker = Some(waker.clone()),
                }
            }
            return Taken::Nothing;
        }
        mem::swap(&mut stream.queue, batch);
        self.streams.bytes -= mem::take(&mut stream.bytes);
        self.streams.full -= usize::from(mem::take(&mut stream.is_full));
        if was_paused {
            self.resume(now);
            self.rouse();
        }
        Taken::Messages
    }

    /// Gives back what was taken and not read, when the reader goes away.
    pub(crate) fn drop_stream(
        &mut self,
        key: StreamKey,
        unread: impl Iterator<Item = u64>,
        unsubscribed: Option<super::Ticket>,
    ) {
        for sequence in unread {
            self.receipts.done(sequence);
        }
        let was_paused = self.is_paused();
        if let Some(stream) = self.streams.remove(key) {
            for sequence in stream.unread() {
                self.receipts.done(sequence);
            }
            self.unsubscribe(key, &stream.filters, unsubscribed);
        } else if let Some(ticket) = unsubscribed {
            self.complete(ticket, Outcome::Unsubscribed(Ok(())));
        }
        if self.routes.fallback == Some(key) {
            self.routes.fallback = None;
        }
        self.send_receipts();
        if was_paused {
            self.rouse();
        }
    }

    /// Drops what a stream has too much of.
    pub(super) fn trim(&mut self, key: StreamKey) {
        while let Some(item) = self.streams.pop_surplus(key) {
            self.done(item.sequence);
        }
    }

    /// How many messages of a stream were dropped.
    pub(crate) fn lost_messages(&self, key: StreamKey) -> u64 {
        self.streams.get(key).map_or(0, |stream| stream.lost)
    }

    /// A stream of what no subscription matches; `None` when there is one already.
    pub(crate) fn unclaimed(&mut self, terms: StreamTerms) -> Option<StreamKey> {
        if self.routes.fallback.is_some() {
            return None;
        }
        let key = self.streams.insert(terms, Vec::new());
        self.routes.fallback = Some(key);
        self.streams.claim(key, &mut self.wakers);
        Some(key)
    }
}
