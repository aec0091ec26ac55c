//! Giving up root.

use std::error::Error;
use std::ffi::CString;
use std::fmt;

use nix::errno::Errno;
use nix::unistd::{Gid, Uid, User, geteuid, setgid, setuid};

/// The user that is tried when it was not asked for by name, and its stand-in.
const DEFAULT_USER: &str = "mosquitto";
const FALLBACK_USER: &str = "nobody";

/// As whom the process runs after [`drop_privileges`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user's name, or its number if it has none.
    pub user: String,
    /// Whether this is still root, which deserves a warning.
    pub root: bool,
    /// Whether the default user does not exist, so that `nobody` was taken: deserves a warning.
    pub fell_back: bool,
}

/// Why root could not be given up. `Display` is the whole log line.
#[derive(Debug)]
#[non_exhaustive]
pub enum PrivilegeError {
    /// There is no such user.
    NoSuchUser(String),
    /// The system refused a step.
    System {
        /// What was to be set: `groups`, `gid` or `uid`.
        step: &'static str,
        /// What the system says.
        source: Errno,
    },
}

/// Whether this process has root's rights.
#[must_use]
pub fn running_as_root() -> bool {
    geteuid().is_root()
}

/// Becomes `user` with its groups, for good, if this process is root and `user` is not.
///
/// Otherwise, nothing changes. As with Mosquitto, the user `mosquitto` (the default) may be missing:
/// then `nobody` is taken. All threads change; call it before there are any all the same, since what
/// they opened before stays open.
///
/// # Errors
/// [`PrivilegeError`], after which the process must not go on: it may have changed in part.
pub fn drop_privileges(user: &str) -> Result<Identity, PrivilegeError> {
    if !running_as_root() || user == "root" {
        return Ok(identity(false));
    }
    let missing = || PrivilegeError::NoSuchUser(user.to_owned());
    let (account, fell_back) = match find(user)? {
        Some(account) => (account, false),
        None if user == DEFAULT_USER => (find(FALLBACK_USER)?.ok_or_else(missing)?, true),
        None => return Err(missing()),
    };
    set_groups_of(&account)?;
    setgid(account.gid).map_err(fault("gid"))?;
    setuid(account.uid).map_err(fault("uid"))?;
    Ok(identity(fell_back))
}

/// Becomes the user and group with these numbers (the environment's PUID and PGID), for good, if
/// this process is root; what is absent or 0 stays. Root's other groups are given up.
///
/// # Errors
/// As [`drop_privileges`].
pub fn drop_privileges_to_ids(
    user: Option<u32>,
    group: Option<u32>,
) -> Result<Identity, PrivilegeError> {
    let (user, group) = (user.filter(|id| *id != 0), group.filter(|id| *id != 0));
    if running_as_root() {
        if user.is_some() || group.is_some() {
            set_no_other_groups()?;
        }
        if let Some(group) = group {
            setgid(Gid::from_raw(group)).map_err(fault("gid"))?;
        }
        if let Some(user) = user {
            setuid(Uid::from_raw(user)).map_err(fault("uid"))?;
        }
    }
    Ok(identity(false))
}

fn find(user: &str) -> Result<Option<User>, PrivilegeError> {
    match User::from_name(user) {
        Ok(account) => Ok(account),
        // Some name services answer so for a user that does not exist.
        Err(Errno::ENOENT | Errno::ESRCH | Errno::EBADF | Errno::EPERM | Errno::EINVAL) => Ok(None),
        Err(source) => Err(PrivilegeError::System {
            step: "user",
            source,
        }),
    }
}

#[cfg(not(target_vendor = "apple"))]
fn set_groups_of(account: &User) -> Result<(), PrivilegeError> {
    let name = CString::new(account.name.as_bytes())
        .map_err(|_| PrivilegeError::NoSuchUser(account.name.clone()))?;
    nix::unistd::initgroups(&name, account.gid).map_err(fault("groups"))
}

#[cfg(not(target_vendor = "apple"))]
fn set_no_other_groups() -> Result<(), PrivilegeError> {
    nix::unistd::setgroups(&[]).map_err(fault("groups"))
}

// There, a user's groups are the directory service's to say, not the process's.
#[cfg(target_vendor = "apple")]
fn set_groups_of(_: &User) -> Result<(), PrivilegeError> {
    Ok(())
}

#[cfg(target_vendor = "apple")]
fn set_no_other_groups() -> Result<(), PrivilegeError> {
    Ok(())
}

fn identity(fell_back: bool) -> Identity {
    let id = geteuid();
    let name = User::from_uid(id)
        .ok()
        .flatten()
        .map(|account| account.name);
    Identity {
        user: name.unwrap_or_else(|| id.to_string()),
        root: id.is_root(),
        fell_back,
    }
}

fn fault(step: &'static str) -> impl Fn(Errno) -> PrivilegeError {
    move |source| PrivilegeError::System { step, source }
}

impl fmt::Display for PrivilegeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchUser(user) => write!(
                f,
                "Error: Invalid user '{user}'. Unable to drop privileges to '{user}' because this \
                 user does not exist: create it, or set the option 'user' to one that does."
            ),
            Self::System { step, source } => {
                write!(
                    f,
                    "Error setting {step} whilst dropping privileges: {}.",
                    source.desc()
                )
            }
        }
    }
}

impl Error for PrivilegeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::NoSuchUser(_) => None,
            Self::System { source, .. } => Some(source),
        }
    }
}

#[cfg(test)]
mod tests;
