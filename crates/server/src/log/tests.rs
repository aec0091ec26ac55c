use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use super::*;

/// Long enough for a busy machine; nothing waits for it unless something is broken.
const PATIENCE: Duration = Duration::from_secs(30);

fn time() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}

/// What was written, to be looked at after a flush.
#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl Page {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("not poisoned").clone()).expect("UTF-8")
    }
}

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .lock()
            .expect("not poisoned")
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A destination that takes nothing until it is told to.
struct Stuck {
    entered: Sender<()>,
    released: Receiver<()>,
    page: Page,
}

impl Write for Stuck {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Nobody need listen, and a sender that is gone releases for good.
        let _ = self.entered.send(());
        let _ = self.released.recv();
        self.page.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn to_page(kinds: Kinds) -> (Logger, Page) {
    let page = Page::default();
    let logger = Logger::with_writer(kinds, Timestamp::UnixSeconds, Box::new(page.clone()))
        .expect("started");
    (logger, page)
}

fn to_file(path: &Path) -> LogSettings {
    LogSettings {
        destinations: Destinations {
            file: Some(path.to_owned()),
            ..Destinations::NONE
        },
        timestamp: Timestamp::None,
        ..LogSettings::default()
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).expect("read")
}

#[test]
fn lines_look_like_mosquittos() {
    let (logger, page) = to_page(Kinds::DEFAULT);
    logger.log_at(Kind::Information, time(), "mosquitto version 2.1 starting");
    logger.log_at(Kind::Notice, time(), "New connection");
    assert!(logger.flush(PATIENCE));
    let expected = "1700000000: mosquitto version 2.1 starting\n1700000000: New connection\n";
    assert_eq!(page.text(), expected);
}

#[test]
fn only_wanted_kinds_are_written_or_even_formatted() {
    let (logger, page) = to_page(Kinds::from(Kind::Error) | Kind::Subscribe);
    for kind in Kind::ALL {
        let wanted = matches!(kind, Kind::Error | Kind::Subscribe);
        assert_eq!(logger.enabled(kind), wanted, "{kind:?}");
        logger.log_at(kind, time(), kind.name());
        logger.log_with(kind, || {
            assert!(wanted, "{kind:?} was formatted");
            "with".to_owned()
        });
    }
    assert!(logger.flush(PATIENCE));
    let text = page.text();
    assert_eq!(text.lines().count(), 4, "{text}");
    assert!(
        text.contains("error") && text.contains("subscribe"),
        "{text}"
    );
}

#[test]
fn the_kinds_of_the_default_are_mosquittos() {
    for kind in Kind::ALL {
        let expected = matches!(
            kind,
            Kind::Error | Kind::Warning | Kind::Notice | Kind::Information
        );
        assert_eq!(Kinds::DEFAULT.contains(kind), expected, "{kind:?}");
        assert!(Kinds::ALL.contains(kind));
        assert!(!Kinds::NONE.contains(kind));
    }
}

#[test]
fn a_client_identifier_cannot_forge_a_line() {
    let (logger, page) = to_page(Kinds::ALL);
    let id = "x\n1700000000: Client admin disconnected.\r\x1b[2J";
    logger.log_at(
        Kind::Notice,
        time(),
        format!("New client connected as {id}."),
    );
    assert!(logger.flush(PATIENCE));
    let expected = "1700000000: New client connected as \
                    x\\n1700000000: Client admin disconnected.\\r\\x1b[2J.\n";
    assert_eq!(page.text(), expected);
}

#[test]
fn a_long_line_is_cut_between_characters() {
    let (logger, page) = to_page(Kinds::ALL);
    logger.log_at(Kind::Error, time(), "ä".repeat(60_000));
    assert!(logger.flush(PATIENCE));
    let line = format!("1700000000: {}\n", "ä".repeat(LINE_BYTES_MAX / 2));
    assert_eq!(page.text(), line);
}

#[test]
fn a_stuck_destination_costs_lines_and_not_time() {
    let (entered, is_stuck) = unbounded();
    let (release, released) = unbounded();
    let page = Page::default();
    let stuck = Stuck {
        entered,
        released,
        page: page.clone(),
    };
    let logger =
        Logger::with_writer(Kinds::ALL, Timestamp::None, Box::new(stuck)).expect("started");

    logger.log_at(Kind::Information, time(), "line first");
    is_stuck.recv_timeout(PATIENCE).expect("a line arrives");
    // None of these waits: the test would hang otherwise.
    for number in 0..3 * QUEUE_LINES {
        logger.log_at(Kind::Information, time(), format!("line {number}"));
    }
    let lost = logger.lost();
    assert_eq!(lost, 2 * QUEUE_LINES as u64);
    assert!(!logger.flush(Duration::ZERO));
    assert_eq!(
        logger.apply(&LogSettings::default(), "midge"),
        Err(LogError::Stuck)
    );

    drop(release);
    assert!(logger.flush(PATIENCE));
    let text = page.text();
    let written = text
        .lines()
        .filter(|line| line.starts_with("line "))
        .count();
    assert_eq!(written, 1 + QUEUE_LINES);
    let reported: u64 = text
        .lines()
        .filter_map(|line| line.strip_prefix("Warning: ")?.split(' ').next())
        .map(|count| count.parse::<u64>().expect("a number"))
        .sum();
    assert_eq!(reported, lost, "{text}");
    assert!(text.starts_with("line first\nline 0\nline 1\n"), "{text}");
}

#[test]
fn a_destination_that_fails_is_counted_and_reported_when_it_works_again() {
    struct Failing(Receiver<()>, Page);
    impl Write for Failing {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            match self.0.try_recv() {
                Ok(()) => Err(io::Error::other("disk full")),
                Err(_) => self.1.write(bytes),
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (fail, failures) = unbounded();
    let page = Page::default();
    let stream = Box::new(Failing(failures, page.clone()));
    let logger = Logger::with_writer(Kinds::ALL, Timestamp::None, stream).expect("started");

    // The line, and the report that it is lost.
    fail.send(()).expect("sent");
    fail.send(()).expect("sent");
    logger.log_at(Kind::Notice, time(), "lost");
    assert!(logger.flush(PATIENCE));
    logger.log_at(Kind::Notice, time(), "kept");
    assert!(logger.flush(PATIENCE));

    let text = page.text();
    assert!(text.contains("kept\n"), "{text}");
    assert!(text.contains("Warning: 1 log lines were lost"), "{text}");
    assert_eq!(logger.lost(), 1);
}

#[test]
fn rotation_opens_the_file_anew() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("midge.log");
    let settings = to_file(&path);
    let logger = Logger::start(&settings, "midge").expect("started");
    logger.log_at(Kind::Notice, time(), "before");
    assert!(logger.flush(PATIENCE));

    let old = directory.path().join("midge.log.1");
    fs::rename(&path, &old).expect("renamed");
    logger.log_at(Kind::Notice, time(), "between");
    logger.apply(&settings, "midge").expect("applied");
    logger.log_at(Kind::Notice, time(), "after");
    assert!(logger.flush(PATIENCE));

    assert_eq!(read(&old), "before\nbetween\n");
    assert_eq!(read(&path), "after\n");
}

#[test]
fn a_log_file_is_appended_to_and_is_private() {
    use std::os::unix::fs::PermissionsExt;

    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("midge.log");
    for line in ["one", "two"] {
        let logger = Logger::start(&to_file(&path), "midge").expect("started");
        logger.log_at(Kind::Notice, time(), line);
        assert!(logger.flush(PATIENCE));
    }
    assert_eq!(read(&path), "one\ntwo\n");
    let mode = fs::metadata(&path).expect("metadata").permissions().mode();
    assert_eq!(mode & 0o077, 0);
}

#[test]
fn a_log_file_that_cannot_be_opened_says_so_and_changes_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("missing").join("midge.log");
    let error = Logger::start(&to_file(&path), "midge").expect_err("refused");
    let text = error.to_string();
    let start = format!(
        "Error: Unable to open log file {} for writing.",
        path.display()
    );
    assert!(text.starts_with(&start), "{text}");
    assert!(text.len() > start.len(), "the reason is missing: {text}");

    let (logger, page) = to_page(Kinds::DEFAULT);
    assert_eq!(logger.apply(&to_file(&path), "midge"), Err(error));
    logger.log_at(Kind::Notice, time(), "still here");
    assert!(logger.flush(PATIENCE));
    assert_eq!(page.text(), "1700000000: still here\n");
}

#[test]
fn a_reload_changes_kinds_and_destinations() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("midge.log");
    let (logger, page) = to_page(Kinds::ALL);
    logger.log_at(Kind::Debug, time(), "old");
    let mut settings = to_file(&path);
    settings.kinds = Kinds::from(Kind::Error);
    logger.apply(&settings, "midge").expect("applied");
    assert!(!logger.enabled(Kind::Debug));
    logger.log_at(Kind::Debug, time(), "unwanted");
    logger.log_at(Kind::Error, time(), "new");
    assert!(logger.flush(PATIENCE));
    assert_eq!(page.text(), "1700000000: old\n");
    assert_eq!(read(&path), "new\n");
}

