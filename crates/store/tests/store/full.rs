//! Full and failing disks, and their return to health.

use std::collections::VecDeque;
use std::time::Duration;

use midge_store::sim::{Faults, SimDisk};
use midge_store::{
    Batch, Committed, Event, Log, OpenError, Options, Purpose, Recovery, Refused, Replayed,
    Settled, Submission, SyncPolicy, Tag, Work,
};

const SEGMENT: u32 = 32 * 1024;

fn options() -> Options {
    let mut options = Options::new(1);
    options.segment_bytes = SEGMENT;
    options
}

fn start(disk: &SimDisk, options: Options) -> (Log<SimDisk>, Vec<Vec<u8>>) {
    let mut recovery = Recovery::open(disk.clone(), options).unwrap();
    let mut found = Vec::new();
    recovery
        .replay(|step| match step {
            Replayed::Entry(entry) => found.push(entry.payload.to_vec()),
            Replayed::Hole(hole) => panic!("hole {hole:?}"),
        })
        .unwrap();
    (Log::start(recovery), found)
}

fn commit(log: &mut Log<SimDisk>, now: Duration, work: Work) -> Settled {
    let tag = Tag {
        writer: 1,
        ticket: 1,
    };
    let mut settled = Vec::new();
    let mut queue = VecDeque::from([Submission { tag, work }]);
    log.commit(now, &mut queue, &mut settled);
    assert_eq!(settled.len(), 1);
    settled.remove(0)
}

fn append(
    log: &mut Log<SimDisk>,
    now: Duration,
    purpose: Purpose,
    payload: &[u8],
) -> Result<Committed, Refused> {
    let mut batch = Batch::new(purpose);
    batch.push(1, payload).unwrap();
    commit(log, now, Work::Append(batch)).outcome
}

fn rest(log: &mut Log<SimDisk>, now: Duration) {
    while log.maintain(now) {}
}

#[test]
fn a_full_disk_refuses_with_figures_keeps_its_reserve_and_recovers() {
    let disk = SimDisk::new(1);
    disk.set_faults(Faults {
        capacity: Some(8 * u64::from(SEGMENT)),
        ..Faults::default()
    });
    let (mut log, _) = start(&disk, options());
    let mut now = Duration::ZERO;
    rest(&mut log, now);
    let payload = [7; 1000];
    let mut kept = 0;
    let refused = loop {
        match append(&mut log, now, Purpose::Ordinary, &payload) {
            Ok(_) => kept += 1,
            Err(refused) => break refused,
        }
        rest(&mut log, now);
    };
    // Without a checkpoint that says otherwise, as much as was written may have to be written again.
    assert!(kept > 60, "{kept}");
    let Refused::Full {
        needed,
        free: Some(free),
    } = refused
    else {
        panic!("{refused:?}");
    };
    assert!(needed > free, "{needed} {free}");
    let full: Vec<_> = log.take_events();
    assert!(matches!(full[..], [Event::DiskFull { .. }]), "{full:?}");

    // Again and again it is refused and said no more, while what frees is still written.
    for _ in 0..5 {
        now += Duration::from_secs(1);
        rest(&mut log, now);
        append(&mut log, now, Purpose::Ordinary, &payload).unwrap_err();
    }
    for _ in 0..20 {
        append(&mut log, now, Purpose::Removal, b"gone").unwrap();
        kept += 1;
    }
    assert_eq!(log.take_events(), []);

    disk.set_faults(Faults::default());
    now += Duration::from_secs(10);
    rest(&mut log, now);
    assert_eq!(log.take_events(), [Event::Recovered]);
    append(&mut log, now, Purpose::Ordinary, &payload).unwrap();
    let (_, found) = start(&disk.crash(), options());
    assert_eq!(found.len(), kept + 1);
}

#[test]
fn a_checkpoint_frees_a_full_disk() {
    let disk = SimDisk::new(2);
    disk.set_faults(Faults {
        capacity: Some(6 * u64::from(SEGMENT)),
        ..Faults::default()
    });
    let (mut log, _) = start(&disk, options());
    let mut now = Duration::ZERO;
    rest(&mut log, now);
    while append(&mut log, now, Purpose::Ordinary, &[1; 2000]).is_ok() {
        rest(&mut log, now);
    }
    let begun = commit(&mut log, now, Work::BeginCheckpoint).outcome;
    let Ok(Committed::Begun(id)) = begun else {
        panic!("{begun:?}");
    };
    append(&mut log, now, Purpose::Checkpoint, b"nothing").unwrap();
    let finished = commit(&mut log, now, Work::FinishCheckpoint(id)).outcome;
    assert_eq!(finished, Ok(Committed::Finished));
    now += Duration::from_secs(10);
    rest(&mut log, now);
    append(&mut log, now, Purpose::Ordinary, &[1; 2000]).unwrap();
    let (_, found) = start(&disk.crash(), options());
    assert_eq!(found, [b"nothing".to_vec(), vec![1; 2000]]);
}

#[test]
fn a_checkpoint_with_a_refused_part_cannot_be_finished() {
    let disk = SimDisk::new(2);
    let (mut log, _) = start(&disk, options());
    let now = Duration::ZERO;
    append(&mut log, now, Purpose::Ordinary, b"kept").unwrap();
    let Ok(Committed::Begun(id)) = commit(&mut log, now, Work::BeginCheckpoint).outcome else {
        panic!("not begun");
    };
    disk.set_faults(Faults {
        sync_error: 10_000,
        ..Faults::default()
    });
    append(&mut log, now, Purpose::Checkpoint, b"part").unwrap_err();
    disk.set_faults(Faults::default());
    let later = Duration::from_secs(60);
    let finished = commit(&mut log, later, Work::FinishCheckpoint(id)).outcome;
    assert_eq!(finished, Err(Refused::CheckpointVoid));
    rest(&mut log, later);
    append(&mut log, later, Purpose::Ordinary, b"more").unwrap();
    let (_, found) = start(&disk.crash(), options());
    assert_eq!(found, [b"kept".to_vec(), b"more".to_vec()]);
}

