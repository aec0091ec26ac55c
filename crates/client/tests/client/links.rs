//! Links that are cut, go silent or are slow, to Midge and to mosquitto.

use std::collections::BTreeMap;
use std::time::Duration;

use midge_client::{Client, ConnectionError, Event, Options, QoS};

use crate::broker::Broker;
use crate::mosquitto::Mosquitto;
use crate::soon;
use crate::wire::{Manner, Wire};

/// A broker of either kind.
pub(crate) enum Any {
    Midge(Broker),
    Mosquitto(Mosquitto),
}

impl Any {
    /// One of each kind that there is.
    pub(crate) fn all() -> Vec<Self> {
        let mosquitto = Mosquitto::with("").map(Self::Mosquitto);
        [Self::Midge(Broker::start())]
            .into_iter()
            .chain(mosquitto)
            .collect()
    }

    pub(crate) fn port(&self) -> u16 {
        match self {
            Self::Midge(broker) => broker.port,
            Self::Mosquitto(broker) => broker.port,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port())
    }

    /// Ends it in good order and starts it again.
    pub(crate) fn restart(&mut self) {
        match self {
            Self::Midge(broker) => {
                broker.stop();
                broker.run();
            }
            Self::Mosquitto(broker) => {
                broker.stop();
                broker.run();
            }
        }
    }
}

/// One whose session the broker keeps.
fn kept(url: &str, id: &str) -> Options {
    Options::new(url)
        .unwrap()
        .client_id(id)
        .clean_start(false)
        .session_expiry(Duration::MAX)
        .back_off(Duration::from_millis(1), Duration::from_millis(20))
}

#[tokio::test]
async fn links_that_are_cut_again_and_again_lose_nothing_and_double_nothing_of_qos_2() {
    const COUNT: usize = 500;
    for broker in Any::all() {
        let up = Wire::to(broker.port(), Manner::Cut(300, 2000)).await;
        let down = Wire::to(broker.port(), Manner::Cut(300, 2000)).await;
        // What is sent again at once has to fit between two cuts.
        let options = kept(&down.url(), "reader").receive_maximum(20);
        let reader = Client::start(options).unwrap();
        let mut stream = soon(reader.subscribe("#").qos(QoS::ExactlyOnce).into_future())
            .await
            .unwrap();
        let writer = Client::start(kept(&up.url(), "writer").inflight_max(20)).unwrap();
        let publishing = tokio::spawn(async move {
            let mut deliveries = Vec::new();
            for number in 0..COUNT {
                let qos = [QoS::AtLeastOnce, QoS::ExactlyOnce][number % 2];
                let topic = format!("{}", qos as u8);
                let publish = writer.publish(topic, number.to_string()).qos(qos);
                deliveries.push(publish.enqueue().await.unwrap());
            }
            for delivery in deliveries {
                delivery.await.unwrap();
            }
        });
        let mut got: BTreeMap<usize, usize> = BTreeMap::new();
        let mut last = 0;
        while got.len() < COUNT {
            let message = soon(stream.next()).await.unwrap();
            let number: usize = message.text().unwrap().parse().unwrap();
            *got.entry(number).or_default() += 1;
            if message.qos() == QoS::ExactlyOnce {
                assert!(number == 1 || number > last, "{number} after {last}");
                last = number;
            }
        }
        soon(publishing).await.unwrap();
        assert!(
            up.accepted() > 4 && down.accepted() > 4,
            "hardly cut: {} and {}",
            up.accepted(),
            down.accepted()
        );
        for (number, times) in got {
            assert!(number % 2 == 0 || times == 1, "{number}: {times} times");
        }
    }
}

#[tokio::test]
async fn a_half_open_link_is_given_up_and_what_went_down_with_it_is_delivered() {
    for broker in Any::all() {
        let wire = Wire::to(broker.port(), Manner::Good).await;
        let options = kept(&wire.url(), "half-open").keep_alive(Duration::from_secs(1));
        let client = soon(Client::connect(options)).await.unwrap();
        let mut events = client.events();
        let mut stream = client.subscribe("t").qos(QoS::ExactlyOnce).await.unwrap();
        wire.silence();
        let publish = client.publish("t", "after all").qos(QoS::ExactlyOnce);
        let delivery = publish.enqueue().await.unwrap();
        loop {
            if let Event::Disconnected(why) = soon(events.next()).await.unwrap() {
                assert!(matches!(why, ConnectionError::TimedOut), "{why}");
                break;
            }
        }
        soon(delivery).await.unwrap();
        let message = soon(stream.next()).await.unwrap();
        assert_eq!(message.text(), Some("after all"));
        assert_eq!(wire.accepted(), 2);
    }
}

