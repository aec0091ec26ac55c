use midge_store::sim::SimDisk;
use midge_store::{Options, Recovery};

use super::*;

fn room(ledger: &Ledger<SimDisk>) -> usize {
    ledger
        .parts
        .iter()
        .map(|part| lock(part).kept.capacity())
        .sum()
}

#[test]
fn long_queues_that_have_gone_leave_no_room_behind() {
    const MESSAGES: u64 = 100_000;
    let reader = Recovery::open(SimDisk::new(1), Options::new(1))
        .unwrap()
        .reader();
    let message = |id| KeptMessage {
        id,
        place: Position::from_bytes([0; 16]).to_bytes(),
        holders: 1,
        retained: false,
    };
    let ledger = Ledger::new(reader, (1..=MESSAGES).map(message));
    let full = room(&ledger);
    assert!(full >= 100_000);
    for id in 1..MESSAGES {
        ledger.finish(id, 1);
    }
    assert_eq!(ledger.len(), 1);
    assert!(room(&ledger) <= PARTS * 1024 * 2, "{}", room(&ledger));
    assert_ne!(ledger.whereabouts(MESSAGES), Whereabouts::Unknown);
}
