//! `cargo xtask bench-compare`: Midge beside a bare relay and Debian's mosquitto, in one run.
//!
//! Machines differ and are noisy, so what counts are ratios within a run: every scenario goes round the
//! contenders, one after the other on a fresh process each, and the median of the rounds is taken.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{fs, io};

use crate::Outcome;
use crate::process::{cargo, run};
use crate::workspace::Workspace;

pub(crate) mod contender;
pub(crate) mod scenario;
pub(crate) mod table;

use contender::{Contender, Running};
use scenario::{SCENARIOS, Scenario};
use table::{Facts, Samples};

/// Where the table is kept.
const DOCUMENT: &str = "docs/performance.md";

/// The part of the document that `--write` replaces is between these.
const MARKS: [&str; 2] = [
    "<!-- bench-compare begins -->",
    "<!-- bench-compare ends -->",
];

/// What `cargo xtask bench-compare` was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    seconds: u32,
    rounds: u32,
    quick: bool,
    write: bool,
    /// Scenarios by their key; empty for all.
    only: Vec<String>,
    /// The broker, if it is not to be built.
    midge: Option<String>,
}

impl Options {
    /// Reads the command line after `bench-compare`.
    pub(crate) fn parse(arguments: &[&str]) -> Outcome<Self> {
        let mut options = Self {
            seconds: 0,
            rounds: 0,
            quick: false,
            write: false,
            only: Vec::new(),
            midge: None,
        };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let mut number = || {
                let value = arguments.next().and_then(|value| value.parse().ok());
                value
                    .filter(|value| (1..=3600).contains(value))
                    .ok_or_else(|| format!("{argument} needs a number from 1 to 3600"))
            };
            match *argument {
                "--seconds" => options.seconds = number()?,
                "--rounds" => options.rounds = number()?,
                "--quick" => options.quick = true,
                "--write" => options.write = true,
                "--midge" => {
                    let program = arguments.next().ok_or("--midge needs a program")?;
                    options.midge = Some((*program).to_owned());
                }
                "--only" => {
                    let key = arguments.next().ok_or("--only needs a scenario")?;
                    if !SCENARIOS.iter().any(|scenario| scenario.key == *key) {
                        let keys: Vec<_> = SCENARIOS.iter().map(|scenario| scenario.key).collect();
                        return Err(format!("no scenario {key:?}, but {}", keys.join(", ")));
                    }
                    options.only.push((*key).to_owned());
                }
                other => return Err(format!("bench-compare has no option {other:?}")),
            }
        }
        let (seconds, rounds) = if options.quick { (1, 1) } else { (5, 3) };
        if options.seconds == 0 {
            options.seconds = seconds;
        }
        if options.rounds == 0 {
            options.rounds = rounds;
        }
        Ok(options)
    }

    fn takes(&self, scenario: &Scenario) -> bool {
        self.only.is_empty() || self.only.iter().any(|key| key == scenario.key)
    }

    /// The command line that means this.
    fn command_line(&self) -> String {
        let mut line = format!(
            "cargo xtask bench-compare --seconds {} --rounds {}",
            self.seconds, self.rounds
        );
        if self.quick {
            line.push_str(" --quick");
        }
        if let Some(program) = &self.midge {
            line.push_str(" --midge ");
            line.push_str(program);
        }
        for key in &self.only {
            line.push_str(" --only ");
            line.push_str(key);
        }
        line
    }
}

/// Measures and prints the table; `false` if a run lost, repeated or disordered messages, or failed.
pub(crate) fn command(workspace: &Workspace, options: &Options) -> Outcome<bool> {
    let folder = workspace.target().join("bench-compare");
    build_programs(workspace, &["midge", "midge-relay"], &folder)?;
    let bench_program = folder.join("bench");
    let prepare = || -> io::Result<()> {
        fs::rename(folder.join("midge"), &bench_program)?;
        let broker = options
            .midge
            .as_deref()
            .map_or(bench_program.as_path(), Path::new);
        fs::copy(broker, folder.join("midge")).map(drop)
    };
    prepare().map_err(|error| format!("{}: {error}", folder.display()))?;
    let contenders = contender::all(&folder);
    if !contenders.iter().any(Contender::is_mosquitto) {
        println!("skipped: mosquitto is not installed, so the table has no column for it");
    }
    let bench = Bench {
        program: bench_program,
        options,
    };
    let mut samples = Samples::default();
    let mut passed = true;
    for round in 1..=options.rounds {
        for scenario in SCENARIOS.iter().filter(|scenario| options.takes(scenario)) {
            for contender in &contenders {
                if (contender.is_relay() && !scenario.relay)
                    || (contender.is_mosquitto() && !scenario.mosquitto)
                {
                    continue;
                }
                eprintln!("round {round}: {}: {}", scenario.title, contender.name);
                match bench.run(scenario, contender) {
                    Ok(report) => samples.take(scenario, contender, &report),
                    Err(reason) => {
                        println!("FAILED: {}: {}: {reason}", scenario.title, contender.name);
                        passed = false;
                    }
                }
            }
        }
    }
    let chosen = SCENARIOS.iter().filter(|scenario| options.takes(scenario));
    let mut line = format!("`{}`", options.command_line());
    if options.quick {
        line.push_str(" (numbers of clients and messages are smaller than the rows say)");
    }
    let facts = Facts::gather(line, &contenders);
    let text = table::markdown(chosen, &contenders, &samples, &facts);
    println!("\n{text}");
    if options.write {
        write(workspace, MARKS, &text)?;
    }
    Ok(passed)
}