#[test]
fn without_a_destination_nothing_is_wanted() {
    let settings = LogSettings {
        destinations: Destinations::NONE,
        ..LogSettings::default()
    };
    let logger = Logger::start(&settings, "midge").expect("started");
    assert!(!logger.enabled(Kind::Error));
    assert!(!Logger::disabled().enabled(Kind::Error));
    Logger::disabled().log(Kind::Error, "nobody hears it");
    assert!(!Logger::disabled().flush(PATIENCE));
}

#[test]
fn lines_reach_topics_by_kind() {
    let settings = LogSettings {
        destinations: Destinations {
            topic: true,
            ..Destinations::NONE
        },
        kinds: Kinds::ALL,
        ..LogSettings::default()
    };
    let logger = Logger::start(&settings, "midge").expect("started");
    logger.log_at(Kind::Notice, time(), "before anybody listens");
    let (sender, receiver) = unbounded();
    let sink: TopicSink = Box::new(move |topic, line| {
        sender.send((topic, line.to_owned())).expect("received");
    });
    logger.set_topic_sink(Some(sink)).expect("set");
    for kind in Kind::ALL {
        logger.log_at(kind, time(), kind.name());
    }
    assert!(logger.flush(PATIENCE));
    let heard: Vec<_> = receiver.try_iter().collect();
    let expected = [
        ("$SYS/broker/log/E", "1700000000: error"),
        ("$SYS/broker/log/W", "1700000000: warning"),
        ("$SYS/broker/log/N", "1700000000: notice"),
        ("$SYS/broker/log/I", "1700000000: information"),
        ("$SYS/broker/log/M/subscribe", "1700000000: subscribe"),
        ("$SYS/broker/log/M/unsubscribe", "1700000000: unsubscribe"),
        ("$SYS/broker/log/WS", "1700000000: websockets"),
    ];
    let heard: Vec<_> = heard
        .iter()
        .map(|(topic, line)| (*topic, line.as_str()))
        .collect();
    assert_eq!(heard, expected);
}

#[test]
fn the_writer_ends_with_the_last_handle_and_writes_everything_first() {
    struct Ends {
        page: Page,
        _ended: Sender<()>,
    }
    impl Write for Ends {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.page.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let page = Page::default();
    let (ended, wait) = bounded(0);
    let stream = Box::new(Ends {
        page: page.clone(),
        _ended: ended,
    });
    let logger = Logger::with_writer(Kinds::ALL, Timestamp::None, stream).expect("started");
    let other = logger.clone();
    logger.log_at(Kind::Notice, time(), "one");
    drop(logger);
    other.log_at(Kind::Notice, time(), "two");
    drop(other);
    // The stream, and with it the sender, is dropped by the thread that ends.
    let disconnected = crossbeam_channel::RecvTimeoutError::Disconnected;
    assert_eq!(wait.recv_timeout(PATIENCE), Err(disconnected));
    assert_eq!(page.text(), "one\ntwo\n");
}
