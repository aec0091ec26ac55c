//! The broker as a process of its own: what the `midge` binary does without a tool's name.

mod identity;
mod pid_file;

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::Duration;

use midge_reactor::{Signals, raise_descriptor_limit};

use crate::config::{CommandLine, Config, ConfigErrors};
use crate::control::{ConfigSource, Ending, PROGRAM, note_kind};
use crate::log::{Destinations, Kind, LogError, Logger};
use crate::server::{Bound, Extras, Log, Server, StartError};
use crate::settings::VERSION;
use identity::Owner;
use pid_file::PidFile;

/// Exit status after an orderly end.
const EXIT_WELL: u8 = 0;
/// Exit status when the broker cannot start, or cannot go on.
const EXIT_FAILED: u8 = 1;
/// Exit status for a faulty configuration or command line.
pub const EXIT_CONFIG: u8 = 3;

/// Below this many descriptors the operator is told how few clients can connect.
const DESCRIPTORS_FEW: u64 = 4_096;

/// How long the last lines of the log may take.
const LOG_PATIENCE: Duration = Duration::from_secs(2);

/// How to run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Launch {
    /// The configuration file.
    pub config_file: Option<PathBuf>,
    /// What the command line says beside it.
    pub command_line: CommandLine,
    /// Whether to detach from the terminal.
    pub detach: bool,
}

/// A line for the log, from before there is one.
type Line = (Kind, String);

/// Runs a broker until it is told to end; gives the exit status of the process.
///
/// To be called while the process has one thread, since a daemon forks.
#[must_use]
pub fn run(launch: &Launch) -> u8 {
    let config = match load(launch) {
        Ok(config) => config,
        Err(errors) => {
            say_errors(&errors);
            return errors.exit_code();
        }
    };
    let mut lines = Vec::new();
    introduce(launch, &config, &mut lines);
    note_descriptors(&mut lines);
    match serve(launch, config, lines) {
        Ok(()) => EXIT_WELL,
        Err(code) => code,
    }
}

/// Checks the configuration file and says what is wrong with it; gives the exit status.
#[must_use]
pub fn test_config(launch: &Launch) -> u8 {
    if launch.config_file.is_none() {
        say("Error: Please provide a configuration file to test.");
        return EXIT_CONFIG;
    }
    match load(launch) {
        Ok(config) => {
            for note in &config.notes {
                say(&note.text);
            }
            say("Configuration file is OK.");
            EXIT_WELL
        }
        Err(errors) => {
            say_errors(&errors);
            errors.exit_code()
        }
    }
}

fn load(launch: &Launch) -> Result<Config, ConfigErrors> {
    match &launch.config_file {
        Some(path) => Config::load(path, &launch.command_line),
        None => Ok(Config::without_file(&launch.command_line)),
    }
}

/// The first lines of the log.
fn introduce(launch: &Launch, config: &Config, lines: &mut Vec<Line>) {
    lines.push((Kind::Information, format!("{VERSION} starting")));
    let loaded = match &launch.config_file {
        Some(path) => format!("Config loaded from {}.", path.display()),
        None => "Using default config.".to_owned(),
    };
    lines.push((Kind::Information, loaded));
    for note in &config.notes {
        lines.push((note_kind(note.level), note.text.clone()));
    }
    if config.local_only {
        for text in [
            "Starting in local only mode. Connections will only be possible from clients running on \
             this machine.",
            "Create a configuration file which defines a listener to allow remote access.",
            "For example, put the lines 'listener 1883' and 'allow_anonymous true' (which lets \
             everybody in) into a file, and start with '-c FILE'.",
        ] {
            lines.push((Kind::Warning, text.to_owned()));
        }
    }
}

fn note_descriptors(lines: &mut Vec<Line>) {
    if let Some(limit) = raise_descriptor_limit()
        && limit.soft < DESCRIPTORS_FEW
    {
        let text = format!(
            "Warning: This process may have {} descriptors open, and each client needs one. Raise \
             the limit with 'ulimit -n', or with LimitNOFILE in a systemd unit.",
            limit.soft
        );
        lines.push((Kind::Warning, text));
    }
}

