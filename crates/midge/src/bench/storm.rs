//! Clients that come and go: `midge bench conn`, and `midge bench idle`, where they stay.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use midge_codec::{
    Connect, PacketType, Properties, Subscribe, Subscription, SubscriptionOptions, Subscriptions,
};

use super::link::Link;
use super::load;
use super::party::{Incoming, Party, Received};
use super::phase::{Meter, Phases, memory, resident};
use super::plan::Plan;
use super::socket::Socket;
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
            stage: Stage::ConnAck,
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

/// How the clients of a storm come in.
enum Doors {
    /// All at once.
    Plain(SocketAddr),
    /// One after the other, since each shakes hands first.
    Layered(Box<Dial>),
}

impl Doors {
    fn find(plan: &Plan) -> Result<Self, Failure> {
        let connect = &plan.connect;
        let is_plain = !connect.uses_tls()
            && !connect.websocket
            && connect.unix.is_none()
            && connect.proxy.is_none();
        if !is_plain {
            return Ok(Self::Layered(Box::new(Dial::new(connect)?)));
        }
        let address = (connect.host.as_str(), connect.port())
            .to_socket_addrs()
            .map_err(|_| Failure::Lookup)?
            .next()
            .ok_or(Failure::Lookup)?;
        Ok(Self::Plain(address))
    }

    fn open(&self) -> Result<Socket, Failure> {
        match self {
            Self::Plain(address) => Ok(Socket::begin(*address)?),
            Self::Layered(dial) => Ok(Socket::Open(dial.open(None)?)),
        }
    }
}

/// Lets all clients come and go until the time is over, and the last one leave.
pub(crate) fn run(plan: &Plan) -> Result<Phases, Failure> {
    let doors = Doors::find(plan)?;
    let mut latency = Histogram::new_with_bounds(1_000, LATENCY_MAX, 3)
        .map_err(|error| Failure::Other(error.to_string()))?;
    let mut guests = (0..plan.subscribers())
        .map(|index| Guest::new(plan, index))
        .collect::<Result<Vec<_>, _>>()?;
    let before = resident(plan);
    let mut party = Party::new()?;
    // The guest of each connection, by its number.
    let mut seats: Vec<usize> = Vec::new();
    let mut waiting: Vec<usize> = (0..guests.len()).collect();
    let mut present = 0_usize;
    let mut finished = 0_u64;
    let meter = Meter::start(plan);
    let end = Instant::now() + plan.measure;
    loop {
        if Instant::now() < end {
            for index in waiting.drain(..) {
                let Some(guest) = guests.get_mut(index) else {
                    continue;
                };
                let mut link = Link::new(doors.open()?);
                guest.stage = Stage::ConnAck;
                guest.began = Instant::now();
                // The socket is not connected yet, so this waits until it is.
                link.send(&guest.connect)?;
                let seat = party.add(link)?;
                seats.resize(seats.len().max(seat + 1), 0);
                if let Some(place) = seats.get_mut(seat) {
                    *place = index;
                }
                present += 1;
            }
        } else if present == 0 {
            break;
        }
        if party.is_silent() {
            return Err(Failure::Other(format!(
                "The broker has fallen silent, with {present} clients unanswered."
            )));
        }
        party.serve(TICK, &mut |seat, incoming, answers| {
            let index = seats.get(seat).copied().unwrap_or_default();
            let Some(guest) = guests.get_mut(index) else {
                return Ok(());
            };
            match incoming {
                Incoming::Packet(received) => {
                    if guest.take(&received, answers)? {
                        let nanos = guest.began.elapsed().as_nanos();
                        latency.saturating_record(u64::try_from(nanos).unwrap_or(u64::MAX));
                    }
                    Ok(())
                }
                Incoming::End if guest.stage == Stage::End => {
                    present -= 1;
                    finished += 1;
                    waiting.push(index);
                    Ok(())
                }
                Incoming::End => Err(Failure::Lost),
            }
        })?;
    }
    let phase = meter.end("storm", "connection", finished);
    let after = resident(plan);
    Ok(Phases {
        phases: vec![phase],
        memory: memory([before, after, after]),
        held: (0, "connection"),
        latency: Some(latency),
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
