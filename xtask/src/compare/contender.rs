//! The programs that are compared, and how they are started.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Outcome;

/// A program with its configuration.
pub(crate) struct Contender {
    pub(super) name: &'static str,
    kind: Kind,
    program: PathBuf,
    /// Where its configuration is written; the relay has none.
    config: Option<PathBuf>,
    /// Lines of its configuration beyond [`CONFIG`].
    extra: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Relay,
    Midge,
    Mosquitto,
}

/// What both brokers are told: nothing is dropped that a closed loop has on its way.
const CONFIG: &str = "\
allow_anonymous true
persistence false
max_inflight_messages 0
max_queued_messages 0
log_type error
";

/// Mosquitto lets unsent QoS 0 messages grow without a bound; this is far above what a window holds.
const MIDGE: &str = "outbox_bytes_max 67108864\n";

pub(super) const RELAY: &str = "relay";
pub(super) const MIDGE_NAME: &str = "midge";

/// Mosquitto as it comes, and with the option that makes it cheaper in some scenarios.
pub(super) const MOSQUITTO: [&str; 2] = ["mosquitto", "mosquitto with set_tcp_nodelay"];

/// Where Debian puts daemons, which is not in everybody's path.
const MOSQUITTO_PROGRAMS: [&str; 2] = ["mosquitto", "/usr/sbin/mosquitto"];

/// Those that are here; ours are in `folder`.
pub(crate) fn all(folder: &Path) -> Vec<Contender> {
    let config = |name: &str| Some(folder.join(name));
    let mut all = vec![
        Contender {
            name: RELAY,
            kind: Kind::Relay,
            program: folder.join("midge-relay"),
            config: None,
            extra: "",
        },
        Contender {
            name: MIDGE_NAME,
            kind: Kind::Midge,
            program: folder.join("midge"),
            config: config("midge.conf"),
            extra: MIDGE,
        },
    ];
    if let Some(program) = mosquitto() {
        for (name, extra) in MOSQUITTO.into_iter().zip(["", "set_tcp_nodelay true\n"]) {
            all.push(Contender {
                name,
                kind: Kind::Mosquitto,
                program: program.into(),
                config: config("mosquitto.conf"),
                extra,
            });
        }
    }
    all
}

/// Where mosquitto is, if it is installed.
pub(crate) fn mosquitto() -> Option<&'static str> {
    MOSQUITTO_PROGRAMS
        .into_iter()
        .find(|program| mosquitto_version(program).is_some())
}

/// The first line of mosquitto's help, if that can be started.
fn mosquitto_version(program: impl AsRef<Path>) -> Option<String> {
    let output = Command::new(program.as_ref()).arg("-h").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().next()?;
    line.starts_with("mosquitto version")
        .then(|| line.to_owned())
}

impl Contender {
    pub(super) fn is_relay(&self) -> bool {
        self.kind == Kind::Relay
    }

    pub(super) fn is_mosquitto(&self) -> bool {
        self.kind == Kind::Mosquitto
    }

    /// Which version of somebody else's program this is.
    pub(super) fn version(&self) -> Option<String> {
        self.is_mosquitto()
            .then(|| mosquitto_version(&self.program))?
    }

    fn command(&self, port: u16) -> Outcome<Command> {
        let mut command = Command::new(&self.program);
        match &self.config {
            None => {
                command.arg(port.to_string());
            }
            Some(path) => {
                let text = format!("listener {port} 127.0.0.1\n{CONFIG}{}", self.extra);
                fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))?;
                if self.kind == Kind::Midge {
                    command.arg("broker");
                }
                command.arg("-c").arg(path);
            }
        }
        Ok(command)
    }
}

/// A contender's process, which ends with this value.
pub(super) struct Running {
    pub(super) port: u16,
    child: Child,
}

const START_MAX: Duration = Duration::from_secs(10);

impl Running {
    /// Starts `contender` on a free port, and waits until it accepts connections.
    pub(super) fn start(contender: &Contender) -> Outcome<Self> {
        let port = free_port().map_err(|error| format!("no free port: {error}"))?;
        let child = contender
            .command(port)?
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("{} could not start: {error}", contender.name))?;
        let mut running = Self { port, child };
        let begin = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            if let Ok(Some(status)) = running.child.try_wait() {
                return Err(format!("{} ended with {status}", contender.name));
            }
            if begin.elapsed() > START_MAX {
                return Err(format!("{} does not listen", contender.name));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(running)
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that nobody listens on right now.
pub(crate) fn free_port() -> std::io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}
