//! `cargo xtask bench-durable`: what durability costs, in one run and on one disk.
//!
//! As in [`crate::compare`], ratios within a run are what counts: each part goes round what it compares,
//! with a fresh process and a fresh directory each time, and the median of the rounds is taken.

use std::path::PathBuf;

use crate::Outcome;
use crate::compare::contender::{self, mosquitto};
use crate::compare::table::Facts;
use crate::compare::{build_programs, write};
use crate::workspace::Workspace;

pub(crate) mod broker;
mod checkpoint;
mod clean;
mod large;
mod log;
mod place;
mod queue;
mod recovery;

use place::Place;

/// The part of the document that `--write` replaces is between these.
const MARKS: [&str; 2] = [
    "<!-- bench-durable begins -->",
    "<!-- bench-durable ends -->",
];

/// A group of measurements that makes one table; the key is its name on the command line.
struct Part {
    key: &'static str,
    title: &'static str,
    run: fn(&Place<'_>) -> Outcome<String>,
}

const PARTS: &[Part] = &[
    Part {
        key: "queue",
        title: "QoS 1 to sessions that are away, 100 publishers",
        run: queue::many,
    },
    Part {
        key: "commit",
        title: "QoS 1 to a session that is away, one message at a time",
        run: queue::single,
    },
    Part {
        key: "clean",
        title: "Clean sessions only: persistence on and off",
        run: clean::run,
    },
    Part {
        key: "recovery",
        title: "Start after a kill",
        run: recovery::run,
    },
    Part {
        key: "large",
        title: "A long queue of messages of 1 KiB",
        run: large::run,
    },
    Part {
        key: "checkpoint",
        title: "Latency while a checkpoint is made",
        run: checkpoint::run,
    },
];

/// What `cargo xtask bench-durable` was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    rounds: u32,
    quick: bool,
    write: bool,
    directory: Option<PathBuf>,
    /// Parts by their key; empty for all.
    only: Vec<String>,
}

impl Options {
    /// Reads the command line after `bench-durable`.
    pub(crate) fn parse(arguments: &[&str]) -> Outcome<Self> {
        let mut options = Self {
            rounds: 0,
            quick: false,
            write: false,
            directory: None,
            only: Vec::new(),
        };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            match *argument {
                "--rounds" => {
                    let value = arguments.next().and_then(|value| value.parse().ok());
                    options.rounds = value
                        .filter(|value| (1..=1000).contains(value))
                        .ok_or("--rounds needs a number from 1 to 1000")?;
                }
                "--quick" => options.quick = true,
                "--write" => options.write = true,
                "--directory" => {
                    let path = arguments.next().ok_or("--directory needs a path")?;
                    options.directory = Some(path.into());
                }
                "--only" => {
                    let key = arguments.next().ok_or("--only needs a part")?;
                    if !PARTS.iter().any(|part| part.key == *key) {
                        let keys: Vec<_> = PARTS.iter().map(|part| part.key).collect();
                        return Err(format!("no part {key:?}, but {}", keys.join(", ")));
                    }
                    options.only.push((*key).to_owned());
                }
                other => return Err(format!("bench-durable has no option {other:?}")),
            }
        }
        if options.rounds == 0 {
            options.rounds = if options.quick { 1 } else { 5 };
        }
        if options.write && !options.only.is_empty() {
            return Err("--write replaces all tables, so it does not go with --only".to_owned());
        }
        Ok(options)
    }

    fn takes(&self, part: &Part) -> bool {
        self.only.is_empty() || self.only.iter().any(|key| key == part.key)
    }

    /// The command line that means this.
    fn command_line(&self) -> String {
        let mut line = format!("cargo xtask bench-durable --rounds {}", self.rounds);
        if self.quick {
            line.push_str(" --quick");
        }
        for key in &self.only {
            line.push_str(" --only ");
            line.push_str(key);
        }
        line
    }
}

/// Measures and prints the tables; `false` if a part failed.
pub(crate) fn command(workspace: &Workspace, options: &Options) -> Outcome<bool> {
    let folder = workspace.target().join("bench-durable");
    let programs = ["midge", "midge-bare-log", "midge-scale"];
    build_programs(workspace, &programs, &folder)?;
    if mosquitto().is_none() {
        println!("skipped: mosquitto is not installed, so the tables have no row for it");
    }
    let place = Place {
        directory: options.directory.as_ref().unwrap_or(&folder),
        programs: &folder,
        rounds: options.rounds,
        quick: options.quick,
    };
    let mut passed = true;
    let facts = Facts::gather(
        format!("`{}`", options.command_line()),
        &contender::all(&folder),
    );
    let mut text = String::new();
    for line in &facts.lines {
        text.push_str(&format!("- {line}\n"));
    }
    for part in PARTS.iter().filter(|part| options.takes(part)) {
        match (part.run)(&place) {
            Ok(table) => text.push_str(&format!("\n### {}\n\n{table}", part.title)),
            Err(reason) => {
                println!("FAILED: {}: {reason}", part.title);
                passed = false;
            }
        }
    }
    println!("\n{text}");
    if options.write && passed {
        write(workspace, MARKS, &text)?;
    }
    Ok(passed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quick_run_has_one_round_unless_told() {
        let options = Options::parse(&["--quick"]).unwrap();
        assert_eq!(options.rounds, 1);
        let options = Options::parse(&["--rounds", "3", "--only", "clean"]).unwrap();
        let line = "cargo xtask bench-durable --rounds 3 --only clean";
        assert_eq!(options.command_line(), line);
        assert_eq!(PARTS.iter().filter(|part| options.takes(part)).count(), 1);
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for line in [
            &["--rounds", "0"][..],
            &["--only", "nothing"],
            &["--fast"],
            &["--write", "--only", "clean"],
        ] {
            assert!(Options::parse(line).is_err(), "{line:?}");
        }
    }

    #[test]
    fn the_document_has_a_place_for_the_tables() {
        let text = Workspace::open().unwrap();
        let text = text.text("docs/performance.md").unwrap();
        assert!(MARKS.iter().all(|mark| text.contains(mark)));
    }
}
