//! Debian's mosquitto as the other end.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use midge_client::{Client, ConnectionError, Options, QoS, ReasonCode, TlsFailureKind, Version};
use tempfile::TempDir;

use crate::broker::free_port;
use crate::secure::{Pki, check, check_with, failure};
use crate::{PATIENCE, soon};

const PROGRAM: &str = "/usr/sbin/mosquitto";

pub(crate) struct Mosquitto {
    running: Option<Child>,
    directory: TempDir,
    pub(crate) port: u16,
}

impl Mosquitto {
    /// With further lines of configuration; `None`, and a line that says so, where there is none.
    pub(crate) fn with(lines: &str) -> Option<Self> {
        if !Path::new(PROGRAM).exists() {
            println!("left out: there is no {PROGRAM}");
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let port = free_port();
        let config = format!(
            "user root\nlistener {port} 127.0.0.1\nallow_anonymous true\nlog_dest none\n\
             max_queued_messages 0\npersistence true\npersistence_location {}/\n{lines}\n",
            directory.path().display()
        );
        std::fs::write(directory.path().join("m.conf"), config).unwrap();
        let mut broker = Self {
            running: None,
            directory,
            port,
        };
        broker.run();
        Some(broker)
    }

    pub(crate) fn run(&mut self) {
        let child = Command::new(PROGRAM)
            .arg("-c")
            .arg(self.directory.path().join("m.conf"))
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.running = Some(child);
        listening(self.port);
    }

    /// Has it write down its state and end.
    pub(crate) fn stop(&mut self) {
        if let Some(mut child) = self.running.take() {
            let terminated = Command::new("kill").arg(child.id().to_string()).status();
            assert!(terminated.is_ok_and(|status| status.success()));
            child.wait().unwrap();
        }
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        if let Some(child) = &mut self.running {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn listening(port: u16) {
    let start = Instant::now();
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(start.elapsed() < PATIENCE, "mosquitto does not listen");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[tokio::test]
async fn every_version_delivers_every_qos_by_mosquitto() {
    let Some(broker) = Mosquitto::with("") else {
        return;
    };
    for version in Version::ALL {
        let options = Options::new(&format!("mqtt://127.0.0.1:{}", broker.port)).unwrap();
        let client = soon(Client::connect(options.version(version)))
            .await
            .unwrap();
        let mut stream = soon(client.subscribe("v/#").qos(QoS::ExactlyOnce).into_future())
            .await
            .unwrap();
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            for number in 0..300 {
                let publish = client.publish("v/x", number.to_string()).qos(qos);
                drop(soon(publish.enqueue()).await.unwrap());
            }
            for number in 0..300 {
                let message = soon(stream.next()).await.unwrap();
                assert_eq!(message.text(), Some(number.to_string().as_str()));
                assert_eq!(message.qos(), qos);
            }
        }
        soon(client.disconnect().into_future()).await.unwrap();
    }
}

#[tokio::test]
async fn the_reasons_of_mosquitto_are_returned() {
    let Some(broker) = Mosquitto::with("message_size_limit 100") else {
        return;
    };
    let client = soon(Client::connect(format!("mqtt://127.0.0.1:{}", broker.port)))
        .await
        .unwrap();
    let nobody = client.publish("nobody", "x").qos(QoS::AtLeastOnce);
    let published = soon(nobody.into_future()).await.unwrap();
    assert_eq!(published.reason, ReasonCode::NO_MATCHING_SUBSCRIBERS);
    let too_large = client.publish("x", vec![0; 200]).qos(QoS::AtLeastOnce);
    let error = soon(too_large.into_future()).await.unwrap_err();
    assert!(error.to_string().contains("large"), "{error}");
}

const VERSIONS: [Version; 2] = [Version::V5, Version::V3_1_1];

/// A listener of mosquitto's that shows this certificate.
fn with_tls(pki: &Pki, certificate: &str, lines: &str) -> Option<(Mosquitto, u16)> {
    let port = free_port();
    let file = pki.path(&format!("{certificate}.pem"));
    let broker = Mosquitto::with(&format!(
        "listener {port} 127.0.0.1\ncertfile {0}\nkeyfile {0}\n{lines}",
        file.display()
    ))?;
    listening(port);
    Some((broker, port))
}

fn options(port: u16, version: Version) -> Options {
    Options::new(&format!("mqtts://localhost:{port}"))
        .unwrap()
        .version(version)
        .back_off(Duration::from_millis(10), Duration::from_millis(50))
}

#[tokio::test]
async fn tls_of_mosquitto_is_spoken_with_a_ca_of_ones_own() {
    let pki = Pki::new();
    let Some((_broker, port)) = with_tls(&pki, "server", "") else {
        return;
    };
    for version in VERSIONS {
        check(options(port, version).tls(pki.tls())).await;
        let strangers = Pki::new();
        let error = failure(options(port, version).tls(strangers.tls())).await;
        let ConnectionError::Tls(failure) = &error else {
            panic!("{error}");
        };
        assert_eq!(failure.kind, TlsFailureKind::UnknownCa, "{error}");
    }
    let client = soon(Client::connect(options(port, Version::V5).tls(pki.tls())))
        .await
        .unwrap();
    let info = client.connection().unwrap().tls.unwrap();
    assert_eq!(info.version, "TLSv1.3");
    assert!(info.peer_not_after.is_some());
}

#[tokio::test]
async fn a_wrong_name_of_mosquitto_is_refused() {
    let pki = Pki::new();
    pki.sign("other", |params| {
        params.subject_alt_names = vec![rcgen::SanType::DnsName(
            "elsewhere.example".try_into().unwrap(),
        )];
    });
    let Some((_broker, port)) = with_tls(&pki, "other", "") else {
        return;
    };
    for version in VERSIONS {
        let error = failure(options(port, version).tls(pki.tls())).await;
        let ConnectionError::Tls(failure) = &error else {
            panic!("{error}");
        };
        assert_eq!(failure.kind, TlsFailureKind::WrongHost, "{error}");
        let named = pki.tls().server_name("elsewhere.example");
        check(options(port, version).tls(named)).await;
    }
}

#[tokio::test]
async fn mosquitto_is_shown_a_client_certificate_and_its_refusal_is_final() {
    let pki = Pki::new();
    pki.sign("me", |_| {});
    let strangers = Pki::named("another CA");
    strangers.sign("stranger", |_| {});
    let Some((_broker, port)) = with_tls(&pki, "server", &pki.mutual()) else {
        return;
    };
    for version in VERSIONS {
        check(options(port, version).tls(pki.identity("me"))).await;
        let file = strangers.path("stranger.pem");
        let stranger = pki.tls().certificate_files(&file, &file);
        for tls in [pki.tls(), stranger] {
            let error = failure(options(port, version).tls(tls)).await;
            let ConnectionError::Tls(failure) = &error else {
                panic!("{error}");
            };
            assert_eq!(failure.kind, TlsFailureKind::ClientCertificate, "{error}");
            assert!(error.is_permanent(), "{error}");
        }
    }
}

#[tokio::test]
async fn a_restart_of_mosquitto_is_survived_over_tls() {
    let pki = Pki::new();
    let Some((mut broker, port)) = with_tls(&pki, "server", "") else {
        return;
    };
    for version in VERSIONS {
        let kept = options(port, version).tls(pki.tls()).clean_start(false);
        let kept = kept.client_id(format!("{version:?}"));
        let client = soon(Client::connect(kept.session_expiry(Duration::MAX)))
            .await
            .unwrap();
        let mut stream = client.subscribe("t").qos(QoS::ExactlyOnce).await.unwrap();
        for number in 0..3 {
            let text = number.to_string();
            let publish = client.publish("t", text.clone()).qos(QoS::ExactlyOnce);
            let delivery = publish.enqueue().await.unwrap();
            broker.stop();
            broker.run();
            soon(delivery).await.unwrap();
            assert_eq!(soon(stream.next()).await.unwrap().text(), Some(&text[..]));
        }
        soon(client.disconnect().into_future()).await.unwrap();
    }
}

#[tokio::test]
async fn packets_go_to_mosquitto_over_websocket() {
    let port = free_port();
    // Mosquitto 2.0.11 starts with WebSocket only where another listener is there too, and serves
    // that one first.
    let lines = format!("listener {port} 127.0.0.1\nprotocol websockets");
    let Some(_broker) = Mosquitto::with(&lines) else {
        return;
    };
    listening(port);
    for version in VERSIONS {
        let options = Options::new(&format!("ws://127.0.0.1:{port}")).unwrap();
        // Mosquitto takes a few KiB of a WebSocket every tenth of a second.
        check_with(options.version(version), 20_000).await;
    }
}
