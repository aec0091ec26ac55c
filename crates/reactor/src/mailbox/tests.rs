use std::sync::Arc;

use super::*;
use crate::Poller;
use crate::testing::wait_once;

const BOUNDS: Bounds = Bounds {
    messages: 10,
    bytes: 1000,
};

fn poller() -> Poller {
    Poller::new(8).unwrap()
}

/// Whether something has woken the owner of `poller`, who waits for nothing else.
fn was_woken(poller: &mut Poller, act: impl FnOnce()) -> bool {
    let waker = poller.waker();
    let before = waker.writes();
    let mut woken = false;
    wait_once(poller, &mut Vec::new(), || {
        act();
        woken = waker.writes() > before;
        // Ends the wait in any case.
        waker.wake().unwrap();
        false
    });
    woken
}

#[test]
fn batches_of_one_producer_arrive_in_order() {
    let owner = poller();
    let mailbox = Mailbox::new(BOUNDS, owner.waker());
    let producers: Vec<_> = (0..4u32)
        .map(|producer| {
            let sender = mailbox.sender(None);
            std::thread::spawn(move || {
                let mut batch = Vec::new();
                for first in (0..10_000u32).step_by(7) {
                    batch.extend((first..(first + 7).min(10_000)).map(|n| (producer, n)));
                    let _ = sender.push_batch(&mut batch, 7).unwrap();
                    assert!(batch.is_empty());
                }
            })
        })
        .collect();
    let mut next = [0; 4];
    let mut messages = Vec::new();
    crate::testing::eventually(|| {
        mailbox.take(&mut messages).unwrap();
        for (producer, number) in messages.drain(..) {
            assert_eq!(number, next[producer as usize]);
            next[producer as usize] += 1;
        }
        (next == [10_000; 4]).then_some(())
    });
    for producer in producers {
        producer.join().unwrap();
    }
    assert!(mailbox.is_empty());
}

#[test]
fn a_full_mailbox_asks_for_a_pause_and_loses_nothing() {
    let mailbox = Mailbox::new(BOUNDS, poller().waker());
    let sender = mailbox.sender(None);
    assert_eq!(
        sender.push_batch(&mut (0..9).collect(), 0).unwrap(),
        Pressure::Free
    );
    assert_eq!(sender.push_batch(&mut vec![9], 0).unwrap(), Pressure::Full);
    // Accepted before the pause reached its publisher.
    assert_eq!(
        sender.push_batch(&mut (10..100).collect(), 0).unwrap(),
        Pressure::Full
    );
    assert!(sender.is_full());
    assert_eq!(sender.len(), 100);
    let mut messages = Vec::new();
    mailbox.take(&mut messages).unwrap();
    assert_eq!(messages, (0..100).collect::<Vec<_>>());
    assert!(!sender.is_full() && sender.is_empty());
    assert_eq!(sender.pressure(), Pressure::Free);
}

#[test]
fn few_large_messages_fill_a_mailbox_too() {
    let mailbox = Mailbox::new(BOUNDS, poller().waker());
    let sender = mailbox.sender(None);
    assert_eq!(
        sender.push_batch(&mut vec![()], 999).unwrap(),
        Pressure::Free
    );
    assert_eq!(
        sender.push_batch(&mut vec![()], usize::MAX).unwrap(),
        Pressure::Full
    );
    mailbox.take(&mut Vec::new()).unwrap();
    assert_eq!(
        sender.push_batch(&mut vec![()], 999).unwrap(),
        Pressure::Free
    );
}

