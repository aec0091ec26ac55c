//! What `dynsec` does to a file, without a broker.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use midge_access::dynsec::{self, FILE_BYTES_MAX, ITERATIONS_DEFAULT};
use midge_access::passwords::{Hashing, Verifier};

use super::prompt::{self, NewPassword};
use super::{INVALID_ARGUMENTS, Outcome};
use crate::failure::plain;

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
    let password = match password {
        Some(password) => password,
        None => match prompt::read_new_password(user_name) {
            Ok(NewPassword::Given(password)) => password,
            Ok(NewPassword::Empty) => return Outcome::fault("Error: Empty password.".into(), 1),
            Ok(NewPassword::Different) => {
                return Outcome::fault("Error: Passwords do not match.".into(), 1);
            }
            Err(error) => return Outcome::fault(format!("Error: {}.", plain(&error)), 1),
        },
    };
    let mut fault = None;
    let mut random = |bytes: &mut [u8]| fault = getrandom::fill(bytes).err();
    let state = dynsec::init_file(user_name, &password, &mut random);
    if let Some(error) = fault {
        return Outcome::fault(format!("Error: No random bytes: {error}."), 1);
    }
    match create(path, state.to_json().as_bytes()) {
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
    let password = match password {
        Some(password) => password,
        None => match prompt::read_new_password(user_name) {
            Ok(NewPassword::Given(password)) => password,
            Ok(NewPassword::Empty) => return Outcome::fault("Error: Empty password.".into(), 1),
            Ok(NewPassword::Different) => {
                return Outcome::fault("Error: Passwords do not match.".into(), 1);
            }
            Err(error) => return Outcome::fault(format!("Error: {}.", plain(&error)), 1),
        },
    };
    match change_password(path, user_name, &password, iterations) {
        Ok(()) => Outcome::printed(String::new()),
        Err(text) => Outcome::fault(format!("Error: {text}."), 1),
    }
}

fn change_password(
    path: &Path,
    user_name: &str,
    password: &str,
    iterations: u32,
) -> Result<(), String> {
    let shown = path.display();
    let open = |error: io::Error| format!("Unable to open {shown}: {}", plain(&error));
    let real = fs::canonicalize(path).map_err(open)?;
    let file = File::open(&real).map_err(open)?;
    let mut bytes = Vec::new();
    let most = u64::try_from(FILE_BYTES_MAX).unwrap_or(u64::MAX);
    (&file)
        .take(most.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(open)?;
    let mut salt = [0; 12];
    getrandom::fill(&mut salt).map_err(|error| format!("No random bytes: {error}"))?;
    let hashing = Hashing::Sha512Pbkdf2 { iterations };
    let verifier =
        Verifier::create(hashing, password.as_bytes(), &salt).map_err(|error| error.to_string())?;
    let text = dynsec::set_password_in_file(&bytes, user_name, &verifier)
        .map_err(|error| format!("{shown}: {error}"))?;
    replace(&real, &file, text.as_bytes()).map_err(|error| {
        format!(
            "Unable to write to {shown}: {}. It is as it was",
            plain(&error)
        )
    })
}

/// Creates a file that does not exist, whole or not at all.
fn create(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let (temporary, mut file) = temporary(path, NEW_MODE)?;
    let written = file
        .write_all(bytes)
        .and_then(|()| file.sync_all())
        // A link fails where a file is; to rename would replace it.
        .and_then(|()| fs::hard_link(&temporary, path));
    let _ = fs::remove_file(&temporary);
    written?;
    sync_folder(path);
    Ok(())
}

/// Puts a new file with the owner and the mode of `old` in its place.
fn replace(path: &Path, old: &File, bytes: &[u8]) -> io::Result<()> {
    let before = old.metadata()?;
    let (temporary, mut file) = temporary(path, 0o600)?;
    let written = (|| {
        let now = file.metadata()?;
        if (now.uid(), now.gid()) != (before.uid(), before.gid()) {
            fchown(&file, Some(before.uid()), Some(before.gid()))?;
        }
        file.set_permissions(Permissions::from_mode(before.mode() & 0o7777))?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written?;
    sync_folder(path);
    Ok(())
}

/// A new file beside `path`.
fn temporary(path: &Path, mode: u32) -> io::Result<(PathBuf, File)> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".new-{:016x}", u64::from_le_bytes(random)));
    let temporary = path.with_file_name(name);
    let mut options = OpenOptions::new();
    let file = options
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&temporary)?;
    Ok((temporary, file))
}

/// Makes a new name durable, as far as the file system can.
fn sync_folder(path: &Path) {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let _ = File::open(folder).and_then(|folder| folder.sync_all());
}
