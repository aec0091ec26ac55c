//! What is measured, and what of each report goes into the table.

/// A run of `midge bench`.
pub(super) struct Scenario {
    /// How the command line calls it.
    pub(super) key: &'static str,
    /// How the table calls it.
    pub(super) title: &'static str,
    /// Arguments of `midge bench`.
    arguments: &'static [&'static str],
    /// Arguments of a quick run that differ: sizes.
    quick: &'static [&'static str],
    pub(super) takes_seconds: bool,
    /// Whether the bare relay can do it.
    pub(super) relay: bool,
    /// Whether mosquitto can: an open loop at a rate that it does not reach would fill its memory.
    pub(super) mosquitto: bool,
    pub(super) metrics: &'static [Metric],
}

/// A number of a report: a row of the table.
pub(super) struct Metric {
    /// Which object of the report it is in.
    pub(super) section: &'static str,
    pub(super) key: &'static str,
    /// What the row says behind the scenario's title.
    pub(super) what: &'static str,
    /// What the report's number is divided by.
    pub(super) per: f64,
    /// Digits behind the point.
    pub(super) digits: usize,
    /// Only this row's own figure of the load generator is shown.
    pub(super) bench_key: Option<&'static str>,
}

const CPU: &[Metric] = &[Metric {
    section: "broker",
    key: "cpu_us_per_message",
    what: "CPU µs per message",
    per: 1.0,
    digits: 3,
    bench_key: Some("cpu_us_per_message"),
}];

const LATENCY: &[Metric] = &[
    metric("latency_us", "p50", "median latency in µs", 1.0, 0),
    metric("latency_us", "p99", "99th percentile in µs", 1.0, 0),
];

const STORM: &[Metric] = &[
    metric("storm", "broker_cpu_us", "CPU µs per connection", 1.0, 1),
    metric("storm", "per_second", "connections/s", 1.0, 0),
    metric(
        "storm",
        "failed",
        "connections that came to nothing",
        1.0,
        0,
    ),
];

const fn metric(
    section: &'static str,
    key: &'static str,
    what: &'static str,
    per: f64,
    digits: usize,
) -> Metric {
    Metric {
        section,
        key,
        what,
        per,
        digits,
        bench_key: None,
    }
}

const fn load(
    key: &'static str,
    title: &'static str,
    relay: bool,
    arguments: &'static [&'static str],
) -> Scenario {
    Scenario {
        key,
        title,
        arguments,
        quick: &[],
        takes_seconds: true,
        relay,
        mosquitto: true,
        metrics: CPU,
    }
}

/// Among many filters, which one broker is compared with itself.
const fn filters(
    key: &'static str,
    title: &'static str,
    arguments: &'static [&'static str],
) -> Scenario {
    Scenario {
        mosquitto: false,
        ..load(key, title, false, arguments)
    }
}

/// Half of what a hundred pairs with a window of a hundred come to, for twenty connections: to look at two
/// hundred once takes the load generator, and any broker, more than a millisecond.
const HALF_OF_SATURATED_0: &[&str] = &[
    "p2p",
    "--pairs",
    "10",
    "--rate",
    "1200000",
    "--round-us",
    "100",
];
const HALF_OF_SATURATED_1: &[&str] = &[
    "p2p",
    "--pairs",
    "10",
    "--rate",
    "1200000",
    "--round-us",
    "100",
    "-q",
    "1",
];

