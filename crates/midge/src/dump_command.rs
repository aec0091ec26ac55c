//! `midge dump`: prints what a broker keeps on disk. Called as `mosquitto_db_dump`, midge is this command.

use std::ffi::OsString;
use std::fmt::Display;
use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use midge_persistence::dump::{self, Found, Payloads, Store};
use midge_persistence::mosquitto_db::{Damage, dump as mosquitto_dump};

use crate::failure::plain;
use crate::options::{Command, Id, Opt, UsageError, flag, own};
use crate::terminal;

pub(crate) const DUMP: Command = Command {
    name: "midge dump",
    about: "Prints what a broker keeps on disk: a store of Midge, also while a broker runs on it, or a \
            mosquitto.db. PATH is either of them, or the persistence_location that has it. Nothing is \
            changed.",
    usage: "[--stats | --client-stats | --json] PATH",
    options: &[own(OPTIONS)],
    examples: &[(
        "--stats /var/lib/mosquitto/mosquitto.db",
        "how much of what is in a database of Mosquitto's",
    )],
};

const OPTIONS: &[Opt] = &[
    flag(
        Id::ClientStats,
        &["--client-stats"],
        "Prints for each client the number (SC) and bytes (SS) of its subscriptions, and the number \
         (MC) and bytes (MS) of its messages.",
    ),
    flag(Id::Help, &["--help"], "Prints this text."),
    flag(
        Id::Json,
        &["--json"],
        "Prints JSON. Payloads are text where they are UTF-8, else base64; as mosquitto_db_dump, \
         always base64.",
    ),
    flag(
        Id::Stats,
        &["--stats"],
        "Prints how much of each kind there is.",
    ),
    flag(Id::Version, &["--version"], "Prints the version."),
];

/// How it is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Listing,
    Stats,
    ClientStats,
    Json,
}

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
enum Request {
    Help,
    Version,
    Dump(PathBuf, Form),
}

/// Runs the command and gives its exit code: 1 also when something is damaged.
pub(crate) fn run(args: Vec<OsString>) -> ExitCode {
    match parse(args) {
        Ok(Request::Help) => terminal::print(&DUMP.help_as(&terminal::called(&DUMP))),
        Ok(Request::Version) => terminal::print(&terminal::version("midge")),
        Ok(Request::Dump(path, form)) => dump(&path, form),
        Err(UsageError(text)) => {
            let called = terminal::called(&DUMP);
            terminal::fail(
                &format!("Error: {text}\n\nUse '{called} --help' to see usage."),
                1,
            )
        }
    }
}

fn parse(args: Vec<OsString>) -> Result<Request, UsageError> {
    let is_option = |arg: &OsString| arg.as_encoded_bytes().starts_with(b"-");
    let (options, mut paths): (Vec<_>, Vec<_>) = args.into_iter().partition(is_option);
    let mut form = Form::Listing;
    for option in DUMP.parse(options) {
        let asked = match option?.0 {
            Id::ClientStats => Form::ClientStats,
            Id::Help => return Ok(Request::Help),
            Id::Json => Form::Json,
            Id::Stats => Form::Stats,
            Id::Version => return Ok(Request::Version),
            other => unreachable!("{other:?} is not an option of dump"),
        };
        if form != Form::Listing && form != asked {
            return Err("Only one of --stats, --client-stats and --json is possible.".into());
        }
        form = asked;
    }
    match (paths.pop(), paths.is_empty()) {
        (Some(path), true) => Ok(Request::Dump(path.into(), form)),
        (None, _) => Err("No path specified.".into()),
        (Some(_), false) => Err("More than one path specified.".into()),
    }
}

