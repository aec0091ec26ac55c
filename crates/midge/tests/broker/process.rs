//! A broker process and what can be done to it.

use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long a test waits for what must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// CONNECT of 3.1.1 with a clean session and no client id.
pub(crate) const CONNECT: &[u8] = b"\x10\x0C\x00\x04MQTT\x04\x02\x00\x00\x00\x00";

/// The built program.
pub(crate) fn midge() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_midge"));
    command.stdin(Stdio::null());
    command
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

pub(crate) fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

/// A child process whose standard error goes to a file, ended with the test.
pub(crate) struct Started {
    child: Child,
    directory: TempDir,
}

/// A running broker.
pub(crate) struct Midge(Started);

/// A broker that has ended.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) log: String,
}

impl Started {
    pub(crate) fn new(command: &mut Command) -> Self {
        Self::with_directory(command, tempfile::tempdir().unwrap())
    }

    fn with_directory(command: &mut Command, directory: TempDir) -> Self {
        let log = File::create(directory.path().join("stderr")).unwrap();
        // Whom a broker that root starts becomes has to reach it.
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
        let child = command
            .env("STATE_DIRECTORY", directory.path().join("state"))
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { child, directory }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("stderr")).unwrap()
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // It has ended already unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Midge {
    pub(crate) fn start(args: &[&str]) -> Self {
        let started = Started::new(midge().args(args));
        if args.contains(&"-q") {
            let port = args[1].parse().unwrap();
            eventually(|| TcpStream::connect(("127.0.0.1", port)).ok());
            return Self(started);
        }
        Self::running(started)
    }

    pub(crate) fn with_config(config: &str) -> Self {
        Self::running(Self::spawn_with(config))
    }

    /// For a configuration that logs elsewhere.
    pub(crate) fn with_config_unannounced(config: &str, port: u16) -> Self {
        let started = Self::spawn_with(config);
        eventually(|| TcpStream::connect(("127.0.0.1", port)).ok());
        Self(started)
    }

    fn spawn_with(config: &str) -> Started {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("m.conf");
        // As root it would become somebody who cannot read the file again.
        fs::write(&file, format!("user root\n{config}")).unwrap();
        Started::with_directory(midge().arg("-c").arg(&file), directory)
    }

    /// Waits until the broker says that it runs.
    pub(crate) fn running(started: Started) -> Self {
        let broker = Self(started);
        broker.expect_log(" running\n");
        broker
    }

    pub(crate) fn configure(&self, config: &str) {
        let file = self.0.directory.path().join("m.conf");
        fs::write(file, config).unwrap();
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.child.id()
    }

    pub(crate) fn log(&self) -> String {
        self.0.log()
    }

    pub(crate) fn expect_log(&self, words: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.log().contains(words) {
            assert!(
                Instant::now() < deadline,
                "{words:?} is missing in\n{}",
                self.log()
            );
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn connect(&self, port: u16) -> TcpStream {
        let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.write_all(CONNECT).unwrap();
        expect_connack(&mut client);
        client
    }

    pub(crate) fn signal(&self, name: &str) {
        kill(self.id(), name);
    }

    pub(crate) fn terminate(self) -> Ended {
        self.end_by("TERM")
    }

    pub(crate) fn end_by(mut self, signal: &str) -> Ended {
        self.signal(signal);
        let status = eventually(|| self.0.child.try_wait().unwrap());
        Ended {
            status,
            log: self.log(),
        }
    }
}

pub(crate) fn expect_connack(client: &mut TcpStream) {
    let mut connack = [0; 4];
    client.read_exact(&mut connack).unwrap();
    assert_eq!(connack, [0x20, 2, 0, 0]);
}

/// A connection that the broker lets in, unless it closes it.
pub(crate) fn try_connect(port: u16) -> Option<TcpStream> {
    let mut client = TcpStream::connect(("127.0.0.1", port)).ok()?;
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(CONNECT).ok()?;
    let mut connack = [0; 4];
    match client.read_exact(&mut connack) {
        Ok(()) => Some(client),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => panic!("no answer at all"),
        Err(_) => None,
    }
}

/// Sends a signal to one process.
pub(crate) fn kill(pid: u32, signal: &str) {
    let status = Command::new("kill")
        .args(["-s", signal, &pid.to_string()])
        .status()
        .unwrap();
    assert!(status.success());
}

/// Tries `step` again until it has a result.
pub(crate) fn eventually<T>(mut step: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(result) = step() {
            return result;
        }
        assert!(
            Instant::now() < deadline,
            "what was waited for did not happen"
        );
        thread::sleep(Duration::from_millis(5));
    }
}
