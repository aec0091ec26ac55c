//! Handing out the secrets of connections, to look into them with Wireshark (`--tls-keylog`).

use std::fmt::{self, Write};
use std::sync::Arc;

use rustls::KeyLog;

/// Takes one line of the NSS key log format, without its line end. Called on the thread that runs the
/// handshake.
pub type KeyLogger = Arc<dyn Fn(&str) + Send + Sync>;

pub(super) struct KeyLines(pub(super) KeyLogger);

impl KeyLog for KeyLines {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let mut line = String::with_capacity(200);
        line.push_str(label);
        for part in [client_random, secret] {
            line.push(' ');
            for byte in part {
                // A String takes everything.
                let _ = write!(line, "{byte:02x}");
            }
        }
        (self.0)(&line);
    }
}

impl fmt::Debug for KeyLines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyLines")
    }
}