/// All scenarios, in the order of the table.
pub(super) const SCENARIOS: [Scenario; 22] = [
    load("p2p-0", "100 pairs, window 100, QoS 0", true, &["p2p"]),
    load(
        "p2p-1",
        "100 pairs, window 100, QoS 1",
        true,
        &["p2p", "-q", "1"],
    ),
    load(
        "p2p-2",
        "100 pairs, window 100, QoS 2",
        false,
        &["p2p", "-q", "2"],
    ),
    load(
        "p2p-0-v5",
        "100 pairs, window 100, QoS 0, MQTT 5.0",
        true,
        &["p2p", "-V", "5"],
    ),
    load(
        "p2p-1-v5",
        "100 pairs, window 100, QoS 1, MQTT 5.0",
        true,
        &["p2p", "-q", "1", "-V", "5"],
    ),
    load(
        "paced-0",
        "100 pairs, 20,000 messages/s, QoS 0",
        true,
        &["p2p", "--rate", "20000"],
    ),
    load(
        "paced-1",
        "100 pairs, 20,000 messages/s, QoS 1",
        true,
        &["p2p", "-q", "1", "--rate", "20000"],
    ),
    Scenario {
        key: "latency",
        title: "100 pairs, 20,000 messages/s, QoS 1, rounds of 0.1 ms",
        arguments: &["p2p", "-q", "1", "--rate", "20000", "--round-us", "100"],
        quick: &[],
        takes_seconds: true,
        relay: true,
        mosquitto: true,
        metrics: LATENCY,
    },
    Scenario {
        key: "latency-half-0",
        title: "10 pairs, 1,200,000 messages/s, QoS 0, rounds of 0.1 ms",
        arguments: HALF_OF_SATURATED_0,
        quick: &[],
        takes_seconds: true,
        relay: true,
        mosquitto: false,
        metrics: LATENCY,
    },
    Scenario {
        key: "latency-half-1",
        title: "10 pairs, 1,200,000 messages/s, QoS 1, rounds of 0.1 ms",
        arguments: HALF_OF_SATURATED_1,
        quick: &[],
        takes_seconds: true,
        relay: true,
        mosquitto: false,
        metrics: LATENCY,
    },
    load(
        "fan-out",
        "1 publisher to 1,000 subscribers, QoS 0",
        true,
        &["fan-out", "--subscribers", "1000"],
    ),
    load(
        "fan-in",
        "100 publishers to 5 that share them, QoS 0",
        false,
        &["fan-in"],
    ),
    load(
        "fan-in-1",
        "100 publishers to 5 that share them, QoS 1",
        false,
        &["fan-in", "-q", "1"],
    ),
    load(
        "fan-in-all",
        "100 publishers to one wildcard, QoS 0",
        false,
        &["fan-in", "--wildcard"],
    ),
    filters(
        "wildcard-few",
        "1,000 wildcard filters, 3 match, QoS 0",
        &["wildcard", "--filters", "1000"],
    ),
    Scenario {
        mosquitto: true,
        quick: &["--filters", "10000"],
        ..filters(
            "wildcard",
            "100,000 wildcard filters, 3 match, QoS 0",
            &["wildcard"],
        )
    },
    Scenario {
        quick: &["--filters", "20000"],
        ..filters(
            "wildcard-many",
            "1,000,000 wildcard filters, 3 match, QoS 0",
            &["wildcard", "--filters", "1000000"],
        )
    },
    Scenario {
        key: "conn",
        title: "100 clients connect, subscribe, disconnect",
        arguments: &["conn"],
        quick: &[],
        takes_seconds: true,
        relay: true,
        mosquitto: true,
        metrics: STORM,
    },
    Scenario {
        key: "conn-many",
        title: "19,000 clients connect, subscribe, disconnect",
        arguments: &["conn", "--clients", "19000", "--seconds", "8"],
        quick: &["--clients", "500", "--seconds", "1"],
        takes_seconds: false,
        relay: true,
        mosquitto: true,
        metrics: STORM,
    },
    Scenario {
        key: "idle",
        title: "5,000 idle clients",
        arguments: &["idle", "--clients", "5000", "--seconds", "1"],
        quick: &["--clients", "500"],
        takes_seconds: false,
        relay: true,
        mosquitto: true,
        metrics: &[
            metric("memory", "before", "resident KiB with no client", 1024.0, 0),
            metric("memory", "bytes_each", "bytes per client", 1.0, 0),
        ],
    },
    Scenario {
        key: "retained",
        title: "20,000 retained messages, 10 subscribers",
        arguments: &["retained", "--messages", "20000", "-q", "1"],
        quick: &["--messages", "2000"],
        takes_seconds: false,
        relay: false,
        mosquitto: true,
        metrics: &[
            metric(
                "store",
                "broker_cpu_us",
                "CPU µs per message stored",
                1.0,
                2,
            ),
            metric(
                "deliver",
                "broker_cpu_us",
                "CPU µs per message delivered",
                1.0,
                2,
            ),
            metric("memory", "bytes_each", "bytes per message", 1.0, 0),
        ],
    },
    Scenario {
        key: "offline",
        title: "500 messages for each of 100 sessions away",
        arguments: &["offline", "--clients", "100", "--messages", "500"],
        quick: &["--messages", "50"],
        takes_seconds: false,
        relay: false,
        mosquitto: true,
        metrics: &[
            metric(
                "queue",
                "broker_cpu_us",
                "CPU µs per message queued",
                1.0,
                2,
            ),
            metric(
                "drain",
                "broker_cpu_us",
                "CPU µs per message delivered",
                1.0,
                2,
            ),
            metric("memory", "bytes_each", "bytes per message", 1.0, 0),
        ],
    },
];

impl Scenario {
    /// Whether connections that come to nothing are a row of the table.
    pub(super) fn counts_failures(&self) -> bool {
        self.metrics.iter().any(|metric| metric.key == "failed")
    }

    /// Arguments of `midge bench`; of an option that is there twice, the last counts.
    pub(super) fn arguments(&self, quick: bool) -> impl Iterator<Item = &'static str> {
        let quick = if quick { self.quick } else { &[] };
        self.arguments.iter().chain(quick).copied()
    }
}

/// The number under `key` in the object `section` of a report.
pub(crate) fn number(report: &str, section: &str, key: &str) -> Option<f64> {
    let (_, rest) = report.split_once(&format!("\"{section}\":{{"))?;
    let (object, _) = rest.split_once('}')?;
    let (_, value) = object.split_once(&format!("\"{key}\":"))?;
    value.split(',').next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_found_in_its_section() {
        let report = "{\"lost\":0,\"broker\":{\"cpu_us_per_message\":0.25,\"cpu_seconds\":1.5},\
                      \"bench\":{\"cpu_us_per_message\":0.5}}\n";
        let cpu = |section| number(report, section, "cpu_us_per_message");
        assert_eq!((cpu("broker"), cpu("bench")), (Some(0.25), Some(0.5)));
        assert_eq!(number(report, "broker", "cpu_seconds"), Some(1.5));
        assert_eq!(number(report, "broker", "lost"), None);
        assert_eq!(cpu("relay"), None);
    }

    #[test]
    fn keys_are_unique_and_quick_sizes_come_last() {
        for (index, scenario) in SCENARIOS.iter().enumerate() {
            assert!(
                SCENARIOS[..index]
                    .iter()
                    .all(|other| other.key != scenario.key)
            );
        }
        let idle = SCENARIOS.iter().find(|scenario| scenario.key == "idle");
        let last = idle.unwrap().arguments(true).last();
        assert_eq!(last, Some("500"));
    }
}