#[test]
fn what_waits_for_a_failing_sync_is_refused_and_its_segment_given_up() {
    let disk = SimDisk::new(3);
    let (mut log, _) = start(&disk, options());
    let mut now = Duration::ZERO;
    append(&mut log, now, Purpose::Ordinary, b"before").unwrap();
    disk.set_faults(Faults {
        sync_error: 10_000,
        ..Faults::default()
    });
    let refused = append(&mut log, now, Purpose::Ordinary, b"refused").unwrap_err();
    assert!(matches!(refused, Refused::Failing { .. }), "{refused:?}");
    let events = log.take_events();
    assert!(
        matches!(events[..], [Event::DiskFailed { segment: 1, .. }]),
        "{events:?}"
    );
    for _ in 0..20 {
        now += Duration::from_millis(500);
        rest(&mut log, now);
        append(&mut log, now, Purpose::Ordinary, b"refused").unwrap_err();
    }
    // A disk that stays broken does not fill with segments that were given up.
    assert!(disk.bytes() < 8 * u64::from(SEGMENT), "{}", disk.bytes());
    disk.set_faults(Faults::default());
    now += Duration::from_secs(10);
    rest(&mut log, now);
    assert!(log.take_events().contains(&Event::Recovered));
    append(&mut log, now, Purpose::Ordinary, b"after").unwrap();
    let (_, found) = start(&disk.crash(), options());
    assert_eq!(found, [b"before".to_vec(), b"after".to_vec()]);
}

#[test]
fn a_disk_that_cannot_be_read_is_an_error_and_not_an_empty_store() {
    let disk = SimDisk::new(8);
    let (mut log, _) = start(&disk, options());
    append(&mut log, Duration::ZERO, Purpose::Ordinary, b"kept").unwrap();
    disk.set_faults(Faults {
        read_error: 10_000,
        ..Faults::default()
    });
    let error = Recovery::open(disk.clone(), options()).unwrap_err();
    assert!(matches!(error, OpenError::Io { .. }), "{error}");
    disk.set_faults(Faults::default());
    assert_eq!(start(&disk, options()).1, [b"kept"]);
}

#[test]
fn all_that_waits_shares_one_sync() {
    let disk = SimDisk::new(4);
    let (mut log, _) = start(&disk, options());
    rest(&mut log, Duration::ZERO);
    let before = log.figures().syncs;
    let mut work: VecDeque<_> = (0..100)
        .map(|ticket| {
            let mut batch = Batch::new(Purpose::Ordinary);
            batch.push(1, b"payload").unwrap();
            let tag = Tag { writer: 1, ticket };
            let work = Work::Append(batch);
            Submission { tag, work }
        })
        .collect();
    let mut settled = Vec::new();
    log.commit(Duration::ZERO, &mut work, &mut settled);
    assert_eq!(log.figures().syncs, before + 1);
    let tickets: Vec<_> = settled.iter().map(|answer| answer.tag.ticket).collect();
    assert_eq!(tickets, (0..100).collect::<Vec<_>>());
}

#[test]
fn an_interval_syncs_when_it_is_over_and_not_before() {
    let disk = SimDisk::new(5);
    let mut options = options();
    options.sync = SyncPolicy::Interval(Duration::from_millis(200));
    let (mut log, _) = start(&disk, options);
    rest(&mut log, Duration::ZERO);
    let before = log.figures().syncs;
    append(&mut log, Duration::ZERO, Purpose::Ordinary, b"one").unwrap();
    rest(&mut log, Duration::from_millis(199));
    assert_eq!(log.figures().syncs, before);
    assert_eq!(log.next_due(), Some(Duration::from_millis(200)));
    rest(&mut log, Duration::from_millis(200));
    assert_eq!(log.figures().syncs, before + 1);
    assert_eq!(log.next_due(), None);
    let (_, found) = start(&disk.crash(), options);
    assert_eq!(found, [b"one"]);
}

#[test]
fn a_record_longer_than_a_segment_gets_one_of_its_own() {
    let disk = SimDisk::new(6);
    let (mut log, _) = start(&disk, options());
    let now = Duration::ZERO;
    let long = vec![9; 3 * SEGMENT as usize];
    append(&mut log, now, Purpose::Ordinary, b"before").unwrap();
    append(&mut log, now, Purpose::Ordinary, &long).unwrap();
    append(&mut log, now, Purpose::Ordinary, b"after").unwrap();
    let (_, found) = start(&disk.crash(), options());
    assert_eq!(found, [b"before".to_vec(), long, b"after".to_vec()]);
}

#[test]
fn a_closed_log_refuses_and_leaves_no_doubt() {
    let disk = SimDisk::new(7);
    let (mut log, _) = start(&disk, options());
    append(&mut log, Duration::ZERO, Purpose::Ordinary, b"one").unwrap();
    log.close(Duration::ZERO);
    let refused = append(&mut log, Duration::ZERO, Purpose::Ordinary, b"two");
    assert_eq!(refused, Err(Refused::Closed));
    let mut recovery = Recovery::open(disk.crash(), options()).unwrap();
    recovery.replay(|_| {}).unwrap();
    assert_eq!(recovery.take_events(), []);
}
