//! The broker under test.

use std::fs::{self, File};
use std::io::{self, Read};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Address of a running broker for all tests that need no special configuration.
pub const ADDRESS_VARIABLE: &str = "MIDGE_CONFORMANCE_ADDR";
/// Program to start instead of the `midge` beside the test executable.
pub const PROGRAM_VARIABLE: &str = "MIDGE_BIN";

/// How long a broker may take from its start to its first accepted connection.
const START_LIMIT: Duration = Duration::from_secs(15);
/// How many ports are tried when others take them first.
const START_ATTEMPTS: u32 = 10;

/// A broker to test against; it ends when the last clone is dropped, if a test started it.
#[derive(Clone)]
pub struct Broker {
    address: SocketAddr,
    process: Option<Arc<Process>>,
}

/// The broker that tests without special configuration share while any of them runs.
static SHARED: Mutex<Weak<Process>> = Mutex::new(Weak::new());

impl Broker {
    /// The broker at `MIDGE_CONFORMANCE_ADDR`, else one that is started with an empty
    /// configuration and shared by the tests of this process.
    #[track_caller]
    pub fn shared() -> Self {
        if let Ok(address) = std::env::var(ADDRESS_VARIABLE) {
            return Self::at(&address);
        }
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        let process = shared.upgrade().unwrap_or_else(|| Process::start(""));
        *shared = Arc::downgrade(&process);
        Self::of(process)
    }

    /// A broker of its own with these lines behind its listener.
    ///
    /// The listener is on loopback and anonymous clients are allowed unless `config` has a line
    /// about them. Gives `None`, for the test to be skipped, when only a running broker was named.
    #[track_caller]
    pub fn with_config(config: &str) -> Option<Self> {
        if std::env::var(ADDRESS_VARIABLE).is_ok() && std::env::var(PROGRAM_VARIABLE).is_err() {
            skipped(&format!("{PROGRAM_VARIABLE} is not set; needs {config:?}"));
            return None;
        }
        Some(Self::of(Process::start(config)))
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Asks the process to end as a service manager does (SIGTERM). Only for own brokers.
    #[track_caller]
    pub fn terminate(&self) {
        let Some(process) = &self.process else {
            fail("a running broker is not ours to end");
        };
        let pid = process
            .child
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .id();
        let status = Command::new("kill")
            .args(["-TERM", &pid.to_string()])
            .status();
        if !status.is_ok_and(|status| status.success()) {
            fail(&format!("kill -TERM {pid} failed"));
        }
    }

    #[track_caller]
    fn at(address: &str) -> Self {
        match address.to_socket_addrs().map(|mut list| list.next()) {
            Ok(Some(address)) => Self {
                address,
                process: None,
            },
            _ => fail(&format!("{ADDRESS_VARIABLE}={address} is no address")),
        }
    }

    fn of(process: Arc<Process>) -> Self {
        Self {
            address: process.address,
            process: Some(process),
        }
    }
}

/// A broker process of ours, its address, and the directory with its configuration and log.
struct Process {
    address: SocketAddr,
    directory: PathBuf,
    child: Mutex<Child>,
}

impl Process {
    #[track_caller]
    fn start(config: &str) -> Arc<Self> {
        let program = program();
        for _ in 0..START_ATTEMPTS {
            match Self::try_start(&program, config) {
                Ok(Some(process)) => return Arc::new(process),
                Ok(None) => {}
                Err(error) => fail(&format!("starting {}: {error}", program.display())),
            }
        }
        fail(&format!(
            "{} did not come up with configuration {config:?}",
            program.display()
        ))
    }

