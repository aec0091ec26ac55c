//! How many may connect, and how fast.

use std::io::{Read, Write};

use midge_codec::Packet;

use crate::client::{Broker, Came, Client, V3, V5, encode, eventually, hello, is_end, tcp};

/// Whether the broker closes a connection without a word.
fn is_turned_away(broker: &Broker) -> bool {
    let mut stream = tcp(broker.address);
    let hello = encode(V5, &Packet::Connect(hello(V5, "x")));
    let _ = stream.write_all(&hello);
    let mut byte = [0];
    match stream.read(&mut byte) {
        Ok(count) => count == 0,
        Err(error) => is_end(&error),
    }
}

#[test]
fn max_connections_counts_open_sockets() {
    let broker = Broker::with(2, "max_connections 2\n");
    let one = broker.connect("one");
    let mut two = broker.connect("two");
    assert!(is_turned_away(&broker));
    one.disconnect();
    let mut three = eventually(|| try_connect(&broker, "three"));
    two.expect_silence();
    three.expect_silence();
    assert!(is_turned_away(&broker));
}

#[test]
fn global_max_connections_counts_over_all_listeners() {
    let text = "global_max_connections 1\nlog_type none\nallow_anonymous true\n\
                listener 1883 127.0.0.1\nlistener 1884 127.0.0.1\n";
    let config = midge_server::config::Config::parse(text, "test.conf").unwrap();
    // Two listeners cannot both have port 0; one on a unix socket is as good.
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("midge.sock");
    let mut config = crate::client::on_free_port(config);
    config.listeners[1].endpoint = midge_server::config::Endpoint::Unix { path: path.clone() };
    let broker = Broker::from(config);
    let mut client = broker.connect("one");
    let mut other = std::os::unix::net::UnixStream::connect(&path).unwrap();
    assert_eq!(other.read(&mut [0]).unwrap(), 0);
    client.expect_silence();
    drop(broker);
    assert!(!path.exists());
}

#[test]
fn global_max_clients_counts_sessions() {
    let mut config = crate::client::config(2, "");
    config.general.global_max_clients = std::num::NonZeroU32::new(2);
    let broker = Broker::from(config);
    let one = broker.connect_v5("one");
    let _two = broker.connect_v5("two");
    let mut three = Client::new(broker.tcp(), V5);
    three.send(&Packet::Connect(hello(V5, "three")));
    assert!(matches!(three.next(), Came::ConnAck { reason: 0x89, .. }));
    three.expect_end();
    // 3.x has no code for it.
    let mut old = Client::new(broker.tcp(), V3);
    old.send(&Packet::Connect(hello(V3, "old")));
    old.expect_end();
    // Who is there may come again, and when one goes there is room.
    let one_again = broker.connect_v5("one");
    drop(one);
    one_again.disconnect();
    eventually(|| try_connect(&broker, "three")).expect_silence();
}

#[test]
fn max_connect_rate_delays_and_loses_nobody() {
    let mut config = crate::client::config(1, "");
    config.general.max_connect_rate = std::num::NonZeroU32::new(20);
    let broker = Broker::from(config);
    // A second's worth at once, and half as many after that.
    let clients: Vec<_> = (0..30).map(|n| broker.connect(&format!("c{n}"))).collect();
    for client in clients {
        client.disconnect();
    }
}

fn try_connect(broker: &Broker, client_id: &str) -> Option<Client> {
    let mut client = Client::new(broker.tcp(), V5);
    let hello = encode(V5, &Packet::Connect(hello(V5, client_id)));
    client.stream.write_all(&hello).ok()?;
    match client.try_next() {
        Ok(Came::ConnAck { reason: 0, .. }) => Some(client),
        _ => None,
    }
}
