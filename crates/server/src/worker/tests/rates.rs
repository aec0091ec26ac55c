//! Clients that send more than their rates allow.

use std::num::NonZeroU32;

use super::*;
use crate::config::ListenerSettings as Configured;

/// CONNECT with a keep alive of one second.
const CONNECT_1S: &[u8] = b"\x10\x0E\x00\x04MQTT\x04\x02\x00\x01\x00\x02me";

/// PUBLISH with QoS 1 and its PUBACK.
fn publish(id: u8) -> [u8; 7] {
    [0x32, 5, 0, 1, b'a', 0, id]
}

const fn puback(id: u8) -> [u8; 4] {
    [0x40, 2, 0, id]
}

impl Rig {
    fn with_rates(settings: &Configured) -> Self {
        let rig = Self::new(100);
        rig.seats.rates.set(settings);
        rig.shared.has_rates.store(true, Relaxed);
        rig
    }

    /// Turns of the next so many milliseconds, as often as the worker wants to be woken.
    fn pass(&mut self, millis: u64) {
        let end = self.worker.core.now.plus_millis(millis);
        while self.worker.core.now < end {
            let next = self.worker.sleeps_until().unwrap_or(end);
            let now = self.worker.core.now.plus_millis(1);
            self.worker.core.now = next.clamp(now, end);
            self.turn();
        }
    }
}

/// As many as come without waiting.
fn pubacks(client: &mut UnixStream) -> usize {
    let mut came = [0; 1024];
    match client.read(&mut came) {
        Ok(count) => count / 4,
        Err(_) => 0,
    }
}

fn rate(publishes: u32) -> Configured {
    Configured {
        max_publish_rate: NonZeroU32::new(publishes),
        ..Configured::default()
    }
}

#[test]
fn a_client_that_publishes_too_fast_is_read_at_its_rate_and_stays() {
    let mut rig = Rig::with_rates(&rate(2));
    let mut client = rig.connection();
    let messages: Vec<u8> = (1..=9).flat_map(publish).collect();
    let sent = [CONNECT_1S, &messages, PINGREQ].concat();
    client.write_all(&sent).unwrap();
    rig.turn();
    expect(&mut client, CONNACK);
    rig.pass(1);
    let at_once = pubacks(&mut client);
    assert!((2..=3).contains(&at_once), "{at_once}");
    for id in 1..=9 {
        // Some have been looked at above.
        if id > at_once {
            rig.pass(500);
            let id = u8::try_from(id).unwrap();
            expect(&mut client, &puback(id));
            if id < 9 {
                expect_nothing(&mut client);
            }
        }
    }
    expect(&mut client, PINGRESP);
    let (_, socket) = rig.worker.sockets.by_token(0).unwrap();
    assert!(socket.conn.is_some() && !socket.throttled && socket.partial.is_none());
    assert_eq!(rig.shared.limits.count(midge_broker::Limit::PublishRate), 6);
}

#[test]
fn the_keep_alive_of_a_client_that_waits_for_its_turn_does_not_end_it() {
    let mut rig = Rig::with_rates(&Configured {
        max_publish_rate_total: NonZeroU32::new(1),
        ..Configured::default()
    });
    let mut client = rig.connection();
    let messages: Vec<u8> = (1..=9).flat_map(publish).collect();
    client.write_all(&[CONNECT_1S, &messages].concat()).unwrap();
    rig.turn();
    expect(&mut client, CONNACK);
    rig.pass(9_000);
    let mut came = 0;
    for id in 1..=9 {
        expect(&mut client, &puback(id));
        came += 1;
    }
    assert_eq!(came, 9);
    // From then on, silence is its own.
    rig.pass(3_000);
    expect_end(&mut client);
}

#[test]
fn bytes_above_the_rate_stay_in_the_kernel() {
    let mut rig = Rig::with_rates(&Configured {
        max_bytes_rate: NonZeroU32::new(1_000),
        ..Configured::default()
    });
    let mut client = rig.connection();
    client.write_all(CONNECT).unwrap();
    rig.turn();
    expect(&mut client, CONNACK);
    let pings = vec![PINGREQ; 5_000].concat();
    client.write_all(&pings).unwrap();
    let mut answers = 0;
    let mut read = |client: &mut UnixStream| {
        let mut came = [0; 16 * 1024];
        answers += client.read(&mut came).unwrap_or(0);
        answers
    };
    rig.turn();
    rig.pass(20);
    let at_once = read(&mut client);
    assert!((1_000..=2_048).contains(&at_once), "{at_once}");
    rig.pass(4_000);
    let later = read(&mut client);
    assert!((4_500..=6_048).contains(&later), "{later}");
    rig.pass(6_000);
    assert_eq!(read(&mut client), 10_000);
}

/// Neither memory nor other clients feel how much somebody sends.
#[test]
fn what_waits_for_its_turn_is_little_and_others_go_on() {
    let mut rig = Rig::with_rates(&rate(1));
    let mut fast = rig.connection();
    fast.write_all(CONNECT).unwrap();
    rig.turn();
    expect(&mut fast, CONNACK);
    let flood = publish(1).repeat(20_000);
    // As much as the kernel takes.
    let _ = fast.write(&flood).unwrap();
    rig.pass(100);
    let (_, socket) = rig.worker.sockets.by_token(0).unwrap();
    assert!(socket.throttled);
    assert!(socket.partial.as_ref().unwrap().bytes.len() <= 16 * 1024);
    let mut other = rig.connection();
    let connect = b"\x10\x0E\x00\x04MQTT\x04\x02\x00\x00\x00\x02ot";
    other.write_all(&[&connect[..], PINGREQ].concat()).unwrap();
    rig.turn();
    expect(&mut other, CONNACK);
    expect(&mut other, PINGRESP);
}

#[test]
fn a_client_that_goes_while_it_waits_leaves_nothing_behind() {
    let mut rig = Rig::with_rates(&rate(1));
    let mut client = rig.connection();
    let messages: Vec<u8> = (1..=5).flat_map(publish).collect();
    client.write_all(&[CONNECT, &messages].concat()).unwrap();
    rig.turn();
    drop(client);
    rig.pass(10_000);
    assert!(rig.worker.sockets.is_empty());
    assert_eq!(rig.worker.throttled.next_deadline(), None);
    assert_eq!(rig.all_seats.taken(), 0);
}

/// Whoever is no client yet cannot have much waiting here.
#[test]
fn little_is_read_of_a_connection_whose_login_is_not_decided() {
    let mut rig = Rig::new(100);
    let (ours, mut client) = UnixStream::pair().unwrap();
    client.set_nonblocking(true).unwrap();
    let settings = ListenerSettings {
        login: true,
        ..ListenerSettings::default()
    };
    let arrival = rig.arrival(ours, settings);
    let flood = [CONNECT, &publish(1).repeat(10_000)].concat();
    let _ = client.write(&flood).unwrap();
    rig.mail(WorkerMail::Arrival(Box::new(arrival)));
    rig.turn();
    if let Some((_, socket)) = rig.worker.sockets.by_token(0)
        && let Some(partial) = &socket.partial
    {
        assert!(partial.bytes.len() <= 16 * 1024, "{}", partial.bytes.len());
    }
}
