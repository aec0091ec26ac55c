//! Runs that consist of phases: each does one thing so many times, and is measured from its first to its
//! last.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::plan::Plan;
use super::process::Usage;
use super::tally::Tally;

/// One thing that was done many times.
#[derive(Clone, Debug)]
pub(crate) struct Phase {
    pub(crate) name: &'static str,
    /// What was counted, in the singular.
    pub(crate) unit: &'static str,
    pub(crate) count: u64,
    pub(crate) span: Duration,
    /// Processor time of the broker and of this process.
    pub(crate) broker: Option<Duration>,
    pub(crate) own: Option<Duration>,
}

/// What a run in phases showed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Phases {
    pub(crate) phases: Vec<Phase>,
    pub(crate) tally: Tally,
    /// The broker's memory in bytes: before, while it held `held`, and at the end.
    pub(crate) memory: Option<[u64; 3]>,
    /// How much of what, in the singular, the broker held.
    pub(crate) held: (u64, &'static str),
    /// Nanoseconds, where each of the things done has a time of its own.
    pub(crate) latency: Option<Histogram<u64>>,
    /// Connections that came to nothing, where that is counted.
    pub(crate) failed: Option<u64>,
}

/// A phase under way.
pub(crate) struct Meter {
    pid: Option<String>,
    began: Instant,
    usage: [Option<Usage>; 2],
}

impl Meter {
    pub(crate) fn start(plan: &Plan) -> Self {
        let pid = plan.pid.map(|pid| pid.to_string());
        Self {
            usage: look(pid.as_deref()),
            began: Instant::now(),
            pid,
        }
    }

    /// Ends the phase, in which `count` times a `unit` was done.
    pub(crate) fn end(self, name: &'static str, unit: &'static str, count: u64) -> Phase {
        let span = self.began.elapsed();
        let [broker, own] = look(self.pid.as_deref());
        let used = |from: Option<Usage>, to: Option<Usage>| Some(to?.cpu_since(&from?));
        Phase {
            name,
            unit,
            count,
            span,
            broker: used(self.usage[0], broker),
            own: used(self.usage[1], own),
        }
    }
}

fn look(pid: Option<&str>) -> [Option<Usage>; 2] {
    [pid, Some("self")].map(|pid| pid.and_then(Usage::of))
}

/// The broker's resident memory in bytes.
pub(crate) fn resident(plan: &Plan) -> Option<u64> {
    Usage::of(&plan.pid?.to_string()).map(|usage| usage.resident)
}

/// The three sizes that [`Phases::memory`] takes, if all are known.
pub(crate) fn memory(sizes: [Option<u64>; 3]) -> Option<[u64; 3]> {
    let [before, held, end] = sizes;
    Some([before?, held?, end?])
}

impl Phase {
    /// How many a second.
    pub(crate) fn rate(&self) -> f64 {
        self.count as f64 / self.span.as_secs_f64().max(1e-9)
    }

    /// Microseconds of `time` for each.
    pub(crate) fn micros_each(&self, time: Duration) -> f64 {
        time.as_secs_f64() * 1e6 / self.count.max(1) as f64
    }
}

impl Phases {
    /// Bytes by which the broker grew for each of what it held.
    pub(crate) fn bytes_each(&self) -> Option<u64> {
        let [before, held, _] = self.memory?;
        held.saturating_sub(before).checked_div(self.held.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_for_each_of_what_was_done() {
        let phase = Phase {
            name: "store",
            unit: "message",
            count: 200,
            span: Duration::from_millis(100),
            broker: Some(Duration::from_millis(1)),
            own: None,
        };
        assert!((phase.rate() - 2000.0).abs() < 1e-6);
        assert!((phase.micros_each(Duration::from_millis(1)) - 5.0).abs() < 1e-9);
        let phases = Phases {
            memory: Some([1000, 5000, 2000]),
            held: (40, "message"),
            ..Phases::default()
        };
        assert_eq!(phases.bytes_each(), Some(100));
        assert_eq!(Phases::default().bytes_each(), None);
    }
}
