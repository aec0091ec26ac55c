//! Connections that are not read for a while, since they have sent more than their rates allow.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::mem;
use std::sync::atomic::Ordering::Relaxed;

use midge_broker::{ConnId, Time};
use midge_codec::{Header, PacketType};
use midge_reactor::Key;

use super::Worker;
use crate::rates::Turn;
use crate::tables::TurnTables;

/// How long a connection is silent at most before it is noted that it is not its own fault: its keep alive
/// must not end it.
const LOOK_MS: u64 = 1_000;

/// What one read takes at most from a connection whose messages are counted.
const READ_BYTES_MAX: usize = 16 * 1024;

/// The connections that wait for their turn, by the time when they are looked at.
#[derive(Default)]
pub(super) struct Throttled(BinaryHeap<Reverse<(Time, Key)>>);

impl Throttled {
    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.0.peek().map(|Reverse((time, _))| *time)
    }

    fn push(&mut self, now: Time, until: Time, key: Key) {
        let time = until.min(now.plus_millis(LOOK_MS));
        self.0.push(Reverse((time, key)));
    }

    fn pop(&mut self, now: Time) -> Option<Key> {
        let Reverse((time, _)) = self.0.peek()?;
        if *time > now {
            return None;
        }
        self.0.pop().map(|Reverse((_, key))| key)
    }
}

impl Worker {
    /// Whether any listener has rates: a look at a flag while none has.
    #[inline]
    pub(super) fn has_rates(&self) -> bool {
        self.shared.has_rates.load(Relaxed)
    }

    /// How many bytes may be read from a connection now; nothing when it has to wait for its turn.
    #[cold]
    pub(super) fn bytes_allowed(
        &mut self,
        key: Key,
        conn: ConnId,
        tables: &mut TurnTables<'_>,
    ) -> Option<usize> {
        let Some(socket) = self.sockets.get_mut(key) else {
            return Some(0);
        };
        let rates = socket.seat.rates();
        let Some(count) = rates.bytes_per_turn() else {
            // What has been read waits here with those that wait for their turn.
            let is_metered = rates.publishes_per_turn().is_some();
            return Some(if is_metered {
                READ_BYTES_MAX
            } else {
                usize::MAX
            });
        };
        let meter = socket.meter.get_or_insert_default();
        if meter.bytes == 0 {
            meter.bytes = count;
            let turn = rates.reserve_bytes(meter, self.core.now, count);
            if turn.at > self.core.now {
                self.throttle(key, conn, turn, tables);
                return None;
            }
        }
        let meter = self.sockets.get_mut(key)?.meter.as_ref()?;
        Some(meter.bytes as usize)
    }

    /// Notes how many bytes have been read of those that were allowed.
    #[cold]
    pub(super) fn bytes_read(&mut self, key: Key, count: usize) {
        let Some(socket) = self.sockets.get_mut(key) else {
            return;
        };
        if let Some(meter) = &mut socket.meter {
            let unread = (mem::take(&mut meter.bytes) as usize).saturating_sub(count);
            let unread = u32::try_from(unread).unwrap_or(u32::MAX);
            socket.seat.rates().give_back_bytes(meter, unread);
        }
    }

    /// How many of `bytes` the shard may be shown now, of at most `shown`; nothing when the connection has
    /// to wait for its turn.
    #[cold]
    pub(super) fn publishes_allowed(
        &mut self,
        key: Key,
        conn: ConnId,
        bytes: &[u8],
        shown: usize,
        tables: &mut TurnTables<'_>,
    ) -> Option<usize> {
        let Some(socket) = self.sockets.get_mut(key) else {
            return Some(shown);
        };
        let rates = socket.seat.rates();
        let Some(per_turn) = rates.publishes_per_turn() else {
            return Some(shown);
        };
        if socket.origin.is_some() {
            // It is not a client yet.
            return Some(shown);
        }
        let meter = socket.meter.get_or_insert_default();
        let reserved = mem::take(&mut meter.publishes);
        let most = if reserved > 0 { reserved } else { per_turn };
        let (length, count) = packets(bytes, shown, most);
        if count > 0 && reserved == 0 {
            let turn = rates.reserve_publishes(meter, self.core.now, count);
            if turn.at > self.core.now {
                meter.publishes = count;
                self.throttle(key, conn, turn, tables);
                return None;
            }
        }
        // Without a whole packet, it is the shard that says how long it is going to be.
        Some(if length == 0 { shown } else { length })
    }

