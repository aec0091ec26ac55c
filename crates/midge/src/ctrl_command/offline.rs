//! What `dynsec` does to a file, without a broker.

use std::fs;
use std::io;
use std::path::Path;

use midge_access::dynsec::{self, FILE_BYTES_MAX, ITERATIONS_DEFAULT};
use midge_access::passwords::{Hashing, Verifier};

use super::prompt::{self, NewPassword};
use super::{INVALID_ARGUMENTS, Outcome};
use crate::failure::plain;
use crate::kept_file::{self, KeptFile};

/// As mosquitto_ctrl creates it: for the owner, and for the group to read.
const NEW_MODE: u32 = 0o640;

/// `init FILE USER [PASSWORD]`: creates a file with one user, who may administer.
pub(super) fn init(args: &[String]) -> Outcome {
    let (path, user_name, password) = match args {
        [path, user_name] => (path, user_name, None),
        [path, user_name, password] => (path, user_name, Some(password.clone())),
        [] | [_] => {
            let text = "dynsec init: Not enough arguments - filename, or admin-user missing.";
            return Outcome::fault(format!("{text}\n{INVALID_ARGUMENTS}"), 3);
        }
        _ => {
            let text = "dynsec init: Too many arguments.";
            return Outcome::fault(format!("{text}\n{INVALID_ARGUMENTS}"), 3);
        }
    };
    let path = Path::new(path);
    if fs::symlink_metadata(path).is_ok() {
        return already_there(path);
    }
    let password = match given_or_typed(password, user_name) {
        Ok(password) => password,
        Err(outcome) => return outcome,
    };
    let mut fault = None;
    let mut random = |bytes: &mut [u8]| fault = getrandom::fill(bytes).err();
    let state = dynsec::init_file(user_name, &password, &mut random);
    if let Some(error) = fault {
        return Outcome::fault(format!("Error: No random bytes: {error}."), 1);
    }
    match kept_file::create(path, state.to_json().as_bytes(), NEW_MODE) {
        Ok(()) => Outcome::printed(created(user_name, path)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => already_there(path),
        Err(error) => Outcome::fault(
            format!(
                "dynsec init: Unable to open '{}' for writing ({}).",
                path.display(),
                plain(&error)
            ),
            1,
        ),
    }
}

/// Status 0 as mosquitto_ctrl's: scripts that start containers call `init` each time.
fn already_there(path: &Path) -> Outcome {
    Outcome::fault(
        format!(
            "dynsec init: '{}' already exists. Remove the file or use a different location.",
            path.display()
        ),
        0,
    )
}

fn created(user_name: &str, path: &Path) -> String {
    format!(
        "The client '{user_name}' has been created in the file '{}'.\n\
         It may administer dynamic security, and publish to no other topics.\n\
         Clients for your applications are made for example so:\n   \
         midge ctrl <connect options> dynsec createClient <username>\n   \
         midge ctrl <connect options> dynsec createRole <rolename>\n   \
         midge ctrl <connect options> dynsec addRoleACL <rolename> publishClientSend my/topic allow [priority]\n   \
         midge ctrl <connect options> dynsec addClientRole <username> <rolename> [priority]\n\
         `midge ctrl dynsec help` shows all commands.\n",
        path.display()
    )
}

/// `setClientPassword USER [PASSWORD] [-i ITERATIONS]` on a file.
pub(super) fn set_password(path: &Path, args: &[String]) -> Outcome {
    let mut words = Vec::new();
    let mut iterations = ITERATIONS_DEFAULT;
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        if words.is_empty() || arg != "-i" {
            words.push(arg);
            continue;
        }
        let Some(value) = rest.next() else {
            let text = "Error: -i argument given, but no iterations provided.";
            return Outcome::fault(text.into(), 3);
        };
        iterations = match value.parse() {
            Ok(number) if number > 0 => number,
            _ => return Outcome::fault(format!("Error: Invalid iterations '{value}'."), 3),
        };
    }
    let (user_name, password) = match words.as_slice() {
        [user_name] => (*user_name, None),
        [user_name, password] => (*user_name, Some((*password).clone())),
        _ => return Outcome::fault(INVALID_ARGUMENTS.into(), 3),
    };
    let password = match given_or_typed(password, user_name) {
        Ok(password) => password,
        Err(outcome) => return outcome,
    };
    match change_password(path, user_name, &password, iterations) {
        Ok(()) => Outcome::printed(String::new()),
        Err(text) => Outcome::fault(format!("Error: {text}"), 1),
    }
}

fn change_password(
    path: &Path,
    user_name: &str,
    password: &str,
    iterations: u32,
) -> Result<(), String> {
    let hashing = Hashing::Sha512Pbkdf2 { iterations };
    let mut salt = vec![0; hashing.salt_len()];
    getrandom::fill(&mut salt).map_err(|error| format!("No random bytes: {error}."))?;
    let verifier = Verifier::create(hashing, password.as_bytes(), &salt)
        .map_err(|error| format!("Unable to hash password: {error}."))?;
    let file = KeptFile::open("dynamic-security file", path, FILE_BYTES_MAX)?;
    file.change(
        |()| {},
        |bytes| {
            let text = dynsec::set_password_in_file(bytes, user_name, &verifier)
                .map_err(|error| format!("{}: {error}.", path.display()))?;
            Ok((text.into_bytes(), ()))
        },
    )
}

/// The password of the command line, or else what is typed.
fn given_or_typed(password: Option<String>, user_name: &str) -> Result<String, Outcome> {
    if let Some(password) = password {
        return Ok(password);
    }
    let why = match prompt::read_new_password(user_name) {
        Ok(NewPassword::Given(password)) => return Ok(password),
        Ok(NewPassword::Empty) => "Empty password".to_owned(),
        Ok(NewPassword::Different) => "Passwords do not match".to_owned(),
        Err(error) => plain(&error),
    };
    Err(Outcome::fault(format!("Error: {why}."), 1))
}
