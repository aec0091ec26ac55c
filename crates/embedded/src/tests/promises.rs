//! What QoS 1 and 2 promise, over links that break and futures that are dropped. All chance comes from the
//! seed.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::pin::pin;
use std::rc::Rc;
use std::string::{String, ToString as _};
use std::vec::Vec;

use midge_codec::{QoS, Version};
use midge_proto::Time;

use super::link::{Link, clock, poll_once, yield_now};
use super::shard::Broker;
use crate::{
    Buffers, Client, Event, Message, Options, QueueError, Session, Subscription, TopicAliases, With,
};

#[derive(Clone)]
struct Chance(Rc<Cell<u64>>);

impl Chance {
    /// A number below `bound` (splitmix64).
    fn below(&self, bound: u64) -> u64 {
        self.0.set(self.0.get().wrapping_add(0x9E37_79B9_7F4A_7C15));
        let mut z = self.0.get();
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound
    }
}

/// What both clients and the broker's side share.
struct Scene {
    links: RefCell<BTreeMap<usize, Link>>,
    next_link: Cell<usize>,
    chance: Chance,
    time: Rc<Cell<u64>>,
    version: Version,
    /// Messages that the reader was handed.
    got: RefCell<Vec<String>>,
    delivered: Cell<usize>,
    is_subscribed: Cell<bool>,
    /// Whether topics go by numbers, where there are any.
    has_aliases: bool,
}

impl Scene {
    fn open(&self) -> Link {
        let link = Link::default();
        link.0.borrow_mut().chunk = usize::try_from(self.chance.below(20)).unwrap();
        let number = self.next_link.get();
        self.next_link.set(number + 1);
        self.links.borrow_mut().insert(number, link.clone());
        link
    }

    /// What the future gives, or nothing when it is dropped while it waits.
    async fn flaky<F: Future>(&self, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        std::future::poll_fn(|_| match poll_once(future.as_mut()) {
            std::task::Poll::Ready(output) => std::task::Poll::Ready(Some(output)),
            std::task::Poll::Pending if self.chance.below(3) == 0 => std::task::Poll::Ready(None),
            std::task::Poll::Pending => std::task::Poll::Pending,
        })
        .await
    }
}

const MESSAGES: usize = 40;

fn qos(number: usize) -> QoS {
    if number.is_multiple_of(3) {
        QoS::AtLeastOnce
    } else {
        QoS::ExactlyOnce
    }
}

async fn write(scene: &Scene) {
    let (mut log, mut received) = ([0; 120], [0; 2]);
    let mut session = Session::new(scene.version, &mut log, &mut received);
    let mut next = 0;
    loop {
        let link = scene.open();
        let (mut receive, mut send) = ([0; 100], [0; 60]);
        let buffers = Buffers {
            receive: &mut receive,
            send: &mut send,
        };
        let options = Options::new("writer").session_expiry_secs(u32::MAX);
        let topics: &[&str] = if scene.has_aliases { &["t"] } else { &[] };
        let aliases = TopicAliases::new().outgoing(topics);
        let connecting = Client::connect_with(
            link.clone(),
            clock(&scene.time),
            &mut session,
            buffers,
            &options,
            With::new().topic_aliases(aliases),
        );
        let Some(Ok((mut client, _))) = scene.flaky(connecting).await else {
            link.0.borrow_mut().is_closed = true;
            yield_now().await;
            continue;
        };
        loop {
            if next < MESSAGES {
                let payload = next.to_string();
                let message = Message::new("t", payload.as_bytes()).qos(qos(next));
                match client.try_publish(&message) {
                    Ok(Some(_)) => next += 1,
                    Err(QueueError::Full) => {}
                    other => panic!("{other:?}"),
                }
            }
            match scene.flaky(client.next()).await {
                Some(Ok(Event::Delivered { reason, .. })) => {
                    assert!(!reason.is_failure(), "{reason}");
                    scene.delivered.set(scene.delivered.get() + 1);
                }
                Some(Ok(other)) => panic!("{other:?}"),
                Some(Err(_)) => break,
                None => yield_now().await,
            }
        }
    }
}