    /// Starts a broker on a port that the system calls free; gives `None` when it was not.
    fn try_start(program: &Path, config: &str) -> io::Result<Option<Self>> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
            .local_addr()?
            .port();
        let directory = std::env::temp_dir().join(format!("midge-conformance-{port}"));
        // Two test processes may be given the same port; the one that makes the directory has it.
        if fs::create_dir(&directory).is_err() {
            return Ok(None);
        }
        let file = directory.join("broker.conf");
        let anonymous = if config.contains("allow_anonymous") {
            ""
        } else {
            "allow_anonymous true\n"
        };
        fs::write(
            &file,
            format!("listener {port} 127.0.0.1\n{anonymous}{config}\n"),
        )?;
        let log = File::create(directory.join("log"))?;
        let child = Command::new(program)
            .arg("-c")
            .arg(&file)
            .current_dir(&directory)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let process = Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            directory,
            child: Mutex::new(child),
        };
        Ok(process.accepts().then_some(process))
    }

    /// Waits until the broker accepts connections; `false` when it ended instead.
    fn accepts(&self) -> bool {
        let deadline = Instant::now() + START_LIMIT;
        while Instant::now() < deadline {
            let ended = self
                .child
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .try_wait();
            if !matches!(ended, Ok(None)) {
                report(&self.log_tail());
                return false;
            }
            if let Ok(stream) = TcpStream::connect(self.address) {
                // A connection to a free port of the dynamic range can meet itself.
                if stream.local_addr().ok() != stream.peer_addr().ok() {
                    wait_for_close(stream);
                    return true;
                }
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        false
    }

    fn log_tail(&self) -> String {
        let log = fs::read(self.directory.join("log")).unwrap_or_default();
        let text = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines
            .get(lines.len().saturating_sub(40)..)
            .unwrap_or_default();
        format!("log of the broker:\n  {}", tail.join("\n  "))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            report(&self.log_tail());
        }
        let child = self.child.get_mut().unwrap_or_else(PoisonError::into_inner);
        // Both fail only when the process has ended, which is what is wanted.
        let _ = child.kill();
        let _ = child.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Ends a connection and waits until the broker has ended it too, so that it no longer counts.
fn wait_for_close(mut stream: TcpStream) {
    let ended = stream
        .shutdown(Shutdown::Write)
        .and_then(|()| stream.set_read_timeout(Some(Duration::from_secs(1))));
    if ended.is_ok() {
        // An error says the same as the end: the connection is no more.
        let _ = stream.read(&mut [0_u8; 16]);
    }
}

/// The broker program: `MIDGE_BIN`, else `midge` in the target directory of this executable.
#[track_caller]
fn program() -> PathBuf {
    if let Some(program) = std::env::var_os(PROGRAM_VARIABLE) {
        return PathBuf::from(program);
    }
    let beside = std::env::current_exe().ok().and_then(|executable| {
        let profile = executable.parent()?.parent()?;
        Some(profile.join(format!("midge{}", std::env::consts::EXE_SUFFIX)))
    });
    match beside {
        Some(program) if program.is_file() => program,
        _ => fail(&format!(
            "no midge beside the test executable: run `cargo build -p midge`, or name a program in \
             {PROGRAM_VARIABLE} or a running broker in {ADDRESS_VARIABLE}"
        )),
    }
}

/// A client id that no other test uses: 20 letters and digits, so that 3.1 allows it as well.
pub fn unique_id() -> String {
    format!("c{:019x}", unique_number())
}

/// A topic that no other test uses, also not in an earlier run against the same broker.
pub fn unique_topic(stem: &str) -> String {
    format!("conformance/{:x}/{stem}", unique_number())
}

/// Time, process and a counter, mixed into 64 bits.
fn unique_number() -> u64 {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let count = u64::from(COUNTER.fetch_add(1, Ordering::Relaxed));
    let millis = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| u64::try_from(time.as_millis()).unwrap_or(0));
    (millis << 36) | (u64::from(std::process::id() & 0x3F_FFFF) << 14) | (count & 0x3FFF)
}

#[track_caller]
#[expect(clippy::panic, reason = "a test without a broker has failed")]
fn fail(what: &str) -> ! {
    panic!("{what}")
}

#[expect(
    clippy::print_stderr,
    reason = "the output of a failed or skipped test"
)]
fn report(text: &str) {
    eprintln!("{text}");
}

fn skipped(reason: &str) {
    report(&format!("skipped: {reason}"));
}
