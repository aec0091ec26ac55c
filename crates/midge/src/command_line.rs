//! What pub, sub, rr and top have in common: from a command line to a job, and from that to an exit code.

use std::ffi::OsString;
use std::process::ExitCode;

use midge_codec::Version;

use crate::connect_options::ConnectOptions;
use crate::failure::Failure;
use crate::options::{Command, Id, UsageError, Value};
use crate::options_file::{OptionsFile, Origins, Place};
use crate::terminal;

/// The command line of a client tool, while it is read.
pub(crate) trait CommandLine: Default {
    /// What it adds up to.
    type Job;

    const COMMAND: &'static Command;
    /// The options file that is read first, by its usual name; empty for none.
    const OPTIONS_FILE: &'static str;

    /// Where the options about the connection go.
    fn connect(&mut self) -> &mut ConnectOptions;

    /// Takes an option that is not about the connection.
    fn take(&mut self, id: Id, value: Value) -> Result<(), UsageError>;

    /// Checks what only the whole command line can show.
    fn finish(self) -> Result<Self::Job, UsageError>;
}

/// What a command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Request<J> {
    Help,
    Version,
    Run(Box<J>),
}

/// Reads the command line, has `perform` do the job, and gives the exit code. The job's failure comes with
/// the connection that it speaks of.
pub(crate) fn run<L: CommandLine>(
    args: Vec<OsString>,
    perform: impl FnOnce(&L::Job) -> Result<(), Failure>,
    connect: impl FnOnce(&L::Job) -> &ConnectOptions,
) -> ExitCode {
    match read::<L>(args) {
        Ok((Request::Help, _)) => terminal::help(L::COMMAND),
        Ok((Request::Version, _)) => terminal::show_version(L::COMMAND),
        Ok((Request::Run(job), origins)) => {
            let options = connect(&job);
            if options.version != Version::V5 && !options.properties.is_empty() && !options.quiet {
                terminal::complain("Warning: The properties of -D need -V 5 and are not sent.");
            }
            match perform(&job) {
                Ok(()) => ExitCode::SUCCESS,
                Err(failure) => {
                    let failure = failure.with_place(&origins);
                    terminal::conclude_client(L::COMMAND, options, &failure)
                }
            }
        }
        Err(error) => terminal::conclude(L::COMMAND, false, &Failure::Usage(error)),
    }
}

/// Reads the options file, then the command line.
fn read<L: CommandLine>(args: Vec<OsString>) -> Result<(Request<L::Job>, Origins), UsageError> {
    let file = if L::OPTIONS_FILE.is_empty() {
        OptionsFile::default()
    } else {
        OptionsFile::read(L::COMMAND, &args, L::OPTIONS_FILE)?
    };
    let mut origins = Origins::default();
    let request = read_all::<L>(&file, args, &mut origins)?;
    Ok((request, origins))
}

/// Reads a command line alone.
#[cfg(test)]
pub(crate) fn parse<L: CommandLine>(args: Vec<OsString>) -> Result<Request<L::Job>, UsageError> {
    read_all::<L>(&OptionsFile::default(), args, &mut Origins::default())
}

/// Reads options, whichever way they came.
fn read_all<L: CommandLine>(
    file: &OptionsFile,
    args: Vec<OsString>,
    origins: &mut Origins,
) -> Result<Request<L::Job>, UsageError> {
    let mut line = L::default();
    let of_line = L::COMMAND.parse(args).map(|option| (None, option));
    for (place, option) in file.options(L::COMMAND).chain(of_line) {
        let take = || {
            let (id, value) = option?;
            match id {
                Id::Help => return Ok(Some(Request::Help)),
                Id::Version => return Ok(Some(Request::Version)),
                _ => {}
            }
            if let Some(value) = line.connect().take(id, value)? {
                line.take(id, value)?;
            }
            origins.note(id, place.clone());
            Ok(None)
        };
        if let Some(request) = take().map_err(|error| Place::add_to(place.as_ref(), error))? {
            return Ok(request);
        }
    }
    Ok(Request::Run(Box::new(line.finish()?)))
}
