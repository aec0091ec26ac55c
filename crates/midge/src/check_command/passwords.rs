//! `midge check passwords`: what is wrong with a password file, and whether somebody could log in.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use midge_access::passwords::{DecoyKey, PasswordFile};

use crate::failure::plain;
use crate::options::{Command, Id, Opt, UsageError, flag, own, valued};
use crate::prompt::Questions;
use crate::terminal;

use super::{EXIT_FAULT, misused};

pub(crate) const PASSWORDS: Command = Command {
    name: "midge check passwords",
    about: "Says what is wrong with the lines of a password file, and whether a user could log in. Without \
            --pw the password is asked for. Ends with status 0 when all is well, 1 when the user could not \
            log in, and 3 when the file or the command line is wrong.",
    usage: "--password-file FILE [--user NAME [--pw PASSWORD]]",
    options: &[own(OPTIONS)],
    examples: &[],
};

const OPTIONS: &[Opt] = &[
    flag(Id::Help, &["--help"], "Prints this text."),
    valued(
        Id::Password,
        &["-P", "--pw"],
        "password",
        "--pw argument given but no password specified.",
        "The password. Others on this machine may see it here.",
    ),
    valued(
        Id::PasswordFile,
        &["--password-file"],
        "file",
        "--password-file argument given but no file specified.",
        "The file, as the password_file option of the broker names it.",
    ),
    valued(
        Id::UserName,
        &["-u", "--user"],
        "name",
        "--user argument given but no user name specified.",
        "The user name.",
    ),
];

#[derive(Debug, Default, PartialEq, Eq)]
struct Question {
    file: PathBuf,
    user_name: Option<String>,
    password: Option<Vec<u8>>,
}

#[derive(Debug, PartialEq, Eq)]
enum Request {
    Help,
    Ask(Question),
}

/// Runs the command and gives its exit code.
pub(super) fn run(args: Vec<OsString>) -> ExitCode {
    match parse(args) {
        Ok(Request::Help) => terminal::print(&PASSWORDS.help()),
        Ok(Request::Ask(question)) => answer(question),
        Err(error) => misused(&PASSWORDS, &error),
    }
}

fn parse(args: Vec<OsString>) -> Result<Request, UsageError> {
    let mut question = Question::default();
    for option in PASSWORDS.parse(args) {
        let (id, value) = option?;
        match id {
            Id::PasswordFile => question.file = value.into_os_string().into(),
            Id::UserName => question.user_name = Some(value.into_text("--user")?),
            Id::Password => question.password = Some(value.into_bytes()),
            Id::Help => return Ok(Request::Help),
            other => unreachable!("{other:?} is not an option of check"),
        }
    }
    if question.file == Path::new("") {
        return Err("No password file specified: use --password-file.".into());
    }
    if question.password.is_some() && question.user_name.is_none() {
        return Err("A password needs a user: use --user.".into());
    }
    Ok(Request::Ask(question))
}

fn answer(question: Question) -> ExitCode {
    let name = question.file.display();
    let fail = |why: &str| {
        terminal::fail(
            &format!("Error: Unable to open pwfile \"{name}\". {why}."),
            EXIT_FAULT,
        )
    };
    let text = match fs::read(&question.file) {
        Ok(text) => text,
        Err(error) => return fail(&plain(&error)),
    };
    // Nobody can learn anything from what unknown users look like here.
    let (file, faults) = match PasswordFile::parse(&text, DecoyKey::new([0; 32])) {
        Ok(parsed) => parsed,
        Err(error) => return fail(&error.to_string()),
    };
    for fault in &faults.list {
        terminal::complain(&format!("Error: {name}:{}: {}.", fault.line, fault.text));
    }
    if faults.more > 0 {
        terminal::complain(&format!("Error: {name}: and {} lines more.", faults.more));
    }
    let Some(user) = question.user_name else {
        if faults.is_empty() {
            return terminal::print(&format!("{name} is sound; users: {}\n", file.len()));
        }
        return ExitCode::from(EXIT_FAULT);
    };
    let Some(verifier) = file.verifier(&user) else {
        terminal::print(&format!("denied: there is no user {user} in {name}\n"));
        return ExitCode::FAILURE;
    };
    let password = match question.password {
        Some(password) => password,
        None => match Questions::new().ask("Password: ") {
            Ok(password) => password,
            Err(error) => return terminal::fail(&format!("Error: {error}"), EXIT_FAULT),
        },
    };
    let form = verifier.hashing().name();
    if file.check(&user).run(Some(&password)) {
        terminal::print(&format!(
            "allowed: user {user} with this password ({form})\n"
        ))
    } else {
        terminal::print(&format!(
            "denied: user {user} has another password ({form})\n"
        ));
        ExitCode::FAILURE
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
    fn a_password_belongs_to_a_user_and_a_user_to_a_file() {
        let question = Question {
            file: "f".into(),
            user_name: Some("u".into()),
            password: Some(b"p".to_vec()),
        };
        assert_eq!(
            of("--password-file f -u u --pw p"),
            Ok(Request::Ask(question))
        );
        assert_eq!(of("--help"), Ok(Request::Help));
        assert!(of("-u u").unwrap_err().starts_with("No password file"));
        assert!(
            of("--password-file f --pw p")
                .unwrap_err()
                .starts_with("A password needs a user")
        );
    }
}
