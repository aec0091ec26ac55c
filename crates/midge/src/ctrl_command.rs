//! `midge ctrl`: administers a broker over `$CONTROL`, as mosquitto_ctrl does.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use midge_codec::{QoS, Version};

use crate::connect_options::{ConnectOptions, qos};
use crate::failure::{Failure, plain};
use crate::options::{self, Id, UsageError, Value};
use crate::options_file::{OptionsFile, Origins, Place};
use crate::prompt::read_hidden;
use crate::terminal;
use answer::Answer;
use link::Link;
use prompt::NewPassword;
use request::{Fault, Module, Prepared, Style};

mod answer;
mod link;
mod offline;
mod prompt;
mod request;
mod shell;

/// Exit codes, as mosquitto_ctrl has them.
const INVALID: u8 = 3;
const NOT_SUPPORTED: u8 = 10;
const UNKNOWN: u8 = 13;
/// The system refuses the connection.
const SYSTEM: u8 = 14;

const INVALID_ARGUMENTS: &str = "Error: Invalid function arguments provided.";

const WARNING: &str = "\
This means all of the configuration changes you are making are visible on the network, including passwords.
";

/// What the options say.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Settings {
    connect: ConnectOptions,
    qos: QoS,
    /// The file of `-f`.
    data_file: Option<PathBuf>,
    /// Whether the shell knows where to connect to.
    host_was_given: bool,
    /// Which of this is from an options file.
    origins: Origins,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connect: ConnectOptions {
                version: Version::V5,
                ..ConnectOptions::default()
            },
            qos: QoS::AtLeastOnce,
            data_file: None,
            host_was_given: false,
            origins: Origins::default(),
        }
    }
}

/// How a command ends that needs no broker.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    out: String,
    fault: Option<String>,
    code: u8,
}

impl Outcome {
    const fn printed(out: String) -> Self {
        Self {
            out,
            fault: None,
            code: 0,
        }
    }

    const fn fault(text: String, code: u8) -> Self {
        Self {
            out: String::new(),
            fault: Some(text),
            code,
        }
    }

    fn conclude(self) -> ExitCode {
        if let Some(fault) = self.fault {
            return terminal::fail(&fault, self.code);
        }
        terminal::print(&self.out)
    }
}

/// Runs the command and gives its exit code.
pub(crate) fn run(args: Vec<OsString>) -> ExitCode {
    let command = &options::CTRL;
    let (options, words) = command.split_operands(args);
    let settings = match settings(options) {
        Ok(Read::Settings(settings)) => settings,
        Ok(Read::Help) => return terminal::print(&help()),
        Ok(Read::Version) => {
            return terminal::print(&terminal::version(&terminal::called(command)));
        }
        Err(error) => return terminal::conclude(command, false, &Failure::Usage(error)),
    };
    let words: Result<Vec<String>, _> = words.into_iter().map(OsString::into_string).collect();
    let Ok(words) = words else {
        return terminal::fail("Error: Malformed UTF-8 in an argument.", 1);
    };
    match words.split_first() {
        None => shell::run(*settings),
        Some((module, rest)) => module_command(*settings, module, rest),
    }
}

fn help() -> String {
    format!(
        "{}\nModules: broker, dynsec. `midge ctrl dynsec help` and `midge ctrl broker help` show their commands.\n",
        options::CTRL.help_as(&terminal::called(&options::CTRL))
    )
}

fn module_command(settings: Settings, name: &str, rest: &[String]) -> ExitCode {
    let Some((command, args)) = rest.split_first() else {
        terminal::print(&help());
        return ExitCode::FAILURE;
    };
    let Some(module) = Module::from_name(name) else {
        let text = format!("Error: Module '{name}' not supported.");
        return terminal::fail(&text, NOT_SUPPORTED);
    };
    let is = |name: &str| command.eq_ignore_ascii_case(name);
    if is("help") {
        return terminal::print(&module.help());
    }
    if module == Module::Dynsec {
        if is("init") {
            return offline::init(args).conclude();
        }
        if let Some(file) = &settings.data_file
            && is("setClientPassword")
        {
            return offline::set_password(file, args).conclude();
        }
    }
    let request = match prepared(module, command, args) {
        Ok(request) => request,
        Err(outcome) => return outcome.conclude(),
    };
    online(settings, module, &request)
}

