//! What a session promises that is saved and restored: the power is lost before every transfer, every write
//! of a session and after it, of the one that publishes and of the one that gets.

use std::boxed::Box;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::format;
use std::pin::Pin;
use std::rc::Rc;
use std::string::String;
use std::vec::Vec;

use midge_codec::{QoS, Version};
use midge_proto::Time;

use super::link::{Link, clock, poll_once, run, yield_now};
use super::shard::Broker;
use crate::{
    Accepted, Buffers, Client, Error, Event, Message, Options, QueueError, Session, Subscription,
    With,
};

/// More than a session keeps at once, and so many that identifiers are used again.
const MESSAGES: usize = 7;

fn qos(number: usize) -> QoS {
    if number.is_multiple_of(3) {
        QoS::AtLeastOnce
    } else {
        QoS::ExactlyOnce
    }
}

/// Memory that outlives power, and is written at once: a session, and what the application knows with it.
#[derive(Default)]
struct Flash<A> {
    session: Vec<u8>,
    application: A,
}

impl<A: Clone> Flash<A> {
    fn save(&mut self, session: &Session<'_>, application: &A) {
        self.session = session.saved().collect();
        self.application = application.clone();
    }
}

struct Scene {
    version: Version,
    links: RefCell<BTreeMap<usize, Link>>,
    next_link: Cell<usize>,
    time: Rc<Cell<u64>>,
    /// What was published.
    writer: RefCell<Flash<Vec<String>>>,
    /// What was got.
    reader: RefCell<Flash<Vec<String>>>,
    /// Whether the writer saves its session when a message is delivered. It need not.
    saves_deliveries: bool,
    delivered: Cell<usize>,
    /// How often the writer has begun: a part of its messages, as no device measures the same again.
    life: Cell<usize>,
    is_subscribed: Cell<bool>,
}

type Connected<'a, 's, C> = (Client<'a, 's, Link, C, With<(), (), true>>, Accepted);

impl Scene {
    fn open(&self) -> Link {
        let link = Link::default();
        link.0.borrow_mut().chunk = 1000;
        let number = self.next_link.get();
        self.next_link.set(number + 1);
        self.links.borrow_mut().insert(number, link.clone());
        link
    }

    async fn connect<'a, 's>(
        &'a self,
        session: &'a mut Session<'s>,
        receive: &'a mut [u8],
        send: &'a mut [u8],
        name: &str,
    ) -> Result<Connected<'a, 's, impl Fn() -> Time + use<>>, Error<embedded_io_async::ErrorKind>>
    {
        let options = Options::new(name)
            .keep_alive_secs(0)
            .session_expiry_secs(u32::MAX);
        Client::connect_with(
            self.open(),
            clock(&self.time),
            session,
            Buffers { receive, send },
            &options,
            With::new().session_saved(),
        )
        .await
    }
}

fn start<'s>(
    version: Version,
    saved: &[u8],
    log: &'s mut [u8],
    received: &'s mut [u16],
) -> Session<'s> {
    if saved.is_empty() {
        Session::new(version, log, received)
    } else {
        Session::restore(saved, log, received).unwrap()
    }
}

async fn write(scene: &Scene) {
    let flash = &scene.writer;
    let (mut log, mut received) = ([0; 90], [0; 2]);
    let mut published = flash.borrow().application.clone();
    let life = scene.life.get();
    scene.life.set(life + 1);
    let saved = flash.borrow().session.clone();
    let mut session = start(scene.version, &saved, &mut log, &mut received);
    let (mut receive, mut send) = ([0; 100], [0; 60]);
    let connecting = scene.connect(&mut session, &mut receive, &mut send, "writer");
    let (mut client, _) = connecting.await.unwrap();
    loop {
        if published.len() < MESSAGES {
            let payload = format!("{} of life {life}", published.len());
            let qos = qos(published.len());
            let message = Message::new("t", payload.as_bytes()).qos(qos);
            if client.try_publish(&message).is_ok() {
                published.push(payload);
                yield_now().await;
                flash.borrow_mut().save(client.session(), &published);
                yield_now().await;
            }
        }
        match client.next().await.unwrap() {
            Event::Delivered { reason, .. } => {
                assert!(!reason.is_failure(), "{reason}");
                scene.delivered.set(scene.delivered.get() + 1);
                yield_now().await;
                if scene.saves_deliveries {
                    flash.borrow_mut().save(client.session(), &published);
                }
                yield_now().await;
            }
            Event::SessionChanged => {
                yield_now().await;
                flash.borrow_mut().save(client.session(), &published);
                yield_now().await;
            }
            other => panic!("{other:?}"),
        }
        if client.session().unfinished() == 0 && published.len() == MESSAGES {
            flash.borrow_mut().save(client.session(), &published);
            return std::future::pending().await;
        }
    }
}

async fn read(scene: &Scene) {
    let flash = &scene.reader;
    let (mut log, mut received) = ([0; 60], [0; 2]);
    let mut got = flash.borrow().application.clone();
    let saved = flash.borrow().session.clone();
    let mut session = start(scene.version, &saved, &mut log, &mut received);
    let (mut receive, mut send) = ([0; 64], [0; 60]);
    let connecting = scene.connect(&mut session, &mut receive, &mut send, "reader");
    let (mut client, accepted) = connecting.await.unwrap();
    if !accepted.session_present {
        flash.borrow_mut().save(client.session(), &got);
    }
    if !scene.is_subscribed.get() {
        let subscription = Subscription {
            filter: "t",
            options: QoS::ExactlyOnce.into(),
        };
        client.subscribe(&[subscription]).await.unwrap();
    }
    loop {
        match client.next().await.unwrap() {
            Event::Message(message) => {
                got.push(std::str::from_utf8(message.payload).unwrap().into());
            }
            Event::Subscribed { .. } => {
                scene.is_subscribed.set(true);
                continue;
            }
            Event::SessionChanged => {}
            other => panic!("{other:?}"),
        }
        yield_now().await;
        flash.borrow_mut().save(client.session(), &got);
        yield_now().await;
    }
}

