//! `midge bench`: puts load on a broker, counts every message exactly, and says what it cost.
//!
//! All clients are in this process, so that a subscriber's receipt can give its publisher leave to
//! send on (closed loop), and sent and received sequences can be compared. To stay cheaper than what
//! it measures, a thread works in rounds: read all that is ready through one buffer, send each
//! publisher's share as one block of pre-encoded packets, sleep until the next round.

use std::ffi::OsString;
use std::process::ExitCode;

use crate::failure::Failure;
use crate::options::{self, Command};
use crate::terminal;
use plan::Request;

mod load;
mod plan;
mod process;
mod report;
mod tally;
mod template;
mod worker;

/// The exit code of a run that lost, repeated, disordered or misrouted messages.
const FAULTS: u8 = 2;

/// Runs the command and gives its exit code.
pub(crate) fn run(mut args: Vec<OsString>) -> ExitCode {
    let scenario = if args.is_empty() {
        OsString::new()
    } else {
        args.remove(0)
    };
    let command: &Command = match scenario.to_str() {
        Some("p2p") => &options::P2P,
        Some("fan-out") => &options::FAN_OUT,
        Some("fan-in") => &options::FAN_IN,
        Some("--help") => return terminal::print(&options::BENCH.help()),
        _ => {
            let scenario = scenario.to_string_lossy();
            let error = format!("Unknown scenario '{scenario}', expected p2p, fan-out or fan-in.");
            return terminal::conclude(&options::BENCH, false, &Failure::Usage(error.into()));
        }
    };
    match plan::parse(command, args) {
        Ok(Request::Help) => terminal::print(&command.help()),
        Ok(Request::Run(plan)) => match load::run(&plan) {
            Ok(outcome) => {
                let text = if plan.json {
                    report::json(&plan, &outcome)
                } else {
                    report::text(&plan, &outcome)
                };
                let printed = terminal::print(&text);
                if outcome.tally.is_faulty(&plan) {
                    return ExitCode::from(FAULTS);
                }
                printed
            }
            Err(failure) => terminal::conclude(command, false, &failure),
        },
        Err(error) => terminal::conclude(command, false, &Failure::Usage(error)),
    }
}
