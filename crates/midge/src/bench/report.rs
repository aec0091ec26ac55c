//! The outcome of a run, for people and for programs.

use std::fmt::Write as _;
use std::time::Duration;

use super::load::{Cost, Outcome};
use super::plan::{Pace, Plan, Scenario, transport, version_name};
use super::tally::Tally;

mod phased;

pub(crate) use phased::{phases_json, phases_text};

impl Outcome {
    fn rate(&self) -> f64 {
        self.measured as f64 / self.span.as_secs_f64().max(1e-9)
    }

    /// Microseconds of processor time for each delivery.
    fn micros_per_message(&self, cpu: Duration) -> f64 {
        cpu.as_secs_f64() * 1e6 / (self.measured.max(1)) as f64
    }

    fn micros_at(&self, quantile: f64) -> f64 {
        self.latency.value_at_quantile(quantile) as f64 / 1000.0
    }

    fn memory_per_connection(&self, cost: &Cost) -> u64 {
        let [before, connected, _] = cost.resident;
        connected.saturating_sub(before) / self.connections.max(1)
    }
}

const fn scenario_name(plan: &Plan) -> &'static str {
    match plan.scenario {
        Scenario::Pairs { .. } => "p2p",
        Scenario::FanOut { .. } => "fan-out",
        Scenario::Shared { .. } => "fan-in shared",
        Scenario::Wildcard { .. } => "fan-in wildcard",
        Scenario::Filters { .. } => "wildcard",
        Scenario::Storm { .. } => "conn",
        Scenario::Idle { .. } => "idle",
        Scenario::Retained { .. } => "retained",
        Scenario::Offline { .. } => "offline",
    }
}

/// The outcome as a few lines.
pub(crate) fn text(plan: &Plan, outcome: &Outcome) -> String {
    let mut text = String::new();
    let pace = match plan.pace {
        Pace::Closed { window } => format!("window {window}"),
        Pace::Open { rate } => format!("{rate} messages/s"),
    };
    let processes = match plan.processes {
        1 => String::new(),
        count => format!(", in each of {count} processes"),
    };
    let _ = writeln!(
        text,
        "{}: {} publishers, {} subscribers, QoS {}, MQTT {} over {}, {} bytes, {pace}, {} threads{processes}",
        scenario_name(plan),
        plan.publishers(),
        plan.subscribers(),
        plan.qos.bits(),
        version_name(plan.connect.version),
        transport(plan),
        plan.payload,
        plan.threads,
    );
    let _ = writeln!(
        text,
        "delivered   {} in {:.2} s: {:.0} messages/s",
        outcome.measured,
        outcome.span.as_secs_f64(),
        outcome.rate()
    );
    let _ = writeln!(
        text,
        "latency     p50 {:.0} us, p99 {:.0} us, p99.9 {:.0} us, max {:.0} us",
        outcome.micros_at(0.5),
        outcome.micros_at(0.99),
        outcome.micros_at(0.999),
        outcome.latency.max() as f64 / 1000.0
    );
    put_tally(&outcome.tally, &mut text);
    let _ = writeln!(
        text,
        "connecting  {} connections in {:.3} s",
        outcome.connections,
        outcome.connecting.as_secs_f64()
    );
    if let Some(cost) = &outcome.broker {
        let [before, connected, end] = cost.resident;
        let _ = writeln!(
            text,
            "broker      {:.3} us of processor time per message, memory {} KiB before, {} KiB \
             connected ({} bytes per connection), {} KiB at the end",
            outcome.micros_per_message(cost.cpu),
            before / 1024,
            connected / 1024,
            outcome.memory_per_connection(cost),
            end / 1024,
        );
    }
    if let Some(cost) = &outcome.own {
        let _ = writeln!(
            text,
            "bench       {:.3} us of processor time per message",
            outcome.micros_per_message(cost.cpu)
        );
    }
    text
}