/// Which of them loses power, and before which of its steps.
#[derive(Clone, Copy, Debug)]
struct Loss {
    is_writer: bool,
    step: usize,
    /// Whether what was under way to the broker arrives.
    arrives: bool,
}

/// Runs to the end, and says how many steps each has taken.
fn check(version: Version, saves_deliveries: bool, losses: &[Loss]) -> [usize; 2] {
    let scene = Scene {
        version,
        links: RefCell::default(),
        next_link: Cell::new(1),
        time: Rc::new(Cell::new(1000)),
        writer: RefCell::default(),
        reader: RefCell::default(),
        saves_deliveries,
        delivered: Cell::new(0),
        life: Cell::new(0),
        is_subscribed: Cell::new(false),
    };
    let mut broker = Broker::new(Time(1000));
    let mut steps = [0; 2];
    let mut futures: [Option<Pin<Box<dyn Future<Output = ()> + '_>>>; 2] = [None, None];
    // The links of the two.
    let mut links = [0; 2];
    for _ in 0..3000 {
        scene.time.set(scene.time.get() + 5);
        let now = Time(scene.time.get());
        for (at, future) in futures.iter_mut().enumerate() {
            let is_writer = at == 1;
            if is_writer && !scene.is_subscribed.get() {
                continue;
            }
            let loss = losses
                .iter()
                .find(|loss| loss.is_writer == is_writer && loss.step == steps[at]);
            if let Some(loss) = loss.filter(|_| future.is_some()) {
                *future = None;
                let link = scene.links.borrow_mut().remove(&links[at]);
                let sent = link.map(|link| link.sent()).unwrap_or_default();
                if loss.arrives {
                    broker.receive(now, links[at], &sent);
                }
                broker.lose(now, links[at]);
            }
            let future = future.get_or_insert_with(|| {
                links[at] = scene.next_link.get();
                broker.open(now, links[at]);
                if is_writer {
                    Box::pin(write(&scene))
                } else {
                    Box::pin(read(&scene))
                }
            });
            steps[at] += 1;
            assert!(poll_once(future.as_mut()).is_pending());
            let Some(link) = scene.links.borrow().get(&links[at]).cloned() else {
                continue;
            };
            broker.receive(now, links[at], &link.sent());
        }
        for (at, link) in &*scene.links.borrow() {
            let end = broker.links.get_mut(at).unwrap();
            link.give(&std::mem::take(&mut end.down));
            assert!(!end.is_closed);
        }
        let written = &*scene.writer.borrow();
        let all = written.application.len() == MESSAGES
            && Session::restore(&written.session, &mut [0; 90], &mut [0; 2])
                .is_ok_and(|session| session.unfinished() == 0);
        let got = &scene.reader.borrow().application;
        if all && written.application.iter().all(|text| got.contains(text)) {
            break;
        }
    }
    let published = &scene.writer.borrow().application;
    let got = &scene.reader.borrow().application;
    assert_eq!(published.len(), MESSAGES, "{losses:?}");
    for (number, text) in published.iter().enumerate() {
        let times = got.iter().filter(|of| *of == text).count();
        let is_right = match qos(number) {
            QoS::ExactlyOnce => times == 1,
            _ => times >= 1,
        };
        assert!(is_right, "{losses:?}, {text}: {got:?}");
    }
    let strange = got.iter().find(|text| !published.contains(text));
    assert_eq!(strange, None, "{losses:?}: {got:?}");
    assert!(scene.delivered.get() > 0);
    steps
}

fn check_every_step(version: Version, saves_deliveries: bool) {
    let steps = check(version, saves_deliveries, &[]);
    for (at, steps) in steps.into_iter().enumerate() {
        for step in 1..steps {
            for arrives in [false, true] {
                let loss = Loss {
                    is_writer: at == 1,
                    step,
                    arrives,
                };
                // And again, where what is restored has begun to be sent.
                for later in [0, 3, 9] {
                    let again = Loss {
                        step: step + later,
                        ..loss
                    };
                    check(version, saves_deliveries, &[loss, again]);
                }
            }
        }
    }
}

#[test]
fn a_saved_session_keeps_its_promises_wherever_the_power_is_lost() {
    for version in [Version::V5, Version::V3_1_1] {
        for saves_deliveries in [false, true] {
            check_every_step(version, saves_deliveries);
        }
    }
}

#[test]
fn a_message_of_qos_2_cannot_be_sent_before_its_session_could_be_saved() {
    let link = Link::default();
    link.give(&[0x20, 3, 0, 0, 0]);
    let (mut log, mut receive, mut send) = ([0; 60], [0; 60], [0; 60]);
    let mut session = Session::new(Version::V5, &mut log, &mut []);
    let buffers = Buffers {
        receive: &mut receive,
        send: &mut send,
    };
    let with = With::new().session_saved();
    let time = Rc::new(Cell::new(0));
    let options = Options::new("me");
    let connecting =
        Client::connect_with(link, clock(&time), &mut session, buffers, &options, with);
    let (mut client, _) = run(connecting).unwrap().unwrap();
    let message = Message::new("t", b"x").qos(QoS::ExactlyOnce);
    let refused = run(client.publish(&message)).unwrap();
    assert!(matches!(refused, Err(Error::Queue(QueueError::Invalid(_)))));
    assert_eq!(client.session().unfinished(), 0);
    assert!(client.try_publish(&message).is_ok());
}
