//! `midge passwd`: writes password files. Called as `mosquitto_passwd`, midge is this command.
//!
//! Options, questions, messages and exit codes are those of mosquitto_passwd 2.1. What it does better: the
//! file is replaced in one step, comments stay, a hash is not hashed again, and who else uses this program on
//! the same file waits.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use midge_access::passwords::edit::{self, EditError, NameFault, Set};
use midge_access::passwords::{Hashing, Verifier};
use midge_access::scram::ITERATIONS_LEAST;

use crate::failure::plain;
use crate::kept_file::{self, KeptFile};
use crate::options::{Command, Id, Opt, UsageError, Value, flag, own, valued};
use crate::prompt::Questions;
use crate::terminal;

pub(crate) const PASSWD: Command = Command {
    name: "midge passwd",
    about: "Writes the password file that the password_file option of the broker names. Without -b the \
            password is asked for; where the standard input is no terminal, it is read from there, twice.",
    usage: "[-H hash] [-I iterations] [-c] [-b] FILE USER [PASSWORD]\n       midge passwd -D FILE USER\n       \
            midge passwd [-H hash] [-I iterations] -U FILE",
    options: &[own(OPTIONS)],
    examples: &[
        ("-c passwords ann", "creates a file with one user"),
        ("passwords bob", "adds another, or changes the password"),
    ],
};

const OPTIONS: &[Opt] = &[
    flag(
        Id::Batch,
        &["-b"],
        "Takes the password from the command line, where others on this machine may see it.",
    ),
    flag(
        Id::Create,
        &["-c"],
        "Creates the file, which must not exist, readable for its owner only. With - as FILE the line goes \
         to the standard output.",
    ),
    flag(Id::Delete, &["-D"], "Deletes the user."),
    valued(
        Id::Hash,
        &["-H"],
        "hash",
        "-H argument given but not enough other arguments.",
        "argon2id (the default; 46 MiB and some 50 ms for each login; Mosquitto reads it from 2.1 \
               on), sha512-pbkdf2 (Mosquitto 2.0, cheaper for crowds of clients), sha512 (Mosquitto 1.6, \
               weak), scram-sha-256 or scram-sha-512 (Midge alone: for clients that log in with SCRAM, or \
               with a password).",
    ),
    flag(Id::Help, &["--help"], "Prints this text."),
    valued(
        Id::Iterations,
        &["-I"],
        "iterations",
        "-I argument given but not enough other arguments.",
        "Iterations for sha512-pbkdf2 (1000 by default) and the SCRAM forms (4096, which is the least).",
    ),
    flag(
        Id::Update,
        &["-U"],
        "Hashes all passwords of the file that are not hashed yet.",
    ),
    flag(Id::Version, &["--version"], "Prints the version."),
];

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
enum Request {
    Help,
    Version,
    /// Nothing that makes sense.
    Usage,
    Task(Task),
}

#[derive(Debug, PartialEq, Eq)]
enum Task {
    /// Sets a password: the given one, or what is asked for.
    Set {
        target: Target,
        user: String,
        password: Option<Vec<u8>>,
        hashing: Hashing,
    },
    Delete {
        file: PathBuf,
        user: String,
    },
    HashPlain {
        file: PathBuf,
        hashing: Hashing,
    },
}

#[derive(Debug, PartialEq, Eq)]
enum Target {
    New(PathBuf),
    Existing(PathBuf),
    StandardOutput,
}

/// Who may read a new password file: its owner.
const NEW_MODE: u32 = 0o600;

/// The status that mosquitto_passwd ends with when two passwords differ.
const EXIT_MISMATCH: u8 = 2;

/// Runs the command and gives its exit code.
pub(crate) fn run(args: Vec<OsString>) -> ExitCode {
    let failure = match parse(args) {
        Ok(Request::Help) => return terminal::print(&PASSWD.help_as(&terminal::called(&PASSWD))),
        Ok(Request::Version) => return terminal::print(&terminal::version("midge")),
        Ok(Request::Usage) => {
            terminal::print(&PASSWD.help_as(&terminal::called(&PASSWD)));
            return ExitCode::FAILURE;
        }
        Ok(Request::Task(task)) => match perform(task) {
            Ok(()) => return ExitCode::SUCCESS,
            Err(failure) => failure,
        },
        Err(UsageError(text)) => Failure::new(text),
    };
    terminal::fail(&failure.text, failure.code)
}

/// What is said at the end, and the exit code.
struct Failure {
    text: String,
    code: u8,
}

impl Failure {
    fn new(text: impl AsRef<str>) -> Self {
        Self {
            text: format!("Error: {}", text.as_ref()),
            code: 1,
        }
    }
}

