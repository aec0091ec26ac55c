//! The example that runs on this machine, over TCP against the broker.

#![expect(clippy::unwrap_used, reason = "these are tests")]

#[path = "../examples/host.rs"]
#[expect(dead_code, reason = "its main is not called")]
mod host;

use std::net::TcpListener;
use std::time::Duration;

use midge_embedded::{
    Buffers, Client, Event, Message, Options, QoS, Session, Subscription, Time, Version,
};
use midge_server::config::Config;
use midge_server::{Server, ServerHandle};

const PATIENCE: Duration = Duration::from_secs(30);

fn start(port: u16) -> ServerHandle {
    let text = format!("listener {port} 127.0.0.1\nallow_anonymous true\nlog_dest none\n");
    let config = Config::parse(&text, "test").unwrap();
    let started = (0..500).find_map(|_| {
        std::thread::sleep(Duration::from_millis(10));
        Server::start(config.clone()).ok()
    });
    started.unwrap()
}

/// Switches the lamp on, has the broker fall, switches it off, and stops it.
async fn check(version: Version) {
    let port = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let address = format!("127.0.0.1:{port}");
    let mut server = start(port);
    let lamp = tokio::task::spawn_local({
        let address = address.clone();
        async move { host::lamp(&address, version).await }
    });
    for (command, state) in [("on", "it is on"), ("off", "it is off")] {
        watch(&address, command, state).await;
        server.shut_down();
        server = start(port);
    }
    watch(&address, "stop", "it is there").await;
    lamp.await.unwrap().unwrap();
    server.shut_down();
}

/// Waits until the lamp is there, gives a command, and waits for the state.
async fn watch(address: &str, command: &str, state: &str) {
    let (mut log, mut received, mut receive, mut send) = ([0; 256], [0; 4], [0; 256], [0; 128]);
    let mut session = Session::new(Version::V5, &mut log, &mut received);
    let socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let buffers = Buffers {
        receive: &mut receive,
        send: &mut send,
    };
    let options = Options::new("watcher").clean_start().keep_alive_secs(0);
    let socket = host::Socket::new(socket);
    let connecting = Client::connect(socket, || Time(0), &mut session, buffers, &options);
    let (mut client, _) = connecting.await.unwrap();
    let subscription = Subscription {
        filter: "lamp/state",
        options: QoS::AtLeastOnce.into(),
    };
    client.subscribe(&[subscription]).await.unwrap();
    loop {
        let event = client.next().await.unwrap();
        let Event::Message(message) = event else {
            continue;
        };
        if message.payload == state.as_bytes() && command != "stop" {
            return;
        }
        let text = Message::new("lamp/set", command.as_bytes()).qos(QoS::ExactlyOnce);
        let id = client.publish(&text).await.unwrap().unwrap();
        if command == "stop" {
            while !matches!(client.next().await.unwrap(), Event::Delivered { id: of, .. } if of == id)
            {
            }
            return;
        }
    }
}

#[tokio::test]
async fn the_example_lives_through_restarts_of_the_broker() {
    let local = tokio::task::LocalSet::new();
    let checks = local.run_until(async {
        check(Version::V5).await;
        check(Version::V3_1_1).await;
    });
    tokio::time::timeout(PATIENCE, checks).await.unwrap();
}
