//! What the tests of this crate share: real sockets, and waiting for conditions with a deadline.

use std::fs;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::{Key, Poller, Ready, Received, Stream};

const PATIENCE: Duration = Duration::from_secs(20);
const CHILD: &str = "MIDGE_REACTOR_TEST_CHILD";

/// Waits on `poller` until `met` is content with what was ready since the last time.
pub(crate) fn wait_until(poller: &mut Poller, mut met: impl FnMut(&[Ready]) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    let mut ready = Vec::new();
    loop {
        poller
            .wait(Some(Duration::from_millis(100)), &mut ready, || false)
            .unwrap();
        if met(&ready) {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "what was waited for did not happen"
        );
    }
}

/// Waits once, for something that must end the wait before the deadline of all tests.
pub(crate) fn wait_once(
    poller: &mut Poller,
    ready: &mut Vec<Ready>,
    pending: impl FnOnce() -> bool,
) {
    let deadline = Instant::now() + PATIENCE;
    poller.wait(Some(PATIENCE), ready, pending).unwrap();
    assert!(Instant::now() < deadline, "nothing ended the wait");
}

/// Gathers until `key` has been reported with what `wanted` asks for.
pub(crate) fn wait_for(poller: &mut Poller, key: Key, wanted: impl Fn(&Ready) -> bool) {
    wait_until(poller, |ready| {
        ready.iter().any(|event| event.key == key && wanted(event))
    });
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
        std::thread::yield_now();
    }
}

/// Reads until `length` bytes have come.
pub(crate) fn read_bytes(stream: &mut Stream, length: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    eventually(|| {
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer).unwrap() {
            Received::Bytes(read) => bytes.extend_from_slice(&buffer[..read]),
            Received::Blocked => {}
            Received::Ended => panic!("the stream ended after {} bytes", bytes.len()),
        }
        (bytes.len() >= length).then_some(())
    });
    bytes
}

/// A TCP connection over loopback: our end, and the peer's, which blocks.
pub(crate) fn tcp_pair() -> (Stream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    let (ours, _) = listener.accept().unwrap();
    (Stream::from_tcp(ours).unwrap(), peer)
}

/// A connection over a pair of unix sockets: our end, and the peer's, which blocks.
pub(crate) fn unix_pair() -> (Stream, std::os::unix::net::UnixStream) {
    let (ours, peer) = std::os::unix::net::UnixStream::pair().unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    (Stream::from_unix(ours).unwrap(), peer)
}

/// Whether a peer's blocking read found the end of the stream.
pub(crate) fn is_closed(read: &io::Result<usize>) -> bool {
    match read {
        Ok(length) => *length == 0,
        Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
    }
}

/// A directory of one test, removed when it ends.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("midge-reactor-{}-{number}", process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Whether to run the body of `test` (its full name), because this is the process that it has for
/// itself. The first caller starts that process, expects it to pass, and hears `false`.
///
/// For what changes the whole process: limits, signals, users.
pub(crate) fn in_own_process(test: &str) -> bool {
    if std::env::var(CHILD).is_ok_and(|name| name == test) {
        return true;
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD, test)
        .output()
        .unwrap();
    let (stdout, stderr) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(
        output.status.success() && stdout.contains("1 passed"),
        "{test} in its own process: {}\n{stdout}\n{stderr}",
        output.status
    );
    false
}