#[test]
fn producers_that_wait_for_room_are_woken_by_the_take_and_others_are_not() {
    let mailbox = Mailbox::new(BOUNDS, poller().waker());
    let (mut pushing, mut asking, mut idle) = (poller(), poller(), poller());
    let pusher = mailbox.sender(Some(pushing.waker()));
    let asker = mailbox.sender(Some(asking.waker()));
    let _bystander = mailbox.sender(Some(idle.waker()));
    let fill = || {
        assert_eq!(
            pusher.push_batch(&mut (0..10).collect(), 0).unwrap(),
            Pressure::Full
        );
        assert_eq!(pusher.pressure(), Pressure::Full);
        assert_eq!(asker.pressure(), Pressure::Full);
    };
    let take = || mailbox.take(&mut Vec::new()).unwrap();
    fill();
    assert_eq!(mailbox.shared.lock().waiting.len(), 2, "each waits once");
    assert!(was_woken(&mut pushing, take));
    fill();
    assert!(was_woken(&mut asking, take));
    fill();
    assert!(!was_woken(&mut idle, take));
    // Nobody waits any more, so nobody is woken.
    assert_eq!(pusher.push_batch(&mut vec![0], 0).unwrap(), Pressure::Free);
    assert!(!was_woken(&mut pushing, take));
}

#[test]
fn a_batch_for_a_sleeping_owner_costs_one_write() {
    let mut owner = poller();
    let waker = owner.waker();
    let mailbox = Mailbox::new(BOUNDS, owner.waker());
    let sender = mailbox.sender(None);
    let push_twice = || {
        for _ in 0..2 {
            let _ = sender.push_batch(&mut (0..50).collect(), 0).unwrap();
        }
        false
    };
    wait_once(&mut owner, &mut Vec::new(), push_twice);
    assert_eq!(waker.writes(), 1);
    let _ = sender.push_batch(&mut vec![1], 0).unwrap();
    assert_eq!(waker.writes(), 1, "the owner runs its turn");
    wait_once(&mut owner, &mut Vec::new(), || !mailbox.is_empty());
    assert_eq!(waker.writes(), 1, "and looked for work before it slept");
}

#[test]
fn what_is_sent_to_an_owner_that_has_gone_is_dropped() {
    let mut producer = poller();
    let mailbox = Mailbox::new(BOUNDS, poller().waker());
    let sender = mailbox.sender(Some(producer.waker()));
    let message = Arc::new(());
    let _ = sender
        .push_batch(&mut vec![Arc::clone(&message); 20], 0)
        .unwrap();
    assert_eq!(Arc::strong_count(&message), 21);
    assert!(was_woken(&mut producer, || drop(mailbox)));
    assert_eq!(Arc::strong_count(&message), 1);
    let mut batch = vec![Arc::clone(&message); 20];
    assert_eq!(sender.push_batch(&mut batch, 0).unwrap(), Pressure::Free);
    assert!(batch.is_empty());
    assert_eq!(Arc::strong_count(&message), 1);
    assert_eq!(sender.pressure(), Pressure::Free);
}

#[test]
fn buffers_are_reused_and_a_burst_does_not_keep_its_memory() {
    let mailbox = Mailbox::new(BOUNDS, poller().waker());
    let sender = mailbox.sender(None);
    let mut messages = Vec::new();
    let mut turn = |count: u32| {
        let _ = sender.push_batch(&mut (0..count).collect(), 0).unwrap();
        mailbox.take(&mut messages).unwrap();
        messages.capacity()
    };
    let (first, second) = (turn(500), turn(500));
    assert_eq!(
        (turn(500), turn(500)),
        (first, second),
        "two buffers go back and forth"
    );
    turn(100_000);
    for _ in 0..4 {
        turn(1);
    }
    assert!(turn(1) <= KEPT_CAPACITY && turn(1) <= KEPT_CAPACITY);
}

#[test]
fn a_bound_of_nothing_still_lets_messages_through() {
    let bounds = Bounds {
        messages: 0,
        bytes: 0,
    };
    let mailbox = Mailbox::new(bounds, poller().waker());
    let sender = mailbox.sender(None);
    assert_eq!(sender.pressure(), Pressure::Free);
    assert_eq!(sender.push_batch(&mut vec![1], 1).unwrap(), Pressure::Full);
    mailbox.take(&mut Vec::new()).unwrap();
    assert_eq!(sender.pressure(), Pressure::Free);
}
