//! Enhanced authentication by SCRAM: what the broker says in AUTH, CONNACK and DISCONNECT.

use std::fs;

use midge_access::passwords::{Hashing, Verifier};
use midge_access::scram::{Client as Scram, Mechanism};
use midge_codec::{Auth, Connect, Packet, PacketType, Properties, Property, ReasonCode};
use midge_server::config::Config;

use crate::client::{Broker, Came, Client, V5, hello, on_free_port, tcp};

const CONTINUE: u8 = 0x18;
const AGAIN: u8 = 0x19;

/// Users, and the method that each has keys for.
const USERS: [(&str, &str); 2] = [("alice", "SCRAM-SHA-256"), ("bob", "SCRAM-SHA-512")];

/// What a packet says about authentication.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    kind: PacketType,
    reason: u8,
    method: Option<String>,
    data: Vec<u8>,
}

impl Said {
    fn of(packet: &Packet<'_>) -> Self {
        let (kind, reason, properties) = match packet {
            Packet::ConnAck(connack) => (PacketType::ConnAck, connack.reason, connack.properties),
            Packet::Auth(auth) => (PacketType::Auth, auth.reason, auth.properties),
            other => panic!("neither CONNACK nor AUTH: {other:?}"),
        };
        let mut said = Self {
            kind,
            reason: reason.0,
            method: None,
            data: Vec::new(),
        };
        for property in properties.iter() {
            match property {
                Property::AuthenticationMethod(name) => said.method = Some(name.to_owned()),
                Property::AuthenticationData(data) => said.data = data.to_vec(),
                _ => {}
            }
        }
        said
    }

    /// Requires a packet of this kind with this code and the method, and gives its data.
    fn expect(self, kind: PacketType, reason: u8, method: &str) -> Vec<u8> {
        let expected = (kind, reason, Some(method));
        assert_eq!((self.kind, self.reason, self.method.as_deref()), expected);
        self.data
    }
}

/// A broker that knows [`USERS`], each by the password "pencil".
fn broker() -> (Broker, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let line = |(name, method): (&str, &str)| {
        let hashing = match method {
            "SCRAM-SHA-256" => Hashing::ScramSha256 { iterations: 4096 },
            _ => Hashing::ScramSha512 { iterations: 4096 },
        };
        let verifier = Verifier::create(hashing, b"pencil", &[7; 16]).unwrap();
        format!("{name}:{verifier}\n")
    };
    let path = folder.path().join("passwords");
    fs::write(&path, USERS.map(line).concat()).unwrap();
    let text = format!(
        "worker_threads 2\nlog_type none\nsys_interval 0\nlistener 1883 127.0.0.1\n\
         auth_fail_delay 0\npassword_file {}\n",
        path.display()
    );
    let config = Config::parse(&text, "test.conf").unwrap();
    (Broker::from(on_free_port(config)), folder)
}

/// Begins a dialogue.
fn begin(method: &str, user_name: &str, password: &[u8]) -> (Scram, Vec<u8>) {
    let mechanism = Mechanism::from_name(method).unwrap();
    Scram::new(mechanism, user_name, password, None, [9; 18])
}

fn said(client: &mut Client) -> Said {
    client.next_as(Said::of)
}

fn send_auth(client: &mut Client, reason: u8, method: &str, data: &[u8]) {
    let list = [
        Property::AuthenticationMethod(method),
        Property::AuthenticationData(data),
    ];
    client.send(&Packet::Auth(Auth {
        reason: ReasonCode(reason),
        properties: Properties::from_list(&list),
    }));
}

/// Sends CONNECT with a method and the first message of a dialogue.
fn connect(broker: &Broker, method: &str, first: &[u8]) -> Client {
    let list = [
        Property::AuthenticationMethod(method),
        Property::AuthenticationData(first),
    ];
    let mut client = Client::new(tcp(broker.address), V5);
    client.send(&Packet::Connect(Connect {
        properties: Properties::from_list(&list),
        ..hello(V5, "me")
    }));
    client
}

/// Logs in by a whole dialogue.
fn log_in(broker: &Broker, method: &str, user_name: &str) -> Client {
    let (scram, first) = begin(method, user_name, b"pencil");
    let mut client = connect(broker, method, &first);
    let challenge = said(&mut client).expect(PacketType::Auth, CONTINUE, method);
    let (scram, last) = scram.answer(&challenge).unwrap();
    send_auth(&mut client, CONTINUE, method, &last);
    let proof = said(&mut client).expect(PacketType::ConnAck, 0, method);
    scram.finish(&proof).unwrap();
    client
}

/// `[MQTT5-4.12.0-2]`, `[MQTT5-3.15.2-1]`: a challenge is an AUTH that continues, an end one of success.
#[test]
fn mqtt5_4_12_0_5_each_auth_and_connack_names_the_method_of_connect() {
    let (broker, _folder) = broker();
    for (user_name, method) in USERS {
        let mut client = log_in(&broker, method, user_name);
        let (scram, first) = begin(method, user_name, b"pencil");
        send_auth(&mut client, AGAIN, method, &first);
        let challenge = said(&mut client).expect(PacketType::Auth, CONTINUE, method);
        let (scram, last) = scram.answer(&challenge).unwrap();
        send_auth(&mut client, CONTINUE, method, &last);
        let proof = said(&mut client).expect(PacketType::Auth, 0, method);
        scram.finish(&proof).unwrap();
        client.expect_silence();
    }
}

/// `[MQTT5-4.12.0-5]`: a client may not go on with another method either.
#[test]
fn a_dialogue_that_changes_its_method_ends_the_connection() {
    let (broker, _folder) = broker();
    let [(user_name, method), (_, other)] = USERS;
    let (scram, first) = begin(method, user_name, b"pencil");
    let mut client = connect(&broker, method, &first);
    let challenge = said(&mut client).expect(PacketType::Auth, CONTINUE, method);
    let (_, last) = scram.answer(&challenge).unwrap();
    send_auth(&mut client, CONTINUE, other, &last);
    // Before CONNACK the broker sends no DISCONNECT.
    client.expect_end();

    let mut client = log_in(&broker, method, user_name);
    send_auth(&mut client, AGAIN, other, &first);
    assert_eq!(client.next(), Came::Disconnect(0x82));
    client.expect_end();
}

#[test]
fn mqtt5_4_12_0_4_who_lacks_the_password_gets_connack_and_the_connection_ends() {
    let (broker, _folder) = broker();
    let [(user_name, method), _] = USERS;
    let (scram, first) = begin(method, user_name, b"pen");
    let mut client = connect(&broker, method, &first);
    let challenge = said(&mut client).expect(PacketType::Auth, CONTINUE, method);
    let (_, last) = scram.answer(&challenge).unwrap();
    send_auth(&mut client, CONTINUE, method, &last);
    let refusal = said(&mut client);
    assert_eq!((refusal.kind, refusal.reason), (PacketType::ConnAck, 0x87));
    client.expect_end();
}

#[test]
fn mqtt5_4_12_1_2_who_lacks_the_password_the_second_time_has_to_go() {
    let (broker, _folder) = broker();
    let [(user_name, method), _] = USERS;
    let mut client = log_in(&broker, method, user_name);
    let (scram, first) = begin(method, user_name, b"pen");
    send_auth(&mut client, AGAIN, method, &first);
    let challenge = said(&mut client).expect(PacketType::Auth, CONTINUE, method);
    let (_, last) = scram.answer(&challenge).unwrap();
    send_auth(&mut client, CONTINUE, method, &last);
    assert_eq!(client.next(), Came::Disconnect(0x87));
    client.expect_end();
}
