//! `cargo xtask check` and `cargo xtask test`: the stages, in order, each with its time.
//!
//! A failed stage does not stop the later ones: one run shows everything that is wrong.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::process::{cargo, run, works};
use crate::workspace::Workspace;
use crate::{Outcome, instructions, spec, tidy};

/// Simulator seeds of a full run, and how long it may take.
const SEEDS: Seeds = Seeds {
    count: "5000",
    seconds: "100",
};

/// Simulator seeds of a quick run.
const SEEDS_QUICK: Seeds = Seeds {
    count: "300",
    seconds: "20",
};

struct Seeds {
    count: &'static str,
    seconds: &'static str,
}

/// How a stage ended.
enum Verdict {
    Passed,
    Failed(String),
    /// With the reason.
    Skipped(String),
}

impl From<Result<(), String>> for Verdict {
    fn from(result: Result<(), String>) -> Self {
        match result {
            Ok(()) => Self::Passed,
            Err(reason) => Self::Failed(reason),
        }
    }
}

/// One step of the test command.
struct Stage {
    name: &'static str,
    heading: &'static str,
    run: fn(&Context<'_>) -> Verdict,
}

const fn stage(
    name: &'static str,
    heading: &'static str,
    run: fn(&Context<'_>) -> Verdict,
) -> Stage {
    Stage { name, heading, run }
}

/// All stages of `cargo xtask test`, quick ones first.
const STAGES: [Stage; 14] = [
    stage("setup", "tools that the stages need", setup),
    stage("fmt", "format", fmt),
    stage("tidy", "rules of the project", tidy_rules),
    stage("clippy", "lints, as errors", clippy),
    stage(
        "spec",
        "statements of the standards and their tests",
        statements,
    ),
    stage("build", "the broker that the socket tests talk to", build),
    stage(
        "tests",
        "unit, property, statement, conformance and corpus tests",
        tests,
    ),
    stage("doctests", "examples in the documentation", doctests),
    stage("docs", "documentation, warnings as errors", docs),
    stage(
        "embedded",
        "the client for microcontrollers: its example for embassy, and its size",
        embedded,
    ),
    stage("release", "the broker as it ships", release),
    stage(
        "count",
        "instructions of the hot path against their baseline",
        count,
    ),
    stage("simulator", "seeds of the simulator", simulator),
    stage("clients", "third-party clients and hostile peers", clients),
];

/// The fast loop of `cargo xtask check`.
const CHECK: [Stage; 4] = [
    stage("fmt", "format", fmt),
    stage("tidy", "rules of the project", tidy_rules),
    stage("clippy", "lints, as errors", clippy),
    stage("unit", "unit tests", unit_tests),
];

/// Which stages of `cargo xtask test` run.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Choice {
    quick: bool,
    list: bool,
    only: Vec<String>,
}

impl Choice {
    /// Reads the command line after `test`.
    pub(crate) fn parse(arguments: &[&str]) -> Outcome<Self> {
        let mut choice = Self::default();
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            match *argument {
                "--quick" => choice.quick = true,
                "--list" => choice.list = true,
                "--only" => {
                    let name = arguments.next().ok_or("--only needs the name of a stage")?;
                    if !STAGES.iter().any(|stage| stage.name == *name) {
                        return Err(format!("no stage {name:?}; `cargo xtask test --list`"));
                    }
                    choice.only.push((*name).to_owned());
                }
                other => return Err(format!("test has no option {other:?}")),
            }
        }
        Ok(choice)
    }

    fn takes(&self, stage: &Stage) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == stage.name)
    }
}

/// What every stage may look at.
struct Context<'a> {
    workspace: &'a Workspace,
    quick: bool,
}

impl Context<'_> {
    fn root(&self) -> &Path {
        &self.workspace.root
    }

    fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = cargo(self.root());
        command.args(arguments);
        command
    }

    /// Where cargo puts the broker of a profile.
    fn broker(&self, profile: &str) -> PathBuf {
        let name = format!("midge{}", std::env::consts::EXE_SUFFIX);
        self.workspace.target().join(profile).join(name)
    }
}

/// The fast loop.
pub(crate) fn check(workspace: &Workspace) -> Outcome<bool> {
    Ok(run_stages(
        CHECK.iter(),
        &Context {
            workspace,
            quick: true,
        },
    ))
}

/// The test command.
pub(crate) fn test(workspace: &Workspace, choice: &Choice) -> Outcome<bool> {
    let stages = STAGES.iter().filter(|stage| choice.takes(stage));
    if choice.list {
        for stage in stages {
            println!("{:<10} {}", stage.name, stage.heading);
        }
        return Ok(true);
    }
    Ok(run_stages(
        stages,
        &Context {
            workspace,
            quick: choice.quick,
        },
    ))
}

