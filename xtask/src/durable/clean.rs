//! What persistence costs those who keep nothing.

use super::broker::Kind;
use super::place::Place;
use crate::Outcome;
use crate::compare::scenario::number;
use crate::compare::table::{Samples, figure, ratio};

const ON: &str = "persistence on";
const OFF: &str = "persistence off";

pub(super) fn run(place: &Place<'_>) -> Outcome<String> {
    let seconds = place.size("3", "1");
    let mut samples = Samples::default();
    let loads = ["0", "1"];
    for round in 1..=place.rounds {
        for qos in loads {
            let mut kinds = [(ON, Kind::Midge("always")), (OFF, Kind::MidgeOff)];
            // Whoever comes second may find a machine that is warmer, or busier.
            if round % 2 == 0 {
                kinds.reverse();
            }
            let mut costs = [None, None];
            for (name, kind) in kinds {
                eprintln!("round {round}: QoS {qos}, {name}");
                let folder = place.folder()?;
                let broker = place.start(kind, &folder)?;
                let report = place.bench(&broker, &["p2p", "--qos", qos, "--seconds", seconds])?;
                let cost = number(&report, "broker", "cpu_us_per_message")
                    .ok_or("the report has no processor time")?;
                samples.add(&row(qos), name, cost);
                costs[usize::from(name == OFF)] = Some(cost);
            }
            if let Some(ratio) = ratio(costs[0], costs[1]) {
                samples.add(&row(qos), RATIO, ratio);
            }
        }
    }
    let mut text = format!(
        "`midge bench p2p --qos 0 --seconds {seconds}` and `--qos 1`: 100 pairs with a window of 100.\n\n\
         | CPU µs per message | on | off | on ÷ off, of the medians | median of the rounds' ratios |\n\
         |---|--:|--:|--:|--:|\n"
    );
    for qos in loads {
        let row = row(qos);
        let (on, off) = (samples.median(&row, ON), samples.median(&row, OFF));
        text.push_str(&format!(
            "| {row} | {} | {} | {} | {} |\n",
            figure(on, 3),
            figure(off, 3),
            figure(ratio(on, off), 3),
            figure(samples.median(&row, RATIO), 3),
        ));
    }
    Ok(text)
}

const RATIO: &str = "on ÷ off";

fn row(qos: &str) -> String {
    format!("100 pairs, QoS {qos}")
}
