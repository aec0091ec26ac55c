//! `midge check`: says what a broker would decide, without one.

use std::ffi::OsString;
use std::process::ExitCode;

use crate::options::{Command, UsageError};
use crate::terminal;

pub(crate) mod acl;
pub(crate) mod passwords;

/// The status for a file or command line that is wrong, as the broker's.
const EXIT_FAULT: u8 = 3;

/// Runs the command and gives its exit code.
pub(crate) fn run(mut args: Vec<OsString>) -> ExitCode {
    let run = match args.first().and_then(|what| what.to_str()) {
        Some("acl") => acl::run,
        Some("passwords") => passwords::run,
        Some("--help") => {
            let help = format!("{}\n{}", acl::ACL.help(), passwords::PASSWORDS.help());
            return terminal::print(&help);
        }
        _ => {
            let text =
                "Error: Say what is to be checked: midge check acl, or midge check passwords.";
            return terminal::fail(text, EXIT_FAULT);
        }
    };
    args.remove(0);
    run(args)
}

fn misused(command: &Command, UsageError(text): &UsageError) -> ExitCode {
    let name = command.name;
    terminal::fail(
        &format!("Error: {text}\n\nUse '{name} --help' to see usage."),
        EXIT_FAULT,
    )
}
