//! The system log: one datagram for each line, as RFC 3164 and every libc write it.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::kind::Kind;
use super::settings::{Facility, Timestamp};

/// Where the system log listens.
const SOCKET: &str = "/dev/log";

/// How long a line waits for a system log that is busy.
const WRITE_WAIT: Duration = Duration::from_millis(100);

/// A connection to the system log; made when it is needed, and again when the log was restarted.
#[derive(Debug)]
pub(super) struct Syslog {
    path: PathBuf,
    tag: String,
    facility: Facility,
    time_format: Timestamp,
    socket: Option<UnixDatagram>,
}

impl Syslog {
    /// Speaks to the log of this system.
    pub(super) fn new(program: &str, facility: Facility) -> Self {
        Self::at(PathBuf::from(SOCKET), program, facility)
    }

    /// Speaks to the log that listens at `path`.
    pub(super) fn at(path: PathBuf, program: &str, facility: Facility) -> Self {
        Self {
            path,
            tag: format!("{program}[{}]", std::process::id()),
            facility,
            time_format: Timestamp::Format("%b %e %H:%M:%S".to_owned()),
            socket: None,
        }
    }

    /// Sends a line.
    ///
    /// # Errors
    /// When nobody listens, or takes nothing.
    pub(super) fn send(&mut self, kind: Kind, time: SystemTime, line: &str) -> io::Result<()> {
        let priority = self.facility.code() * 8 + kind.severity();
        let mut message = format!("<{priority}>");
        self.time_format.write_bare(time, &mut message);
        message.push(' ');
        message.push_str(&self.tag);
        message.push_str(": ");
        message.push_str(line);

        if let Some(socket) = &self.socket {
            match socket.send(message.as_bytes()) {
                Ok(_) => return Ok(()),
                // Busy is not gone: connecting again would help nobody.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
                Err(_) => self.socket = None,
            }
        }
        let socket = UnixDatagram::unbound()?;
        socket.connect(&self.path)?;
        socket.set_write_timeout(Some(WRITE_WAIT))?;
        socket.send(message.as_bytes())?;
        self.socket = Some(socket);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receive(log: &UnixDatagram) -> String {
        log.set_read_timeout(Some(Duration::from_secs(10)))
            .expect("a deadline");
        let mut buffer = [0; 512];
        let length = log.recv(&mut buffer).expect("a message");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    #[test]
    fn a_line_carries_facility_severity_time_and_program() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("log");
        let log = UnixDatagram::bind(&path).expect("a socket");
        let mut syslog = Syslog::at(path, "midge", Facility::Local(1));

        syslog
            .send(Kind::Warning, SystemTime::now(), "1700000000: text")
            .expect("sent");

        let message = receive(&log);
        // 17 * 8 + 4, then "Nov 22 16:11:11 ".
        assert!(message.starts_with("<140>"), "{message}");
        let tail = format!(" midge[{}]: 1700000000: text", std::process::id());
        assert!(message.ends_with(&tail), "{message}");
        assert_eq!(message.len(), "<140>".len() + 15 + tail.len(), "{message}");
    }

    #[test]
    fn a_restarted_system_log_is_found_again() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("log");
        let mut syslog = Syslog::at(path.clone(), "midge", Facility::Daemon);
        let now = SystemTime::now();
        assert!(syslog.send(Kind::Error, now, "nobody is there").is_err());

        let first = UnixDatagram::bind(&path).expect("a socket");
        syslog.send(Kind::Error, now, "one").expect("sent");
        assert!(receive(&first).ends_with("one"));

        drop(first);
        std::fs::remove_file(&path).expect("removed");
        let second = UnixDatagram::bind(&path).expect("a socket");
        syslog.send(Kind::Error, now, "two").expect("sent");
        assert!(receive(&second).ends_with("two"));
    }
}
