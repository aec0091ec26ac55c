//! What those who are connected feel of a checkpoint.

use super::broker::Kind;
use super::place::Place;
use crate::Outcome;
use crate::compare::scenario::number;
use crate::compare::table::{Samples, figure, ratio};

const WITH: &str = "while a checkpoint is made";
const WITHOUT: &str = "afterwards";

/// The quantiles, as the reports have them.
const QUANTILES: [&str; 3] = ["p50", "p99", "p999"];

/// Messages a second.
const RATES: [&str; 2] = ["1000", "5000"];

pub(super) fn run(place: &Place<'_>) -> Outcome<String> {
    let seconds = place.size("3", "1");
    let (sessions, messages) = place.size(("1000000", "1000000"), ("100000", "400000"));
    let mut samples = Samples::default();
    let mut missed = 0;
    let folder = place.folder()?;
    eprintln!("checkpoint: a store is filled");
    place.fill(&folder, &["--count", sessions, "--messages", messages])?;
    for round in 1..=place.rounds {
        for rate in RATES {
            eprintln!("round {round}: checkpoint, {rate} messages/s");
            let load = [
                "p2p",
                "--pairs",
                "20",
                "--rate",
                rate,
                "--qos",
                "1",
                "--seconds",
                seconds,
                "-V",
                "mqttv5",
                "-x",
                "60",
            ];
            // Its log is long, the last snapshot included, so a checkpoint begins at once.
            let broker = place.start(Kind::Midge("always"), &folder)?;
            let during = place.bench(&broker, &load)?;
            missed += usize::from(broker.checkpoints() > 0);
            broker.wait_for_checkpoints(1)?;
            let after = place.bench(&broker, &load)?;
            for (column, report) in [(WITH, &during), (WITHOUT, &after)] {
                for quantile in QUANTILES {
                    if let Some(value) = number(report, "latency_us", quantile) {
                        samples.add(&row(rate, quantile), column, value / 1000.0);
                    }
                }
            }
        }
    }
    let runs = place.rounds as usize * RATES.len();
    let mut text = format!(
        "`midge bench p2p --pairs 20 --rate 1000 --qos 1 --seconds {seconds} -V mqttv5 -x 60` \
         and `--rate 5000`, open loop, durable sessions, on a store of {sessions} sessions with \
         {messages} messages. In {} of {runs} runs the checkpoint lasted longer than the measurement.\n\n\
         | ms from when a message was due | {WITH} | {WITHOUT} | ratio |\n|---|--:|--:|--:|\n",
        runs - missed
    );
    for rate in RATES {
        for quantile in QUANTILES {
            let row = row(rate, quantile);
            let (with, without) = (samples.median(&row, WITH), samples.median(&row, WITHOUT));
            text.push_str(&format!(
                "| {row} | {} | {} | {} |\n",
                figure(with, 2),
                figure(without, 2),
                figure(ratio(with, without), 2),
            ));
        }
    }
    Ok(text)
}

fn row(rate: &str, quantile: &str) -> String {
    let quantile = if quantile == "p999" {
        "p99.9"
    } else {
        quantile
    };
    format!("{rate} messages/s, {quantile}")
}
