//! Who wants to know what happens to the connection.

use std::collections::VecDeque;
use std::mem;
use std::task::Waker;

use super::{Core, State};
use crate::event::Event;

/// One who wants to know what happens.
pub(super) struct Listener {
    queue: VecDeque<Event>,
    waker: Option<Waker>,
    missed: u64,
}

/// Events that wait for a slow reader.
const EVENTS_MAX: usize = 256;

impl Core {
    pub(super) fn tell(&mut self, event: Event) {
        for (_, listener) in &mut self.listeners {
            if listener.queue.len() >= EVENTS_MAX {
                listener.queue.pop_front();
                listener.missed += 1;
            }
            listener.queue.push_back(event.clone());
            self.wakers.extend(listener.waker.take());
        }
    }

    /// A new listener for events.
    pub(crate) fn listen(&mut self) -> usize {
        self.listeners.insert(Listener {
            queue: VecDeque::new(),
            waker: None,
            missed: 0,
        })
    }

    /// The next event of a listener; `Err`: none yet, and the waker is kept.
    pub(crate) fn next_event(
        &mut self,
        listener: usize,
        waker: &Waker,
    ) -> Result<Option<Event>, ()> {
        let closed = matches!(self.state, State::Closed(_));
        let Some(listener) = self.listeners.get_mut(listener) else {
            return Ok(None);
        };
        if listener.missed > 0 {
            return Ok(Some(Event::Missed(mem::take(&mut listener.missed))));
        }
        match listener.queue.pop_front() {
            Some(event) => Ok(Some(event)),
            None if closed => Ok(None),
            None => {
                listener.waker = Some(waker.clone());
                Err(())
            }
        }
    }

    pub(crate) fn stop_listening(&mut self, listener: usize) {
        self.listeners.try_remove(listener);
    }
}
