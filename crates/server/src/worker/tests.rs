//! Turns of one worker, one at a time, with the other worker's mailbox in the test's hands.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;

use midge_broker::{ListenerSettings, Origin};
use midge_reactor::{Bounds, Stream};

use super::*;
use crate::config::Config;
use crate::mail::{Arrival, MAILBOX};
use crate::seats::{ListenerSeats, Seats};
use crate::wrapping::{Loaded, TlsShared, Wrapping};

mod rates;

/// CONNECT of 3.1.1 with a clean session and the client id `me`.
const CONNECT: &[u8] = b"\x10\x0E\x00\x04MQTT\x04\x02\x00\x00\x00\x02me";
const CONNACK: &[u8] = b"\x20\x02\x00\x00";
const PINGREQ: &[u8] = b"\xC0\x00";
const PINGRESP: &[u8] = b"\xD0\x00";

const ME: u16 = 0;
const OTHER: u16 = 1;

struct Rig {
    worker: Worker,
    shared: Arc<Shared>,
    other: Mailbox<WorkerMail>,
    seats: Arc<ListenerSeats>,
    all_seats: Arc<Seats>,
    /// What new connections are wrapped in.
    wrapping: Option<Arc<Wrapping>>,
    _other_poller: Poller,
}

impl Rig {
    /// Worker 0 of two; the other's mailbox is full with `room` messages.
    fn new(room: usize) -> Self {
        let poller = Poller::new(16).unwrap();
        let other_poller = Poller::new(16).unwrap();
        let mailbox = Mailbox::new(MAILBOX, poller.waker());
        let bounds = Bounds {
            messages: room,
            bytes: usize::MAX,
        };
        let other = Mailbox::new(bounds, other_poller.waker());
        let waker = poller.waker();
        let post = Post::new(vec![
            mailbox.sender(Some(waker.clone())),
            other.sender(Some(waker)),
        ]);
        let guard = Guard::new(Logger::disabled(), Clock::start(), [7; 32]);
        let shared = Arc::new(Shared::new(guard, 2, 1, None));
        let settings = Settings {
            sys_interval: 0,
            limits: Arc::clone(&shared.limits),
            ..Settings::default()
        };
        let clock = Clock::start();
        let settings = Arc::new(settings);
        let now = Time(clock.now_ms());
        let worker = Worker::new(Parts {
            id: ME,
            shared: Arc::clone(&shared),
            clock,
            logger: Logger::disabled(),
            poller,
            mailbox,
            post,
            shard: Shard::new(ME, 2, Arc::clone(&settings), 1, now),
            keeper: None,
            settings,
        });
        let all_seats = Arc::new(Seats::new(None));
        Self {
            worker,
            shared,
            other,
            seats: Arc::new(ListenerSeats::new(7, None, Arc::clone(&all_seats))),
            all_seats,
            wrapping: None,
            _other_poller: other_poller,
        }
    }

    /// A connection that is counted for the worker, to be mailed to it.
    fn arrival(&mut self, stream: UnixStream, settings: ListenerSettings) -> Arrival {
        let origin = Origin {
            listener: Arc::new(settings),
            address: None,
        };
        self.worker.count_load(ME);
        let stream = Stream::from_unix(stream).unwrap();
        Arrival::new(stream, origin, self.seats.take().unwrap())
    }

    /// A connection that has just been accepted; gives the client's end, which does not block.
    fn connection(&mut self) -> UnixStream {
        let (ours, client) = UnixStream::pair().unwrap();
        client.set_nonblocking(true).unwrap();
        let arrival = Arrival {
            wrapping: self.wrapping.clone(),
            ..self.arrival(ours, ListenerSettings::default())
        };
        self.mail(WorkerMail::Arrival(Box::new(arrival)));
        client
    }

    fn mail(&mut self, mail: WorkerMail) {
        let sender = self.worker.mailbox.sender(None);
        let _ = sender.push_batch(&mut vec![mail], 0).unwrap();
        self.turn();
    }

    /// One turn with what is ready now.
    fn turn(&mut self) {
        let mut ready = Vec::new();
        let wait = Some(Duration::ZERO);
        self.worker.poller.wait(wait, &mut ready, || true).unwrap();
        let shared = Arc::clone(&self.shared);
        let mut tables = shared.tables.turn();
        self.worker.turn(&ready, &mut Vec::new(), &mut tables);
    }

