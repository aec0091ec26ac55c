//! How many sockets are open, and how many may be.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::rates::Rates;

/// A count with a bound that can be changed.
#[derive(Debug)]
pub(crate) struct Seats {
    taken: AtomicUsize,
    max: AtomicUsize,
}

/// The seats of one listener, within those of the whole broker.
#[derive(Debug)]
pub(crate) struct ListenerSeats {
    own: Seats,
    all: Arc<Seats>,
    /// Names the listener while it or connections of it live.
    pub(crate) listener: u64,
    /// How fast its clients may send.
    pub(crate) rates: Rates,
}

/// One open socket. Dropping it frees the seat.
#[derive(Debug)]
pub(crate) struct Seat(Arc<ListenerSeats>);

/// Which bound leaves no seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoSeat {
    /// The listener's.
    Listener,
    /// The whole broker's.
    Broker,
}

impl Seats {
    pub(crate) fn new(max: Option<usize>) -> Self {
        Self {
            taken: AtomicUsize::new(0),
            max: AtomicUsize::new(max.unwrap_or(usize::MAX)),
        }
    }

    /// Changes the bound; seats that are taken stay so.
    pub(crate) fn set_max(&self, max: Option<usize>) {
        self.max.store(max.unwrap_or(usize::MAX), Relaxed);
    }

    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Relaxed)
    }

    fn take(&self) -> bool {
        let max = self.max.load(Relaxed);
        let add = |taken: usize| (taken < max).then_some(taken + 1);
        self.taken.fetch_update(Relaxed, Relaxed, add).is_ok()
    }

    fn give_back(&self) {
        self.taken.fetch_sub(1, Relaxed);
    }
}

impl ListenerSeats {
    pub(crate) fn new(listener: u64, max: Option<usize>, all: Arc<Seats>) -> Self {
        Self {
            own: Seats::new(max),
            all,
            listener,
            rates: Rates::default(),
        }
    }

    /// Changes the listener's bound; seats that are taken stay so.
    pub(crate) fn set_max(&self, max: Option<usize>) {
        self.own.set_max(max);
    }

    /// Takes a seat, or tells which bound forbids it.
    pub(crate) fn take(self: &Arc<Self>) -> Result<Seat, NoSeat> {
        if !self.all.take() {
            return Err(NoSeat::Broker);
        }
        if !self.own.take() {
            self.all.give_back();
            return Err(NoSeat::Listener);
        }
        Ok(Seat(Arc::clone(self)))
    }
}

impl Seat {
    /// The listener that the socket came through.
    pub(crate) fn listener(&self) -> u64 {
        self.0.listener
    }

    /// How fast the listener's clients may send.
    pub(crate) fn rates(&self) -> &Rates {
        &self.0.rates
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.own.give_back();
        self.0.all.give_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seat_counts_for_its_listener_and_for_the_broker_until_it_is_dropped() {
        let all = Arc::new(Seats::new(Some(3)));
        let one = Arc::new(ListenerSeats::new(1, Some(2), Arc::clone(&all)));
        let two = Arc::new(ListenerSeats::new(2, None, Arc::clone(&all)));
        let first = one.take().unwrap();
        let second = one.take().unwrap();
        assert_eq!(one.take().unwrap_err(), NoSeat::Listener);
        let third = two.take().unwrap();
        assert_eq!(two.take().unwrap_err(), NoSeat::Broker);
        assert_eq!(all.taken(), 3);
        drop(first);
        assert_eq!(two.take().unwrap().listener(), 2);
        assert!(one.take().is_ok());
        drop((second, third));
        assert_eq!(all.taken(), 0);
    }

    #[test]
    fn a_lower_bound_throws_nobody_out() {
        let all = Arc::new(Seats::new(None));
        let seats = Arc::new(ListenerSeats::new(1, None, all));
        let taken: Vec<_> = (0..3).map(|_| seats.take().unwrap()).collect();
        seats.set_max(Some(1));
        assert!(seats.take().is_err());
        drop(taken);
        assert!(seats.take().is_ok());
    }
}