/// Opens what needs a privilege or can go wrong, detaches, and serves. Faults have been told.
fn serve(launch: &Launch, config: Config, mut lines: Vec<Line>) -> Result<(), u8> {
    // From here on a signal waits until it can be obeyed, also through the fork of a daemon.
    let signals = Signals::new()
        .map_err(|error| failed(&format!("Error: Unable to take signals: {error}.")))?;
    let log = config.general.log.clone();
    let destinations = log.destinations.clone();
    let owner = Owner::from_environment(config.general.user.as_deref());
    let mut add = |kind, text| lines.push((kind, text));
    let bound = match Server::bind(config.clone(), &mut add) {
        Ok(bound) => bound,
        Err(error) => {
            lines.push((Kind::Error, error.to_string()));
            tell_before_end(&config, lines);
            return Err(match error {
                StartError::Tls(_) => EXIT_CONFIG,
                _ => EXIT_FAILED,
            });
        }
    };
    let pid_file = match config
        .general
        .pid_file
        .as_deref()
        .map(PidFile::open)
        .transpose()
    {
        Ok(pid_file) => pid_file,
        Err(text) => {
            lines.push((Kind::Error, text));
            tell_before_end(&config, lines);
            return Err(EXIT_FAILED);
        }
    };
    if launch.detach {
        check_log_file(&destinations).map_err(|error| failed(&error.to_string()))?;
        detach().map_err(|error| failed(&format!("Error in daemonise: {error}.")))?;
    }
    let logger = Logger::start(&log, PROGRAM).map_err(|error| failed(&error.to_string()))?;
    for (kind, text) in lines {
        logger.log(kind, text);
    }
    if let Some(path) = &destinations.file {
        owner.hand_over(path);
    }
    let pid_file = match pid_file.map(PidFile::write).transpose() {
        Ok(pid_file) => pid_file,
        Err(text) => {
            logger.log(Kind::Error, text);
            logger.flush(LOG_PATIENCE);
            return Err(EXIT_FAILED);
        }
    };
    if let Some(persistence) = &config.general.persistence {
        owner.prepare_directory(&persistence.store_directory());
    }
    let result = become_and_run(launch, bound, signals, &owner, &logger);
    if let Some(pid_file) = pid_file {
        pid_file.remove();
    }
    logger.log(Kind::Information, format!("{VERSION} terminating"));
    logger.flush(LOG_PATIENCE);
    result.map_err(|()| EXIT_FAILED)
}

/// Gives up root, then serves until the end.
fn become_and_run(
    launch: &Launch,
    bound: Bound,
    signals: Signals,
    owner: &Owner,
    logger: &Logger,
) -> Result<(), ()> {
    let fail = |text: String| logger.log(Kind::Error, text);
    for (kind, text) in owner.assume().map_err(|error| fail(error.to_string()))? {
        logger.log(kind, text);
    }
    let extras = Extras {
        log: Log::Started(logger.clone()),
        signals: Some(signals),
        source: launch.config_file.clone().map(|path| {
            let command_line = launch.command_line.clone();
            let source = move || Config::load(&path, &command_line);
            Box::new(source) as ConfigSource
        }),
    };
    let broker = bound
        .start(extras)
        .map_err(|error| fail(error.to_string()))?;
    logger.log(Kind::Information, format!("{VERSION} running"));
    match broker.wait() {
        Ending::Asked => Ok(()),
        Ending::Failed(reason) => {
            fail(format!("Error: The broker cannot go on: {reason}."));
            Err(())
        }
    }
}

/// Logs what there is to say before the process ends, since it could not start.
fn tell_before_end(config: &Config, lines: Vec<Line>) {
    let log = &config.general.log;
    // Whoever started it looks at the terminal, which a daemon still has.
    if !log.destinations.stderr || !log.kinds.contains(Kind::Error) {
        for (_, text) in lines.iter().filter(|(kind, _)| *kind == Kind::Error) {
            say(text);
        }
    }
    match Logger::start(log, PROGRAM) {
        Ok(logger) => {
            for (kind, text) in lines {
                logger.log(kind, text);
            }
            logger.flush(LOG_PATIENCE);
        }
        Err(error) => say(&error.to_string()),
    }
}

/// Finds out whether the log file can be written while there is somebody to tell.
fn check_log_file(destinations: &Destinations) -> Result<(), LogError> {
    let Some(path) = &destinations.file else {
        return Ok(());
    };
    let opened = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path);
    opened.map(drop).map_err(|error| LogError::File {
        path: path.clone(),
        reason: error.to_string(),
    })
}

#[cfg(not(target_vendor = "apple"))]
fn detach() -> io::Result<()> {
    // The working directory stays: relative paths in the configuration start there.
    Ok(nix::unistd::daemon(true, false)?)
}

#[cfg(target_vendor = "apple")]
fn detach() -> io::Result<()> {
    Err(io::Error::other(
        "not on this system: run without -d under launchd",
    ))
}

fn say_errors(errors: &ConfigErrors) {
    for line in errors.lines() {
        say(&line);
    }
}

/// Says why the process cannot go on, and gives its exit status.
fn failed(text: &str) -> u8 {
    say(text);
    EXIT_FAILED
}

/// Says something to whoever started the process.
fn say(text: &str) {
    // If nobody can be told, there is nobody to tell.
    let _ = writeln!(io::stderr(), "{text}");
}
