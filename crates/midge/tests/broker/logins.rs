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
