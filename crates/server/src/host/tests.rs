use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread::{self, JoinHandle};

use midge_broker::{ListenerSettings, Origin, Settings, Shard};
use midge_reactor::{Mailbox, Poller, Stream};

use super::*;
use crate::log::Logger;
use crate::mail::{Arrival, MAILBOX, Post};
use crate::seats::{ListenerSeats, Seats};
use crate::worker::{Parts, Shared};

/// Workers with their threads, one for each.
struct Rig {
    hosts: Arc<Hosts>,
    senders: Vec<midge_reactor::Sender<WorkerMail>>,
    threads: Vec<JoinHandle<()>>,
    seats: Arc<ListenerSeats>,
}

impl Rig {
    fn start(count: u16) -> Self {
        let clock = Clock::start();
        let pollers: Vec<_> = (0..count).map(|_| Poller::new(64).unwrap()).collect();
        let mailboxes: Vec<_> = pollers
            .iter()
            .map(|poller| Mailbox::new(MAILBOX, poller.waker()))
            .collect();
        let guard = crate::access::Guard::new(Logger::disabled(), clock, [7; 32]);
        let shared = Arc::new(Shared::new(guard, count, 1, None));
        let settings = Arc::new(Settings::default());
        let mut hosts = Hosts::prepare(pollers.iter().map(Poller::waker).collect(), clock);
        let senders = mailboxes
            .iter()
            .map(|mailbox| mailbox.sender(None))
            .collect();
        let posts: Vec<_> = pollers
            .iter()
            .map(|poller| {
                let senders = mailboxes.iter();
                Post::new(
                    senders
                        .map(|mailbox| mailbox.sender(Some(poller.waker())))
                        .collect(),
                )
            })
            .collect();
        let parts = pollers.into_iter().zip(mailboxes).zip(posts);
        for (id, ((poller, mailbox), post)) in (0..).zip(parts) {
            hosts[0].take(Worker::new(Parts {
                id,
                shared: Arc::clone(&shared),
                clock,
                logger: Logger::disabled(),
                poller,
                mailbox,
                post,
                settings: Arc::clone(&settings),
                shard: Shard::new(id, count, Arc::clone(&settings), 1, Time(clock.now_ms())),
                keeper: None,
            }));
        }
        Self {
            hosts: Arc::clone(&hosts[0].hosts),
            senders,
            threads: hosts
                .into_iter()
                .map(|mut host| thread::spawn(move || host.run().unwrap()))
                .collect(),
            seats: Arc::new(ListenerSeats::new(1, None, Arc::new(Seats::new(None)))),
        }
    }

    fn connect(&self, worker: usize) -> UnixStream {
        let (ours, mut client) = UnixStream::pair().unwrap();
        let origin = Origin {
            listener: Arc::new(ListenerSettings::default()),
            address: None,
        };
        let stream = Stream::from_unix(ours).unwrap();
        let arrival = Arrival::new(stream, origin, self.seats.take().unwrap());
        self.mail(worker, WorkerMail::Arrival(Box::new(arrival)));
        let connect = [
            b"\x10\x0D\x00\x04MQTT\x04\x02\x00\x00\x00\x01",
            &[b'a' + worker as u8][..],
        ];
        client.write_all(&connect.concat()).unwrap();
        expect(&mut client, b"\x20\x02\x00\x00");
        client
    }

    fn mail(&self, worker: usize, mail: WorkerMail) {
        let _ = self.senders[worker].push_batch(&mut vec![mail], 0).unwrap();
    }

    /// Puts so many threads to work.
    fn spread(&self, count: u16) {
        self.hosts.active.store(count, SeqCst);
        self.hosts.wake_all();
    }

    fn end(self) {
        for worker in 0..self.senders.len() {
            self.mail(worker, WorkerMail::ShutDown);
        }
        for thread in self.threads {
            thread.join().unwrap();
        }
    }
}

fn expect(client: &mut UnixStream, bytes: &[u8]) {
    let mut came = vec![0; bytes.len()];
    client.read_exact(&mut came).unwrap();
    assert_eq!(came, bytes);
}

#[test]
fn clients_are_served_wherever_their_worker_goes() {
    let rig = Rig::start(5);
    let mut clients: Vec<_> = (0..5).map(|worker| rig.connect(worker)).collect();
    for client in &mut clients {
        client.write_all(b"\x82\x06\x00\x01\x00\x01t\x00").unwrap();
        expect(client, b"\x90\x03\x00\x01\x00");
    }
    for active in [1, 5, 1, 2, 4, 3, 5, 2, 1] {
        rig.spread(active);
        for sender in 0..5 {
            // From one worker to all.
            let message = [&b"\x30\x04\x00\x01t"[..], &[b'0' + sender as u8]].concat();
            clients[sender].write_all(&message).unwrap();
            for client in &mut clients {
                expect(client, &message);
            }
        }
    }
    rig.end();
}

#[test]
fn workers_end_where_they_are() {
    for active in [1, 2, 3] {
        let rig = Rig::start(3);
        rig.spread(active);
        let mut client = rig.connect(2);
        rig.end();
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
    }
}

#[test]
fn the_thread_of_a_worker_follows_how_many_are_at_work() {
    let threads = |active| {
        (0..6)
            .map(|worker| Hosts::thread_of(worker, active))
            .collect::<Vec<_>>()
    };
    assert_eq!(threads(1), [0, 0, 0, 0, 0, 0]);
    assert_eq!(threads(2), [0, 1, 0, 1, 0, 1]);
    assert_eq!(threads(4), [0, 1, 2, 3, 0, 1]);
    assert_eq!(threads(6), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn much_processor_time_spreads_and_so_does_a_thread_that_never_sleeps() {
    let mut load = Load::default();
    load.begin(0);
    let mut now_us = 0;
    let mut look = |load: &mut Load, slept_us, taken_us| {
        assert!(!load.is_due(now_us + LOOK_US - 1));
        now_us += LOOK_US;
        assert!(load.is_due(now_us));
        load.slept_us = slept_us;
        let cpu = load.count(now_us, Some(taken_us));
        (cpu, load.is_much())
    };
    let half = LOOK_US / 2;
    assert_eq!(look(&mut load, half, half), (500, false));
    assert_eq!(look(&mut load, half, half - 10), (499, false));
    assert_eq!(look(&mut load, half, half), (500, false));
    assert_eq!(look(&mut load, half, half), (500, true));
    // Somebody else has the core for three quarters of the time.
    for _ in 0..AWAKE_LOOKS - 1 {
        assert_eq!(look(&mut load, 0, half / 2), (250, false));
    }
    assert_eq!(look(&mut load, 0, half / 2), (250, true));
    assert_eq!(look(&mut load, LOOK_US, 0), (0, false));
}
