//! The outcome of a run in phases.

use std::fmt::Write as _;

use super::{put_tally, scenario_name, tally_json};
use crate::bench::phase::Phases;
use crate::bench::plan::{Plan, Scenario, transport, version_name};

/// The outcome as a few lines.
pub(crate) fn phases_text(plan: &Plan, outcome: &Phases) -> String {
    let mut text = format!(
        "{}: {} clients, QoS {}, MQTT {}",
        scenario_name(plan),
        plan.subscribers(),
        plan.qos.bits(),
        version_name(plan.connect.version),
    );
    if has_messages(plan) {
        let _ = write!(text, ", {} bytes", plan.payload);
    }
    text.push('\n');
    for phase in &outcome.phases {
        let _ = write!(
            text,
            "{:<12}{} {}s in {:.3} s: {:.0} a second",
            phase.name,
            phase.count,
            phase.unit,
            phase.span.as_secs_f64(),
            phase.rate(),
        );
        for (who, time) in [("broker", phase.broker), ("bench", phase.own)] {
            if let Some(time) = time {
                let _ = write!(text, ", {who} {:.3} us each", phase.micros_each(time));
            }
        }
        text.push('\n');
    }
    if let Some(latency) = &outcome.latency {
        let at = |quantile| latency.value_at_quantile(quantile) as f64 / 1000.0;
        let _ = writeln!(
            text,
            "latency     p50 {:.0} us, p99 {:.0} us, p99.9 {:.0} us, max {:.0} us",
            at(0.5),
            at(0.99),
            at(0.999),
            latency.max() as f64 / 1000.0
        );
    }
    if let Some(failed) = outcome.failed {
        let _ = writeln!(text, "failed      {failed} connections");
    }
    if has_messages(plan) {
        put_tally(&outcome.tally, &mut text);
    }
    if let Some([before, held, end]) = outcome.memory {
        let _ = write!(
            text,
            "memory      {} KiB before, {} KiB held",
            before / 1024,
            held / 1024
        );
        if let Some(bytes) = outcome.bytes_each() {
            let _ = write!(text, " ({bytes} bytes per {})", outcome.held.1);
        }
        let _ = writeln!(text, ", {} KiB at the end", end / 1024);
    }
    text
}

const fn has_messages(plan: &Plan) -> bool {
    matches!(
        plan.scenario,
        Scenario::Retained { .. } | Scenario::Offline { .. }
    )
}

/// The outcome as one JSON object on one line. Times are microseconds, sizes bytes.
pub(crate) fn phases_json(plan: &Plan, outcome: &Phases) -> String {
    let mut text = format!(
        "{{\"scenario\":\"{}\",\"transport\":\"{}\",\"clients\":{},\"qos\":{},\"version\":\"{}\",\"payload\":{},{}",
        scenario_name(plan),
        transport(plan),
        plan.subscribers(),
        plan.qos.bits(),
        version_name(plan.connect.version),
        plan.payload,
        tally_json(plan, &outcome.tally),
    );
    for phase in &outcome.phases {
        let _ = write!(
            text,
            ",\"{}\":{{\"count\":{},\"seconds\":{:.6},\"per_second\":{:.1}",
            phase.name,
            phase.count,
            phase.span.as_secs_f64(),
            phase.rate(),
        );
        for (who, time) in [("broker", phase.broker), ("bench", phase.own)] {
            if let Some(time) = time {
                let _ = write!(
                    text,
                    ",\"{who}_cpu_us\":{:.4},\"{who}_cpu_seconds\":{:.2}",
                    phase.micros_each(time),
                    time.as_secs_f64()
                );
            }
        }
        if let Some(failed) = outcome.failed {
            let _ = write!(text, ",\"failed\":{failed}");
        }
        text.push('}');
    }
    if let Some(latency) = &outcome.latency {
        let _ = write!(
            text,
            ",\"latency_us\":{{\"p50\":{:.1},\"p99\":{:.1},\"max\":{:.1}}}",
            latency.value_at_quantile(0.5) as f64 / 1000.0,
            latency.value_at_quantile(0.99) as f64 / 1000.0,
            latency.max() as f64 / 1000.0,
        );
    }
    if let Some([before, held, end]) = outcome.memory {
        let _ = write!(
            text,
            ",\"memory\":{{\"before\":{before},\"held\":{held},\"end\":{end}"
        );
        if let Some(bytes) = outcome.bytes_each() {
            let _ = write!(text, ",\"bytes_each\":{bytes}");
        }
        text.push('}');
    }
    text.push_str("}\n");
    text
}
