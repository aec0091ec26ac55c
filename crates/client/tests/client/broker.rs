// A broker in this process. The examples of the guide include this file, so it has no inner docs.

use std::net::TcpListener;

use midge_server::config::Config;
use midge_server::{Server, ServerHandle};
use tempfile::TempDir;

pub(crate) struct Broker {
    handle: Option<ServerHandle>,
    config: String,
    pub(crate) port: u16,
    _directory: TempDir,
}

impl Broker {
    pub(crate) fn start() -> Self {
        Self::with("")
    }

    /// With further lines of configuration.
    pub(crate) fn with(lines: &str) -> Self {
        Self::strict(&format!("allow_anonymous true\n{lines}"))
    }

    /// One that lets in nobody, unless these lines say whom.
    pub(crate) fn strict(lines: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let port = free_port();
        let config = format!(
            "listener {port} 127.0.0.1\nlog_dest none\npersistence true\n\
             persistence_location {}\n{lines}\n",
            directory.path().display()
        );
        let mut broker = Self {
            handle: None,
            config,
            port,
            _directory: directory,
        };
        broker.run();
        broker
    }

    pub(crate) fn run(&mut self) {
        let config = Config::parse(&self.config, "test").unwrap();
        // The port may be in its last throes.
        let handle = (0..200).find_map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(5));
            Server::start(config.clone()).ok()
        });
        self.handle = Some(handle.expect("the broker starts"));
    }

    pub(crate) fn stop(&mut self) {
        if let Some(handle) = self.handle.take() {
            handle.shut_down();
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}
