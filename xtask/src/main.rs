//! The project's own checks and chores.
//!
//! `cargo xtask check` is the fast loop, `cargo xtask test` is everything; `cargo xtask help` lists
//! the rest. A rule of the project that a program can check is a small function here with a test of
//! its own.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a tool for the terminal: what it prints is its result"
)]

use std::process::ExitCode;

mod compare;
mod durable;
mod instructions;
mod process;
mod profiled;
mod source;
mod spec;
mod stages;
mod statements;
mod tidy;
mod workspace;

use workspace::Workspace;

/// A result whose error is a sentence for the person at the terminal.
type Outcome<T> = Result<T, String>;

const USAGE: &str = "\
Usage: cargo xtask <command>

  check                 The fast loop: format, lints, tidy, unit tests.
  test                  Everything: what `check` does, all tests, documentation, simulator,
                        third-party clients. Installs what it needs and says what it skipped.
      --quick           Without third-party clients and with few simulator seeds.
      --only <stage>    Only this stage; may be given several times.
      --list            The names of the stages.
  tidy                  The rules of the project that neither compiler nor clippy knows.
      --longest         Also the 20 longest functions.
  spec                  Which statements of the standards are proven by a test.
      --missing         List those that are not.
      --check           Fail if one is missing, or if fewer are proven than spec/floor.toml says.
      --raise           Write today's numbers to spec/floor.toml if they are higher.
  instructions          What the hot path costs in instructions, against benches/hot/baseline.toml.
      --update          Write today's numbers to that file.
  build-profiled        The release build, laid out by what a run of `midge bench` showed: for packages.
                        Takes two builds; needs llvm-profdata of the compiler's LLVM.
  bench-compare         Midge beside a bare relay and Debian's mosquitto: a table in Markdown.
      --seconds <n>     How long to measure each time (5; quick 1).
      --rounds <n>      How often; the median counts (3; quick 1).
      --quick           One short round with small sizes, to see that it works.
      --only <scenario> Only this scenario; may be given several times.
      --midge <program> This program in place of a fresh release build, such as build-profiled's.
      --write           Put the table into docs/performance.md.
  bench-durable         What durability costs, beside a bare append-and-sync loop and Debian's mosquitto;
                        recovery, long queues and checkpoints.
      --rounds <n>      How often; the median counts (5; quick 1).
      --quick           Small sizes, to see that it works.
      --only <part>     Only this part; may be given several times.
      --directory <d>   Where stores are made (target/bench-durable): the disk that is measured.
      --write           Put the tables into docs/performance.md; not with --only.
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("xtask: {message}");
            ExitCode::from(2)
        }
    }
}

/// Carries out one command; `false` means that a check failed and has said why.
fn run(arguments: &[&str]) -> Outcome<bool> {
    let (command, options) = match arguments {
        [] | ["help" | "--help" | "-h", ..] => {
            print!("{USAGE}");
            return Ok(true);
        }
        [command, options @ ..] => (*command, options),
    };
    let workspace = Workspace::open()?;
    match command {
        "check" => {
            let [] = options else {
                return Err("check takes no options".to_owned());
            };
            stages::check(&workspace)
        }
        "test" => stages::test(&workspace, &stages::Choice::parse(options)?),
        "tidy" => tidy::command(&workspace, &tidy::Options::parse(options)?),
        "spec" => spec::command(&workspace, &spec::Options::parse(options)?),
        "instructions" => {
            instructions::command(&workspace, &instructions::Options::parse(options)?)
        }
        "build-profiled" => {
            let [] = options else {
                return Err("build-profiled takes no options".to_owned());
            };
            profiled::command(&workspace)
        }
        "bench-durable" => durable::command(&workspace, &durable::Options::parse(options)?),
        "bench-compare" => compare::command(&workspace, &compare::Options::parse(options)?),
        other => Err(format!("no command {other:?}\n\n{USAGE}")),
    }
}
