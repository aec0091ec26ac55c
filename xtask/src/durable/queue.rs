//! QoS 1 to sessions that are away: every message is to be safe before its PUBACK.

use super::broker::Kind;
use super::log::{Written, written};
use super::place::{Bare, Place};
use crate::Outcome;
use crate::compare::contender::mosquitto;
use crate::compare::scenario::number;
use crate::compare::table::{Samples, figure, ratio};

const RATE: &str = "messages/s";
const CPU: &str = "CPU µs per message";

/// A row: a broker, and how many messages for each session.
struct Contender {
    name: &'static str,
    kind: Kind,
    messages: u32,
}

const ALWAYS: &str = "Midge, `persistence_sync always`";
const OFF: &str = "Midge, no persistence";
const APPEND: &str = "bare loop, append";
const OVERWRITE: &str = "bare loop, blocks written before";
const BATCH: &str = "messages for each sync";

/// How many messages each publisher may have on their way: the more, the more share a sync.
const WINDOWS: [&str; 3] = ["1", "10", "100"];

/// Records of the bare loop with a sync for each.
const SINGLE_RECORDS: u64 = 5_000;

/// 100 publishers with a session each.
pub(super) fn many(place: &Place<'_>) -> Outcome<String> {
    let mut samples = Samples::default();
    let mut bytes = 0.0;
    for round in 1..=place.rounds {
        for window in WINDOWS {
            let batch = look_at_log(place, window)?;
            bytes = batch.each();
            samples.add(window, BATCH, batch.batch());
            let messages = place.size(if window == "1" { 500 } else { 2_000 }, 200);
            for (name, kind) in [(ALWAYS, Kind::Midge("always")), (OFF, Kind::MidgeOff)] {
                eprintln!("round {round}: {name}, window {window}");
                let report = offline(place, kind, &shape(messages, window))?;
                if let Some(rate) = number(&report, "queue", "per_second") {
                    samples.add(window, name, rate);
                }
            }
            for (name, overwrite) in [(APPEND, false), (OVERWRITE, true)] {
                let bare = Bare {
                    bytes: batch.each().round() as u64,
                    records: u64::from(messages) * 100,
                    batch: batch.batch().round() as u64,
                    overwrite,
                };
                let rate = number(&place.bare_log(&bare)?, "bare", "per_second");
                samples.add(window, name, rate.unwrap_or_default());
            }
        }
    }
    let mut text = format!(
        "`midge bench offline --clients 100 --publishers 100 --messages 2000 --qos 1 --window …` (500 \
         messages with a window of 1): messages a second. A message of 128 bytes is a record of {bytes:.0} \
         bytes. The bare loop appends as many bytes, and syncs after as many records as shared a sync in \
         the broker's log; it has no sockets, no protocol and no sessions.\n\n\
         | window of each publisher | {BATCH} | {ALWAYS} | {OFF} | {APPEND} | {OVERWRITE} | Midge ÷ bare \
         loop, append |\n|---|--:|--:|--:|--:|--:|--:|\n",
    );
    for window in WINDOWS {
        let [batch, always, off, append, overwrite] =
            [BATCH, ALWAYS, OFF, APPEND, OVERWRITE].map(|column| samples.median(window, column));
        text.push_str(&format!(
            "| {window} | {} | {} | {} | {} | {} | {} |\n",
            figure(batch, 0),
            figure(always, 0),
            figure(off, 0),
            figure(append, 0),
            figure(overwrite, 0),
            figure(ratio(always, append), 2),
        ));
    }
    text.push('\n');
    text.push_str(&brokers(place)?);
    Ok(text)
}

/// The brokers beside each other, saturated.
fn brokers(place: &Place<'_>) -> Outcome<String> {
    let (full, few) = (place.size(5_000, 500), place.size(50, 10));
    let all = [
        (ALWAYS, Kind::Midge("always"), full),
        ("Midge, `persistence_sync os`", Kind::Midge("os"), full),
        (OFF, Kind::MidgeOff, full),
        (AUTOSAVE, Kind::MosquittoAutosave, few),
        (MOSQUITTO_OFF, Kind::MosquittoOff, full),
    ];
    let contenders = installed(&all);
    let singles = [
        ("bare loop, append, one for each sync", false),
        ("bare loop, blocks written before, one for each sync", true),
    ];
    let mut samples = Samples::default();
    for round in 1..=place.rounds {
        for contender in &contenders {
            eprintln!("round {round}: {}", contender.name);
            let report = offline(place, contender.kind, &shape(contender.messages, "100"))?;
            take(&mut samples, contender.name, &report);
        }
        for (name, overwrite) in singles {
            let bare = Bare {
                bytes: 200,
                records: place.size(SINGLE_RECORDS, 500),
                batch: 1,
                overwrite,
            };
            let rate = number(&place.bare_log(&bare)?, "bare", "per_second");
            samples.add(name, RATE, rate.unwrap_or_default());
        }
    }
    let mut text = format!(
        "The same with a window of 100 and `--messages {full}` (`{few}` for `autosave_on_changes`, which \
         writes all that waits each time).\n\n| | {RATE} | ÷ Mosquitto without persistence | {CPU} |\n\
         |---|--:|--:|--:|\n"
    );
    let mosquitto = samples.median(MOSQUITTO_OFF, RATE);
    let names = contenders.iter().map(|contender| contender.name);
    for name in names.chain(singles.iter().map(|(name, _)| *name)) {
        let rate = samples.median(name, RATE);
        text.push_str(&format!(
            "| {name} | {} | {} | {} |\n",
            figure(rate, 0),
            figure(ratio(rate, mosquitto), 2),
            figure(samples.median(name, CPU), 2),
        ));
    }
    Ok(text)
}