/// Builds programs, each in a package of its name, and copies them to a folder of their own: another build
/// must not change them during the run.
pub(crate) fn build_programs(
    workspace: &Workspace,
    programs: &[&str],
    folder: &Path,
) -> Outcome<()> {
    let packages = programs.iter().flat_map(|program| ["--package", *program]);
    run(cargo(&workspace.root)
        .args(["build", "--release"])
        .args(packages))?;
    let release = workspace.target().join("release");
    let take = || -> io::Result<()> {
        fs::create_dir_all(folder)?;
        for program in programs {
            fs::copy(release.join(program), folder.join(program))?;
        }
        Ok(())
    };
    take().map_err(|error| format!("{}: {error}", folder.display()))
}

/// The load generator.
struct Bench<'a> {
    program: PathBuf,
    options: &'a Options,
}

impl Bench<'_> {
    /// Runs a scenario against a fresh process; the report as JSON.
    fn run(&self, scenario: &Scenario, contender: &Contender) -> Outcome<String> {
        let running = Running::start(contender)?;
        let mut command = Command::new(&self.program);
        command
            .arg("bench")
            .args(scenario.arguments(self.options.quick))
            .args(["-h", "127.0.0.1", "-p", &running.port.to_string()])
            .args(["--pid", &running.pid().to_string(), "--json", "--quiet"]);
        if scenario.takes_seconds {
            command.args(["--seconds", &self.options.seconds.to_string()]);
        }
        let output = command
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("midge bench: {error}"))?;
        let report = String::from_utf8_lossy(&output.stdout).into_owned();
        // That connections come to nothing is a figure of the table, not the end of it.
        if output.status.success() || scenario.counts_failures() && !report.is_empty() {
            return Ok(report);
        }
        let errors = String::from_utf8_lossy(&output.stderr);
        Err(format!(
            "{} {} {}",
            output.status,
            errors.trim(),
            report.trim()
        ))
    }
}

/// Puts text into the document, between two marks.
pub(crate) fn write(workspace: &Workspace, marks: [&str; 2], text: &str) -> Outcome<()> {
    let path = workspace.root.join(DOCUMENT);
    let document = fs::read_to_string(&path).map_err(|error| format!("{DOCUMENT}: {error}"))?;
    let document =
        replace(&document, marks, text).ok_or(format!("{DOCUMENT} has no place for it"))?;
    fs::write(&path, document).map_err(|error| format!("{DOCUMENT}: {error}"))
}

fn replace(document: &str, marks: [&str; 2], text: &str) -> Option<String> {
    let [begin, end] = marks;
    let (before, rest) = document.split_once(begin)?;
    let (_, after) = rest.split_once(end)?;
    Some(format!("{before}{begin}\n\n{text}\n{end}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quick_run_is_short_unless_told() {
        let options = Options::parse(&["--quick"]).unwrap();
        assert_eq!((options.seconds, options.rounds), (1, 1));
        let options = Options::parse(&["--quick", "--seconds", "4", "--only", "fan-out"]).unwrap();
        assert_eq!((options.seconds, options.rounds), (4, 1));
        let line = "cargo xtask bench-compare --seconds 4 --rounds 1 --quick --only fan-out";
        assert_eq!(options.command_line(), line);
        assert!(Options::parse(&["--seconds", "0"]).is_err());
        assert!(Options::parse(&["--only", "nothing"]).is_err());
        assert!(Options::parse(&["--fast"]).is_err());
    }

    #[test]
    fn only_what_is_between_the_marks_is_replaced() {
        let [begin, end] = MARKS;
        let document = format!("a\n{begin}\nold\n{end}\nb\n");
        let expected = format!("a\n{begin}\n\nnew\n\n{end}\nb\n");
        assert_eq!(replace(&document, MARKS, "new\n"), Some(expected));
        assert_eq!(replace("a", MARKS, "new"), None);
    }

    #[test]
    fn the_document_has_a_place_for_the_table() {
        let text = Workspace::open().unwrap().text(DOCUMENT).unwrap();
        assert!(replace(&text, MARKS, "").is_some());
    }
}
