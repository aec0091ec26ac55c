//! What a tool says to whoever started it.

use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use crate::connect_options::ConnectOptions;
use crate::failure::Failure;
use crate::options::{Command, Id};

/// Prints `text` to the standard output and ends well; a reader that went away is no fault.
pub(crate) fn print(text: &str) -> ExitCode {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    }
}

/// Writes a line to the standard error; when that fails there is nobody left to tell.
pub(crate) fn complain(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Complains and gives `code`.
pub(crate) fn fail(text: &str, code: u8) -> ExitCode {
    complain(text);
    ExitCode::from(code)
}

/// The line that `--version` prints.
pub(crate) fn version(name: &str) -> String {
    format!("{name} version {}\n", env!("CARGO_PKG_VERSION"))
}

/// Prints the text of `--help`. The Mosquitto tools call that a failure, and so do we by their names.
pub(crate) fn help(command: &Command) -> ExitCode {
    let printed = print(&command.help_as(&called(command)));
    if is_called_as_mosquitto(command) {
        ExitCode::FAILURE
    } else {
        printed
    }
}

/// Prints the line of `--version`; see [`help`] for the exit code.
pub(crate) fn show_version(command: &Command) -> ExitCode {
    let printed = print(&version(&called(command)));
    if is_called_as_mosquitto(command) {
        ExitCode::FAILURE
    } else {
        printed
    }
}

fn is_called_as_mosquitto(command: &Command) -> bool {
    called(command) != command.name
}

/// As [`conclude`], and says what to try when there is no connection.
pub(crate) fn conclude_client(
    command: &Command,
    connect: &ConnectOptions,
    failure: &Failure,
) -> ExitCode {
    let code = conclude(command, connect.quiet, failure);
    hint(command, connect, failure);
    code
}

/// Says what may be tried after a failure, unless the command goes by Mosquitto's name.
pub(crate) fn hint(command: &Command, connect: &ConnectOptions, failure: &Failure) {
    if !connect.quiet
        && !failure.is_broken_pipe()
        && !is_called_as_mosquitto(command)
        && let Some(hint) = failure.hint(connect)
    {
        complain(&hint);
    }
}

/// The words that started `command`: its own, or the name of the program that it stands in for.
pub(crate) fn called(command: &Command) -> String {
    let program = std::env::args_os().next().unwrap_or_default();
    let program = Path::new(&program).file_name().unwrap_or_default();
    if program
        .to_str()
        .is_some_and(|name| name.starts_with("mosquitto"))
    {
        program.to_string_lossy().into_owned()
    } else {
        command.name.to_owned()
    }
}

/// Says how `command` ended and gives its exit code.
pub(crate) fn conclude(command: &Command, quiet: bool, failure: &Failure) -> ExitCode {
    let hint = format!("Use '{} --help' to see usage.", called(command));
    match failure {
        _ if failure.is_broken_pipe() => return ExitCode::SUCCESS,
        // Whoever sent it knows.
        Failure::Signal => {}
        // As the Mosquitto tools: --quiet is about the connection, not about the command line.
        Failure::Usage(error) => {
            complain(&failure.to_string());
            let has = |id| command.all_options().any(|option| option.id == id);
            // Where words without an option would go, in other people's tools.
            let is_bare_word = error
                .0
                .strip_prefix("Unknown option '")
                .is_some_and(|word| !word.starts_with('-'));
            if is_bare_word && !is_called_as_mosquitto(command) && has(Id::Topic) {
                complain(if has(Id::Message) {
                    "Topics go behind -t, messages behind -m."
                } else {
                    "Topics go behind -t."
                });
            }
            complain(&format!("\n{hint}"));
        }
        _ if quiet => {}
        _ => complain(&failure.to_string()),
    }
    ExitCode::from(failure.exit_code())
}
