//! Logins by tokens and by the HTTP back end, through sockets.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use midge_access::passwords::{Hashing, Verifier};
use midge_access::tokens::oauthbearer::Credentials;
use midge_codec::{AckKind, Auth, Connect, Packet, Properties, Property, QoS, ReasonCode, Version};
use midge_server::config::Config;
use rcgen::{KeyPair, PKCS_ED25519, SigningKey as _};
use tempfile::TempDir;

use crate::client::{Broker, Came, Client, V3, V5, hello, on_free_port, publish, tcp};

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let three = [chunk, &[0; 2]].concat();
        let bits = u32::from_be_bytes([0, three[0], three[1], three[2]]);
        for digit in 0..=chunk.len() {
            let at = (bits >> (18 - 6 * digit)) & 63;
            text.push(char::from(DIGITS[at as usize]));
        }
    }
    text
}

fn unix_secs() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap().as_secs()
}

/// Somebody who signs tokens, and a folder with the key to verify them.
struct Signer {
    key: KeyPair,
    folder: TempDir,
}

impl Signer {
    fn new() -> Self {
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("key.pem"), key.public_key_pem()).unwrap();
        Self { key, folder }
    }

    /// A token of a user for `audience` that lives so many seconds, with further claims.
    fn token(&self, user_name: &str, audience: &str, secs: i64, more: &str) -> String {
        let end = unix_secs().checked_add_signed(secs).unwrap();
        let claims = format!(r#"{{"sub":"{user_name}","aud":"{audience}","exp":{end}{more}}}"#);
        let signed = format!(
            "{}.{}",
            base64(br#"{"alg":"EdDSA"}"#),
            base64(claims.as_bytes())
        );
        let signature = self.key.sign(signed.as_bytes()).unwrap();
        format!("{signed}.{}", base64(&signature))
    }

    fn good(&self) -> String {
        self.token("alice", "broker", 60, "")
    }

    fn broker(&self, options: &str) -> Broker {
        let key = self.folder.path().join("key.pem");
        let text = format!("oauth_key_file {}\noauth_audience broker\n", key.display());
        strict(&format!("{text}{options}"))
    }
}

/// A broker that lets in nobody without a reason.
fn strict(options: &str) -> Broker {
    let text = format!(
        "worker_threads 2\nlog_type none\nsys_interval 0\nlistener 1883 127.0.0.1\n\
         auth_fail_delay 0\n{options}"
    );
    Broker::from(on_free_port(Config::parse(&text, "test.conf").unwrap()))
}

fn with_password<'a>(version: Version, user_name: &'a str, password: &'a str) -> Connect<'a> {
    Connect {
        user_name: Some(user_name),
        password: Some(password.as_bytes()),
        ..hello(version, "sensor")
    }
}

fn reason(broker: &Broker, connect: &Connect<'_>) -> (Client, u8) {
    let mut client = Client::new(tcp(broker.address), connect.version);
    client.send(&Packet::Connect(*connect));
    match client.next() {
        Came::ConnAck { reason, .. } => (client, reason),
        other => panic!("not CONNACK: {other:?}"),
    }
}

#[test]
fn a_token_as_password_lets_in_while_it_is_good_and_for_this_broker() {
    let signer = Signer::new();
    let broker = signer.broker("");
    for (token, expected) in [
        (signer.good(), 0),
        (signer.token("alice", "broker", -61, ""), 0x87),
        (signer.token("alice", "other", 60, ""), 0x87),
        (Signer::new().good(), 0x87),
        ("no token".to_owned(), 0x87),
    ] {
        let (_, found) = reason(&broker, &with_password(V5, "anybody", &token));
        assert_eq!(found, expected, "{token}");
    }
    let (_, found) = reason(&broker, &with_password(V3, "anybody", &signer.good()));
    assert_eq!(found, 0);
    let (_, found) = reason(&broker, &hello(V5, "anonymous"));
    assert_eq!(found, 0x87);
}

#[test]
fn with_oauth_token_username_other_users_have_passwords() {
    let signer = Signer::new();
    let broker = signer.broker("oauth_token_username token\n");
    let token = signer.good();
    assert_eq!(reason(&broker, &with_password(V5, "token", &token)).1, 0);
    assert_eq!(reason(&broker, &with_password(V5, "alice", &token)).1, 0x87);
}

#[test]
fn claims_bind_the_client_id_and_are_rules_beside_the_groups_of_the_access_file() {
    let signer = Signer::new();
    let acl = signer.folder.path().join("acl");
    fs::write(&acl, "group sensors\nmember nobody\ntopic readwrite s/#\n").unwrap();
    let broker = signer.broker(&format!(
        "oauth_clientid_claim cid\noauth_groups_claim roles\nacl_file {}\n",
        acl.display()
    ));
    let token = |more: &str| signer.token("alice", "broker", 60, more);
    let other = token(r#","cid":"other""#);
    assert_eq!(reason(&broker, &with_password(V5, "", &other)).1, 0x87);
    let right =
        token(r##","cid":"sensor","roles":["sensors"],"mqtt":{"pub":["s/a"],"sub":["#"]}"##);
    let (mut client, found) = reason(&broker, &with_password(V5, "", &right));
    assert_eq!(found, 0);
    // The access file and the token have to allow it, both.
    for (topic, expected) in [("s/a", true), ("s/b", false), ("t", false)] {
        client.send(&publish(topic, b"", QoS::AtLeastOnce, 1));
        let Came::Ack(AckKind::PubAck, 1, reason) = client.next() else {
            panic!("no PUBACK");
        };
        assert_eq!(reason < 0x80, expected, "{topic}: {reason:#x}");
    }
}

#[test]
fn a_client_whose_token_is_over_has_to_go_unless_it_shows_another() {
    let signer = Signer::new();
    let broker = signer.broker("oauth_leeway 0\n");
    let short = signer.token("alice", "broker", 2, "");
    let data = Credentials::new(&short).message().unwrap();
    let (mut goes, found) = reason(&broker, &with_password(V5, "", &short));
    assert_eq!(found, 0);
    let properties = [
        Property::AuthenticationMethod("OAUTHBEARER"),
        Property::AuthenticationData(&data),
    ];
    let connect = Connect {
        properties: Properties::from_list(&properties),
        ..hello(V5, "stays")
    };
    let (mut stays, found) = reason(&broker, &connect);
    assert_eq!(found, 0);
    let data = Credentials::new(&signer.good()).message().unwrap();
    let properties = [
        Property::AuthenticationMethod("OAUTHBEARER"),
        Property::AuthenticationData(&data),
    ];
    stays.send(&Packet::Auth(Auth {
        reason: ReasonCode(0x19),
        properties: Properties::from_list(&properties),
    }));
    assert!(matches!(stays.next(), Came::Other(text) if text.contains("Auth")));
    assert_eq!(goes.next(), Came::Disconnect(0x87));
    stays.expect_silence();
}

#[test]
fn bad_tokens_ban_no_user_name_that_all_devices_may_have() {
    let signer = Signer::new();
    let broker = signer.broker("oauth_token_username token\nauth_fail_user_max 2\n");
    for _ in 0..5 {
        let forged = Signer::new().good();
        assert_eq!(
            reason(&broker, &with_password(V5, "token", &forged)).1,
            0x87
        );
    }
    let good = signer.good();
    assert_eq!(reason(&broker, &with_password(V5, "token", &good)).1, 0);
}

#[test]
fn the_rules_of_a_token_outlive_a_reload_of_others() {
    let signer = Signer::new();
    let acl = signer.folder.path().join("acl");
    fs::write(&acl, "topic readwrite nothing\npattern readwrite #\n").unwrap();
    let key = signer.folder.path().join("key.pem");
    let with = |more: &str| {
        let text = format!(
            "worker_threads 2\nlog_type none\nsys_interval 0\nlistener 1883 127.0.0.1\n\
             oauth_key_file {}\noauth_audience broker\n{more}",
            key.display()
        );
        on_free_port(Config::parse(&text, "test.conf").unwrap())
    };
    let broker = Broker::from(with(&format!("acl_file {}\n", acl.display())));
    let token = signer.token("alice", "broker", 60, r#","mqtt":{"pub":["a"]}"#);
    let (mut client, found) = reason(&broker, &with_password(V5, "", &token));
    assert_eq!(found, 0);
    for _ in 0..2 {
        for (topic, expected) in [("a", true), ("b", false)] {
            client.send(&publish(topic, b"", QoS::AtLeastOnce, 1));
            let Came::Ack(AckKind::PubAck, 1, reason) = client.next() else {
                panic!("no PUBACK");
            };
            assert_eq!(reason < 0x80, expected, "{topic}: {reason:#x}");
        }
        broker.handle.reload(with("")).unwrap();
    }
}

/// A back end that answers each request by what `decide` makes of its body.
fn back_end(
    decide: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Arc::new(AtomicUsize::new(0));
    let (count, decide) = (Arc::clone(&asked), Arc::new(decide));
    thread::spawn(move || {
        for stream in listener.incoming() {
            count.fetch_add(1, SeqCst);
            let decide = Arc::clone(&decide);
            thread::spawn(move || serve(stream.unwrap(), &*decide));
        }
    });
    (port, asked)
}

fn serve(mut stream: TcpStream, decide: &dyn Fn(&str) -> Option<String>) {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    while !request.ends_with(b"}") {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(count) => request.extend_from_slice(&buffer[..count]),
        }
    }
    match decide(&String::from_utf8(request).unwrap()) {
        Some(body) => {
            let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: ";
            let _ = write!(stream, "{head}{}\r\n\r\n{body}", body.len());
        }
        // Silence, until the other side has had enough.
        None => drop(stream.read(&mut buffer)),
    }
}

#[test]
fn the_http_back_end_decides_about_unknown_users_and_its_silence_refuses() {
    let (port, asked) = back_end(|request| {
        if request.contains(r#""user_name":"silent""#) {
            return None;
        }
        let rules = r#""rules":{"pub":["a"]}"#;
        let allow = request.contains(r#""password":"right""#);
        Some(format!(r#"{{"allow":{allow},{rules}}}"#))
    });
    let folder = tempfile::tempdir().unwrap();
    let passwords = folder.path().join("passwords");
    let hashing = Hashing::Sha512Pbkdf2 { iterations: 1 };
    let verifier = Verifier::create(hashing, b"own", &[7; 16]).unwrap();
    fs::write(&passwords, format!("known:{verifier}\n")).unwrap();
    let broker = strict(&format!(
        "http_login_url http://127.0.0.1:{port}/login\nhttp_login_timeout 300\n\
         password_file {}\n",
        passwords.display()
    ));
    let (mut client, found) = reason(&broker, &with_password(V5, "u", "right"));
    assert_eq!(found, 0);
    for (topic, expected) in [("a", true), ("b", false)] {
        client.send(&publish(topic, b"", QoS::AtLeastOnce, 1));
        let Came::Ack(AckKind::PubAck, 1, reason) = client.next() else {
            panic!("no PUBACK");
        };
        assert_eq!(reason < 0x80, expected, "{topic}");
    }
    // An answer is kept for a while.
    assert_eq!(reason(&broker, &with_password(V5, "u", "right")).1, 0);
    assert_eq!(asked.load(SeqCst), 1);
    assert_eq!(reason(&broker, &with_password(V5, "u", "wrong")).1, 0x87);
    assert_eq!(
        reason(&broker, &with_password(V5, "silent", "right")).1,
        0x87
    );
    assert_eq!(asked.load(SeqCst), 3);
    // Who is in the password file is not asked about.
    assert_eq!(
        reason(&broker, &with_password(V5, "known", "right")).1,
        0x87
    );
    assert_eq!(reason(&broker, &with_password(V5, "known", "own")).1, 0);
    assert_eq!(asked.load(SeqCst), 3);
}

#[test]
fn a_back_end_that_is_down_lets_nobody_in() {
    let port = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let broker = strict(&format!("http_login_url http://127.0.0.1:{port}/login\n"));
    assert_eq!(reason(&broker, &with_password(V5, "u", "right")).1, 0x87);
    assert_eq!(reason(&broker, &hello(V5, "anonymous")).1, 0x87);
}

#[test]
fn a_provider_that_was_never_there_refuses_tokens_and_nothing_else() {
    let port = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let broker = strict(&format!(
        "oauth_issuer http://127.0.0.1:{port}\noauth_audience broker\nallow_anonymous true\n"
    ));
    let token = Signer::new().good();
    assert_eq!(reason(&broker, &with_password(V5, "u", &token)).1, 0x87);
    assert_eq!(reason(&broker, &hello(V5, "anonymous")).1, 0);
}
