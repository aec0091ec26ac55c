//! `midge-sim`: runs seeds on all cores, or one with its trace.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use midge_sim::{Disk, Length, Summary, Violation, run};

const USAGE: &str = "\
Usage: midge-sim [--seeds N] [--first N] [--seconds S] [--brief] [--plain | --kept]
       midge-sim --seed N [--brief] [--plain | --kept] [-v]

  --seeds N    Runs N seeds (1000).
  --first N    Begins with seed N (1).
  --seconds S  Begins no seed after S seconds.
  --seed N     Runs this seed alone.
  --brief      Makes each run short, as the tests do.
  --plain      The broker keeps nothing, whatever the seed says.
  --kept       The broker keeps its state on a disk, whatever the seed says.
  -v           Prints what happens in the run.
  --help       Prints this.
";

/// Failures that are told in full; the rest is counted.
const TOLD_MAX: usize = 10;

struct Options {
    seeds: u64,
    first: u64,
    seconds: Option<u64>,
    seed: Option<u64>,
    length: Length,
    disk: Disk,
    verbose: bool,
}

fn main() -> ExitCode {
    match options(std::env::args().skip(1)) {
        Ok(Some(options)) => match options.seed {
            Some(seed) => one(seed, &options),
            None => many(&options),
        },
        Ok(None) => {
            print(USAGE.trim_end());
            ExitCode::SUCCESS
        }
        Err(message) => {
            print(&format!("midge-sim: {message}\n\n{}", USAGE.trim_end()));
            ExitCode::from(2)
        }
    }
}

fn print(line: &str) {
    // A reader that has seen enough is no reason to panic.
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn options(mut words: impl Iterator<Item = String>) -> Result<Option<Options>, String> {
    let mut options = Options {
        seeds: 1000,
        first: 1,
        seconds: None,
        seed: None,
        length: Length::Full,
        disk: Disk::BySeed,
        verbose: false,
    };
    while let Some(word) = words.next() {
        let mut number = || {
            let value = words.next().ok_or(format!("{word} needs a number"))?;
            value
                .parse::<u64>()
                .map_err(|_| format!("{word} needs a number, and '{value}' is none"))
        };
        match &*word {
            "--seeds" => options.seeds = number()?,
            "--first" => options.first = number()?,
            "--seconds" => options.seconds = Some(number()?),
            "--seed" => options.seed = Some(number()?),
            "--brief" => options.length = Length::Brief,
            "--plain" => options.disk = Disk::None,
            "--kept" => options.disk = Disk::Kept,
            "-v" | "--verbose" => options.verbose = true,
            "-h" | "--help" => return Ok(None),
            _ => return Err(format!("'{word}' is no option")),
        }
    }
    Ok(Some(options))
}

fn one(seed: u64, options: &Options) -> ExitCode {
    let sink = options.verbose.then_some(print as fn(&str));
    match run(seed, options.length, options.disk, sink) {
        Ok(summary) => {
            print(&format!("seed {seed}: passed, {summary:?}"));
            ExitCode::SUCCESS
        }
        Err(violation) => {
            tell(seed, options, &violation);
            ExitCode::FAILURE
        }
    }
}

fn tell(seed: u64, options: &Options, violation: &Violation) {
    let brief = match options.length {
        Length::Full => "",
        Length::Brief => " --brief",
    };
    let disk = match options.disk {
        Disk::BySeed => "",
        Disk::None => " --plain",
        Disk::Kept => " --kept",
    };
    print(&format!("seed {seed}: failed: {violation}"));
    print(&format!(
        "    again with: cargo run --release -p midge-sim -- --seed {seed}{brief}{disk} -v"
    ));
}

/// What all threads have found.
#[derive(Default)]
struct Findings {
    passed: u64,
    failed: Vec<(u64, Violation)>,
    total: Summary,
}

fn many(options: &Options) -> ExitCode {
    // A panic is a finding like any other and told at the end.
    std::panic::set_hook(Box::new(|_| {}));
    let began = Instant::now();
    let until = options
        .seconds
        .map(|seconds| began + Duration::from_secs(seconds));
    let next = AtomicU64::new(options.first);
    let last = options.first.saturating_add(options.seeds);
    let late = AtomicBool::new(false);
    let findings = Mutex::new(Findings::default());
    let cores = std::thread::available_parallelism().map_or(1, |count| count.get());
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    if until.is_some_and(|until| Instant::now() >= until) {
                        late.store(true, Ordering::Relaxed);
                        break;
                    }
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= last {
                        break;
                    }
                    let result = run(seed, options.length, options.disk, None);
                    let mut findings = findings.lock().unwrap_or_else(|e| e.into_inner());
                    match result {
                        Ok(summary) => findings.add(&summary),
                        Err(violation) => findings.failed.push((seed, violation)),
                    }
                }
            });
        }
    });
    let mut findings = findings.into_inner().unwrap_or_else(|e| e.into_inner());
    findings.failed.sort_by_key(|(seed, _)| *seed);
    findings.report(options, began.elapsed(), late.into_inner())
}

impl Findings {
    fn add(&mut self, summary: &Summary) {
        self.passed += 1;
        self.total.events += summary.events;
        self.total.published += summary.published;
        self.total.delivered += summary.delivered;
        self.total.dropped += summary.dropped;
    }

    fn report(&self, options: &Options, took: Duration, late: bool) -> ExitCode {
        for (seed, violation) in self.failed.iter().take(TOLD_MAX) {
            tell(*seed, options, violation);
        }
        let mut rules: Vec<(&str, usize)> = Vec::new();
        for (_, violation) in &self.failed {
            match rules.iter_mut().find(|(rule, _)| *rule == violation.rule) {
                Some((_, count)) => *count += 1,
                None => rules.push((violation.rule, 1)),
            }
        }
        for (rule, count) in rules {
            print(&format!("broken {count} times: {rule}"));
        }
        let total = &self.total;
        print(&format!(
            "{} messages published, {} delivered, {} dropped, {} events in {:.1} s{}",
            total.published,
            total.delivered,
            total.dropped,
            total.events,
            took.as_secs_f64(),
            if late { ", then the time was up" } else { "" },
        ));
        print(&format!(
            "seeds: {} passed, {} failed",
            self.passed,
            self.failed.len()
        ));
        if self.failed.is_empty() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }
}