    fn throttle(&mut self, key: Key, conn: ConnId, turn: Turn, tables: &mut TurnTables<'_>) {
        if let Some(socket) = self.sockets.get_mut(key) {
            socket.throttled = true;
        }
        let now = self.core.now;
        self.throttled.push(now, turn.at, key);
        let (shard, mut step) = self.core.step(tables);
        shard.heard(now, conn);
        shard.limit_reached(&mut step, turn.limit, conn);
    }

    /// Goes on with connections whose turn has come.
    pub(super) fn read_throttled(&mut self, tables: &mut TurnTables<'_>) {
        if self.paused {
            return;
        }
        let now = self.core.now;
        while let Some(key) = self.throttled.pop(now) {
            let Some(socket) = self.sockets.get_mut(key) else {
                continue;
            };
            let (Some(conn), Some(meter)) = (socket.conn, &socket.meter) else {
                continue;
            };
            if meter.until > now {
                self.throttled.push(now, meter.until, key);
                self.core.shard.heard(now, conn);
                continue;
            }
            socket.throttled = false;
            if meter.publishes > 0 {
                self.feed_partial(key, conn, tables);
            } else {
                self.make_readable(key);
            }
            self.gather_mail();
            if self.core.has_much_output() {
                self.finish(tables);
            }
        }
    }
}

/// The length of the whole packets at the beginning of `bytes`, up to `shown` and with at most `most`
/// messages among them, and the number of these.
fn packets(bytes: &[u8], shown: usize, most: u32) -> (usize, u32) {
    let (mut length, mut count) = (0, 0);
    while length < shown {
        let rest = bytes.get(length..).unwrap_or_default();
        let Ok(Some(header)) = Header::peek(rest) else {
            break;
        };
        if header.packet_length() > rest.len() {
            break;
        }
        if header.packet_type() == Some(PacketType::Publish) {
            if count == most {
                break;
            }
            count += 1;
        }
        length += header.packet_length();
    }
    (length, count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_counted_and_other_packets_go_along() {
        // Three short messages with a ping between, and the beginning of a fourth.
        let message = [0x30, 3, 0, 1, b'a'];
        let ping = [0xC0, 0];
        let bytes = [&message[..], &ping, &message, &message, &message[..4]].concat();
        assert_eq!(packets(&bytes, 100, 10), (17, 3));
        assert_eq!(packets(&bytes, 100, 1), (7, 1));
        assert_eq!(packets(&bytes, 100, 2), (12, 2));
        assert_eq!(packets(&bytes, 6, 10), (7, 1));
        assert_eq!(packets(&bytes[17..], 100, 1), (0, 0));
        assert_eq!(packets(&ping, 100, 1), (2, 0));
        assert_eq!(packets(&[], 100, 1), (0, 0));
    }

    #[test]
    fn a_connection_that_waits_for_long_is_looked_at_every_second() {
        let key = Key::reserved(1).unwrap();
        let mut throttled = Throttled::default();
        throttled.push(Time(0), Time(90_000), key);
        assert_eq!(throttled.next_deadline(), Some(Time(1_000)));
        assert_eq!(throttled.pop(Time(999)), None);
        assert_eq!(throttled.pop(Time(1_000)), Some(key));
        assert_eq!(throttled.next_deadline(), None);
    }
}