/// Runs each stage to its end and sums up; `true` if none failed.
fn run_stages<'a>(stages: impl Iterator<Item = &'a Stage>, context: &Context<'_>) -> bool {
    let mut done: Vec<(&str, Verdict, Duration)> = Vec::new();
    for stage in stages {
        println!("\n== {}: {}", stage.name, stage.heading);
        let begin = Instant::now();
        let verdict = (stage.run)(context);
        done.push((stage.name, verdict, begin.elapsed()));
    }
    println!();
    for (name, verdict, time) in &done {
        let seconds = time.as_secs_f64();
        match verdict {
            Verdict::Passed => println!("{name:<10} ok      {seconds:>7.1} s"),
            Verdict::Failed(reason) => println!("{name:<10} FAILED  {seconds:>7.1} s  {reason}"),
            Verdict::Skipped(why) => println!("skipped: {name}: {why}"),
        }
    }
    let count = |wanted: fn(&Verdict) -> bool| done.iter().filter(|(_, v, _)| wanted(v)).count();
    let failed = count(|verdict| matches!(verdict, Verdict::Failed(_)));
    println!(
        "{} passed, {failed} failed",
        count(|verdict| matches!(verdict, Verdict::Passed))
    );
    failed == 0
}

/// Adds what a minimal Rust installation lacks; the third-party clients are fetched by their runner.
fn setup(context: &Context<'_>) -> Verdict {
    for (component, program) in [("rustfmt", "fmt"), ("clippy", "clippy")] {
        if !context
            .cargo(&[program, "--version"])
            .output()
            .is_ok_and(|out| out.status.success())
        {
            let mut rustup = Command::new("rustup");
            rustup
                .args(["component", "add", component])
                .current_dir(context.root());
            if let Err(reason) = run(&mut rustup) {
                return Verdict::Failed(reason);
            }
        }
    }
    if !has_nextest(context) {
        println!("cargo-nextest is not installed: `cargo test` is used in its place");
    }
    if context.quick {
        return Verdict::Passed;
    }
    if !works("python3", &["--version"]) && !install_python() {
        return Verdict::Skipped("python3 is not installed, so no third-party clients".to_owned());
    }
    run(Command::new("python3")
        .args(["tests/run.py", "--install"])
        .current_dir(context.root()))
    .into()
}

/// The runner of the third-party clients needs Python; a container often has none.
fn install_python() -> bool {
    let install = [
        "install",
        "--yes",
        "--no-install-recommends",
        "python3",
        "python3-venv",
    ];
    works("apt-get", &["update"]) && works("apt-get", &install)
}

fn has_nextest(context: &Context<'_>) -> bool {
    context
        .cargo(&["nextest", "--version"])
        .output()
        .is_ok_and(|out| out.status.success())
}

fn fmt(context: &Context<'_>) -> Verdict {
    run(&mut context.cargo(&["fmt", "--all", "--", "--check"])).into()
}

fn tidy_rules(context: &Context<'_>) -> Verdict {
    verdict(
        tidy::command(context.workspace, &tidy::Options::default()),
        "a rule is broken",
    )
}

fn clippy(context: &Context<'_>) -> Verdict {
    let arguments = [
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ];
    run(&mut context.cargo(&arguments)).into()
}

fn statements(context: &Context<'_>) -> Verdict {
    let options = match spec::Options::parse(&["--check"]) {
        Ok(options) => options,
        Err(reason) => return Verdict::Failed(reason),
    };
    verdict(
        spec::command(context.workspace, &options),
        "statements are not proven",
    )
}

fn verdict(outcome: Outcome<bool>, reason: &str) -> Verdict {
    match outcome {
        Ok(true) => Verdict::Passed,
        Ok(false) => Verdict::Failed(reason.to_owned()),
        Err(message) => Verdict::Failed(message),
    }
}

fn build(context: &Context<'_>) -> Verdict {
    run(&mut context.cargo(&["build", "--package", "midge"])).into()
}

fn unit_tests(context: &Context<'_>) -> Verdict {
    test_runner(context, &["--lib", "--bins"])
}

fn tests(context: &Context<'_>) -> Verdict {
    test_runner(context, &[])
}

/// Runs tests of the whole workspace with nextest, or without it.
fn test_runner(context: &Context<'_>, targets: &[&str]) -> Verdict {
    let runner: &[&str] = if has_nextest(context) {
        &["nextest", "run", "--workspace", "--no-fail-fast"]
    } else if targets.is_empty() {
        // Documentation examples have a stage of their own.
        &["test", "--workspace", "--no-fail-fast", "--all-targets"]
    } else {
        &["test", "--workspace", "--no-fail-fast"]
    };
    let mut command = context.cargo(runner);
    command
        .args(targets)
        .env("MIDGE_BIN", context.broker("debug"));
    run(&mut command).into()
}

fn doctests(context: &Context<'_>) -> Verdict {
    run(&mut context.cargo(&["test", "--workspace", "--doc"])).into()
}

