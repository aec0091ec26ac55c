//! Messages between clients of the same and of different workers.

use midge_codec::{Packet, QoS};

use crate::client::{Broker, Client, QOS, V3, V5, publish};

/// Every publisher reaches every subscriber, wherever connections were placed.
fn everybody_is_heard_by_everybody(workers: u16) {
    let broker = Broker::start(workers);
    for (version, qos) in [V3, V5].into_iter().flat_map(|v| QOS.map(|qos| (v, qos))) {
        let connect =
            |role: &str, n: usize| Client::connect(broker.address, version, &format!("{role}-{n}"));
        // Three and five: whatever the number of workers, some are together and some apart.
        let mut subscribers: Vec<_> = (0..3).map(|n| connect("sub", n)).collect();
        let mut publishers: Vec<_> = (0..5).map(|n| connect("pub", n)).collect();
        for subscriber in &mut subscribers {
            subscriber.subscribe("all/#", qos);
        }
        for (n, publisher) in publishers.iter_mut().enumerate() {
            let topic = format!("all/{n}");
            publisher.publish(&topic, topic.as_bytes(), qos, 7);
            for subscriber in &mut subscribers {
                assert_eq!(
                    subscriber.take(),
                    (topic.clone(), topic.clone().into_bytes())
                );
            }
        }
        for subscriber in &mut subscribers {
            subscriber.expect_silence();
        }
        for client in subscribers.into_iter().chain(publishers) {
            client.disconnect();
        }
    }
}

#[test]
fn everybody_is_heard_by_everybody_on_one_worker() {
    everybody_is_heard_by_everybody(1);
}

#[test]
fn everybody_is_heard_by_everybody_on_two_workers() {
    everybody_is_heard_by_everybody(2);
}

#[test]
fn everybody_is_heard_by_everybody_on_four_workers() {
    everybody_is_heard_by_everybody(4);
}

/// Ten thousand messages from each of several publishers, not one lost, doubled or overtaken.
fn many_messages_keep_their_order(qos: QoS) {
    const MESSAGES: u32 = 10_000;
    const PUBLISHERS: usize = 3;
    let broker = Broker::with(2, "max_queued_messages 0\noutbox_bytes_max 100000000\n");
    let mut subscriber = broker.connect("subscriber");
    subscriber.subscribe("order/+", qos);
    let threads: Vec<_> = (0..PUBLISHERS)
        .map(|n| {
            let mut publisher = broker.connect(&format!("publisher-{n}"));
            std::thread::spawn(move || {
                let topic = format!("order/{n}");
                for number in 0..MESSAGES {
                    let id = u16::try_from(number % 60_000).unwrap() + 1;
                    if qos == QoS::AtMostOnce {
                        publisher.send(&publish(&topic, &number.to_be_bytes(), qos, 0));
                    } else {
                        publisher.publish(&topic, &number.to_be_bytes(), qos, id);
                    }
                }
                publisher
            })
        })
        .collect();
    let mut next = [0_u32; PUBLISHERS];
    for _ in 0..PUBLISHERS as u32 * MESSAGES {
        let (topic, payload) = subscriber.take();
        let n: usize = topic.strip_prefix("order/").unwrap().parse().unwrap();
        assert_eq!(payload, next[n].to_be_bytes());
        next[n] += 1;
    }
    for thread in threads {
        thread.join().unwrap();
    }
    subscriber.expect_silence();
}

#[test]
fn qos_0_messages_keep_their_order_across_workers() {
    many_messages_keep_their_order(QoS::AtMostOnce);
}

#[test]
fn qos_1_messages_keep_their_order_across_workers() {
    many_messages_keep_their_order(QoS::AtLeastOnce);
}

