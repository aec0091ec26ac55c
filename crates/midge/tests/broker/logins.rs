//! Logins to the built broker that fail, and those who try them.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Instant;

use midge_access::passwords::{Hashing, Verifier};

use crate::process::{Midge, PATIENCE, free_port};

/// The return code of the CONNACK that a login with 3.1.1 gets.
fn log_in(port: u16, user_name: &str, password: &str) -> u8 {
    let mut body = b"\x00\x04MQTT\x04\xC2\x00\x00\x00\x00".to_vec();
    for text in [user_name, password] {
        body.extend(u16::try_from(text.len()).unwrap().to_be_bytes());
        body.extend(text.as_bytes());
    }
    let mut packet = vec![0x10, u8::try_from(body.len()).unwrap()];
    packet.extend(body);
    let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(&packet).unwrap();
    let mut connack = [0; 4];
    client.read_exact(&mut connack).unwrap();
    assert_eq!(connack[..3], [0x20, 2, 0]);
    connack[3]
}

#[test]
fn twenty_wrong_passwords_lead_to_a_ban_that_ends() {
    let folder = tempfile::tempdir().unwrap();
    let passwords = folder.path().join("passwords");
    let hashing = Hashing::Sha512Pbkdf2 { iterations: 1 };
    let verifier = Verifier::create(hashing, b"right", &[7; 16]).unwrap();
    fs::write(&passwords, format!("alice:{verifier}\n")).unwrap();
    let port = free_port();
    let broker = Midge::with_config(&format!(
        "listener {port} 127.0.0.1\npassword_file {}\nauth_fail_max 10\nauth_fail_ban 3\n\
         auth_fail_delay 1\nauth_fail_delay_max 2\nauth_fail_exempt none\n",
        passwords.display()
    ));
    assert_eq!(log_in(port, "alice", "right"), 0);
    for number in 0..20 {
        assert_eq!(log_in(port, "mallory", &number.to_string()), 5);
    }
    // The right password does not help while the ban holds.
    assert_eq!(log_in(port, "alice", "right"), 5);
    broker.signal("USR2");
    broker.expect_log("after 10 failed logins, ");
    let begun = Instant::now();
    while log_in(port, "alice", "right") != 0 {
        assert!(begun.elapsed() < PATIENCE, "{}", broker.log());
    }
    let log = broker.log();
    let failures = log.matches("Login failed: address 127.0.0.1, ").count();
    assert_eq!(failures, 10, "the rest is refused by the ban\n{log}");
    let ban = "Login ban: address 127.0.0.1/32 is banned for 3 s after 10 failed logins.";
    assert!(
        log.contains(ban) || log.contains(&ban.replace("/32", "")),
        "{log}"
    );
    assert!(log.contains("user 'mallory', client"), "{log}");
}

fn ctrl(port: u16, password: &str, command: &[&str]) -> String {
    let output = crate::process::midge()
        .args(["ctrl", "-o", "/dev/null", "-h", "127.0.0.1", "-p"])
        .arg(port.to_string())
        .args(["-u", "admin", "-P", password])
        .args(command)
        .output()
        .unwrap();
    let text = String::from_utf8([&*output.stdout, &output.stderr].concat()).unwrap();
    // It warns of what is sent without TLS.
    match text.split_once("including passwords.\n\n") {
        Some((before, after)) => before.split("Warning: ").next().unwrap().to_owned() + after,
        None => text,
    }
}

#[test]
fn administrators_list_make_and_lift_bans() {
    let folder = tempfile::tempdir().unwrap();
    let (passwords, rules) = (folder.path().join("passwords"), folder.path().join("acl"));
    let verifier = |password: &[u8]| {
        Verifier::create(Hashing::Sha512Pbkdf2 { iterations: 1 }, password, &[7; 16]).unwrap()
    };
    let (right, admin) = (verifier(b"right"), verifier(b"secret"));
    fs::write(&passwords, format!("alice:{right}\nadmin:{admin}\n")).unwrap();
    fs::write(&rules, "user admin\ntopic readwrite $CONTROL/#\n").unwrap();
    let port = free_port();
    let broker = Midge::with_config(&format!(
        "enable_control_api true\nlistener {port} 127.0.0.1\npassword_file {}\nacl_file {}\n\
         auth_fail_max 100\nauth_fail_user_max 3\nauth_fail_delay 0\nauth_fail_exempt none\n",
        passwords.display(),
        rules.display(),
    ));
    let ask = |command: &[&str]| ctrl(port, "secret", &[&["broker"], command].concat());
    assert!(ask(&["listListeners"]).contains(&format!("Port:              {port}")));
    assert_eq!(ask(&["listBans"]), "");
    for number in 0..3 {
        assert_eq!(log_in(port, "mallory", &number.to_string()), 5);
    }
    let bans = ask(&["listBans"]);
    assert!(
        bans.starts_with("user    mallory (") && bans.contains("3 failed logins"),
        "{bans}"
    );
    assert_eq!(ask(&["unbanUser", "mallory"]), "");
    assert_eq!(ask(&["listBans"]), "");
    assert!(ask(&["unbanUser", "mallory"]).contains("Not banned"));

    assert_eq!(log_in(port, "alice", "right"), 0);
    assert_eq!(ask(&["banAddress", "192.0.2.7", "60"]), "");
    assert_eq!(ask(&["banUser", "bob"]), "");
    let bans = ask(&["listBans"]);
    assert!(bans.contains("address 192.0.2.7 (60 s, 0 failed"), "{bans}");
    assert!(bans.contains("user    bob (300 s, 0 failed"), "{bans}");
    broker.expect_log("banAddress | address 192.0.2.7 | seconds=60");
}

#[test]
fn who_has_no_rules_cannot_touch_bans() {
    let port = free_port();
    let _broker = Midge::with_config(&format!(
        "enable_control_api true\nlistener {port} 127.0.0.1\nallow_anonymous true\n"
    ));
    assert!(ctrl(port, "x", &["broker", "listPlugins"]).is_empty());
    let answer = ctrl(port, "x", &["broker", "banAddress", "192.0.2.7"]);
    assert!(answer.contains("Not allowed"), "{answer}");
}

#[test]
fn dynamic_security_tells_who_is_connected_from_where() {
    let folder = tempfile::tempdir().unwrap();
    let (file, init) = (
        folder.path().join("dynsec.json"),
        folder.path().join("init"),
    );
    fs::write(&init, "a-long-secret-password\n").unwrap();
    let port = free_port();
    let _broker = Midge::with_config(&format!(
        "listener {port} 127.0.0.1\nplugin /x/mosquitto_dynamic_security.so\n\
         plugin_opt_config_file {}\nplugin_opt_password_init_file {}\n",
        file.display(),
        init.display(),
    ));
    let answer = ctrl(
        port,
        "a-long-secret-password",
        &["dynsec", "getClient", "admin"],
    );
    let line = answer.lines().find(|line| line.starts_with("Connections:"));
    assert!(
        line.is_some_and(|line| line.ends_with("127.0.0.1")),
        "{answer}"
    );
}
