//! The methods that judge logins: their order, and what a change of their files means for who is connected.

use std::fs;
use std::path::PathBuf;

use midge_access::passwords::{Hashing, Verifier};
use midge_codec::{Connect, Packet, Version};
use midge_server::config::Config;
use tempfile::TempDir;

use crate::client::{Broker, Came, Client, V3, V5, hello, on_free_port, tcp};

/// A folder with files, and configurations that name them.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes the password file; `salt` makes lines that differ for the same password.
    fn passwords(&self, users: &[(&str, &str)], salt: u8) {
        let hashing = Hashing::Sha512Pbkdf2 { iterations: 1 };
        let line = |(name, password): &(&str, &str)| {
            let verifier = Verifier::create(hashing, password.as_bytes(), &[salt; 16]).unwrap();
            format!("{name}:{verifier}\n")
        };
        let text: String = users.iter().map(line).collect();
        // Another name first: what is half written is no file.
        let new = self.path("new");
        fs::write(&new, text).unwrap();
        fs::rename(new, self.path("passwords")).unwrap();
    }

    fn config(&self, options: &str) -> Config {
        let text = format!(
            "worker_threads 2\nlog_type none\nsys_interval 0\nlistener 1883 127.0.0.1\n\
             auth_fail_delay 0\n{options}"
        );
        let text = text
            .replace("PASSWORDS", &self.path("passwords").display().to_string())
            .replace("DYNSEC", &self.path("dynsec.json").display().to_string())
            .replace("INIT", &self.path("init").display().to_string());
        on_free_port(Config::parse(&text, "test.conf").unwrap())
    }
}

fn log_in(broker: &Broker, version: Version, user: Option<(&str, &str)>, id: &str) -> (Client, u8) {
    let mut client = Client::new(tcp(broker.address), version);
    let connect = Connect {
        user_name: user.map(|(name, _)| name),
        password: user.map(|(_, password)| password.as_bytes()),
        ..hello(version, id)
    };
    client.send(&Packet::Connect(connect));
    match client.next() {
        Came::ConnAck { reason, .. } => (client, reason),
        other => panic!("not CONNACK: {other:?}"),
    }
}

fn reason(broker: &Broker, user: Option<(&str, &str)>) -> u8 {
    log_in(broker, V5, user, "probe").1
}

const PLUGIN: &str = "plugin /x/mosquitto_dynamic_security.so\nplugin_opt_config_file DYNSEC\n\
                      plugin_opt_password_init_file INIT\n";

#[test]
fn methods_are_asked_in_the_order_that_is_stated_and_the_first_that_knows_the_user_decides() {
    let files = Files::new();
    files.passwords(&[("alice", "a"), ("admin", "from-the-file")], 1);
    fs::write(files.path("init"), "from-dynamic-security\n").unwrap();
    let by_file = Some(("admin", "from-the-file"));
    let by_dynsec = Some(("admin", "from-dynamic-security"));
    let check = |order: &str, file: u8, dynsec: u8, alice: u8, nobody: u8| {
        let options = format!("{order}\nallow_anonymous true\npassword_file PASSWORDS\n{PLUGIN}");
        let broker = Broker::from(files.config(&options));
        assert_eq!(reason(&broker, by_file), file, "{order}");
        assert_eq!(reason(&broker, by_dynsec), dynsec, "{order}");
        assert_eq!(reason(&broker, Some(("alice", "a"))), alice, "{order}");
        assert_eq!(reason(&broker, Some(("alice", "b"))), 0x87, "{order}");
        assert_eq!(reason(&broker, Some(("nobody", "x"))), 0x87, "{order}");
        assert_eq!(reason(&broker, None), nobody, "{order}");
    };
    check("", 0, 0, 0, 0);
    check("auth_order password_file dynsec anonymous", 0, 0x87, 0, 0);
    check("auth_order dynsec password_file", 0x87, 0, 0, 0x87);
    check("auth_order anonymous password_file", 0, 0x87, 0, 0);
    check("auth_order dynsec", 0x87, 0, 0x87, 0x87);
    check("auth_order http", 0x87, 0x87, 0x87, 0x87);
}

#[test]
fn an_order_names_known_methods_once() {
    for text in ["auth_order kerberos", "auth_order http http", "auth_order"] {
        let error = Config::parse(&format!("{text}\n"), "test.conf").unwrap_err();
        assert!(error.to_string().contains("auth_order"), "{error}");
    }
}

/// As Mosquitto treats them, as far as it can be known without their passwords.
#[test]
fn after_a_reload_who_could_not_log_in_as_they_did_has_to_go() {
    let files = Files::new();
    files.passwords(&[("stays", "1"), ("other", "2"), ("gone", "3")], 1);
    let options = "allow_anonymous true\npassword_file PASSWORDS\n";
    let broker = Broker::from(files.config(options));
    let connect = |user, id| {
        let (client, reason) = log_in(&broker, V5, user, id);
        assert_eq!(reason, 0);
        client
    };
    let mut stays = connect(Some(("stays", "1")), "stays");
    let mut other = connect(Some(("other", "2")), "other");
    let mut gone = connect(Some(("gone", "3")), "gone");
    let (mut old, _) = log_in(&broker, V3, Some(("gone", "3")), "old");
    let mut nobody = connect(None, "nobody");

    // Nothing has changed, so nobody goes.
    broker.handle.reload(files.config(options)).unwrap();
    for client in [&mut stays, &mut other, &mut gone, &mut old, &mut nobody] {
        client.expect_silence();
    }
    let both = Verifier::create(Hashing::Sha512Pbkdf2 { iterations: 1 }, b"new", &[2; 16]).unwrap();
    let text = fs::read_to_string(files.path("passwords")).unwrap();
    let line = text.lines().find(|line| line.starts_with("stays")).unwrap();
    fs::write(files.path("passwords"), format!("{line}\nother:{both}\n")).unwrap();
    broker.handle.reload(files.config(options)).unwrap();
    for client in [&mut other, &mut gone] {
        assert_eq!(client.next(), Came::Disconnect(0x87));
        client.expect_end();
    }
    old.expect_end();
    stays.expect_silence();
    nobody.expect_silence();

    let strict = "allow_anonymous false\npassword_file PASSWORDS\n";
    broker.handle.reload(files.config(strict)).unwrap();
    assert_eq!(nobody.next(), Came::Disconnect(0x87));
    stays.expect_silence();
    broker
        .handle
        .reload(files.config("allow_anonymous false\n"))
        .unwrap();
    assert_eq!(stays.next(), Came::Disconnect(0x87));
    stays.expect_end();
}

#[test]
fn a_password_file_that_changes_is_noticed_without_a_reload() {
    let files = Files::new();
    files.passwords(&[("alice", "1")], 1);
    let broker = Broker::from(files.config("password_file PASSWORDS\n"));
    let (mut client, reason) = log_in(&broker, V5, Some(("alice", "1")), "alice");
    assert_eq!(reason, 0);
    files.passwords(&[("alice", "changed")], 2);
    assert_eq!(client.next(), Came::Disconnect(0x87));
    assert_eq!(log_in(&broker, V5, Some(("alice", "1")), "alice").1, 0x87);
    assert_eq!(
        log_in(&broker, V5, Some(("alice", "changed")), "alice").1,
        0
    );
}
