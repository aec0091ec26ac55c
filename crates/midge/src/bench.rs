//! `midge bench`: puts load on a broker, counts every message exactly, and says what it cost.
//!
//! All clients are in this process, so that a subscriber's receipt can give its publisher leave to
//! send on (closed loop), and sent and received sequences can be compared. To stay cheaper than what
//! it measures, a thread works in rounds: read all that is ready through one buffer, send each
//! publisher's share as one block of pre-encoded packets, sleep until the next round.

use std::ffi::OsString;
use std::process::ExitCode;

use crate::client::targets;
use crate::failure::Failure;
use crate::options::{self, Command};
use crate::terminal;
use plan::{Plan, Request, Scenario};

mod crowd;
mod feed;
mod link;
mod load;
mod offline;
mod party;
mod phase;
mod plan;
mod process;
mod report;
mod retained;
mod saved;
mod socket;
mod storm;
mod tally;
mod template;
mod worker;

/// The exit code of a run that lost, repeated, disordered or misrouted messages, or in which connections
/// came to nothing.
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
        Some("wildcard") => &options::WILDCARD,
        Some("conn") => &options::CONN,
        Some("idle") => &options::IDLE,
        Some("retained") => &options::RETAINED,
        Some("offline") => &options::OFFLINE,
        Some("compare") => return saved::compare(&args),
        Some("report") => return saved::report(&args),
        Some("--help") => return terminal::print(&options::BENCH.help()),
        _ => {
            let scenario = scenario.to_string_lossy();
            let what = if scenario.is_empty() {
                "No scenario given".to_owned()
            } else {
                format!("Unknown scenario '{scenario}'")
            };
            let error = format!(
                "{what}. There are p2p, fan-out, fan-in, wildcard, conn, idle, retained and offline."
            );
            return terminal::conclude(&options::BENCH, false, &Failure::Usage(error.into()));
        }
    };
    let is_member = args.last().is_some_and(|arg| arg == crowd::MEMBER);
    if is_member {
        args.pop();
    }
    match plan::parse(command, args.clone()) {
        Ok(Request::Help) => terminal::print(&command.help()),
        Ok(Request::Run(mut plan)) if is_member => {
            match settle(&mut plan).and_then(|()| crowd::member(&plan)) {
                Ok(line) => terminal::print(&line),
                Err(failure) => terminal::conclude(command, false, &failure),
            }
        }
        Ok(Request::Run(mut plan)) => match perform(&mut plan, &scenario, &args) {
            Ok((text, is_faulty)) => {
                let printed = terminal::print(&text);
                if is_faulty {
                    return ExitCode::from(FAULTS);
                }
                printed
            }
            Err(failure) => terminal::conclude_client(command, &plan.connect, &failure),
        },
        Err(error) => terminal::conclude(command, false, &Failure::Usage(error)),
    }
}

/// Does once what need not be done for each of many connections: gets a token, looks for the brokers of a
/// domain.
fn settle(plan: &mut Plan) -> Result<(), Failure> {
    plan.connect.use_token()?;
    if plan.connect.by_srv {
        plan.connect.targets = Some(targets(&plan.connect, None)?);
    }
    Ok(())
}

/// Runs `plan`; the report, and whether the broker broke a promise.
fn perform(
    plan: &mut Plan,
    scenario: &OsString,
    args: &[OsString],
) -> Result<(String, bool), Failure> {
    if plan.processes == 1 {
        settle(plan)?;
    }
    let phases = match plan.scenario {
        Scenario::Storm { .. } => storm::run(plan)?,
        Scenario::Idle { .. } => storm::idle(plan)?,
        Scenario::Retained { .. } => retained::run(plan)?,
        Scenario::Offline { .. } => offline::run(plan)?,
        Scenario::Pairs { .. }
        | Scenario::FanOut { .. }
        | Scenario::Shared { .. }
        | Scenario::Wildcard { .. }
        | Scenario::Filters { .. } => {
            let outcome = if plan.processes > 1 {
                crowd::run(plan, scenario, args)?
            } else {
                load::run(plan, || Ok(()))?
            };
            let text = if plan.json {
                report::json(plan, &outcome)
            } else {
                report::text(plan, &outcome)
            };
            return Ok((text, outcome.tally.is_faulty(plan)));
        }
    };
    let text = if plan.json {
        report::phases_json(plan, &phases)
    } else {
        report::phases_text(plan, &phases)
    };
    let has_failed = phases.failed.is_some_and(|failed| failed > 0);
    Ok((text, has_failed || phases.tally.is_faulty(plan)))
}
