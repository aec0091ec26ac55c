//! A broker with its state on the disk.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::compare::contender::{free_port, mosquitto};
use crate::process::run;

/// Which broker, and what it promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Midge with this `persistence_sync`.
    Midge(&'static str),
    /// Midge that keeps nothing.
    MidgeOff,
    /// Mosquitto that saves after every change that it looks at.
    MosquittoAutosave,
    /// Mosquitto that keeps nothing.
    MosquittoOff,
}

/// What all are told: nothing is dropped that a closed loop has on its way.
const CONFIG: &str = "\
allow_anonymous true
max_inflight_messages 0
max_queued_messages 0
";

/// A start, or the end of a checkpoint, takes no longer.
const PATIENCE: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(2);

/// A clean CONNECT of MQTT 3.1.1 as client `x`, and its answer.
const CONNECT: &[u8] = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01x";
const CONNACK: &[u8] = b"\x20\x02\x00\x00";

/// Ticks of processor time in a second: what Linux tells every program.
const TICKS: f64 = 100.0;

impl Kind {
    pub(crate) fn is_mosquitto(self) -> bool {
        matches!(self, Self::MosquittoAutosave | Self::MosquittoOff)
    }

    fn config(self, port: u16, location: &Path) -> String {
        let keeps = |more: &str| {
            let location = location.display();
            format!("persistence true\npersistence_location {location}/\n{more}")
        };
        let own = match self {
            Self::Midge(sync) => keeps(&format!("persistence_sync {sync}\n")),
            Self::MosquittoAutosave => keeps("autosave_on_changes true\nautosave_interval 1\n"),
            Self::MidgeOff | Self::MosquittoOff => "persistence false\n".to_owned(),
        };
        let log = if self.is_mosquitto() {
            "log_type error\n"
        } else {
            "connection_messages false\noutbox_bytes_max 67108864\n"
        };
        // A broker that is started as root becomes somebody else, who may not write where we do.
        let is_root = fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
        let user = if is_root { "user root\n" } else { "" };
        format!("listener {port} 127.0.0.1\n{CONFIG}{own}{log}{user}log_dest stderr\n")
    }
}

/// A broker's process, which is killed with this value.
pub(crate) struct Broker {
    pub(crate) port: u16,
    child: Child,
    log: PathBuf,
    /// From the start of the process to the first CONNACK.
    pub(crate) started_in: Duration,
}

impl Broker {
    /// Starts a broker with its state in `location`, and waits for its first CONNACK.
    pub(crate) fn start(kind: Kind, midge: &Path, location: &Path) -> Outcome<Self> {
        let fail = |what: &dyn std::fmt::Display| format!("{kind:?}: {what}");
        let port = free_port().map_err(|error| fail(&error))?;
        let config = location.join("broker.conf");
        let log = location.join("broker.log");
        fs::write(&config, kind.config(port, location)).map_err(|error| fail(&error))?;
        let stderr = File::create(&log).map_err(|error| fail(&error))?;
        let mut command = if kind.is_mosquitto() {
            Command::new(mosquitto().ok_or("mosquitto is not installed")?)
        } else {
            let mut command = Command::new(midge);
            command.arg("broker");
            command
        };
        command.arg("-c").arg(&config);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr);
        let began = Instant::now();
        let child = command.spawn().map_err(|error| fail(&error))?;
        let mut broker = Self {
            port,
            child,
            log,
            started_in: Duration::ZERO,
        };
        while !broker.answers() {
            if let Ok(Some(status)) = broker.child.try_wait() {
                let log = fs::read_to_string(&broker.log).unwrap_or_default();
                return Err(fail(&format_args!("it ended with {status}: {log}")));
            }
            if began.elapsed() > PATIENCE {
                return Err(fail(&"it does not answer"));
            }
            thread::sleep(PAUSE);
        }
        broker.started_in = began.elapsed();
        Ok(broker)
    }

    /// Whether it answers a CONNECT.
    fn answers(&self) -> bool {
        let answer = || -> std::io::Result<bool> {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.write_all(CONNECT)?;
            let mut answer = [0; CONNACK.len()];
            stream.read_exact(&mut answer)?;
            Ok(answer == CONNACK)
        };
        answer().unwrap_or(false)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn stop(mut self) -> Outcome<()> {
        run(Command::new("kill").arg(self.pid().to_string()))?;
        let status = self.child.wait().map_err(|error| error.to_string())?;
        if status.success() {
            return Ok(());
        }
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        Err(format!("the broker ended with {status}: {log}"))
    }

    /// Processor seconds so far, user and system.
    pub(crate) fn cpu(&self) -> f64 {
        let path = format!("/proc/{}/stat", self.pid());
        let text = fs::read_to_string(path).unwrap_or_default();
        cpu_ticks(&text).unwrap_or(0) as f64 / TICKS
    }

    /// Resident bytes now, and the most there were.
    pub(crate) fn memory(&self) -> [u64; 2] {
        let path = format!("/proc/{}/status", self.pid());
        let text = fs::read_to_string(path).unwrap_or_default();
        ["VmRSS", "VmHWM"].map(|name| kib(&text, name).unwrap_or(0) * 1024)
    }

    /// How many checkpoints it has told of.
    pub(crate) fn checkpoints(&self) -> usize {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        log.matches(": Checkpoint in ").count()
    }

    /// Waits until it has made so many checkpoints.
    pub(crate) fn wait_for_checkpoints(&self, count: usize) -> Outcome<()> {
        let began = Instant::now();
        while self.checkpoints() < count {
            if began.elapsed() > PATIENCE {
                return Err("no checkpoint was made".to_owned());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // SIGKILL; it may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// User and system time of `/proc/<pid>/stat`; the program's name may contain anything.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(user + system)
}

fn kib(status: &str, name: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_are_read_as_the_system_writes_them() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 25 17 0 0 20 0 1 0 5 6 7";
        assert_eq!(cpu_ticks(stat), Some(42));
        let status = "Name:\tmidge\nVmHWM:\t  300 kB\nVmRSS:\t  200 kB\n";
        assert_eq!(kib(status, "VmRSS"), Some(200));
        assert_eq!(kib(status, "VmHWM"), Some(300));
        assert_eq!(kib(status, "Vm"), None);
    }

    #[test]
    fn only_who_keeps_something_has_a_location() {
        let text = |kind: Kind| kind.config(1883, Path::new("/x"));
        assert!(
            text(Kind::Midge("os")).contains("persistence_location /x/\npersistence_sync os\n")
        );
        assert!(text(Kind::MosquittoAutosave).contains("autosave_interval 1\n"));
        assert!(!text(Kind::MidgeOff).contains("persistence_location"));
    }
}
