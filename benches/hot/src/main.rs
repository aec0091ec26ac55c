//! The hot path without sockets, for counting instructions.
//!
//! `midge-hot <scenario> <turns>` drives one shard from bytes to bytes, as a worker would. Run for two
//! numbers of turns under a counter of instructions, the difference is what the turns cost: everything
//! around them is in both runs. `cargo xtask instructions` does that.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a tool for the terminal: its count is its result"
)]

use std::process::ExitCode;

mod drive;
mod scenario;

use scenario::SCENARIOS;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let chosen = match args.as_slice() {
        [name, turns] => SCENARIOS
            .iter()
            .find(|scenario| scenario.name == name)
            .zip(turns.parse::<u32>().ok()),
        _ => None,
    };
    let Some((scenario, turns)) = chosen else {
        eprintln!("Usage: midge-hot <scenario> <turns>\n");
        for scenario in &SCENARIOS {
            eprintln!("  {:<14} {}", scenario.name, scenario.about);
        }
        return ExitCode::from(2);
    };
    match scenario.run(turns) {
        Ok(delivered) => {
            println!("{delivered}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("midge-hot: {error}");
            ExitCode::FAILURE
        }
    }
}
