//! The table, from samples to Markdown.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use super::contender::{Contender, MIDGE_NAME, MOSQUITTO, RELAY};
use super::scenario::{Metric, Scenario, number};

/// Numbers of all rounds, by row and contender.
#[derive(Default)]
pub(crate) struct Samples(BTreeMap<(String, &'static str), Vec<f64>>);

/// The column of the load generator, measured with Midge.
const GENERATOR: &str = "load generator";

impl Samples {
    /// Takes what a report says for each row.
    pub(super) fn take(&mut self, scenario: &Scenario, contender: &Contender, report: &str) {
        for metric in scenario.metrics {
            let row = row(scenario, metric);
            if let Some(value) = number(report, metric.section, metric.key) {
                self.add(&row, contender.name, value / metric.per);
            }
            let own = metric
                .bench_key
                .filter(|_| contender.name == MIDGE_NAME)
                .and_then(|key| number(report, "bench", key));
            if let Some(value) = own {
                self.add(&row, GENERATOR, value);
            }
        }
    }

    pub(crate) fn add(&mut self, row: &str, column: &'static str, value: f64) {
        let samples = self.0.entry((row.to_owned(), column)).or_default();
        samples.push(value);
    }

    /// The middle one of the rounds, or between the two in the middle.
    pub(crate) fn median(&self, row: &str, column: &'static str) -> Option<f64> {
        let mut samples = self.0.get(&(row.to_owned(), column))?.clone();
        samples.sort_by(f64::total_cmp);
        let middle = samples.len() / 2;
        let upper = samples.get(middle)?;
        if samples.len() % 2 == 1 {
            return Some(*upper);
        }
        let lower = samples.get(middle.checked_sub(1)?)?;
        Some(f64::midpoint(*lower, *upper))
    }

    /// Mosquitto's figure, the better one of its two configurations, and whether that is the second.
    fn mosquitto(&self, row: &str, more_is_better: bool) -> Option<(f64, bool)> {
        let [plain, tuned] = MOSQUITTO.map(|name| self.median(row, name));
        match (plain, tuned) {
            (Some(plain), Some(tuned)) if (tuned < plain) != more_is_better && tuned != plain => {
                Some((tuned, true))
            }
            (Some(plain), _) => Some((plain, false)),
            (None, tuned) => Some((tuned?, true)),
        }
    }
}

fn row(scenario: &Scenario, metric: &Metric) -> String {
    format!("{}: {}", scenario.title, metric.what)
}

/// What a reader has to know of the run.
pub(crate) struct Facts {
    pub(crate) lines: Vec<String>,
}

impl Facts {
    pub(crate) fn gather(command_line: String, contenders: &[Contender]) -> Self {
        let mut lines = vec![command_line];
        let date = Command::new("date").args(["-u", "+%Y-%m-%d"]).output();
        let date = date.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let cpu = value_of(&read("/proc/cpuinfo"), "model name");
        let memory = value_of(&read("/proc/meminfo"), "MemTotal");
        let kernel = read("/proc/sys/kernel/osrelease");
        lines.push(format!(
            "{}; {cores} cores ({}), {} of memory, Linux {}, brokers and load generator on the same \
             cores",
            date.unwrap_or_default(),
            cpu.unwrap_or_default(),
            memory.unwrap_or_default(),
            kernel.trim(),
        ));
        lines.extend(contenders.iter().find_map(Contender::version));
        Self { lines }
    }
}

/// The value of the first line `name: value`.
fn value_of(text: &str, name: &str) -> Option<String> {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.trim() == name)
        .map(|(_, value)| value.trim().to_owned())
}

/// The table with its facts.
pub(super) fn markdown<'a>(
    scenarios: impl Iterator<Item = &'a Scenario>,
    contenders: &[Contender],
    samples: &Samples,
    facts: &Facts,
) -> String {
    let mut text = String::new();
    for line in &facts.lines {
        let _ = writeln!(text, "- {line}");
    }
    text.push_str(
        "\n| | relay | midge | mosquitto | midge ÷ relay | midge ÷ mosquitto | load generator |\n\
         |---|--:|--:|--:|--:|--:|--:|\n",
    );
    let mut has_tuned = false;
    for scenario in scenarios {
        for metric in scenario.metrics {
            let row = row(scenario, metric);
            let more_is_better = metric.key == "per_second";
            let relay = samples.median(&row, RELAY);
            let midge = samples.median(&row, MIDGE_NAME);
            let mosquitto = samples.mosquitto(&row, more_is_better);
            let is_tuned = mosquitto.is_some_and(|(_, is_tuned)| is_tuned);
            has_tuned |= is_tuned;
            let mosquitto = mosquitto.map(|(value, _)| value);
            let _ = writeln!(
                text,
                "| {row} | {} | {} | {}{} | {} | {} | {} |",
                figure(relay, metric.digits),
                figure(midge, metric.digits),
                figure(mosquitto, metric.digits),
                if is_tuned { "*" } else { "" },
                figure(ratio(midge, relay), 2),
                figure(ratio(midge, mosquitto), 3),
                figure(samples.median(&row, GENERATOR), metric.digits),
            );
        }
    }
    if has_tuned {
        text.push_str("\n\\* with `set_tcp_nodelay true`, which is the better of the two there.\n");
    }
    if !contenders.iter().any(Contender::is_mosquitto) {
        text.push_str("\nMosquitto was not installed.\n");
    }
    text
}

pub(crate) fn ratio(one: Option<f64>, other: Option<f64>) -> Option<f64> {
    let (one, other) = (one?, other?);
    (other > 0.0).then(|| one / other)
}

pub(crate) fn figure(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.digits$}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_the_rounds_counts() {
        let mut samples = Samples::default();
        for value in [3.0, 1.0, 2.0] {
            samples.add("a", RELAY, value);
        }
        assert_eq!(samples.median("a", RELAY), Some(2.0));
        samples.add("a", RELAY, 10.0);
        assert_eq!(samples.median("a", RELAY), Some(2.5));
        assert_eq!(samples.median("b", RELAY), None);
    }

    #[test]
    fn mosquitto_shows_its_better_side() {
        let mut samples = Samples::default();
        samples.add("cost", MOSQUITTO[0], 4.0);
        assert_eq!(samples.mosquitto("cost", false), Some((4.0, false)));
        samples.add("cost", MOSQUITTO[1], 3.0);
        assert_eq!(samples.mosquitto("cost", false), Some((3.0, true)));
        samples.add("rate", MOSQUITTO[0], 4.0);
        samples.add("rate", MOSQUITTO[1], 3.0);
        assert_eq!(samples.mosquitto("rate", true), Some((4.0, false)));
        assert_eq!(samples.mosquitto("other", true), None);
    }

    #[test]
    fn figures_that_are_missing_are_dashes() {
        assert_eq!(figure(None, 2), "–");
        assert_eq!(figure(Some(1.0 / 3.0), 2), "0.33");
        assert_eq!(ratio(Some(1.0), Some(0.0)), None);
        assert_eq!(ratio(Some(1.0), Some(4.0)), Some(0.25));
    }

    #[test]
    fn facts_are_read_by_their_name() {
        let text = "processor\t: 0\nmodel name\t: Some CPU\nmodel name\t: Other\n";
        assert_eq!(value_of(text, "model name").as_deref(), Some("Some CPU"));
        assert_eq!(value_of(text, "cores"), None);
    }
}
