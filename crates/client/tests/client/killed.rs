//! Broker and program killed in the midst of deliveries, and started again.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use midge_client::blocking::{Client, Wait};
use midge_client::{Options, QoS, Subscription};
use midge_server::Server;
use midge_server::config::Config;

use crate::PATIENCE;
use crate::broker::free_port;

/// The test that runs this binary again as another program, which it kills.
const BROKER: &str = "killed::broker_that_is_killed";
const WRITER: &str = "killed::writer_that_is_killed";

/// Where the programs find what they are to do.
const CONFIG: &str = "MIDGE_CLIENT_KILLED_CONFIG";
const PORT: &str = "MIDGE_CLIENT_KILLED_PORT";
const DIRECTORY: &str = "MIDGE_CLIENT_KILLED_DIRECTORY";
const FIRST: &str = "MIDGE_CLIENT_KILLED_FIRST";

/// A process that ends with the test.
struct Running(Child);

impl Running {
    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn program(name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--nocapture"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

/// Not a test by itself.
#[test]
fn broker_that_is_killed() {
    let Ok(config) = std::env::var(CONFIG) else {
        return;
    };
    let config = Config::parse(&config, "test").unwrap();
    let start = Instant::now();
    let _server = loop {
        match Server::start(config.clone()) {
            Ok(server) => break server,
            // The port may be in its last throes.
            Err(error) => assert!(start.elapsed() < PATIENCE, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    std::thread::sleep(10 * PATIENCE);
}

fn start_broker(port: u16, directory: &Path) -> Running {
    let config = format!(
        "listener {port} 127.0.0.1\nallow_anonymous true\nlog_dest none\npersistence true\n\
         persistence_location {}\n",
        directory.display()
    );
    let child = program(BROKER).env(CONFIG, config).spawn().unwrap();
    Running(child)
}

fn options(port: u16, id: &str) -> Options {
    Options::new(&format!("mqtt://127.0.0.1:{port}"))
        .unwrap()
        .client_id(id)
        .clean_start(false)
        .session_expiry(Duration::MAX)
        .back_off(Duration::from_millis(5), Duration::from_millis(50))
}

/// QoS 1 and 2 in turn; the topic tells them apart.
fn publish(client: &Client, number: usize) {
    let (qos, topic) = match number % 2 {
        0 => (QoS::AtLeastOnce, "one"),
        _ => (QoS::ExactlyOnce, "two"),
    };
    let publish = client.publish(topic, number.to_string()).qos(qos);
    drop(publish.enqueue().wait_for(PATIENCE).unwrap().unwrap());
}

/// Not a test by itself.
#[test]
fn writer_that_is_killed() {
    let Ok(port) = std::env::var(PORT) else {
        return;
    };
    let directory = std::env::var(DIRECTORY).unwrap();
    let first: usize = std::env::var(FIRST).unwrap().parse().unwrap();
    let options = options(port.parse().unwrap(), "writer").durable_queue(directory);
    let client = Client::start(options).unwrap();
    for number in first.. {
        publish(&client, number);
        // The parent learns what was accepted.
        println!("accepted {number}");
    }
}

fn start_reader(port: u16) -> (Client, Subscription) {
    let reader = Client::start(options(port, "reader")).unwrap();
    let subscribing = reader.subscribe(["one", "two"]).qos(QoS::ExactlyOnce);
    let stream = subscribing.wait_for(PATIENCE).unwrap().unwrap();
    (reader, stream)
}

/// What came, how often each, until "end" comes.
fn read(client: &Client, stream: &mut Subscription) -> BTreeMap<usize, usize> {
    let end = client.publish("two", "end").qos(QoS::ExactlyOnce);
    end.wait_for(PATIENCE).unwrap().unwrap();
    let mut got = BTreeMap::new();
    loop {
        let Some(message) = stream.blocking().next_within(PATIENCE) else {
            panic!(
                "the end is missing after {} messages, the last {:?}; ended: {:?}; connected: {:?}",
                got.len(),
                got.last_key_value(),
                stream.end(),
                client.connection()
            );
        };
        match message.text().unwrap().parse::<usize>() {
            Ok(number) => *got.entry(number).or_default() += 1,
            Err(_) => return got,
        }
    }
}

fn check(got: &BTreeMap<usize, usize>, accepted: impl IntoIterator<Item = usize>) {
    for (number, times) in got {
        let is_qos_2 = number % 2 == 1;
        assert!(!is_qos_2 || *times == 1, "{number} came {times} times");
    }
    for number in accepted {
        assert!(got.contains_key(&number), "{number} is lost");
    }
}

#[test]
fn a_broker_that_is_killed_again_and_again_loses_nothing_of_a_durable_queue() {
    let (state, queue) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let port = free_port();
    let mut broker = start_broker(port, state.path());
    let (reader, mut stream) = start_reader(port);
    let durable = options(port, "writer").durable_queue(queue.path());
    let writer = Client::start(durable).unwrap();
    let mut count = 0;
    for round in 0..6 {
        for _ in 0..200 + 37 * round {
            publish(&writer, count);
            count += 1;
        }
        broker.kill();
        // Goes on while there is no broker.
        for _ in 0..20 {
            publish(&writer, count);
            count += 1;
        }
        broker = start_broker(port, state.path());
    }
    writer
        .disconnect()
        .within(PATIENCE)
        .wait_for(2 * PATIENCE)
        .unwrap()
        .unwrap();
    check(&read(&reader, &mut stream), 0..count);
}

#[test]
fn a_writer_and_a_broker_that_are_killed_in_turn_lose_nothing_that_was_accepted() {
    let (state, queue) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let port = free_port();
    let mut broker = start_broker(port, state.path());
    let (reader, mut stream) = start_reader(port);
    let mut accepted: Vec<usize> = Vec::new();
    for round in 0..8 {
        let first = accepted.last().map_or(0, |last| last + 1000);
        let enough = accepted.len() + 30 + 41 * round;
        let mut child = program(WRITER)
            .env(PORT, port.to_string())
            .env(DIRECTORY, queue.path())
            .env(FIRST, first.to_string())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut writer = Some(Running(child));
        for line in lines.map_while(Result::ok) {
            let Some((_, number)) = line.split_once("accepted ") else {
                continue;
            };
            accepted.push(number.parse().unwrap());
            if accepted.len() >= enough
                && let Some(writer) = writer.take()
            {
                // Now one falls first, now the other, now the writer alone.
                match round % 3 {
                    0 => writer.kill(),
                    1 => {
                        broker.kill();
                        writer.kill();
                        broker = start_broker(port, state.path());
                    }
                    _ => {
                        writer.kill();
                        broker.kill();
                        broker = start_broker(port, state.path());
                    }
                }
            }
        }
    }
    // One more run delivers the rest.
    let durable = options(port, "writer").durable_queue(queue.path());
    let last = Client::start(durable).unwrap();
    last.disconnect()
        .within(PATIENCE)
        .wait_for(2 * PATIENCE)
        .unwrap()
        .unwrap();
    let got = read(&reader, &mut stream);
    check(&got, accepted);
}
