//! The store's own thread, and many that hand in work.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use midge_store::sim::{Faults, SimDisk};
use midge_store::{
    Batch, Committed, Event, Options, Purpose, Recovery, Refused, Replayed, Settled, Store, Work,
    Writer,
};

fn options() -> Options {
    let mut options = Options::new(1);
    options.segment_bytes = 64 * 1024;
    options
}

fn start(disk: &SimDisk, queue_bytes: usize) -> (Store<SimDisk>, Receiver<Event>) {
    let recovery = Recovery::open(disk.clone(), options()).unwrap();
    let (send, events) = channel();
    let store = Store::start(recovery, queue_bytes, move |event| {
        let _ = send.send(event);
    });
    (store.unwrap(), events)
}

fn writer(store: &Store<SimDisk>) -> (Writer, Receiver<()>) {
    let (wake, woken): (Sender<()>, _) = channel();
    let writer = store.writer(move || {
        let _ = wake.send(());
    });
    (writer, woken)
}

fn batch(payload: &[u8]) -> Work {
    let mut batch = Batch::new(Purpose::Ordinary);
    batch.push(1, payload).unwrap();
    Work::Append(batch)
}

/// Waits until `count` pieces of work are settled.
fn settle(writer: &mut Writer, woken: &Receiver<()>, count: usize) -> Vec<Settled> {
    let mut settled = Vec::new();
    while settled.len() < count {
        woken.recv_timeout(Duration::from_secs(30)).unwrap();
        writer.take_settled(&mut settled);
    }
    settled
}

fn found(disk: &SimDisk) -> Vec<Vec<u8>> {
    let mut recovery = Recovery::open(disk.clone(), options()).unwrap();
    let mut found = Vec::new();
    recovery
        .replay(|step| match step {
            Replayed::Entry(entry) => found.push(entry.payload.to_vec()),
            Replayed::Hole(hole) => panic!("hole {hole:?}"),
        })
        .unwrap();
    found
}