fn docs(context: &Context<'_>) -> Verdict {
    let mut command = context.cargo(&["doc", "--workspace", "--no-deps"]);
    run(command.env("RUSTDOCFLAGS", "-D warnings")).into()
}

/// Lints what is a workspace of its own for the sake of its dependencies or profile, and measures the client.
fn embedded(context: &Context<'_>) -> Verdict {
    const EXAMPLE: &str = "crates/embedded/examples/embassy/Cargo.toml";
    const FIRMWARE: &str = "crates/embedded/examples/cortex-m/Cargo.toml";
    for manifest in [EXAMPLE, FIRMWARE] {
        let mut format = context.cargo(&["fmt", "--manifest-path", manifest, "--", "--check"]);
        if let Err(reason) = run(&mut format) {
            return Verdict::Failed(reason);
        }
    }
    let mut fetch = context.cargo(&["fetch", "--quiet", "--locked", "--manifest-path", EXAMPLE]);
    match fetch.output() {
        Ok(output) if output.status.success() => {
            let mut lint = context.cargo(&["clippy", "--locked", "--manifest-path", EXAMPLE]);
            if let Err(reason) = run(lint.args(["--", "-D", "warnings"])) {
                return Verdict::Failed(reason);
            }
        }
        Ok(output) if String::from_utf8_lossy(&output.stderr).contains("lock file") => {
            return Verdict::Failed(format!(
                "the lock file beside {EXAMPLE} is wrong or out of date"
            ));
        }
        _ => println!("skipped: the crates of the example for embassy cannot be fetched"),
    }
    if !works("size", &["--version"]) || !works("objcopy", &["--version"]) {
        return Verdict::Skipped("binutils are not installed, so no size".to_owned());
    }
    run(Command::new("sh")
        .arg("benches/embedded/size.sh")
        .current_dir(context.root()))
    .into()
}

fn release(context: &Context<'_>) -> Verdict {
    if context.quick {
        return Verdict::Skipped("not in a quick run".to_owned());
    }
    run(&mut context.cargo(&["build", "--release", "--package", "midge"])).into()
}

fn count(context: &Context<'_>) -> Verdict {
    if context.quick {
        return Verdict::Skipped("not in a quick run".to_owned());
    }
    if !instructions::can_count() {
        return Verdict::Skipped("valgrind is not installed".to_owned());
    }
    verdict(
        instructions::command(context.workspace, &instructions::Options::default()),
        "the hot path has grown",
    )
}

fn simulator(context: &Context<'_>) -> Verdict {
    if !context.workspace.exists("crates/sim/src/main.rs") {
        return Verdict::Skipped("crates/sim has no program".to_owned());
    }
    let Seeds { count, seconds } = if context.quick { SEEDS_QUICK } else { SEEDS };
    let mut command = context.cargo(&["run", "--release", "--package", "midge-sim", "--"]);
    run(command.args(["--seeds", count, "--seconds", seconds])).into()
}

fn clients(context: &Context<'_>) -> Verdict {
    if context.quick {
        return Verdict::Skipped("not in a quick run".to_owned());
    }
    if !works("python3", &["--version"]) {
        return Verdict::Skipped("python3 is not installed".to_owned());
    }
    // It takes MIDGE_BIN, or the release build, or the debug build.
    run(Command::new("python3")
        .arg("tests/run.py")
        .current_dir(context.root()))
    .into()
}

#[cfg(test)]
mod stage_tests {
    use super::*;

    #[test]
    fn stages_are_chosen_by_name() {
        let choice = Choice::parse(&["--quick", "--only", "fmt", "--only", "docs"]).unwrap();
        assert!(choice.quick);
        let names: Vec<_> = STAGES
            .iter()
            .filter(|s| choice.takes(s))
            .map(|s| s.name)
            .collect();
        assert_eq!(names, ["fmt", "docs"]);
        assert!(STAGES.iter().all(|stage| Choice::default().takes(stage)));
    }

    #[test]
    fn an_unknown_stage_or_option_is_an_error() {
        assert!(
            Choice::parse(&["--only", "nothing"])
                .unwrap_err()
                .contains("no stage")
        );
        assert!(Choice::parse(&["--only"]).is_err());
        assert!(Choice::parse(&["--fast"]).is_err());
    }

    #[test]
    fn a_failed_stage_does_not_stop_the_next() {
        let workspace = Workspace::open().unwrap();
        let context = Context {
            workspace: &workspace,
            quick: true,
        };
        let failing = stage("a", "a", |_| Verdict::Failed("no".to_owned()));
        let passing = stage("b", "b", |_| Verdict::Passed);
        let skipped = stage("c", "c", |_| Verdict::Skipped("why".to_owned()));
        assert!(!run_stages([&failing, &passing].into_iter(), &context));
        assert!(run_stages([&skipped, &passing].into_iter(), &context));
    }
}
