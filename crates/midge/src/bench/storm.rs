//! Clients that come and go: `midge bench conn`, and `midge bench idle`, where they stay.

use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs as _};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use midge_client::net::Connection;
use midge_codec::{
    Connect, PacketType, Properties, Subscribe, Subscription, SubscriptionOptions, Subscriptions,
};

use super::link::Link;
use super::load;
use super::party::{Incoming, Party, Received};
use super::phase::{Meter, Phases, memory, resident};
use super::plan::Plan;
use super::socket;
use crate::client::Dial;
use crate::failure::Failure;

const TICK: Duration = Duration::from_millis(100);
const LATENCY_MAX: u64 = 100_000_000_000;

/// What a client waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    ConnAck,
    SubAck,
    /// It has disconnected: that the broker closes shows that it has taken notice.
    End,
    /// Nothing any more, or not yet.
    Nothing,
}

/// A client of a storm, from one connection to the next.
struct Guest {
    connect: Vec<u8>,
    subscribe: Vec<u8>,
    stage: Stage,
    began: Instant,
}

impl Guest {
    fn new(plan: &Plan, index: u32) -> Result<Self, Failure> {
        let version = plan.connect.version;
        let mut connect = Vec::new();
        Connect {
            version,
            bridge: false,
            clean_start: true,
            keep_alive: plan.connect.keep_alive_secs,
            properties: Properties::NONE,
            client_id: &load::client_id(plan, 's', index),
            will: None,
            user_name: plan.connect.user_name.as_deref(),
            password: plan.connect.password.as_deref(),
        }
        .encode(&mut connect)?;
        let mut subscribe = Vec::new();
        let options = SubscriptionOptions {
            qos: plan.qos,
            ..SubscriptionOptions::default()
        };
        let filter = plan.topic(index);
        let list = [Subscription {
            filter: &filter,
            options,
        }];
        Subscribe {
            packet_id: std::num::NonZeroU16::MIN,
            properties: Properties::NONE,
            subscriptions: Subscriptions::from_list(&list),
        }
        .encode(version, &mut subscribe)?;
        Ok(Self {
            connect,
            subscribe,
            stage: Stage::Nothing,
            began: Instant::now(),
        })
    }

    /// Takes a packet and answers; whether it was SUBACK.
    fn take(&mut self, received: &Received<'_>, answers: &mut Vec<u8>) -> Result<bool, Failure> {
        match (received.kind, self.stage) {
            (PacketType::ConnAck, Stage::ConnAck) => {
                if received.body.get(1) != Some(&0) {
                    return Err(Failure::Other("The broker refused a client.".to_owned()));
                }
                self.stage = Stage::SubAck;
                answers.extend_from_slice(&self.subscribe);
                Ok(false)
            }
            (PacketType::SubAck, Stage::SubAck) => {
                if received.body.last().is_none_or(|code| *code > 2) {
                    return Err(Failure::Other(
                        "The broker refused a subscription.".to_owned(),
                    ));
                }
                self.stage = Stage::End;
                answers.extend_from_slice(&[PacketType::Disconnect.first_byte(), 0]);
                Ok(true)
            }
            _ => Err(received.unexpected()),
        }
    }
}

/// A storm while it rages.
struct Storm {
    guests: Vec<Guest>,
    /// The guest of each connection, by its number.
    seats: Vec<usize>,
    /// Those that have no connection.
    waiting: Vec<usize>,
    present: usize,
    finished: u64,
    /// Connections that the broker ended, or did not answer, before they had all that they asked for.
    failed: u64,
    latency: Histogram<u64>,
}

impl Storm {
    fn new(plan: &Plan) -> Result<Self, Failure> {
        let guests = (0..plan.subscribers())
            .map(|index| Guest::new(plan, index))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            seats: Vec::new(),
            waiting: (0..guests.len()).collect(),
            guests,
            present: 0,
            finished: 0,
            failed: 0,
            latency: Histogram::new_with_bounds(1_000, LATENCY_MAX, 3)
                .map_err(|error| Failure::Other(error.to_string()))?,
        })
    }

    /// Connects all that have no connection.
    fn connect(&mut self, party: &mut Party, doors: &Doors) -> Result<(), Failure> {
        for index in self.waiting.drain(..) {
            let Some(guest) = self.guests.get_mut(index) else {
                continue;
            };
            let mut link = Link::new(doors.open(index)?);
            guest.stage = Stage::ConnAck;
            guest.began = Instant::now();
            // The connection does not stand yet, so this waits until it does.
            link.send(&guest.connect)?;
            let seat = party.add(link)?;
            self.seats.resize(self.seats.len().max(seat + 1), 0);
            if let Some(place) = self.seats.get_mut(seat) {
                *place = index;
            }
            self.present += 1;
        }
        Ok(())
    }

    /// What a connection brought.
    fn take(
        &mut self,
        seat: usize,
        incoming: Incoming<'_>,
        answers: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let index = self.seats.get(seat).copied().unwrap_or_default();
        let Some(guest) = self.guests.get_mut(index) else {
            return Ok(());
        };
        match incoming {
            Incoming::Packet(received) => {
                if guest.take(&received, answers)? {
                    let nanos = guest.began.elapsed().as_nanos();
                    let nanos = u64::try_from(nanos).unwrap_or(u64::MAX);
                    self.latency.saturating_record(nanos);
                }
            }
            Incoming::End => {
                match guest.stage {
                    Stage::End => self.finished += 1,
                    _ => self.failed += 1,
                }
                guest.stage = Stage::Nothing;
                self.present -= 1;
                self.waiting.push(index);
            }
        }
        Ok(())
    }
}

