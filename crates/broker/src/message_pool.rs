//! Blocks of finished messages, for those that come.
//!
//! A message of QoS 1 lives from its arrival to its acknowledgement. With many of them under way the
//! allocator takes more time than all else that the broker does with them.

use std::sync::Arc;

use crate::message::{Message, MessageView, Raw};

/// Messages that nobody holds any more, by the size of their bytes.
#[derive(Debug)]
pub(crate) struct MessagePool {
    classes: [Vec<Arc<Message>>; CLASSES],
    /// Bytes in all of them.
    bytes: usize,
    /// The least that they have been since [`MessagePool::trim`].
    unused: usize,
}

/// Bytes of a message are a multiple of this, so that one fits where another was.
const CLASS_BYTES: usize = 32;
/// Larger messages are rare, and their cost is that of copying them.
const CLASSES: usize = 32;
/// What the pool holds at most. Acknowledgements of thousands of messages come in one turn.
const BYTES_MAX: usize = 2 * 1024 * 1024;

impl Default for MessagePool {
    fn default() -> Self {
        Self {
            classes: std::array::from_fn(|_| Vec::new()),
            bytes: 0,
            unused: 0,
        }
    }
}

impl MessagePool {
    /// Copies a message, as [`MessageView::keep`] does.
    pub(crate) fn keep(&mut self, view: &MessageView<'_>, raw: Option<&Raw<'_>>) -> Arc<Message> {
        let size = raw.map_or_else(|| view.size(), |raw| raw.packet.len());
        let class = size.saturating_sub(1) / CLASS_BYTES;
        let room = (class + 1) * CLASS_BYTES;
        let Some(class) = self.classes.get_mut(class) else {
            return view.keep_with_room(raw, size);
        };
        if let Some(mut message) = class.pop() {
            self.bytes -= message.block_bytes();
            self.unused = self.unused.min(self.bytes);
            // Nobody else had it when it came here, so nobody has it now.
            if let Some(old) = Arc::get_mut(&mut message) {
                old.replace(view, raw);
                return message;
            }
        }
        view.keep_with_room(raw, room)
    }

    /// Takes a message that its holder has no use for; the last one's is used again.
    pub(crate) fn give(&mut self, message: Arc<Message>) {
        if Arc::strong_count(&message) > 1 || self.bytes >= BYTES_MAX {
            return;
        }
        // What was made elsewhere fits exactly, and is of no use for others.
        let room = message.room();
        if room.is_multiple_of(CLASS_BYTES)
            && let Some(class) = (room / CLASS_BYTES).checked_sub(1)
            && let Some(class) = self.classes.get_mut(class)
        {
            self.bytes += message.block_bytes();
            class.push(message);
        }
    }

    /// Gives back what has not been needed since the last time.
    pub(crate) fn trim(&mut self) {
        let kept = self.bytes - self.unused;
        for class in &mut self.classes {
            while self.bytes > kept
                && let Some(message) = class.pop()
            {
                self.bytes -= message.block_bytes();
            }
            if class.is_empty() {
                *class = Vec::new();
            }
        }
        self.unused = self.bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use midge_codec::QoS;

    fn view<'a>(topic: &'a str, payload: &'a [u8]) -> MessageView<'a> {
        MessageView {
            topic,
            payload,
            properties: &[],
            qos: QoS::AtLeastOnce,
            retain: false,
            expires: None,
            publisher: None,
            id: 7,
        }
    }

    #[test]
    fn a_message_that_nobody_holds_becomes_another() {
        let mut pool = MessagePool::default();
        let first = pool.keep(&view("a/long/topic", b"with a payload"), None);
        let place = Arc::as_ptr(&first);
        pool.give(first);
        let second = pool.keep(&view("b", &[b'.'; 40]), None);
        assert_ne!(Arc::as_ptr(&second), place, "another size");
        let third = pool.keep(&view("b", b"16 bytes or more, please"), None);
        assert_eq!(Arc::as_ptr(&third), place);
        let found = third.view();
        assert_eq!(
            (found.topic, found.payload),
            ("b", &b"16 bytes or more, please"[..])
        );
        assert_eq!((third.id(), third.size()), (7, 25));
        assert_eq!(pool.bytes, 0);
    }

    #[test]
    fn a_message_that_somebody_holds_stays_what_it_is() {
        let mut pool = MessagePool::default();
        let message = pool.keep(&view("a", b"one"), None);
        pool.give(Arc::clone(&message));
        let other = pool.keep(&view("b", b"two"), None);
        assert_eq!(message.view().payload, b"one");
        assert_eq!(other.view().payload, b"two");
    }

    #[test]
    fn what_nobody_needs_goes() {
        let mut pool = MessagePool::default();
        let many: Vec<_> = (0..100)
            .map(|_| pool.keep(&view("t", &[1; 300]), None))
            .collect();
        many.into_iter().for_each(|message| pool.give(message));
        pool.trim();
        assert!(pool.bytes > 0, "it has just come");
        let some: Vec<_> = (0..10)
            .map(|_| pool.keep(&view("t", &[1; 300]), None))
            .collect();
        let all = pool.bytes / 9 * 10;
        some.into_iter().for_each(|message| pool.give(message));
        pool.trim();
        assert_eq!(pool.bytes, all / 10, "ten were needed");
        pool.trim();
        assert_eq!(pool.bytes, 0);
    }

    #[test]
    fn neither_large_nor_many_messages_stay() {
        let mut pool = MessagePool::default();
        pool.give(pool_less(&[0; 32 * 1024]));
        assert_eq!(pool.bytes, 0);
        let many: Vec<_> = (0..16_384)
            .map(|_| pool.keep(&view("t", &[1; 300]), None))
            .collect();
        for message in many {
            pool.give(message);
        }
        assert!(pool.bytes <= BYTES_MAX + 1024, "{}", pool.bytes);
    }

    fn pool_less(payload: &[u8]) -> Arc<Message> {
        view("t", payload).keep()
    }
}