#[test]
fn every_producer_hears_of_its_own_work_in_order_and_all_of_it_is_durable() {
    let disk = SimDisk::new(1);
    let store = Arc::new(start(&disk, 1 << 20).0);
    let threads: Vec<_> = (0..8_u8)
        .map(|producer| {
            let store = Arc::clone(&store);
            std::thread::spawn(move || {
                let (mut writer, woken) = writer(&store);
                for round in 0..20_u8 {
                    for number in 0..10_u8 {
                        let payload = [producer, round * 10 + number];
                        let _receipt = writer.submit(batch(&payload)).unwrap();
                    }
                    let settled = settle(&mut writer, &woken, 10);
                    let tickets: Vec<_> = settled.iter().map(|s| s.tag.ticket).collect();
                    let first = u64::from(round) * 10 + 1;
                    assert_eq!(tickets, (first..first + 10).collect::<Vec<_>>());
                    for answer in settled {
                        assert_eq!(answer.outcome, Ok(Committed::Records));
                        assert_eq!(answer.batch.unwrap().positions().len(), 1);
                    }
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    let all = found(&disk.crash());
    assert_eq!(all.len(), 8 * 200);
    for producer in 0..8_u8 {
        let numbers: Vec<_> = all
            .iter()
            .filter(|p| p[0] == producer)
            .map(|p| p[1])
            .collect();
        assert_eq!(numbers, (0..200).collect::<Vec<_>>());
    }
    assert_eq!(store.status().figures.records, 1600);
}

#[test]
fn a_full_queue_says_so_takes_no_more_at_twice_its_bound_and_calls_back() {
    let disk = SimDisk::new(2);
    let (store, _events) = start(&disk, 10_000);
    let (mut writer, woken) = writer(&store);
    let mut accepted = 0;
    let mut full = false;
    // The thread may empty the queue at any moment, so the bound is met sooner or later only.
    let busy = loop {
        match writer.submit(batch(&[1; 3000])) {
            Ok(receipt) => {
                accepted += 1;
                full |= receipt.full;
            }
            Err(busy) => break busy.0,
        }
        assert!(accepted < 1_000_000, "never full");
    };
    assert!(full);
    assert!(store.status().queued_bytes <= 20_000);
    settle(&mut writer, &woken, accepted);
    let _receipt = writer.submit(busy).unwrap();
    let settled = settle(&mut writer, &woken, 1);
    assert_eq!(settled[0].outcome, Ok(Committed::Records));
}

#[test]
fn closing_commits_what_waits_and_refuses_what_comes_later() {
    let disk = SimDisk::new(3);
    let (store, _events) = start(&disk, 1 << 20);
    let (mut writer, woken) = writer(&store);
    for number in 0..100_u8 {
        let _receipt = writer.submit(batch(&[number])).unwrap();
    }
    store.close();
    let settled = settle(&mut writer, &woken, 100);
    assert!(settled.iter().all(|answer| answer.outcome.is_ok()));
    let _receipt = writer.submit(batch(b"late")).unwrap();
    let late = settle(&mut writer, &woken, 1).remove(0);
    assert_eq!(late.outcome, Err(Refused::Closed));
    assert!(late.batch.is_some());
    assert_eq!(found(&disk.crash()).len(), 100);
}

#[test]
fn background_work_is_passed_by_what_comes_later_and_is_committed_before_the_end() {
    let disk = SimDisk::new(5);
    let (store, _events) = start(&disk, 1 << 20);
    // A waker that does not return holds the thread, so that work gathers.
    let (entered, has_entered) = channel();
    let (go_on, may_go_on) = channel::<()>();
    let may_go_on = std::sync::Mutex::new(may_go_on);
    let mut holding = store.writer(move || {
        let _ = entered.send(());
        let _ = may_go_on.lock().unwrap().recv();
    });
    let _receipt = holding.submit(batch(b"first")).unwrap();
    has_entered.recv_timeout(Duration::from_secs(30)).unwrap();

    let (wake, background_woken) = channel();
    let mut background = store.background_writer(move || {
        let _ = wake.send(());
    });
    for number in 0..10 {
        let _receipt = background.submit(batch(&[number; 20_000])).unwrap();
    }
    let (mut foreground, foreground_woken) = writer(&store);
    let _receipt = foreground.submit(batch(b"urgent")).unwrap();
    drop(go_on);
    store.close();
    let urgent = settle(&mut foreground, &foreground_woken, 1).remove(0);
    let parts = settle(&mut background, &background_woken, 10);
    let mut last = urgent.batch.unwrap().positions().next().unwrap();
    for (part, ticket) in parts.into_iter().zip(1..) {
        assert_eq!(
            (part.outcome, part.tag.ticket),
            (Ok(Committed::Records), ticket)
        );
        let position = part.batch.unwrap().positions().next().unwrap();
        assert!(last < position, "{last:?} {position:?}");
        last = position;
    }
    assert_eq!(found(&disk.crash()).len(), 12);
}

#[test]
fn a_failing_disk_is_told_and_comes_back_without_new_work() {
    let disk = SimDisk::new(4);
    let (store, events) = start(&disk, 1 << 20);
    let (mut writer, woken) = writer(&store);
    disk.set_faults(Faults {
        sync_error: 10_000,
        ..Faults::default()
    });
    let _receipt = writer.submit(batch(b"refused")).unwrap();
    let refused = settle(&mut writer, &woken, 1).remove(0).outcome;
    assert!(
        matches!(refused, Err(Refused::Failing { .. })),
        "{refused:?}"
    );
    let event = events.recv_timeout(Duration::from_secs(30)).unwrap();
    assert!(matches!(event, Event::DiskFailed { .. }), "{event}");
    disk.set_faults(Faults::default());
    while events.recv_timeout(Duration::from_secs(30)).unwrap() != Event::Recovered {}
    let _receipt = writer.submit(batch(b"taken")).unwrap();
    let taken = settle(&mut writer, &woken, 1).remove(0).outcome;
    assert_eq!(taken, Ok(Committed::Records));
    drop(store);
    assert_eq!(found(&disk.crash()), [b"taken"]);
}