async fn read(scene: &Scene) {
    let (mut log, mut received) = ([0; 64], [0; 3]);
    let mut session = Session::new(scene.version, &mut log, &mut received);
    loop {
        let link = scene.open();
        let (mut receive, mut send) = ([0; 64], [0; 60]);
        let buffers = Buffers {
            receive: &mut receive,
            send: &mut send,
        };
        let options = Options::new("reader").session_expiry_secs(u32::MAX);
        let mut topics = [0; 8];
        let aliases = TopicAliases::new().incoming(u16::from(scene.has_aliases), &mut topics);
        let connecting = Client::connect_with(
            link.clone(),
            clock(&scene.time),
            &mut session,
            buffers,
            &options,
            With::new().topic_aliases(aliases),
        );
        let Some(Ok((mut client, _))) = scene.flaky(connecting).await else {
            link.0.borrow_mut().is_closed = true;
            yield_now().await;
            continue;
        };
        if !scene.is_subscribed.get() {
            let subscription = Subscription {
                filter: "t",
                options: QoS::ExactlyOnce.into(),
            };
            let _ = scene.flaky(client.subscribe(&[subscription])).await;
        }
        loop {
            match scene.flaky(client.next()).await {
                Some(Ok(Event::Message(message))) => {
                    assert_eq!(message.topic, "t");
                    let text = std::str::from_utf8(message.payload).unwrap();
                    scene.got.borrow_mut().push(text.into());
                }
                Some(Ok(Event::Subscribed { codes, .. })) => {
                    assert_eq!(codes, [2]);
                    scene.is_subscribed.set(true);
                }
                Some(Ok(other)) => panic!("{other:?}"),
                Some(Err(_)) => break,
                None => yield_now().await,
            }
        }
    }
}

fn check(version: Version, seed: u64) {
    let scene = Scene {
        links: RefCell::default(),
        next_link: Cell::new(1),
        chance: Chance(Rc::new(Cell::new(seed))),
        time: Rc::new(Cell::new(1000)),
        version,
        got: RefCell::default(),
        delivered: Cell::new(0),
        is_subscribed: Cell::new(false),
        has_aliases: seed.is_multiple_of(2),
    };
    let mut broker = Broker::new(Time(1000));
    let mut known: Vec<usize> = Vec::new();
    let (mut writer, mut reader) = (pin!(write(&scene)), pin!(read(&scene)));
    let is_over = |scene: &Scene| {
        let got = scene.got.borrow();
        let all = (0..MESSAGES).all(|number| got.contains(&number.to_string()));
        all && scene.delivered.get() == MESSAGES
    };
    for _ in 0..200_000 {
        scene.time.set(scene.time.get() + 5);
        let now = Time(scene.time.get());
        if is_over(&scene) {
            break;
        }
        let _ = poll_once(reader.as_mut());
        if scene.is_subscribed.get() {
            let _ = poll_once(writer.as_mut());
        }
        let links: Vec<(usize, Link)> = {
            let links = scene.links.borrow();
            links.iter().map(|(at, link)| (*at, link.clone())).collect()
        };
        for (at, link) in links {
            if !known.contains(&at) {
                known.push(at);
                broker.open(now, at);
            }
            let is_cut = scene.is_subscribed.get() && scene.chance.below(150) == 0;
            if is_cut || link.0.borrow().is_closed {
                link.0.borrow_mut().is_closed = true;
                // What was under way may arrive, in part.
                let sent = link.sent();
                let arrived = usize::try_from(scene.chance.below(sent.len() as u64 + 1)).unwrap();
                broker.receive(now, at, &sent[..arrived]);
                broker.lose(now, at);
                scene.links.borrow_mut().remove(&at);
                continue;
            }
            broker.receive(now, at, &link.sent());
            if let Some(end) = broker.links.get_mut(&at) {
                link.give(&std::mem::take(&mut end.down));
                link.0.borrow_mut().is_closed |= end.is_closed;
            }
        }
    }
    assert!(is_over(&scene), "seed {seed}: {:?}", scene.got.borrow());
    let got = scene.got.borrow();
    for number in 0..MESSAGES {
        let times = got
            .iter()
            .filter(|text| **text == number.to_string())
            .count();
        match qos(number) {
            QoS::ExactlyOnce => assert_eq!(times, 1, "seed {seed}, message {number}: {got:?}"),
            _ => assert!(times >= 1, "seed {seed}, message {number}"),
        }
    }
    let order: Vec<usize> = got
        .iter()
        .map(|text| text.parse().unwrap())
        .filter(|number| qos(*number) == QoS::ExactlyOnce)
        .collect();
    assert!(order.is_sorted(), "seed {seed}: {order:?}");
}

#[test]
fn qos_2_arrives_once_and_qos_1_at_least_once_whatever_breaks() {
    for seed in 0..60 {
        check(Version::V5, seed);
        check(Version::V3_1_1, seed);
    }
}
