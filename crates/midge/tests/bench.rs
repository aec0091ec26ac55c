//! Every scenario of `midge bench`, small, against the broker of the same binary: nothing is lost,
//! repeated, disordered or misrouted.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on says so"
)]

use std::fs::Permissions;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

const MIDGE: &str = env!("CARGO_BIN_EXE_midge");
const DEADLINE: Duration = Duration::from_secs(20);

struct Broker {
    port: u16,
    child: Child,
    /// Removed with the broker.
    _state: tempfile::TempDir,
}

impl Broker {
    fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let state = tempfile::tempdir().unwrap();
        // Whom a broker that root starts becomes has to reach it.
        std::fs::set_permissions(state.path(), Permissions::from_mode(0o755)).unwrap();
        let child = Command::new(MIDGE)
            .args(["broker", "-q", "-p", &port.to_string()])
            .env("STATE_DIRECTORY", state.path().join("state"))
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let broker = Self {
            port,
            child,
            _state: state,
        };
        let begin = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begin.elapsed() < DEADLINE, "the broker does not listen");
            std::thread::sleep(Duration::from_millis(5));
        }
        broker
    }

    /// Runs a scenario; its report.
    #[track_caller]
    fn bench(&self, line: &str) -> String {
        let output = Command::new(MIDGE)
            .arg("bench")
            .args(line.split(' '))
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string()])
            .args(["--pid", &self.child.id().to_string(), "--json", "--quiet"])
            .output()
            .unwrap();
        let report = String::from_utf8(output.stdout).unwrap();
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr);
            panic!("{line}: {} {errors} {report}", output.status);
        }
        report
    }

    #[track_caller]
    fn check(&self, line: &str, expected: &[&str]) {
        let report = self.bench(line);
        for part in expected {
            assert!(report.contains(part), "{line}: no {part} in {report}");
        }
        assert!(report.contains("\"faulty\":false"), "{line}: {report}");
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn loads_of_every_shape_arrive_exactly() {
    let broker = Broker::start();
    for line in [
        "p2p --pairs 4 -q 1 -V 5",
        "fan-out --subscribers 10 -q 2",
        "fan-in --publishers 5 --subscribers 2",
        "fan-in --publishers 5 --wildcard -q 1",
        "wildcard --publishers 2 --filters 600 -q 1 -V 5",
    ] {
        let line = format!("{line} --window 10 --warm-up 0 --seconds 1");
        broker.check(&line, &["\"lost\":0,\"duplicates\":0"]);
    }
}

#[test]
fn retained_messages_come_to_every_subscriber_once() {
    let broker = Broker::start();
    for end in ["-q 0 -V 5", "-q 1", "-q 2 -V 5"] {
        let line = format!("retained --messages 300 --subscribers 3 {end}");
        let expected = [
            "\"sent\":300,\"received\":900,\"lost\":0",
            "\"store\":{\"count\":300",
            "\"deliver\":{\"count\":900",
        ];
        broker.check(&line, &expected);
    }
}

#[test]
fn sessions_that_were_away_get_what_was_queued() {
    let broker = Broker::start();
    for end in ["", " -V 5", " -q 2", " -q 2 -V 5"] {
        let line = format!("offline --clients 5 --messages 60{end}");
        broker.check(&line, &["\"sent\":300,\"received\":300,\"lost\":0"]);
    }
}

#[test]
fn all_processes_of_a_load_end_when_the_first_is_killed() {
    let broker = Broker::start();
    let mut first = Command::new(MIDGE)
        .args(["bench", "p2p", "--pairs", "2", "--processes", "2"])
        .args(["--seconds", "600", "-p", &broker.port.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The members write to it too, so it ends with the last of them.
    let mut progress = BufReader::new(first.stderr.take().unwrap());
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let mut text = String::new();
        let _ = progress.read_line(&mut text);
        let _ = tell.send("the load is under way");
        let _ = progress.read_to_string(&mut text);
        let _ = tell.send("nobody is left");
    });
    assert!(told.recv_timeout(DEADLINE).is_ok(), "no progress is told");
    first.kill().unwrap();
    first.wait().unwrap();
    assert!(told.recv_timeout(DEADLINE).is_ok(), "the load goes on");
}

#[test]
fn clients_come_and_go_and_stay() {
    let broker = Broker::start();
    for version in ["31", "311", "5"] {
        let line = format!("conn --clients 5 --seconds 1 -V {version}");
        broker.check(&line, &["\"storm\":{\"count\":", "\"memory\":{\"before\":"]);
    }
    let idle = "idle --clients 50 --seconds 1";
    broker.check(idle, &["\"connect\":{\"count\":50", "\"bytes_each\":"]);
}
