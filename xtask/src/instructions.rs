//! `cargo xtask instructions`: what the hot path costs in instructions, against a committed baseline.
//!
//! Instructions do not depend on how busy the machine is, so that a growth is one of the code. Each
//! scenario of `benches/hot` runs for two numbers of turns under callgrind; the difference, for each
//! delivered message, is what counts.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use toml::Table;

use crate::Outcome;
use crate::process::{cargo, run, works};
use crate::workspace::Workspace;

/// The committed figures.
const BASELINE: &str = "benches/hot/baseline.toml";

/// By how much a figure may exceed its baseline.
const GROWTH_MAX: f64 = 0.10;

/// Turns of the two runs.
const TURNS: [&str; 2] = ["10", "30"];

/// The scenarios, as `midge-hot` calls them.
const SCENARIOS: [&str; 6] = [
    "qos0_pair",
    "qos0_pair_v5",
    "qos0_rules",
    "qos1_pair",
    "wildcard",
    "fan_out_100",
];

const HEAD: &str = "\
# Instructions for each delivered message on the hot path, from bytes to bytes, without sockets. What
# benches/hot itself does is in them. `cargo xtask instructions --update` writes this file; a change that
# makes a figure grow by more than a tenth says why in its commit.

";

/// What `cargo xtask instructions` was asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    update: bool,
}

impl Options {
    /// Reads the command line after `instructions`.
    pub(crate) fn parse(arguments: &[&str]) -> Outcome<Self> {
        match arguments {
            [] => Ok(Self::default()),
            ["--update"] => Ok(Self { update: true }),
            other => Err(format!("instructions has no options {other:?}")),
        }
    }
}

/// Whether the counter is there.
pub(crate) fn can_count() -> bool {
    works("valgrind", &["--version"])
}

/// Counts, and compares or writes the baseline; `false` if a figure has grown too much.
pub(crate) fn command(workspace: &Workspace, options: &Options) -> Outcome<bool> {
    if !can_count() {
        println!("skipped: instructions: valgrind is not installed");
        return Ok(true);
    }
    run(cargo(&workspace.root).args(["build", "--release", "--package", "midge-hot"]))?;
    let program = workspace.target().join("release").join("midge-hot");
    let counts = SCENARIOS
        .iter()
        .map(|scenario| Ok((*scenario, per_message(&program, scenario)?)))
        .collect::<Outcome<Vec<_>>>()?;
    let path = workspace.root.join(BASELINE);
    if options.update {
        let mut text = HEAD.to_owned();
        for (scenario, count) in &counts {
            println!("{scenario:<14} {count:>8.1}");
            let _ = writeln!(text, "{scenario} = {count:.1}");
        }
        return match fs::write(&path, text) {
            Ok(()) => Ok(true),
            Err(error) => Err(format!("{BASELINE}: {error}")),
        };
    }
    let text = fs::read_to_string(&path).map_err(|error| format!("{BASELINE}: {error}"))?;
    let baseline: Table = text
        .parse()
        .map_err(|error| format!("{BASELINE}: {error}"))?;
    let mut passed = true;
    for (scenario, count) in counts {
        let verdict = judge(&baseline, scenario, count);
        println!("{scenario:<14} {count:>8.1}  {}", verdict.text);
        passed &= verdict.passed;
    }
    Ok(passed)
}

struct Verdict {
    passed: bool,
    text: String,
}

/// Compares a count with its baseline.
fn judge(baseline: &Table, scenario: &str, count: f64) -> Verdict {
    let Some(before) = baseline.get(scenario).and_then(toml::Value::as_float) else {
        return Verdict {
            passed: false,
            text: format!("has no baseline in {BASELINE}"),
        };
    };
    let growth = count / before - 1.0;
    let percent = growth * 100.0;
    if growth > GROWTH_MAX {
        Verdict {
            passed: false,
            text: format!("has grown by {percent:.1} % from {before}"),
        }
    } else if growth < -GROWTH_MAX {
        Verdict {
            passed: true,
            text: format!("{percent:+.1} %: `--update` keeps what was won"),
        }
    } else {
        Verdict {
            passed: true,
            text: format!("{percent:+.1} %"),
        }
    }
}

/// Instructions for each message that the longer run delivers beyond the shorter one.
fn per_message(program: &Path, scenario: &str) -> Outcome<f64> {
    let [short, long] = TURNS.map(|turns| count(program, scenario, turns));
    let (short, long) = (short?, long?);
    let messages = long.messages.saturating_sub(short.messages).max(1);
    let instructions = long.instructions.saturating_sub(short.instructions);
    Ok(instructions as f64 / messages as f64)
}

#[derive(Debug, PartialEq, Eq)]
struct Count {
    instructions: u64,
    messages: u64,
}

fn count(program: &Path, scenario: &str, turns: &str) -> Outcome<Count> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args([scenario, turns])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("valgrind: {error}"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("midge-hot {scenario} {turns}: {errors}"));
    }
    read_count(&String::from_utf8_lossy(&output.stdout), &errors)
        .ok_or_else(|| format!("callgrind has not said what it counted: {errors}"))
}

/// Reads what the program printed, and what callgrind said of it.
fn read_count(output: &str, errors: &str) -> Option<Count> {
    let (_, collected) = errors.split_once("Collected :")?;
    Some(Count {
        instructions: collected.split_whitespace().next()?.parse().ok()?,
        messages: output.trim().parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callgrinds_words_are_read() {
        let errors = "==7== Events    : Ir\n==7== Collected : 35897250\n==7==\n";
        let count = Count {
            instructions: 35_897_250,
            messages: 20_000,
        };
        assert_eq!(read_count("20000\n", errors), Some(count));
        assert_eq!(read_count("20000\n", "==7== "), None);
    }

    #[track_caller]
    fn check(count: f64, passed: bool, words: &str) {
        let baseline: Table = "pair = 1000.0".parse().unwrap();
        let verdict = judge(&baseline, "pair", count);
        assert_eq!(verdict.passed, passed, "{}", verdict.text);
        assert!(verdict.text.contains(words), "{}", verdict.text);
    }

    #[test]
    fn a_tenth_more_is_too_much() {
        check(1099.0, true, "+9.9 %");
        check(1101.0, false, "has grown by 10.1 % from 1000");
        check(500.0, true, "--update");
    }

    #[test]
    fn a_scenario_without_baseline_fails() {
        assert!(!judge(&Table::new(), "pair", 1.0).passed);
    }

    #[test]
    fn every_scenario_has_a_baseline() {
        let workspace = Workspace::open().unwrap();
        let baseline: Table = workspace.text(BASELINE).unwrap().parse().unwrap();
        let names: Vec<_> = baseline.keys().map(String::as_str).collect();
        let mut expected = SCENARIOS;
        expected.sort_unstable();
        assert_eq!(names, expected);
    }
}