#[test]
fn who_subscribes_and_publishes_in_one_breath_hears_itself() {
    let broker = Broker::start(4);
    for n in 0..8 {
        let mut client = broker.connect(&format!("echo-{n}"));
        let mut bytes = Vec::new();
        let list = [midge_codec::Subscription {
            filter: "echo",
            options: midge_codec::SubscriptionOptions::default(),
        }];
        bytes.extend(client.bytes(&Packet::Subscribe(midge_codec::Subscribe {
            packet_id: std::num::NonZeroU16::new(1).unwrap(),
            properties: midge_codec::Properties::NONE,
            subscriptions: midge_codec::Subscriptions::from_list(&list),
        })));
        bytes.extend(client.bytes(&publish("echo", b"me", QoS::AtMostOnce, 0)));
        std::io::Write::write_all(&mut client.stream, &bytes).unwrap();
        // In which order the two come is the broker's choice.
        let came = [client.next(), client.next()];
        assert!(came.contains(&crate::client::Came::SubAck(1)), "{came:?}");
        client.disconnect();
    }
}

#[test]
fn a_suback_means_that_every_worker_sees_the_subscription() {
    let broker = Broker::start(4);
    let mut publishers: Vec<_> = (0..4).map(|n| broker.connect(&format!("p{n}"))).collect();
    for round in 0..50 {
        let mut subscriber = broker.connect("subscriber");
        let filter = format!("round/{round}");
        subscriber.subscribe(&filter, QoS::AtMostOnce);
        for publisher in &mut publishers {
            publisher.publish(&filter, b"now", QoS::AtLeastOnce, 1);
            assert_eq!(subscriber.take().1, b"now");
        }
        subscriber.disconnect();
    }
}

#[test]
fn shared_subscriptions_spread_over_the_workers() {
    let broker = Broker::start(2);
    let mut members: Vec<_> = (0..4).map(|n| broker.connect(&format!("m{n}"))).collect();
    for member in &mut members {
        member.subscribe("$share/group/work", QoS::AtLeastOnce);
    }
    let mut publisher = broker.connect("publisher");
    for id in 1..=100 {
        publisher.publish("work", &[u8::try_from(id).unwrap()], QoS::AtLeastOnce, id);
    }
    let mut came = Vec::new();
    for member in &mut members {
        member.stream.set_nonblocking(false).unwrap();
        member.send(&Packet::PingReq);
        loop {
            match member.next() {
                crate::client::Came::Publish { payload, id, .. } => {
                    came.push(payload[0]);
                    member.send(&crate::client::ack(midge_codec::AckKind::PubAck, id));
                }
                crate::client::Came::Pong => break,
                other => panic!("{other:?}"),
            }
        }
    }
    // What a member did not get because its window was full comes when it has room.
    for member in &mut members {
        member.send(&Packet::PingReq);
        loop {
            match member.next() {
                crate::client::Came::Publish { payload, .. } => came.push(payload[0]),
                crate::client::Came::Pong => break,
                other => panic!("{other:?}"),
            }
        }
    }
    came.sort_unstable();
    assert_eq!(came, (1..=100).collect::<Vec<u8>>());
}

#[test]
fn a_burst_to_many_subscribers_reaches_each_of_them_whole() {
    const MESSAGES: u32 = 3_000;
    let broker = Broker::start(2);
    let mut subscribers: Vec<_> = (0..60).map(|n| broker.connect(&format!("s{n}"))).collect();
    for subscriber in &mut subscribers {
        subscriber.subscribe("burst", QoS::AtMostOnce);
    }
    let mut publisher = broker.connect("publisher");
    let mut bytes = Vec::new();
    for number in 0..MESSAGES {
        bytes.extend(publisher.bytes(&publish("burst", &number.to_be_bytes(), QoS::AtMostOnce, 0)));
    }
    std::io::Write::write_all(&mut publisher.stream, &bytes).unwrap();
    for subscriber in &mut subscribers {
        for number in 0..MESSAGES {
            assert_eq!(subscriber.take().1, number.to_be_bytes());
        }
    }
}
