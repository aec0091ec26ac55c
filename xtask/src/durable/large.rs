//! Many long messages for sessions that are away: they are to wait on the disk.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use super::broker::{Broker, Kind};
use super::place::{Folder, Place, disk_bytes};
use crate::Outcome;
use crate::compare::scenario::number;
use crate::compare::table::{Samples, figure};

/// Bytes of each message.
const PAYLOAD: u32 = 1024;

/// Columns: what is there while all messages wait, the most that there ever was, and after the end.
const HELD: &str = "all messages wait";
const MOST: &str = "at most";
const END: &str = "10 s after the last was delivered";

const RESIDENT: &str = "resident MB";
const DISK: &str = "MB on the disk";
const SHARE: &str = "disk ÷ payload";

pub(super) fn run(place: &Place<'_>) -> Outcome<String> {
    let messages: u32 = place.size(10_000, 200);
    let payload = f64::from(messages) * 100.0 * f64::from(PAYLOAD);
    let mut samples = Samples::default();
    // Each round writes several gigabytes.
    for round in 1..=place.rounds.min(3) {
        eprintln!("round {round}: long queues");
        let folder = place.folder()?;
        let broker = place.start(Kind::Midge("always"), &folder)?;
        let (messages, size) = (messages.to_string(), PAYLOAD.to_string());
        let arguments = [
            "offline",
            "--clients",
            "100",
            "--publishers",
            "10",
            "--qos",
            "1",
            "--messages",
            &messages,
            "--payload",
            &size,
        ];
        let stops = AtomicBool::new(false);
        let (report, most) = thread::scope(|scope| {
            let watcher = scope.spawn(|| watch(&broker, &folder, &stops));
            let report = place.bench(&broker, &arguments);
            stops.store(true, Relaxed);
            (report, watcher.join().unwrap_or_default())
        });
        // It says whether all came, once and in their order.
        let report = report?;
        thread::sleep(Duration::from_secs(10));
        let held = number(&report, "memory", "held").unwrap_or_default();
        let [resident, peak] = broker.memory();
        let disk = disk_bytes(folder.path());
        samples.add(RESIDENT, HELD, held / 1e6);
        samples.add(RESIDENT, MOST, peak as f64 / 1e6);
        samples.add(RESIDENT, END, resident as f64 / 1e6);
        samples.add(DISK, MOST, most as f64 / 1e6);
        samples.add(DISK, END, disk as f64 / 1e6);
        samples.add(SHARE, MOST, most as f64 / payload);
        for phase in ["queue", "drain"] {
            for (key, column) in [("per_second", "messages/s"), ("broker_cpu_us", "CPU µs")] {
                if let Some(value) = number(&report, phase, key) {
                    samples.add(phase, column, value);
                }
            }
        }
    }
    let mut text = format!(
        "`midge bench offline --clients 100 --publishers 10 --qos 1 --messages {messages} --payload \
         {PAYLOAD}`: {:.0} MB of payload wait; all were delivered once and in their order.\n\n\
         | | {HELD} | {MOST} | {END} |\n|---|--:|--:|--:|\n",
        payload / 1e6
    );
    for (row, digits) in [(RESIDENT, 0), (DISK, 0), (SHARE, 2)] {
        let [held, most, end] = [HELD, MOST, END].map(|c| figure(samples.median(row, c), digits));
        text.push_str(&format!("| {row} | {held} | {most} | {end} |\n"));
    }
    text.push_str("\n| | messages/s | CPU µs per message |\n|---|--:|--:|\n");
    for (row, name) in [("queue", "published"), ("drain", "delivered")] {
        let rate = figure(samples.median(row, "messages/s"), 0);
        let cpu = figure(samples.median(row, "CPU µs"), 2);
        text.push_str(&format!("| {name} | {rate} | {cpu} |\n"));
    }
    Ok(text)
}

/// The most bytes that the folder took on the disk.
fn watch(broker: &Broker, folder: &Folder, stops: &AtomicBool) -> u64 {
    let mut most = 0;
    while !stops.load(Relaxed) && broker.memory()[0] > 0 {
        most = most.max(disk_bytes(folder.path()));
        thread::sleep(Duration::from_millis(50));
    }
    most
}