/// How the clients of a storm come in.
struct Doors {
    dial: Dial,
    /// Where all go at once; `None`: one after the other, since a proxy or the path of a socket comes first.
    address: Option<SocketAddr>,
}

impl Doors {
    fn find(plan: &Plan) -> Result<Self, Failure> {
        let connect = &plan.connect;
        let dial = Dial::new(connect)?;
        if connect.unix.is_some() || connect.proxy.is_some() {
            return Ok(Self {
                dial,
                address: None,
            });
        }
        let address = connect
            .first_place()
            .to_socket_addrs()
            .map_err(|_| Failure::Lookup)?
            .next()
            .ok_or(Failure::Lookup)?;
        Ok(Self {
            dial,
            address: Some(address),
        })
    }

    /// The connection of a client by its number; handshakes come later.
    fn open(&self, index: usize) -> Result<Connection, Failure> {
        match self.address {
            Some(address) => self
                .dial
                .begin(socket::begin(address, source(address, index))?),
            None => self.dial.open(None),
        }
    }
}

/// Clients that share one source address share its ports, and thousands of them make the kernel search for
/// a free one.
const CLIENTS_FOR_EACH_SOURCE: usize = 2000;

/// Where a client comes from, if that matters: on the loopback, clients come from several of its addresses.
fn source(address: SocketAddr, index: usize) -> Option<Ipv4Addr> {
    let source = u8::try_from(index / CLIENTS_FOR_EACH_SOURCE).unwrap_or(u8::MAX);
    (source > 0 && address.ip() == Ipv4Addr::LOCALHOST).then(|| Ipv4Addr::new(127, 0, 1, source))
}

/// Lets all clients come and go until the time is over, and the last ones leave.
pub(crate) fn run(plan: &Plan) -> Result<Phases, Failure> {
    let doors = Doors::find(plan)?;
    let mut storm = Storm::new(plan)?;
    let before = resident(plan);
    let mut party = Party::new()?;
    let meter = Meter::start(plan);
    let end = Instant::now() + plan.measure;
    while Instant::now() < end {
        storm.connect(&mut party, &doors)?;
        party.serve(TICK, &mut |seat, incoming, answers| {
            storm.take(seat, incoming, answers)
        })?;
    }
    let phase = meter.end("storm", "connection", storm.finished);
    // Those that are on their way come to their end, if the broker lets them.
    while storm.present > 0 && !party.is_silent() {
        party.serve(TICK, &mut |seat, incoming, answers| {
            storm.take(seat, incoming, answers)
        })?;
    }
    let unanswered = storm.present as u64;
    drop(party);
    let after = resident(plan);
    Ok(Phases {
        phases: vec![phase],
        memory: memory([before, after, after]),
        held: (0, "connection"),
        latency: Some(storm.latency),
        failed: Some(storm.failed + unanswered),
        ..Phases::default()
    })
}

/// Connects all clients, and lets them be.
pub(crate) fn idle(plan: &Plan) -> Result<Phases, Failure> {
    let before = resident(plan);
    let count = u64::from(plan.subscribers());
    let meter = Meter::start(plan);
    let mut clients = Vec::new();
    for index in 0..plan.subscribers() {
        let mut client = load::connect(plan, 's', index)?;
        load::subscribe(plan, &mut client, &plan.filters(index))?;
        clients.push(client.into_parts()?);
    }
    let connect = meter.end("connect", "connection", count);
    let held = resident(plan);
    let meter = Meter::start(plan);
    std::thread::sleep(plan.measure);
    let idle = meter.end("idle", "connection", count);
    let settled = resident(plan);
    for parts in clients {
        let mut link = Link::from_parts(parts);
        if link.fill(&mut [0; 16])? != super::link::Fill::Empty {
            return Err(Failure::Other(
                "The broker disturbed an idle client.".to_owned(),
            ));
        }
        link.part();
    }
    Ok(Phases {
        phases: vec![connect, idle],
        memory: memory([before, held, settled]),
        held: (count, "connection"),
        ..Phases::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::plan::{Request, parse};
    use crate::options::CONN;

    fn received(bytes: &[u8]) -> Received<'_> {
        let header = midge_codec::Header::peek(bytes).unwrap().unwrap();
        Received {
            kind: header.packet_type().unwrap(),
            first: header.first,
            body: header.body(bytes).unwrap(),
        }
    }

    #[test]
    fn a_guest_subscribes_once_connected_and_leaves_once_subscribed() {
        let Ok(Request::Run(plan)) = parse(&CONN, Vec::new()) else {
            panic!("no plan");
        };
        let mut guest = Guest::new(&plan, 0).unwrap();
        guest.stage = Stage::ConnAck;
        let mut answers = Vec::new();
        assert!(
            guest
                .take(&received(&[0x20, 2, 0, 5]), &mut answers)
                .is_err()
        );
        assert!(
            !guest
                .take(&received(&[0x20, 2, 0, 0]), &mut answers)
                .unwrap()
        );
        assert_eq!(answers, guest.subscribe);
        answers.clear();
        assert!(
            guest
                .take(&received(&[0x20, 2, 0, 0]), &mut answers)
                .is_err()
        );
        assert!(
            guest
                .take(&received(&[0x90, 3, 0, 1, 0]), &mut answers)
                .unwrap()
        );
        assert_eq!(answers, [0xE0, 0]);
        assert_eq!(guest.stage, Stage::End);
    }
}
