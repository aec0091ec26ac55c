//! A link in memory, and futures that are polled by hand.

use std::boxed::Box;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::vec::Vec;

use embedded_io_async::{ErrorKind, ErrorType, Read, Write};
use midge_proto::Time;

/// Both directions of a connection.
#[derive(Default)]
pub(super) struct Wire {
    pub(super) up: Vec<u8>,
    pub(super) down: VecDeque<u8>,
    pub(super) is_closed: bool,
    /// Every read and write takes so many bytes at most, and waits once before it does; 0 for no limit.
    pub(super) chunk: usize,
    /// Only one call in so many waits, so that a future that is dropped whenever it waits gets on.
    pub(super) waits_before: usize,
    calls: usize,
}

/// A client's end.
#[derive(Clone, Default)]
pub(super) struct Link(pub(super) Rc<RefCell<Wire>>);

impl ErrorType for Link {
    type Error = ErrorKind;
}

impl Link {
    /// What has been sent, once.
    pub(super) fn sent(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.borrow_mut().up)
    }

    pub(super) fn give(&self, bytes: &[u8]) {
        self.0.borrow_mut().down.extend(bytes);
    }

    async fn wait(&self) {
        let (chunk, every) = {
            let mut wire = self.0.borrow_mut();
            wire.calls += 1;
            (wire.chunk, wire.waits_before)
        };
        let is_turn = every == 0 || self.0.borrow().calls.is_multiple_of(every);
        if chunk > 0 && is_turn {
            yield_now().await;
        }
    }

    fn most(&self, length: usize) -> usize {
        match self.0.borrow().chunk {
            0 => length,
            chunk => chunk.min(length),
        }
    }
}

impl Read for Link {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ErrorKind> {
        assert!(!buffer.is_empty(), "there is room to read into");
        self.wait().await;
        poll_fn(|_| {
            let most = self.most(buffer.len());
            let mut wire = self.0.borrow_mut();
            let count = most.min(wire.down.len());
            for (to, from) in buffer.iter_mut().zip(wire.down.drain(..count)) {
                *to = from;
            }
            if count > 0 || wire.is_closed {
                Poll::Ready(Ok(count))
            } else {
                Poll::Pending
            }
        })
        .await
    }
}

impl Write for Link {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, ErrorKind> {
        self.wait().await;
        let most = self.most(bytes.len());
        let mut wire = self.0.borrow_mut();
        if wire.is_closed {
            return Err(ErrorKind::BrokenPipe);
        }
        wire.up.extend(&bytes[..most]);
        Ok(most)
    }

    async fn flush(&mut self) -> Result<(), ErrorKind> {
        self.wait().await;
        Ok(())
    }
}

/// Lets others go first, once.
pub(super) async fn yield_now() {
    let mut is_later = false;
    poll_fn(|_| {
        if std::mem::replace(&mut is_later, true) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}

pub(super) fn poll_once<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Polls until the future is done, or has to wait for something.
pub(super) fn run<F: Future>(future: F) -> Option<F::Output> {
    let mut future = Box::pin(future);
    for _ in 0..10_000 {
        if let Poll::Ready(output) = poll_once(future.as_mut()) {
            return Some(output);
        }
    }
    None
}

/// A clock that is set.
pub(super) fn clock(time: &Rc<Cell<u64>>) -> impl Fn() -> Time + use<> {
    let time = Rc::clone(time);
    move || Time(time.get())
}