#[tokio::test]
async fn a_broker_behind_a_silent_link_is_given_up_and_tried_again() {
    for broker in Any::all() {
        let wire = Wire::to(broker.port(), Manner::Good).await;
        // Not a byte of the first connection comes through: not even CONNACK.
        let options = kept(&wire.url(), "silent").connect_timeout(Duration::from_millis(300));
        let client = Client::start(options).unwrap();
        let mut events = client.events();
        while wire.accepted() == 0 {
            tokio::task::yield_now().await;
        }
        wire.silence();
        loop {
            match soon(events.next()).await.unwrap() {
                Event::Connected(_) => break,
                Event::ConnectFailed(why) => {
                    assert!(matches!(why, ConnectionError::TimedOut), "{why}");
                }
                _ => {}
            }
        }
    }
}

#[tokio::test]
async fn a_slow_link_holds_up_its_publishers_and_loses_nothing() {
    const COUNT: usize = 300;
    for broker in Any::all() {
        let wire = Wire::to(broker.port(), Manner::Slow(200)).await;
        let options = kept(&wire.url(), "slow")
            .keep_alive(Duration::from_secs(1))
            .inflight_max(10)
            .queue_max(20, 1 << 20);
        let client = soon(Client::connect(options)).await.unwrap();
        let mut events = client.events();
        let mut stream = client.subscribe("t").qos(QoS::AtLeastOnce).await.unwrap();
        let writer = client.clone();
        let publishing = tokio::spawn(async move {
            let mut most = 0;
            for number in 0..COUNT {
                let text = format!("{number} {}", "x".repeat(500));
                let publish = writer.publish("t", text).qos(QoS::AtLeastOnce);
                drop(publish.enqueue().await.unwrap());
                most = most.max(writer.unfinished());
            }
            most
        });
        for number in 0..COUNT {
            let message = soon(stream.next()).await.unwrap();
            let text = message.text().unwrap();
            let (before, _) = text.split_once(' ').unwrap();
            assert_eq!(before, number.to_string());
        }
        let most = soon(publishing).await.unwrap();
        assert!((2..=30).contains(&most), "{most} were accepted at once");
        soon(client.disconnect().into_future()).await.unwrap();
        // Pings found their way: it was one connection.
        assert_eq!(wire.accepted(), 1);
        while let Some(event) = soon(events.next()).await {
            assert!(!matches!(event, Event::Reconnecting { .. }), "{event:?}");
        }
    }
}

#[tokio::test]
async fn a_link_that_becomes_good_again_is_used() {
    for broker in Any::all() {
        // Too short for CONNECT and CONNACK together.
        let wire = Wire::to(broker.port(), Manner::Cut(10, 30)).await;
        let client = Client::start(kept(&wire.url(), "again")).unwrap();
        let publish = client.publish("t", "").qos(QoS::AtLeastOnce);
        let delivery = publish.enqueue().await.unwrap();
        soon(async {
            while wire.accepted() < 4 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
        assert!(!client.is_connected());
        wire.set(Manner::Good);
        soon(delivery).await.unwrap();
    }
}

#[tokio::test]
async fn restarts_of_a_broker_of_either_kind_lose_and_double_nothing() {
    for mut broker in Any::all() {
        let writer = soon(Client::connect(kept(&broker.url(), "writer")))
            .await
            .unwrap();
        let reader = soon(Client::connect(kept(&broker.url(), "reader")))
            .await
            .unwrap();
        let mut stream = reader.subscribe("r").qos(QoS::ExactlyOnce).await.unwrap();
        let mut deliveries = Vec::new();
        for number in 0..300 {
            let publish = writer.publish("r", number.to_string());
            deliveries.push(publish.qos(QoS::ExactlyOnce).enqueue().await.unwrap());
            if number % 100 == 50 {
                broker.restart();
            }
        }
        for delivery in deliveries {
            soon(delivery).await.unwrap();
        }
        for number in 0..300 {
            let message = soon(stream.next()).await.unwrap();
            assert_eq!(message.text(), Some(number.to_string().as_str()));
        }
    }
}
