//! From the start of the process to the first CONNACK, after a kill.

use super::broker::Kind;
use super::place::{Place, disk_bytes, row};
use crate::Outcome;
use crate::compare::table::{Samples, figure};

const SECONDS: &str = "s to the first CONNACK";
const CPU: &str = "CPU s";
const RESIDENT: &str = "resident MB";
const DISK: &str = "MB on the disk";
const LOG: &str = "bytes of log for each";

/// What a store holds: its name, and how `midge-scale store` makes it, in full and quick.
const STORES: [(&str, [&str; 8]); 3] = [
    (
        "no session",
        [
            "--count",
            "1",
            "--messages",
            "0",
            "--count",
            "1",
            "--messages",
            "0",
        ],
    ),
    (
        "1,000,000 sessions",
        [
            "--count",
            "1000000",
            "--user-name",
            "100",
            "--count",
            "10000",
            "--user-name",
            "100",
        ],
    ),
    (
        "10,000 sessions with 100 messages each",
        [
            "--count",
            "10000",
            "--messages",
            "1000000",
            "--count",
            "1000",
            "--messages",
            "10000",
        ],
    ),
];

pub(super) fn run(place: &Place<'_>) -> Outcome<String> {
    let mut samples = Samples::default();
    // Each round makes its stores anew, which takes longer than the starts.
    for round in 1..=place.rounds.min(3) {
        for (name, arguments) in STORES {
            let (full, quick) = arguments.split_at(4);
            let folder = place.folder()?;
            eprintln!("round {round}: {name}");
            let report = place.fill(&folder, place.size(full, quick))?;
            for each in ["log of a session", "log of a message"] {
                if let Some(bytes) = row(&report, each) {
                    samples.add(&format!("{name}: {each}"), LOG, bytes);
                }
            }
            // Until this broker has made a checkpoint, there is only the log to start from.
            let broker = place.start(Kind::Midge("always"), &folder)?;
            let from_log = format!("{name}, from the log");
            samples.add(&from_log, SECONDS, broker.started_in.as_secs_f64());
            samples.add(&from_log, CPU, broker.cpu());
            samples.add(&from_log, RESIDENT, broker.memory()[0] as f64 / 1e6);
            samples.add(&from_log, DISK, disk_bytes(folder.path()) as f64 / 1e6);
            if samples.median(&from_log, DISK) > Some(100.0) {
                broker.wait_for_checkpoints(1)?;
            }
            drop(broker);
            let again = format!("{name}, from a checkpoint");
            for _ in 0..2 {
                let broker = place.start(Kind::Midge("always"), &folder)?;
                samples.add(&again, SECONDS, broker.started_in.as_secs_f64());
                samples.add(&again, CPU, broker.cpu());
                samples.add(&again, RESIDENT, broker.memory()[0] as f64 / 1e6);
                samples.add(&again, DISK, disk_bytes(folder.path()) as f64 / 1e6);
            }
        }
    }
    let mut text = String::from(
        "`midge-scale store` makes the stores: client ids of 16 bytes, one subscription each, user names \
         of 100 bytes in the store of a million sessions; messages of 128 bytes. The broker is killed with \
         SIGKILL before each start, and the files are in the system's memory.\n\n",
    );
    text.push_str(&format!(
        "| | {SECONDS} | {CPU} | {RESIDENT} | {DISK} |\n|---|--:|--:|--:|--:|\n"
    ));
    for (name, _) in STORES {
        for from in ["from the log", "from a checkpoint"] {
            let row = format!("{name}, {from}");
            text.push_str(&format!(
                "| {row} | {} | {} | {} | {} |\n",
                figure(samples.median(&row, SECONDS), 2),
                figure(samples.median(&row, CPU), 2),
                figure(samples.median(&row, RESIDENT), 0),
                figure(samples.median(&row, DISK), 0),
            ));
        }
    }
    let each = |name: &str| figure(samples.median(name, LOG), 0);
    text.push_str(&format!(
        "\nA session took {} bytes of the log, a message {}.\n",
        each("1,000,000 sessions: log of a session"),
        each("10,000 sessions with 100 messages each: log of a message"),
    ));
    Ok(text)
}
