use std::process::{Command, Stdio};
use std::time::Duration;

use midge_client::blocking::{self, Wait};
use midge_client::{Client, ConnectionError, Options, QoS};

use crate::broker::Broker;
use crate::{PATIENCE, soon};

fn options(url: &str, directory: &std::path::Path) -> Options {
    Options::new(url)
        .unwrap()
        .client_id("durable")
        .clean_start(false)
        .back_off(Duration::from_millis(10), Duration::from_millis(100))
        .durable_queue(directory)
}

#[tokio::test]
async fn messages_of_a_program_that_ended_offline_are_delivered_by_the_next() {
    let mut broker = Broker::start();
    broker.stop();
    let directory = tempfile::tempdir().unwrap();
    let client = Client::start(options(&broker.url(), directory.path())).unwrap();
    for number in 0..50 {
        let publish = client
            .publish("d", number.to_string())
            .qos(QoS::ExactlyOnce);
        drop(soon(publish.enqueue()).await.unwrap());
    }
    let left = soon(client.disconnect().within(Duration::ZERO).into_future()).await;
    assert_eq!(left.unwrap_err().messages, 50);
    broker.run();
    let reader = soon(Client::connect(broker.url())).await.unwrap();
    let mut stream = reader.subscribe("d").qos(QoS::ExactlyOnce).await.unwrap();
    let client = soon(Client::connect(options(&broker.url(), directory.path())))
        .await
        .unwrap();
    for number in 0..50 {
        let message = soon(stream.next()).await.unwrap();
        assert_eq!(message.text(), Some(number.to_string().as_str()));
    }
    soon(client.disconnect().into_future()).await.unwrap();
    // Nothing is left for another run.
    let client = soon(Client::connect(options(&broker.url(), directory.path())))
        .await
        .unwrap();
    assert_eq!(client.unfinished(), 0);
}

#[tokio::test]
async fn a_queue_has_one_client() {
    let broker = Broker::start();
    let directory = tempfile::tempdir().unwrap();
    let _first = soon(Client::connect(options(&broker.url(), directory.path())))
        .await
        .unwrap();
    let second = soon(Client::connect(options(&broker.url(), directory.path()))).await;
    assert!(matches!(second, Err(ConnectionError::Queue(_))));
}

#[tokio::test]
async fn a_failed_connect_gives_the_queue_back() {
    let url = format!("mqtt://127.0.0.1:{}", crate::broker::free_port());
    let directory = tempfile::tempdir().unwrap();
    for _ in 0..5 {
        let failed = soon(Client::connect(options(&url, directory.path()))).await;
        assert!(matches!(failed, Err(ConnectionError::Io(_))));
    }
}

/// Not a test: the program that is killed by the one below, which runs this binary again.
#[test]
fn program_that_is_killed() {
    let Ok(url) = std::env::var("MIDGE_CLIENT_TEST_URL") else {
        return;
    };
    let directory = std::env::var("MIDGE_CLIENT_TEST_DIRECTORY").unwrap();
    let first: usize = std::env::var("MIDGE_CLIENT_TEST_FIRST")
        .unwrap()
        .parse()
        .unwrap();
    let client = blocking::Client::start(options(&url, directory.as_ref())).unwrap();
    for number in first.. {
        let publish = client
            .publish("k", number.to_string())
            .qos(QoS::ExactlyOnce);
        drop(publish.enqueue().wait().unwrap());
        // The parent learns what was accepted.
        println!("accepted {number}");
    }
}

#[test]
fn a_program_that_is_killed_loses_nothing_that_was_accepted_and_doubles_nothing() {
    use std::io::{BufRead as _, BufReader};

    let broker = Broker::start();
    let directory = tempfile::tempdir().unwrap();
    let reader = blocking::Client::connect(broker.url()).unwrap();
    let mut stream = reader.subscribe("k").qos(QoS::ExactlyOnce).wait().unwrap();
    let mut accepted: Vec<usize> = Vec::new();
    let mut got: Vec<usize> = Vec::new();
    for round in 0..8 {
        let first = accepted.last().map_or(0, |last| last + 1000);
        let enough = accepted.len() + 20 + 37 * round;
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "durable::program_that_is_killed", "--nocapture"])
            .env("MIDGE_CLIENT_TEST_URL", broker.url())
            .env("MIDGE_CLIENT_TEST_DIRECTORY", directory.path())
            .env("MIDGE_CLIENT_TEST_FIRST", first.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for line in lines.map_while(Result::ok) {
            if let Some((_, number)) = line.split_once("accepted ") {
                accepted.extend(number.parse::<usize>());
                if accepted.len() == enough {
                    child.kill().unwrap();
                }
            }
        }
        child.wait().unwrap();
        while let Some(message) = stream.try_next() {
            got.push(message.text().unwrap().parse().unwrap());
        }
    }
    // One more run delivers the rest.
    let client = blocking::Client::connect(options(&broker.url(), directory.path())).unwrap();
    client.disconnect().within(PATIENCE).wait().unwrap();
    reader
        .publish("k", "end")
        .qos(QoS::ExactlyOnce)
        .wait()
        .unwrap();
    let mut messages = stream.blocking();
    while let Some(message) = messages.next_within(PATIENCE)
        && let Ok(number) = message.text().unwrap().parse()
    {
        got.push(number);
    }
    let total = got.len();
    got.sort_unstable();
    got.dedup();
    assert_eq!(got.len(), total, "some came twice");
    for number in accepted {
        assert!(got.binary_search(&number).is_ok(), "{number} is lost");
    }
}