impl From<String> for Failure {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

fn parse(args: Vec<OsString>) -> Result<Request, UsageError> {
    let (options, operands) = PASSWD.split_operands(args);
    let (mut batch, mut create, mut delete, mut update) = (false, false, false, false);
    let (mut hashing, mut iterations) = (Hashing::ARGON2ID, None);
    for option in PASSWD.parse(options) {
        let (id, value) = option?;
        match id {
            Id::Batch => batch = true,
            Id::Create => create = true,
            Id::Delete => delete = true,
            Id::Update => update = true,
            Id::Hash => hashing = hash(&value)?,
            Id::Iterations => iterations = Some(iteration_count(&value)?),
            Id::Help => return Ok(Request::Help),
            Id::Version => return Ok(Request::Version),
            other => unreachable!("{other:?} is not an option of passwd"),
        }
    }
    for (first, second, names) in [
        (create, delete, "-c and -D"),
        (create, update, "-c and -U"),
        (delete, update, "-D and -U"),
        (delete, batch, "-b and -D"),
    ] {
        if first && second {
            return Err(format!("{names} cannot be used together.").into());
        }
    }
    if let Some(iterations) = iterations {
        hashing = with_iterations(hashing, iterations)?;
    }
    task(
        Form {
            batch,
            create,
            delete,
            update,
        },
        operands,
        hashing,
    )
}

struct Form {
    batch: bool,
    create: bool,
    delete: bool,
    update: bool,
}

/// Reads what follows the options.
fn task(form: Form, operands: Vec<OsString>, hashing: Hashing) -> Result<Request, UsageError> {
    let count = operands.len();
    let mut operands = operands.into_iter();
    let wanted = match form {
        Form { update: true, .. } => 1,
        Form { batch: true, .. } => 3,
        _ => 2,
    };
    if count != wanted {
        let missing = match form {
            Form { update: true, .. } => "-U argument given but password file missing.",
            Form { delete: true, .. } => "-D argument given but password file or username missing.",
            _ if count > wanted || !form.create => return Ok(Request::Usage),
            Form { batch: true, .. } => {
                "-c argument given but password file, username, or password missing."
            }
            _ => "-c argument given but password file or username missing.",
        };
        return Err(missing.into());
    }
    let file = PathBuf::from(operands.next().unwrap_or_default());
    if form.update {
        return Ok(Request::Task(Task::HashPlain { file, hashing }));
    }
    let user = user_name(operands.next().unwrap_or_default(), form.delete)?;
    if form.delete {
        return Ok(Request::Task(Task::Delete { file, user }));
    }
    let password = operands.next().map(OsString::into_encoded_bytes);
    if let Some(password) = &password {
        check_length(password)?;
    }
    let target = match (form.create, file) {
        (true, file) if file == Path::new("-") => Target::StandardOutput,
        (true, file) => Target::New(file),
        (false, file) => Target::Existing(file),
    };
    Ok(Request::Task(Task::Set {
        target,
        user,
        password,
        hashing,
    }))
}

fn hash(value: &Value) -> Result<Hashing, UsageError> {
    let name = value.lossy();
    Hashing::from_name(&name).ok_or_else(|| {
        UsageError(format!(
            "Unknown hash type '{name}'. It is argon2id, sha512-pbkdf2, sha512, scram-sha-256 or \
             scram-sha-512."
        ))
    })
}

fn iteration_count(value: &Value) -> Result<u32, UsageError> {
    let most = midge_access::passwords::ITERATIONS_MAX;
    value.number(
        1,
        most,
        &format!("Number of iterations must be > 0. ('{{}}'; at most {most})"),
    )
}

fn with_iterations(hashing: Hashing, iterations: u32) -> Result<Hashing, UsageError> {
    let is_scram = matches!(
        hashing,
        Hashing::ScramSha256 { .. } | Hashing::ScramSha512 { .. }
    );
    if is_scram && iterations < ITERATIONS_LEAST {
        return Err(format!(
            "Number of iterations must be at least {ITERATIONS_LEAST} for SCRAM; clients refuse less."
        )
        .into());
    }
    Ok(hashing.with_iterations(iterations).unwrap_or(hashing))
}

fn user_name(name: OsString, is_old: bool) -> Result<String, UsageError> {
    let name = name
        .into_string()
        .map_err(|_| UsageError("Username must be UTF-8.".into()))?;
    let text = match edit::check_name(&name) {
        Ok(()) => return Ok(name),
        // What stands in a file must be possible to delete.
        Err(NameFault::Comment | NameFault::Spaces) if is_old => return Ok(name.trim().to_owned()),
        Err(NameFault::Empty) => "Username must not be empty.",
        Err(NameFault::TooLong) => "Username must be less than 65536 characters long.",
        Err(NameFault::Control) => "Username must not contain control characters.",
        Err(NameFault::Colon) => "Username must not contain the ':' character.",
        Err(NameFault::Comment) => {
            "Username must not begin with '#', which makes a line of the file a comment."
        }
        Err(NameFault::Spaces) => "Username must not begin or end with spaces.",
    };
    Err(text.into())
}

fn check_length(password: &[u8]) -> Result<(), UsageError> {
    // As much as a CONNECT can carry.
    if password.len() > usize::from(u16::MAX) {
        return Err("Password must be less than 65536 characters long.".into());
    }
    Ok(())
}

fn perform(task: Task) -> Result<(), Failure> {
    match task {
        Task::Set {
            target,
            user,
            password,
            hashing,
        } => set(&target, &user, password, hashing),
        Task::Delete { file, user } => {
            let said = |_: &()| {};
            password_file(&file)?.change(said, |text| match edit::remove(text, &user) {
                Ok(Some(changed)) => Ok((changed, ())),
                Ok(None) => Err(Failure {
                    text: format!("Warning: User {user} not found in password file."),
                    code: 1,
                }),
                Err(error) => Err(corrupt(&error)),
            })
        }
        Task::HashPlain { file, hashing } => {
            let said = |(hashed, kept): &(usize, usize)| {
                if *kept > 0 {
                    terminal::complain(&format!(
                        "{hashed} passwords were hashed; {kept} were hashed before and are as they were."
                    ));
                }
            };
            password_file(&file)?.change(said, |text| {
                let mut failure = None;
                let hashed = edit::hash_plain(text, |password| {
                    encoded(hashing, password.as_bytes()).unwrap_or_else(|fault| {
                        failure = Some(fault);
                        String::new()
                    })
                });
                match (failure, hashed) {
                    (Some(failure), _) => Err(failure),
                    (None, Ok(done)) => Ok((done.text, (done.hashed, done.kept))),
                    (None, Err(error)) => Err(corrupt(&error)),
                }
            })
        }
    }
}

fn set(
    target: &Target,
    user: &str,
    password: Option<Vec<u8>>,
    hashing: Hashing,
) -> Result<(), Failure> {
    // Before the question, so that nobody types a password for a file that cannot be written.
    let existing = match target {
        Target::Existing(path) => Some(password_file(path)?),
        Target::New(path) => {
            if std::fs::symlink_metadata(path).is_ok() {
                return Err(unable_to_create(path, "File exists"));
            }
            None
        }
        Target::StandardOutput => None,
    };
    let password = match password {
        Some(password) => password,
        None => ask()?,
    };
    let hash = encoded(hashing, &password)?;
    match (target, existing) {
        (Target::StandardOutput, _) => {
            if terminal::print(&format!("{user}:{hash}\n")) == ExitCode::SUCCESS {
                return Ok(());
            }
            Err(Failure::new("Unable to write to the standard output."))
        }
        (_, Some(existing)) => {
            let said = |done: &Set| match done {
                Set::Added => say(&format!("Adding password for user {user}\n")),
                Set::Updated => say(&format!("Updating password for user {user}\n")),
            };
            existing.change(said, |text| {
                edit::set(text, user, &hash).map_err(|error| corrupt(&error))
            })
        }
        (Target::New(path) | Target::Existing(path), None) => {
            let line = format!("{user}:{hash}\n");
            kept_file::create(path, line.as_bytes(), NEW_MODE)
                .map_err(|error| unable_to_create(path, &plain(&error)))?;
            say(&format!("Adding password for user {user}\n"));
            Ok(())
        }
    }
}

/// A password file that exists.
fn password_file(path: &Path) -> Result<KeptFile, Failure> {
    let bytes_max = midge_access::lines::FILE_BYTES_MAX;
    Ok(KeptFile::open("password file", path, bytes_max)?)
}

fn unable_to_create(path: &Path, why: &str) -> Failure {
    let hint = if why == "File exists" {
        " Leave -c out to change it, or remove it first."
    } else {
        ""
    };
    Failure::new(format!(
        "Unable to open file {} for writing. {why}.{hint}",
        path.display()
    ))
}

/// Says what was done; that nobody listens is no fault.
fn say(text: &str) {
    terminal::print(text);
}

fn corrupt(error: &EditError) -> Failure {
    match error {
        EditError::Line(fault) => Failure::new(format!(
            "Corrupt password file at line {}: {}.",
            fault.line, fault.text
        )),
        EditError::TooLarge(error) => Failure::new(format!("Unable to change: {error}.")),
    }
}

/// The text of the file for a password, with a new salt.
fn encoded(hashing: Hashing, password: &[u8]) -> Result<String, Failure> {
    let mut salt = vec![0; hashing.salt_len()];
    let no_hash =
        |error: &dyn std::fmt::Display| Failure::new(format!("Unable to hash password: {error}."));
    getrandom::fill(&mut salt).map_err(|error| no_hash(&error))?;
    match Verifier::create(hashing, password, &salt) {
        Ok(verifier) => Ok(verifier.to_string()),
        Err(error) => Err(no_hash(&error)),
    }
}

/// Asks for a new password, twice.
fn ask() -> Result<Vec<u8>, Failure> {
    let questions = Questions::new();
    let read = |prompt| {
        questions
            .ask(prompt)
            .map_err(|error| Failure::new(error.to_string()))
    };
    let password = read("Password: ")?;
    if password.is_empty() {
        return Err(Failure::new("Empty password."));
    }
    check_length(&password).map_err(|UsageError(text)| Failure::new(text))?;
    if read("Reenter password: ")? != password {
        return Err(Failure {
            text: "Error: Passwords do not match.".into(),
            code: EXIT_MISMATCH,
        });
    }
    Ok(password)
}

#[cfg(test)]
mod tests;