fn put_tally(tally: &Tally, text: &mut String) {
    let _ = writeln!(
        text,
        "whole run   {} sent, {} received, {} lost, {} duplicates, {} disordered, {} misrouted, \
         {} unacknowledged, {} bad acknowledgements",
        tally.sent,
        tally.received,
        tally.lost,
        tally.duplicates,
        tally.disordered,
        tally.misrouted,
        tally.unacknowledged,
        tally.bad_acks
    );
}

/// The members of a JSON object that are about messages.
fn tally_json(plan: &Plan, tally: &Tally) -> String {
    format!(
        "\"sent\":{},\"received\":{},\"lost\":{},\"duplicates\":{},\"disordered\":{},\
         \"misrouted\":{},\"unacknowledged\":{},\"bad_acks\":{},\"faulty\":{}",
        tally.sent,
        tally.received,
        tally.lost,
        tally.duplicates,
        tally.disordered,
        tally.misrouted,
        tally.unacknowledged,
        tally.bad_acks,
        tally.is_faulty(plan),
    )
}

/// The outcome as one JSON object on one line. Times are microseconds, sizes bytes.
pub(crate) fn json(plan: &Plan, outcome: &Outcome) -> String {
    let (window, rate) = match plan.pace {
        Pace::Closed { window } => (window.to_string(), "null".to_owned()),
        Pace::Open { rate } => ("null".to_owned(), rate.to_string()),
    };
    let mut text = format!(
        "{{\"scenario\":\"{}\",\"transport\":\"{}\",\"processes\":{},\"publishers\":{},\"subscribers\":{},\"qos\":{},\"version\":\"{}\",\
         \"payload\":{},\"window\":{window},\"rate\":{rate},\"threads\":{},\"round_us\":{},\
         \"seconds\":{:.6},\"delivered\":{},\"messages_per_second\":{:.1},\
         \"latency_us\":{{\"p50\":{:.1},\"p99\":{:.1},\"p999\":{:.1},\"max\":{:.1}}},\
         {},\"connections\":{},\"connecting_seconds\":{:.6}",
        scenario_name(plan),
        transport(plan),
        plan.processes,
        plan.publishers(),
        plan.subscribers(),
        plan.qos.bits(),
        version_name(plan.connect.version),
        plan.payload,
        plan.threads,
        plan.round.as_micros(),
        outcome.span.as_secs_f64(),
        outcome.measured,
        outcome.rate(),
        outcome.micros_at(0.5),
        outcome.micros_at(0.99),
        outcome.micros_at(0.999),
        outcome.latency.max() as f64 / 1000.0,
        tally_json(plan, &outcome.tally),
        outcome.connections,
        outcome.connecting.as_secs_f64(),
    );
    if let Some(cost) = &outcome.broker {
        let [before, connected, end] = cost.resident;
        let _ = write!(
            text,
            ",\"broker\":{{\"cpu_us_per_message\":{:.4},\"cpu_seconds\":{:.2},\
             \"memory_before\":{before},\"memory_connected\":{connected},\"memory_end\":{end},\
             \"memory_per_connection\":{}}}",
            outcome.micros_per_message(cost.cpu),
            cost.cpu.as_secs_f64(),
            outcome.memory_per_connection(cost),
        );
    }
    if let Some(cost) = &outcome.own {
        let _ = write!(
            text,
            ",\"bench\":{{\"cpu_us_per_message\":{:.4},\"cpu_seconds\":{:.2}}}",
            outcome.micros_per_message(cost.cpu),
            cost.cpu.as_secs_f64(),
        );
    }
    text.push_str(",\"latency_quantiles_us\":[");
    for (index, quantile) in QUANTILES.iter().enumerate() {
        let comma = if index > 0 { "," } else { "" };
        let _ = write!(
            text,
            "{comma}[{quantile},{:.1}]",
            outcome.micros_at(*quantile)
        );
    }
    text.push_str("]}\n");
    text
}

/// What a curve of latencies is drawn through.
const QUANTILES: [f64; 16] = [
    0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975, 0.99, 0.995, 0.9975, 0.999, 0.9995, 0.99975, 0.9999,
    0.99999, 1.0,
];