const AUTOSAVE: &str = "Mosquitto, `autosave_on_changes`";
const MOSQUITTO_OFF: &str = "Mosquitto, no persistence";

/// Those that can be started here.
fn installed(all: &[(&'static str, Kind, u32)]) -> Vec<Contender> {
    let has_mosquitto = mosquitto().is_some();
    all.iter()
        .filter(|(_, kind, _)| has_mosquitto || !kind.is_mosquitto())
        .map(|(name, kind, messages)| Contender {
            name,
            kind: *kind,
            messages: *messages,
        })
        .collect()
}

fn shape(messages: u32, window: &str) -> Vec<String> {
    let messages = messages.to_string();
    let line = [
        "--clients",
        "100",
        "--publishers",
        "100",
        "--window",
        window,
        "--messages",
        &messages,
    ];
    line.map(str::to_owned).to_vec()
}

/// One publisher that waits for each PUBACK.
pub(super) fn single(place: &Place<'_>) -> Outcome<String> {
    const MICROS: &str = "µs for each";
    let (full, few) = (place.size(5_000, 500), place.size(200, 50));
    let contenders = installed(&[
        (ALWAYS, Kind::Midge("always"), full),
        (OFF, Kind::MidgeOff, full),
        (AUTOSAVE, Kind::MosquittoAutosave, few),
        (MOSQUITTO_OFF, Kind::MosquittoOff, full),
    ]);
    let bare = [(OVERWRITE, true), (APPEND, false)];
    let mut samples = Samples::default();
    for round in 1..=place.rounds {
        for contender in &contenders {
            eprintln!("round {round}: {}, one at a time", contender.name);
            let messages = contender.messages.to_string();
            let shape = ["--clients", "1", "--window", "1", "--messages", &messages];
            let report = offline(place, contender.kind, &shape)?;
            if let Some(rate) = number(&report, "queue", "per_second") {
                samples.add(contender.name, MICROS, 1e6 / rate);
            }
            take(&mut samples, contender.name, &report);
        }
        for (name, overwrite) in bare {
            let report = place.bare_log(&Bare {
                bytes: 200,
                records: u64::from(full),
                batch: 1,
                overwrite,
            })?;
            if let Some(rate) = number(&report, "bare", "per_second") {
                samples.add(name, MICROS, 1e6 / rate);
            }
        }
    }
    let mut text = format!(
        "`midge bench offline --clients 1 --window 1 --messages {full} --qos 1`: from PUBLISH to PUBACK, \
         with two crossings of a socket.\n\n| | {MICROS} | ÷ bare loop | {CPU} |\n|---|--:|--:|--:|\n"
    );
    let floor = samples.median(OVERWRITE, MICROS);
    let names = contenders.iter().map(|contender| contender.name);
    for name in names.chain(bare.iter().map(|(name, _)| *name)) {
        let micros = samples.median(name, MICROS);
        text.push_str(&format!(
            "| {name} | {} | {} | {} |\n",
            figure(micros, 0),
            figure(ratio(micros, floor), 2),
            figure(samples.median(name, CPU), 1),
        ));
    }
    Ok(text)
}

fn take(samples: &mut Samples, row: &str, report: &str) {
    for (column, key) in [(RATE, "per_second"), (CPU, "broker_cpu_us")] {
        if let Some(value) = number(report, "queue", key) {
            samples.add(row, column, value);
        }
    }
}

fn offline<S: AsRef<str>>(place: &Place<'_>, kind: Kind, shape: &[S]) -> Outcome<String> {
    let folder = place.folder()?;
    let broker = place.start(kind, &folder)?;
    let mut arguments = vec!["offline", "--qos", "1"];
    arguments.extend(shape.iter().map(AsRef::as_ref));
    place.bench(&broker, &arguments)
}

/// How large a message's record is and how many share a commit: by a run that is too short for a
/// checkpoint, so that the log is there to be looked at.
fn look_at_log(place: &Place<'_>, window: &str) -> Outcome<Written> {
    let folder = place.folder()?;
    let broker = place.start(Kind::Midge("always"), &folder)?;
    let messages = place.size(if window == "1" { 200 } else { 1_000 }, 100);
    let mut arguments = vec!["offline", "--qos", "1"];
    let shape = shape(messages, window);
    arguments.extend(shape.iter().map(String::as_str));
    place.bench(&broker, &arguments)?;
    drop(broker);
    written(&folder.path().join("midge"))
}