fn dump(path: &Path, form: Form) -> ExitCode {
    let found = match dump::find(path) {
        Ok(found) => found,
        Err(error) => {
            return terminal::fail(&format!("Error: {}: {}.", path.display(), plain(&error)), 1);
        }
    };
    let (Found::Store(taken) | Found::File(taken)) = &found;
    if taken != path {
        terminal::complain(&format!("This is {}.", taken.display()));
    }
    let mut out = BufWriter::new(io::stdout().lock());
    let mut said = Said {
        path: taken,
        is_sound: true,
    };
    let result = match &found {
        Found::Store(directory) => of_store(directory, form, &mut out, &mut said),
        Found::File(file) => of_file(file, form, &mut out, &mut said),
    };
    match result.and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            said.fault(&format_args!("cannot write: {error}"));
        }
        _ => {}
    }
    ExitCode::from(u8::from(!said.is_sound))
}

/// What has been complained about.
struct Said<'a> {
    path: &'a Path,
    is_sound: bool,
}

impl Said<'_> {
    fn fault(&mut self, fault: &dyn Display) {
        self.is_sound = false;
        terminal::complain(&format!("Error: {}: {fault}.", self.path.display()));
    }
}

/// Prints a store; an error is one of writing.
fn of_store(
    directory: &Path,
    form: Form,
    out: &mut impl Write,
    said: &mut Said<'_>,
) -> io::Result<()> {
    let store = match Store::open(directory) {
        Ok(store) => store,
        Err(error) => {
            said.fault(&error);
            return Ok(());
        }
    };
    for event in &store.events {
        said.fault(event);
    }
    if store.unknown > 0 {
        let count = store.unknown;
        said.fault(&format_args!(
            "{count} records have a form that this version does not know"
        ));
    }
    match form {
        Form::Listing => dump::listing(&store, out, &mut |unreadable| said.fault(unreadable)),
        Form::Stats => dump::stats(&store, out),
        Form::ClientStats => dump::client_stats(&store, out),
        Form::Json => dump::json(&store, payloads(), out, &mut |unreadable| {
            said.fault(unreadable);
        }),
    }
}

/// Prints Mosquitto's database; an error is one of writing.
fn of_file(file: &Path, form: Form, out: &mut impl Write, said: &mut Said<'_>) -> io::Result<()> {
    let source = match File::open(file) {
        Ok(source) => source,
        Err(error) => {
            said.fault(&error);
            return Ok(());
        }
    };
    let complain = &mut |damage: &Damage| said.fault(damage);
    let result = match form {
        Form::Listing => mosquitto_dump::listing(source, out, complain),
        Form::Stats => mosquitto_dump::stats(source, out, complain),
        Form::ClientStats => mosquitto_dump::client_stats(source, out, complain),
        Form::Json => mosquitto_dump::json(source, payloads(), out, complain),
    };
    match result {
        Ok(()) => Ok(()),
        Err(mosquitto_dump::Error::Write(error)) => Err(error),
        Err(mosquitto_dump::Error::Read(stop)) => {
            said.fault(&stop);
            Ok(())
        }
    }
}

/// How payloads are printed: as Mosquitto does for whoever calls midge by its name.
fn payloads() -> Payloads {
    if terminal::called(&DUMP) == DUMP.name {
        Payloads::Text
    } else {
        Payloads::Base64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Result<Request, String> {
        let args = line.split_whitespace().map(OsString::from).collect();
        parse(args).map_err(|UsageError(text)| text)
    }

    #[test]
    fn one_path_and_one_form_at_most() {
        let dump = |form| Ok(Request::Dump("a/b".into(), form));
        assert_eq!(of("a/b"), dump(Form::Listing));
        assert_eq!(of("--stats a/b"), dump(Form::Stats));
        assert_eq!(of("a/b --client-stats"), dump(Form::ClientStats));
        assert_eq!(of("--json --json a/b"), dump(Form::Json));
        assert_eq!(of("--json --help"), Ok(Request::Help));
        assert_eq!(of("--version"), Ok(Request::Version));
        let check = |line: &str, text: &str| assert_eq!(of(line), Err(text.to_owned()));
        check("--stats", "No path specified.");
        check("a b", "More than one path specified.");
        check("-x a", "Unknown option '-x'.");
        check(
            "--stats --json a",
            "Only one of --stats, --client-stats and --json is possible.",
        );
    }
}
