//! Real files: locks, permissions, looking without touching.

use std::collections::VecDeque;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use midge_store::{
    Batch, Disk, FileDisk, LockError, Log, OpenError, Options, Purpose, Recovery, Replayed,
    Submission, Tag, Work,
};

fn options() -> Options {
    let mut options = Options::new(1);
    options.segment_bytes = 64 * 1024;
    options
}

fn append(log: &mut Log<FileDisk>, payload: &[u8]) {
    let mut batch = Batch::new(Purpose::Ordinary);
    batch.push(1, payload).unwrap();
    let tag = Tag {
        writer: 1,
        ticket: 1,
    };
    let work = Work::Append(batch);
    let mut queue = VecDeque::from([Submission { tag, work }]);
    let mut settled = Vec::new();
    log.commit(Duration::ZERO, &mut queue, &mut settled);
    settled.remove(0).outcome.unwrap();
}

fn payloads(recovery: &mut Recovery<FileDisk>) -> Vec<Vec<u8>> {
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
fn a_second_process_is_told_who_holds_the_directory() {
    let directory = tempfile::tempdir().unwrap();
    let held = FileDisk::open(directory.path()).unwrap();
    // A lock belongs to the open file, so a second opening stands for a second process.
    let error = FileDisk::open(directory.path()).unwrap_err();
    let LockError::Held { pid, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(*pid, Some(std::process::id()));
    let text = error.to_string();
    assert!(
        text.contains(&format!("pid {}", std::process::id())),
        "{text}"
    );
    drop(held);
    FileDisk::open(directory.path()).unwrap();
}

#[test]
fn what_was_appended_is_there_at_the_next_start_and_files_are_the_owners_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("new/state");
    for round in 0..5_u8 {
        let disk = FileDisk::open(&path).unwrap();
        assert!(disk.free_bytes().unwrap() > 0);
        let mut recovery = Recovery::open(disk, options()).unwrap();
        let found = payloads(&mut recovery);
        assert_eq!(found, (0..round).map(|n| vec![n; 300]).collect::<Vec<_>>());
        let mut log = Log::start(recovery);
        append(&mut log, &[round; 300]);
        while log.maintain(Duration::ZERO) {}
        log.close(Duration::ZERO);
    }
    for entry in fs::read_dir(&path).unwrap() {
        let mode = entry.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0);
    }
}

#[test]
fn looking_needs_no_lock_and_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let disk = FileDisk::open(directory.path()).unwrap();
    let mut log = Log::start(Recovery::open(disk, options()).unwrap());
    append(&mut log, b"seen while it is written");
    let names = |disk: &FileDisk| {
        let mut names = disk.list().unwrap();
        names.sort();
        names
    };
    let looking = FileDisk::read_only(directory.path());
    let before = names(&looking);
    let mut recovery = Recovery::open(looking, options()).unwrap();
    assert_eq!(payloads(&mut recovery), [b"seen while it is written"]);
    assert_eq!(names(&FileDisk::read_only(directory.path())), before);
    append(&mut log, b"still works");
}

#[test]
fn a_copy_taken_while_the_store_runs_can_be_opened() {
    let directory = tempfile::tempdir().unwrap();
    let disk = FileDisk::open(directory.path()).unwrap();
    let mut log = Log::start(Recovery::open(disk, options()).unwrap());
    for number in 0..200_u8 {
        append(&mut log, &[number; 1000]);
    }
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(directory.path()).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        append(&mut log, b"meanwhile");
    }
    let disk = FileDisk::open(copy.path()).unwrap();
    let mut recovery = Recovery::open(disk, options()).unwrap();
    let found = payloads(&mut recovery);
    let expected: Vec<_> = (0..200_u8).map(|number| vec![number; 1000]).collect();
    assert_eq!(found[..200], expected);
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "no directory").unwrap();
    let error = FileDisk::open(file.join("state")).unwrap_err();
    assert!(matches!(error, LockError::Io { .. }), "{error}");
    assert!(error.to_string().contains("file/state"), "{error}");

    let closed = directory.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o500)).unwrap();
    match FileDisk::open(&closed) {
        Err(error) => assert!(error.to_string().contains("closed/lock"), "{error}"),
        // A privileged user may write everywhere.
        Ok(_) => fs::remove_file(closed.join("lock")).unwrap(),
    }
}

#[test]
fn a_directory_that_is_not_there_has_nothing_to_look_at() {
    let directory = tempfile::tempdir().unwrap();
    let disk = FileDisk::read_only(directory.path().join("absent"));
    let error = Recovery::open(disk, options()).unwrap_err();
    assert!(matches!(error, OpenError::Io { .. }), "{error}");
}

#[test]
fn files_that_are_none_of_ours_stay() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["mosquitto.db", "1.seg", "000000000.seg", "notes.txt"] {
        fs::write(directory.path().join(name), "mine").unwrap();
    }
    let disk = FileDisk::open(directory.path()).unwrap();
    let mut log = Log::start(Recovery::open(disk, options()).unwrap());
    append(&mut log, b"one");
    while log.maintain(Duration::ZERO) {}
    for name in ["mosquitto.db", "1.seg", "000000000.seg", "notes.txt"] {
        assert_eq!(fs::read(directory.path().join(name)).unwrap(), b"mine");
    }
}
