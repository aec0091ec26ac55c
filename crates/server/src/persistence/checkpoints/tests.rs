use std::path::Path;

use midge_broker::persist::Kind as RecordKind;
use midge_persistence::{Recovered, recover};
use midge_store::{Options, Purpose};

use super::*;
use crate::persistence::QUEUE_BYTES;

/// Opens the store, and gives how often it says that it was started since its last checkpoint.
fn open(directory: &Path) -> (Persistence, u32) {
    let disk = FileDisk::open(directory).unwrap();
    let Recovered {
        recovery, starts, ..
    } = recover(disk, Options::new(7)).unwrap();
    let ledger = Arc::new(Ledger::new(recovery.reader(), []));
    let persistence = Persistence {
        store: Arc::new(Store::start(recovery, QUEUE_BYTES, |_| {}).unwrap()),
        ledger,
        disk_works: Arc::default(),
    };
    (persistence, starts)
}

/// Writes what a start writes.
fn rename(persistence: &Persistence) {
    let waiter = thread::current();
    let mut writer = persistence.store.writer(move || waiter.unpark());
    let mut batch = Batch::new(Purpose::Removal);
    batch.push(RecordKind::Renamed as u8, &[]).unwrap();
    assert!(writer.submit(Work::Append(batch)).is_ok());
    let mut settled = Vec::new();
    while settled.is_empty() {
        thread::park_timeout(LOOK);
        writer.take_settled(&mut settled);
    }
}

#[test]
fn after_many_starts_without_one_a_checkpoint_comes_before_anything_else() {
    let directory = tempfile::tempdir().unwrap();
    for earlier in 0..STARTS_MAX {
        let (persistence, starts) = open(directory.path());
        assert_eq!(starts, earlier);
        rename(&persistence);
        // It has no time to make one, and so little is not worth one.
        let folder = directory.path().to_owned();
        drop(Checkpoints::start(&persistence, starts, folder, Logger::disabled()).unwrap());
        assert_eq!(persistence.store.reader().checkpoint_begin(), None);
    }
    let (persistence, starts) = open(directory.path());
    assert_eq!(starts, STARTS_MAX);
    let folder = directory.path().to_owned();
    let checkpoints = Checkpoints::start(&persistence, starts, folder, Logger::disabled()).unwrap();
    assert!(persistence.store.reader().checkpoint_begin().is_some());
    drop(checkpoints);
    drop(persistence);
    assert_eq!(open(directory.path()).1, 0);
}
