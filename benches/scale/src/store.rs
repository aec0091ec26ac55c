//! A store on the disk as a broker leaves it: sessions that are away, and messages that wait for them.

use std::fs;
use std::path::Path;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use midge_broker::Time;
use midge_codec::{EncodeError, QoS, Version};
use midge_persistence::{Recovered, recover};
use midge_store::{FileDisk, Options, Store, SyncPolicy};

use crate::cluster::Cluster;
use crate::keeper::Keeper;
use crate::plan::Plan;
use crate::report::Report;
use crate::{Error, packets};

/// The folder within `persistence_location` where the broker has its store.
const FOLDER: &str = "midge";

/// Bytes that may wait for the store, as in the server.
const QUEUE_BYTES: usize = 32 * 1024 * 1024;

/// Sessions that begin within one turn of a shard, and messages that come in one.
const AT_ONCE: usize = 128;

/// Fills the directory that the plan names.
pub(crate) fn run(plan: &Plan) -> Result<Report, Error> {
    let location = plan.directory.as_deref();
    let location = Path::new(location.ok_or("store needs --directory")?);
    let sessions = plan.count(1_000_000, 2_000);
    let began = Instant::now();
    let folder = location.join(FOLDER);
    let store = open(&folder)?;
    let mut crowd = Crowd::new(plan, sessions);
    crowd.cluster.keep(unix_ms()?, || Keeper::new(&store));
    crowd.begin_all()?;
    let written = store.status().figures.bytes;
    crowd.publish_all(plan.messages, plan.payload)?;
    drop(crowd);
    let figures = store.status().figures;
    // Syncs what was left to the system.
    drop(store);
    let mut report = Report::new("store");
    report.add("sessions", sessions as f64, "");
    report.add("messages", plan.messages as f64, "");
    report.add("records", figures.records as f64, "");
    let each = |bytes: u64, count: usize| bytes as f64 / count.max(1) as f64;
    report.add("log of a session", each(written, sessions), "bytes");
    if plan.messages > 0 {
        let bytes = figures.bytes - written;
        report.add("log of a message", each(bytes, plan.messages), "bytes");
    }
    report.add("files", size_of(&folder)? as f64 / 1e6, "MB");
    report.add("time to write it", began.elapsed().as_secs_f64(), "s");
    Ok(report)
}

fn open(folder: &Path) -> Result<Store, Error> {
    let options = Options {
        sync: SyncPolicy::Os,
        ..Options::new(unix_ms()?)
    };
    let Recovered {
        recovery, is_new, ..
    } = recover(FileDisk::open(folder)?, options)?;
    if !is_new {
        return Err(format!("{} holds a store", folder.display()).into());
    }
    Ok(Store::start(recovery, QUEUE_BYTES, |event| {
        eprintln!("midge-scale: {event}");
    })?)
}

fn unix_ms() -> Result<u64, Error> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH)?;
    Ok(u64::try_from(since.as_millis())?)
}

/// Bytes of the files of a folder.
fn size_of(folder: &Path) -> Result<u64, Error> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        bytes += entry?.metadata()?.len();
    }
    Ok(bytes)
}

/// Sessions, spread over the shards, each of which has the same few places for their connections, and one
/// for a publisher.
struct Crowd {
    cluster: Cluster,
    sessions: usize,
    user_name: String,
    now: Time,
}

impl Crowd {
    fn new(plan: &Plan, sessions: usize) -> Self {
        Self {
            cluster: Cluster::new(plan.shards, AT_ONCE + 1, Cluster::settings()),
            sessions,
            user_name: "u".repeat(plan.user_name),
            now: Time(1_000),
        }
    }

    /// Sessions begin, subscribe and leave.
    fn begin_all(&mut self) -> Result<(), Error> {
        let user_name = self.user_name.clone();
        let user_name = Some(user_name.as_str()).filter(|name| !name.is_empty());
        let all: Vec<usize> = (0..self.sessions).collect();
        for some in all.chunks(AT_ONCE * self.cluster.cores.len()) {
            self.turn_of(some, |client, bytes| {
                packets::connect_persistent(version(client), &id(client), user_name, bytes)
            })?;
            self.turn_of(some, |client, bytes| {
                packets::subscribe(version(client), &topic(client), QoS::AtLeastOnce, bytes)
            })?;
            self.turn_of(some, |_, bytes| {
                bytes.extend_from_slice(&packets::DISCONNECT);
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Every client of `some` sends a packet, each shard's in one turn. CONNECT opens its connection.
    fn turn_of(
        &mut self,
        some: &[usize],
        packet: impl Fn(usize, &mut Vec<u8>) -> Result<(), EncodeError>,
    ) -> Result<(), Error> {
        self.now = self.now.plus_millis(1);
        self.cluster.set_time(self.now);
        let cores = self.cluster.cores.len();
        for (number, core) in self.cluster.cores.iter_mut().enumerate() {
            let mut input = Vec::with_capacity(AT_ONCE);
            for (place, client) in some.iter().skip(number).step_by(cores).enumerate() {
                let mut bytes = Vec::with_capacity(64);
                packet(*client, &mut bytes)?;
                if bytes
                    .first()
                    .is_some_and(|first| *first == packets::CONNECT)
                {
                    core.open(place, &[])?;
                }
                input.push((place, bytes));
            }
            core.turn(
                input
                    .iter()
                    .map(|(place, bytes)| (*place, bytes.as_slice())),
            )?;
        }
        self.cluster.settle()
    }

    /// As many messages of QoS 1, which go round the sessions; each shard publishes to those that it has.
    fn publish_all(&mut self, messages: usize, payload: usize) -> Result<(), Error> {
        let payload = vec![b'.'; payload];
        let cores = self.cluster.cores.len();
        let mut bytes = Vec::new();
        for (number, core) in self.cluster.cores.iter_mut().enumerate() {
            bytes.clear();
            let name = format!("publisher-{number}");
            packets::connect(Version::V5, &name, 0, &mut bytes)?;
            core.open(AT_ONCE, &bytes)?;
        }
        self.cluster.settle()?;
        for first in (0..messages).step_by(AT_ONCE * cores) {
            let last = messages.min(first + AT_ONCE * cores);
            self.now = self.now.plus_millis(1);
            self.cluster.set_time(self.now);
            for (number, core) in self.cluster.cores.iter_mut().enumerate() {
                bytes.clear();
                for (packet_id, message) in (1..).zip((first + number..last).step_by(cores)) {
                    let topic = topic(message % self.sessions);
                    let qos = QoS::AtLeastOnce;
                    packets::publish(
                        Version::V5,
                        qos,
                        packet_id,
                        false,
                        &topic,
                        &payload,
                        &mut bytes,
                    )?;
                }
                core.turn([(AT_ONCE, bytes.as_slice())])?;
            }
            self.cluster.settle()?;
        }
        Ok(())
    }
}

/// Half the clients speak MQTT 3.1.1.
const fn version(client: usize) -> Version {
    if client.is_multiple_of(4) || client % 4 == 1 {
        Version::V3_1_1
    } else {
        Version::V5
    }
}

fn id(client: usize) -> String {
    format!("device-{client:09}")
}

fn topic(client: usize) -> String {
    format!("site/device-{client:09}/set")
}
