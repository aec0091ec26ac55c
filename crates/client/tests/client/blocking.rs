use std::time::Duration;

use midge_client::blocking::{Client, Wait};
use midge_client::{QoS, RequestError};

use crate::PATIENCE;
use crate::broker::Broker;

#[test]
fn the_blocking_front_has_the_same_calls() {
    let broker = Broker::start();
    let client = Client::connect(broker.url()).unwrap();
    let mut stream = client
        .subscribe("b/#")
        .qos(QoS::ExactlyOnce)
        .wait()
        .unwrap();
    for number in 0..100 {
        let publish = client
            .publish("b/x", number.to_string())
            .qos(QoS::ExactlyOnce);
        let delivery = publish.enqueue().wait().unwrap();
        delivery.wait_for(PATIENCE).unwrap().unwrap();
    }
    let mut messages = stream.blocking();
    for number in 0..100 {
        let message = messages.next_within(PATIENCE).unwrap();
        assert_eq!(message.text(), Some(number.to_string().as_str()));
    }
    assert!(messages.next_within(Duration::from_millis(10)).is_none());
    let nobody: Option<Result<_, RequestError>> = client
        .request("nobody", "?")
        .wait_for(Duration::from_millis(10));
    assert!(nobody.is_none());
    client.disconnect().wait_for(PATIENCE).unwrap().unwrap();
    assert!(stream.blocking().next().is_none());
}

#[test]
fn a_broker_that_is_not_there_is_said_at_once() {
    let url = format!("mqtt://127.0.0.1:{}", crate::broker::free_port());
    assert!(Client::connect(url).is_err());
}

/// A process of its own: other tests have threads, too.
#[cfg(target_os = "linux")]
#[test]
fn it_takes_one_thread_whatever_it_does() {
    let status = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "blocking::program_whose_threads_are_counted"])
        .env(COUNTED, "yes")
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
}

#[cfg(target_os = "linux")]
const COUNTED: &str = "MIDGE_CLIENT_COUNT_THREADS";

/// Not a test by itself.
#[cfg(target_os = "linux")]
#[test]
fn program_whose_threads_are_counted() {
    if std::env::var_os(COUNTED).is_some() {
        count_threads();
    }
}

#[cfg(target_os = "linux")]
fn count_threads() {
    use std::collections::BTreeMap;

    use midge_client::{Options, TlsOptions};

    let pki = crate::secure::Pki::new();
    let (broker, port) = pki.broker("server", "");
    let threads = || -> BTreeMap<std::ffi::OsString, String> {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        let tasks = tasks.map(Result::unwrap).filter_map(|task| {
            let name = std::fs::read_to_string(task.path().join("comm")).ok()?;
            Some((task.file_name(), name.trim().to_owned()))
        });
        tasks.collect()
    };
    // The broker's threads have to be there before they are counted.
    let use_all_of_it = |options: Options| {
        let client = Client::connect(options).unwrap();
        let mut stream = client.subscribe("x").qos(QoS::ExactlyOnce).wait().unwrap();
        client
            .publish("x", "")
            .qos(QoS::ExactlyOnce)
            .wait()
            .unwrap();
        assert!(stream.blocking().next_within(PATIENCE).is_some());
        (client, stream)
    };
    let tls = TlsOptions::new().ca_file(pki.path("ca.pem"));
    let directory = tempfile::tempdir().unwrap();
    let options = Options::new(&format!("mqtts://localhost:{port}"))
        .unwrap()
        .tls(tls)
        .client_id("one")
        .clean_start(false)
        .durable_queue(directory.path());
    let (first, stream) = use_all_of_it(options.clone());
    first.disconnect().wait_for(PATIENCE).unwrap().unwrap();
    drop((first, stream));
    let before = threads();
    let in_use = use_all_of_it(options);
    let mut after = threads();
    after.retain(|id, _| !before.contains_key(id));
    let names: Vec<&str> = after.values().map(String::as_str).collect();
    assert_eq!(names, ["midge-client"]);
    drop(in_use);
    drop(broker);
}