/// The request that a command line makes, with the password that it leaves out.
fn prepared(module: Module, command: &str, args: &[String]) -> Result<String, Outcome> {
    let prepared = request::prepare(module, Style::CommandLine, command, args);
    let (mut command, user_name, optional) = match prepared {
        Ok(Prepared::Request(request)) => return Ok(request),
        Ok(Prepared::Password {
            command,
            user_name,
            optional,
        }) => (command, user_name, optional),
        Err(Fault::Unknown) => {
            let text = format!("Command '{command}' not recognised.");
            return Err(Outcome::fault(text, UNKNOWN));
        }
        Err(Fault::Arguments { usage, why }) => {
            let why = why.map_or_else(String::new, |why| format!("Error: {why}\n"));
            let text = format!("{why}{INVALID_ARGUMENTS}\nUsage: {} {usage}", module.name());
            return Err(Outcome::fault(text, INVALID));
        }
    };
    if optional {
        terminal::complain(&format!(
            "Enter new password for {user_name}. Press return for no password (user will be unable to login)."
        ));
    }
    match prompt::read_new_password(&user_name) {
        Ok(NewPassword::Given(password)) => {
            command.insert("password".into(), password.into());
            Ok(request::envelope(command))
        }
        Ok(NewPassword::Empty) if optional => Ok(request::envelope(command)),
        Ok(NewPassword::Empty) => Err(Outcome::fault("Error: Empty password.".into(), 1)),
        Ok(NewPassword::Different) => {
            Err(Outcome::fault("Error: Passwords do not match.".into(), 1))
        }
        Err(error) => Err(Outcome::fault(format!("Error: {}.", plain(&error)), 1)),
    }
}

fn online(mut settings: Settings, module: Module, request: &str) -> ExitCode {
    let connect = &settings.connect;
    // A Unix socket is no network.
    if !connect.quiet && !connect.uses_tls() && connect.unix.is_none() {
        let name = terminal::called(&options::CTRL);
        terminal::complain(&format!(
            "Warning: You are running {name} without encryption.\n{WARNING}"
        ));
    }
    let answer = ask_password(&mut settings.connect).and_then(|()| {
        let mut link = Link::connect(&settings.connect, settings.qos)?;
        let answer = link.ask(module.topic(), request);
        link.close();
        answer
    });
    match answer.map(|payload| answer::read(&payload)) {
        Ok(Answer::Done(text)) => terminal::print(&text),
        // mosquitto_ctrl ends well when the broker refuses a command, and scripts that create what may
        // be there already count on it.
        Ok(Answer::Error(text)) => terminal::fail(&text, 0),
        Ok(Answer::Invalid(text)) => terminal::fail(&format!("Error: {text}"), 0),
        Err(failure) => {
            let failure = failure.with_place(&settings.origins);
            let code = match &failure {
                Failure::Io(error) => terminal::fail(&format!("Error: {}", plain(error)), SYSTEM),
                _ => terminal::conclude(&options::CTRL, false, &failure),
            };
            terminal::hint(&options::CTRL, &settings.connect, &failure);
            code
        }
    }
}

/// Asks for the password of the connection when there is a user name alone.
fn ask_password(connect: &mut ConnectOptions) -> Result<(), Failure> {
    let Some(user_name) = &connect.user_name else {
        return Ok(());
    };
    if connect.password.is_some() || connect.oauth.is_used() {
        return Ok(());
    }
    connect.password = Some(read_hidden(&format!("Password for {user_name}: "))?);
    Ok(())
}

/// What the options ask for.
#[derive(Debug)]
enum Read {
    Settings(Box<Settings>),
    Help,
    Version,
}

/// Reads the options file, then the command line, whose word counts more.
fn settings(args: Vec<OsString>) -> Result<Read, UsageError> {
    let command = &options::CTRL;
    let of_line = |args: Vec<OsString>| command.parse(args).map(|option| (None, option));
    // Help needs no file.
    if let Some(read) = take(&mut Settings::default(), of_line(args.clone()))? {
        return Ok(read);
    }
    let file = OptionsFile::read(command, &args, "mosquitto_ctrl")?;
    let mut settings = Settings::default();
    take(&mut settings, file.options(command).chain(of_line(args)))?;
    settings.connect = settings.connect.finish()?;
    // Between two lines that somebody types, hours may pass.
    settings.connect.keep_alive_secs = 0;
    Ok(Read::Settings(Box::new(settings)))
}

fn take(
    settings: &mut Settings,
    options: impl Iterator<Item = (Option<Place>, Result<(Id, Value), UsageError>)>,
) -> Result<Option<Read>, UsageError> {
    for (place, option) in options {
        let taken = option.and_then(|(id, value)| {
            settings.origins.note(id, place.clone());
            take_one(settings, id, value)
        });
        if let Some(read) = taken.map_err(|error| Place::add_to(place.as_ref(), error))? {
            return Ok(Some(read));
        }
    }
    Ok(None)
}

fn take_one(settings: &mut Settings, id: Id, value: Value) -> Result<Option<Read>, UsageError> {
    settings.host_was_given |=
        matches!(id, Id::Host | Id::Port | Id::UserName | Id::Url | Id::Unix);
    let Some(value) = settings.connect.take(id, value)? else {
        return Ok(None);
    };
    match id {
        Id::Help => return Ok(Some(Read::Help)),
        Id::Version => return Ok(Some(Read::Version)),
        Id::QoS => settings.qos = qos(&value)?,
        Id::File => settings.data_file = Some(value.into_os_string().into()),
        Id::Url => {
            settings.connect.take_url(value)?;
        }
        _ => {}
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