    fn load(&self, worker: u16) -> usize {
        self.shared.loads[usize::from(worker)].load(Relaxed)
    }

    fn mail_for_other(&self) -> Vec<WorkerMail> {
        let mut mail = Vec::new();
        self.other.take(&mut mail).unwrap();
        mail
    }
}

fn expect(client: &mut UnixStream, bytes: &[u8]) {
    let mut came = vec![0; bytes.len()];
    client.read_exact(&mut came).unwrap();
    assert_eq!(came, bytes);
}

fn expect_nothing(client: &mut UnixStream) {
    let error = client.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
}

fn expect_end(client: &mut UnixStream) {
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_full_mailbox_pauses_reading_and_room_lets_it_go_on() {
    let mut rig = Rig::new(1);
    let mut client = rig.connection();
    client.write_all(CONNECT).unwrap();
    rig.turn();
    expect(&mut client, CONNACK);

    rig.worker.post.add(OTHER, WorkerMail::Expel(0));
    rig.turn();
    client.write_all(PINGREQ).unwrap();
    rig.turn();
    rig.turn();
    expect_nothing(&mut client);
    // It sleeps meanwhile, rather than asking again and again.
    assert_ne!(rig.worker.sleeps_until(), Some(Time(0)));
    assert!(!rig.worker.is_woken());

    assert_eq!(rig.mail_for_other().len(), 1);
    // A wake-up that came while it was awake must not be lost.
    assert!(rig.worker.is_woken());
    rig.turn();
    expect(&mut client, PINGRESP);
}

#[test]
fn a_connection_whose_session_is_elsewhere_goes_there_with_all_it_has_sent() {
    let mut rig = Rig::new(100);
    rig.shared.directory.claim(&"me".into(), OTHER);
    let mut client = rig.connection();
    assert_eq!((rig.load(ME), rig.load(OTHER)), (1, 0));
    let sent = [CONNECT, PINGREQ, &PINGREQ[..1]].concat();
    client.write_all(&sent).unwrap();
    rig.turn();
    assert_eq!((rig.load(ME), rig.load(OTHER)), (0, 1));
    assert!(rig.worker.sockets.is_empty());
    match rig.mail_for_other().pop() {
        Some(WorkerMail::Arrival(arrival)) => assert_eq!(arrival.bytes, sent),
        _ => panic!("no connection came"),
    }
    // It was dropped with the mail.
    assert_eq!(rig.all_seats.taken(), 0);
    expect_end(&mut client);
}

#[test]
fn a_connection_that_comes_from_elsewhere_is_served_with_what_it_had_sent() {
    let mut rig = Rig::new(100);
    let (ours, mut client) = UnixStream::pair().unwrap();
    client.set_nonblocking(true).unwrap();
    let arrival = Arrival {
        bytes: [CONNECT, PINGREQ, &PINGREQ[..1]].concat(),
        ..rig.arrival(ours, ListenerSettings::default())
    };
    rig.mail(WorkerMail::Arrival(Box::new(arrival)));
    expect(&mut client, CONNACK);
    expect(&mut client, PINGRESP);
    client.write_all(&PINGREQ[1..]).unwrap();
    rig.turn();
    expect(&mut client, PINGRESP);
}

#[test]
fn nothing_is_kept_for_a_connection_between_packets() {
    let mut rig = Rig::new(100);
    let mut client = rig.connection();
    let half = CONNECT.len() / 2;
    client.write_all(&CONNECT[..half]).unwrap();
    rig.turn();
    let (_, socket) = rig.worker.sockets.by_token(0).unwrap();
    assert_eq!(socket.partial.as_ref().unwrap().bytes, &CONNECT[..half]);
    assert!(socket.origin.is_some());
    client.write_all(&CONNECT[half..]).unwrap();
    rig.turn();
    expect(&mut client, CONNACK);
    let (_, socket) = rig.worker.sockets.by_token(0).unwrap();
    assert!(socket.partial.is_none());
    assert!(socket.origin.is_none());
}

#[test]
fn a_packet_is_not_given_room_before_it_has_come() {
    let mut rig = Rig::new(100);
    let mut client = rig.connection();
    client.write_all(CONNECT).unwrap();
    rig.turn();
    expect(&mut client, CONNACK);
    // PUBLISH with a remaining length of 1,900,000 bytes, of which a few come.
    client.write_all(b"\x30\xE0\xFB\x73\x00\x01t-----").unwrap();
    rig.turn();
    let (_, socket) = rig.worker.sockets.by_token(0).unwrap();
    let partial = socket.partial.as_ref().unwrap();
    assert!(partial.needed > 1_900_000);
    assert!(partial.bytes.capacity() < 8 * 1024);
}

#[test]
fn last_bytes_wait_for_a_slow_reader_until_they_are_read() {
    let mut rig = Rig::new(100);
    let mut client = rig.connection();
    let rest = vec![7; 3_000_000];
    rig.worker.core.effects.closed.push((0, rest.clone()));
    rig.turn();
    assert!(!rig.worker.sockets.is_empty());
    let mut came = Vec::new();
    let mut buffer = vec![0; 65536];
    loop {
        match client.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => came.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => rig.turn(),
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(came, rest);
    assert!(rig.worker.sockets.is_empty());
    assert_eq!(rig.load(ME), 0);
}

#[test]
fn last_bytes_do_not_wait_for_ever() {
    let mut rig = Rig::new(100);
    let mut client = rig.connection();
    let rest = vec![7; 3_000_000];
    rig.worker.core.effects.closed.push((0, rest));
    rig.turn();
    let deadline = rig.worker.closing.next_deadline().unwrap();
    rig.worker.core.now = deadline;
    rig.worker.give_up_lingering();
    assert!(rig.worker.sockets.is_empty());
    assert_eq!(rig.all_seats.taken(), 0);
    let mut buffer = vec![0; 65536];
    while client.read(&mut buffer).unwrap() > 0 {}
}

#[test]
fn clients_of_a_listener_are_expelled_and_others_stay() {
    let mut rig = Rig::new(100);
    let mut client = rig.connection();
    client.write_all(CONNECT).unwrap();
    rig.turn();
    expect(&mut client, CONNACK);
    rig.mail(WorkerMail::Expel(6));
    expect_nothing(&mut client);
    rig.mail(WorkerMail::Expel(7));
    expect_end(&mut client);
    assert_eq!(rig.shared.directory.len(), 0);
}

#[test]
fn a_worker_that_ends_takes_nobody_in() {
    let mut rig = Rig::new(100);
    let mut client = rig.connection();
    client.write_all(CONNECT).unwrap();
    rig.turn();
    expect(&mut client, CONNACK);
    rig.mail(WorkerMail::ShutDown);
    expect_end(&mut client);
    let mut late = rig.connection();
    expect_end(&mut late);
    assert!(rig.worker.is_done());
    assert_eq!(rig.load(ME), 0);
}

/// A listener that wants WebSocket.
fn websockets() -> Arc<Wrapping> {
    let config = Config::parse("listener 1\nprotocol websockets\n", "t.conf").unwrap();
    let shared = TlsShared::new(&config).unwrap();
    let settings = &config.listeners[0].settings;
    let loaded = Loaded::load(settings, &config.general, &shared).unwrap();
    loaded.wrapping.unwrap()
}

const UPGRADE: &[u8] =
    b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Protocol: mqtt\r\n\r\n";

/// A client's frame with a mask of zeros.
fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    assert!(length < 126);
    let header = [0x80 | opcode, 0x80 | length, 0, 0, 0, 0];
    [&header[..], payload].concat()
}

/// Everything that can be read now.
fn drain(client: &mut UnixStream) -> Vec<u8> {
    let mut came = Vec::new();
    let mut buffer = vec![0; 65536];
    loop {
        match client.read(&mut buffer) {
            Ok(0) => return came,
            Ok(count) => came.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return came,
            Err(error) => panic!("{error}"),
        }
    }
}

impl Rig {
    /// A connection through WebSocket that has been upgraded.
    fn upgraded(&mut self) -> UnixStream {
        self.wrapping = Some(websockets());
        let mut client = self.connection();
        client.write_all(UPGRADE).unwrap();
        self.turn();
        assert!(drain(&mut client).starts_with(b"HTTP/1.1 101 "));
        client
    }

    fn layered(&mut self) -> &mut Layered {
        let (_, socket) = self.worker.sockets.by_token(0).unwrap();
        socket.layers.as_mut().unwrap()
    }
}

#[test]
fn packets_come_in_frames_and_a_close_frame_ends_them() {
    let mut rig = Rig::new(100);
    let mut client = rig.upgraded();
    client.write_all(&frame(2, &CONNECT[..9])).unwrap();
    rig.turn();
    expect_nothing(&mut client);
    let rest = [frame(2, &CONNECT[9..]), frame(9, b"ping")].concat();
    client.write_all(&rest).unwrap();
    rig.turn();
    assert_eq!(drain(&mut client), b"\x8A\x04ping\x82\x04\x20\x02\x00\x00");
    client.write_all(&frame(2, b"\xE0\x00")).unwrap();
    rig.turn();
    assert_eq!(drain(&mut client), b"\x88\x02\x03\xE8");
    assert!(rig.worker.sockets.is_empty());
}

#[test]
fn a_wrapped_connection_whose_session_is_elsewhere_goes_there_with_its_layers() {
    let mut rig = Rig::new(100);
    rig.shared.directory.claim(&"me".into(), OTHER);
    let mut client = rig.upgraded();
    client.write_all(&frame(2, CONNECT)).unwrap();
    client.write_all(&frame(2, PINGREQ)).unwrap();
    rig.turn();
    assert_eq!((rig.load(ME), rig.load(OTHER)), (0, 1));
    let Some(WorkerMail::Arrival(arrival)) = rig.mail_for_other().pop() else {
        panic!("no connection came");
    };
    assert_eq!(arrival.bytes, [CONNECT, PINGREQ].concat());
    assert!(arrival.layers.is_some());
    // As if this were the other worker.
    rig.shared.directory.release(&"me".into(), OTHER);
    rig.worker.count_load(ME);
    rig.mail(WorkerMail::Arrival(arrival));
    assert_eq!(drain(&mut client), b"\x82\x06\x20\x02\x00\x00\xD0\x00");
    client.write_all(&frame(2, PINGREQ)).unwrap();
    rig.turn();
    assert_eq!(drain(&mut client), b"\x82\x02\xD0\x00");
}

#[test]
fn answers_of_the_layers_that_are_not_read_keep_more_from_being_read() {
    let mut rig = Rig::new(100);
    let mut client = rig.upgraded();
    client.write_all(&frame(2, CONNECT)).unwrap();
    rig.turn();
    drain(&mut client);
    // Each turn can read all that was written, and answers with 4 KiB at most.
    let pings = frame(9, &[7; 125]).repeat(64);
    let mut written = 0;
    let mut stuck = 0;
    while stuck < 100 {
        match client.write(&pings) {
            Ok(count) => {
                written += count;
                stuck = 0;
            }
            Err(_) => stuck += 1,
        }
        rig.turn();
        assert!(written < 64 << 20, "everything is read");
        assert!(rig.layered().unsent_bytes() <= 8 * 1024);
    }
    assert_ne!(rig.worker.sleeps_until(), Some(Time(0)));
    // When they are read, the rest is.
    let mut answers = 0;
    loop {
        let came = drain(&mut client).len();
        answers += came;
        rig.turn();
        rig.turn();
        if came == 0 {
            break;
        }
    }
    assert!(answers > 64 * 127);
}

#[test]
fn a_slow_reader_has_one_chunk_in_front_of_the_wire_and_the_rest_in_its_outbox() {
    let mut rig = Rig::new(100);
    let mut client = rig.upgraded();
    client.write_all(&frame(2, CONNECT)).unwrap();
    client
        .write_all(&frame(2, b"\x82\x06\x00\x01\x00\x01t\x00"))
        .unwrap();
    rig.turn();
    drain(&mut client);
    let payload = vec![7; 900_000];
    let publish = |rig: &mut Rig| {
        let shared = Arc::clone(&rig.shared);
        let mut tables = shared.tables.turn();
        let (shard, mut step) = rig.worker.core.step(&mut tables);
        let message = MessageView {
            topic: "t",
            payload: &payload,
            properties: &[],
            qos: QoS::AtMostOnce,
            retain: false,
            expires: None,
            publisher: None,
            id: 0,
        };
        shard.publish(&mut step, &message);
    };
    publish(&mut rig);
    for _ in 0..10 {
        rig.turn();
    }
    let waiting = rig.layered().unsent_bytes();
    assert!(waiting > 0 && waiting <= 65 * 1024, "{waiting}");
    assert_ne!(rig.worker.sleeps_until(), Some(Time(0)));
    let mut came = 0;
    for _ in 0..1_000 {
        came += drain(&mut client).len();
        rig.turn();
    }
    assert!(came > payload.len(), "{came}");
    assert_eq!(rig.layered().unsent_bytes(), 0);
}
