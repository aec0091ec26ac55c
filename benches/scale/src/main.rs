//! The whole stack less the kernel's sockets, at sizes that a machine's descriptors do not allow.
//!
//! Shards with shared tables behind locks, a directory and mailboxes, as the server has them; bytes go in
//! and come out without a socket. `midge-scale <scenario>` measures and prints; `midge-scale help` lists
//! the scenarios.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a tool for the terminal: its figures are its result"
)]

use std::process::ExitCode;

mod clients;
mod cluster;
mod cores;
mod directory;
mod instructions;
mod keeper;
mod meter;
mod packets;
mod plan;
mod report;
mod retained;
mod routing;
mod store;
mod tables;
mod traffic;

use plan::{Plan, Request, Scenario};

/// Why a run ended early. The broker answers wrongly then, or this program asks wrongly.
pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let request = match plan::parse(&arguments) {
        Ok(request) => request,
        Err(why) => {
            eprintln!("midge-scale: {why}\n\n{}", plan::USAGE);
            return ExitCode::from(2);
        }
    };
    let result = match request {
        Request::Help => {
            println!("{}", plan::USAGE);
            Ok(())
        }
        Request::Count(counted) => counted.run().map(|messages| println!("{messages}")),
        Request::Run(plan) => plan
            .scenarios
            .iter()
            .try_for_each(|scenario| run(*scenario, &plan)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("midge-scale: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(scenario: Scenario, plan: &Plan) -> Result<(), Error> {
    let report = match scenario {
        Scenario::Clients => clients::run(plan),
        Scenario::Routing => routing::run(plan),
        Scenario::Retained => retained::run(plan),
        Scenario::Cores => cores::run(plan),
        Scenario::Store => store::run(plan),
    }?;
    if plan.json {
        println!("{}", report.json());
    } else {
        println!("{}", report.text());
    }
    Ok(())
}
