//! As whom the broker runs.

use std::env;
use std::fs::DirBuilder;
use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::Path;

use midge_reactor::{
    Identity, PrivilegeError, drop_privileges, drop_privileges_to_ids, running_as_root,
};
use nix::unistd::User;

use crate::log::Kind;

/// The user when none is configured.
const DEFAULT_USER: &str = "mosquitto";

/// Whom to become after root's rights have been used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// A user by name, with its groups.
    Named(String),
    /// Numbers, as containers give them.
    Ids {
        user: Option<u32>,
        group: Option<u32>,
    },
}

impl Owner {
    /// Takes the environment's PUID and PGID, else the configured user.
    pub(super) fn from_environment(configured: Option<&str>) -> Self {
        let id = |name| env::var(name).ok()?.trim().parse().ok();
        Self::choose(id("PUID"), id("PGID"), configured)
    }

    fn choose(user: Option<u32>, group: Option<u32>, configured: Option<&str>) -> Self {
        if user.is_some() || group.is_some() {
            Self::Ids { user, group }
        } else {
            Self::Named(configured.unwrap_or(DEFAULT_USER).to_owned())
        }
    }

    /// Gives a file that root has opened to the user that the broker becomes, who is to open it again
    /// after a rotation.
    pub(super) fn hand_over(&self, path: &Path) {
        if !running_as_root() {
            return;
        }
        let (user, group) = match self {
            Self::Ids { user, group } => (*user, *group),
            Self::Named(name) if name == "root" => return,
            Self::Named(name) => {
                let found = User::from_name(name).ok().flatten();
                let Some(account) = found else { return };
                (Some(account.uid.as_raw()), Some(account.gid.as_raw()))
            }
        };
        // What this was for, opening the file again, says so if it fails.
        let _ = chown(path, user, group);
    }

    /// Makes a directory, with those above it, for the user that the broker becomes, who may not have
    /// the right to. What is there already stays as it is.
    pub(super) fn prepare_directory(&self, path: &Path) {
        if !running_as_root() || path.exists() {
            return;
        }
        let missing: Vec<&Path> = path.ancestors().take_while(|path| !path.exists()).collect();
        for directory in missing.into_iter().rev() {
            // Whoever needs it says why it could not be made.
            if DirBuilder::new().mode(0o700).create(directory).is_ok() {
                self.hand_over(directory);
            }
        }
    }

    /// Becomes that user for good, if this process is root; gives what is to be logged.
    pub(super) fn assume(&self) -> Result<Vec<(Kind, String)>, PrivilegeError> {
        let identity = match self {
            Self::Named(name) => drop_privileges(name)?,
            Self::Ids { user, group } => drop_privileges_to_ids(*user, *group)?,
        };
        Ok(remarks(&identity))
    }
}

fn remarks(identity: &Identity) -> Vec<(Kind, String)> {
    let mut remarks = Vec::new();
    if identity.fell_back {
        let text = format!(
            "Warning: Unable to drop privileges to '{DEFAULT_USER}' because this user does not \
             exist. Trying '{}' user instead.",
            identity.user
        );
        remarks.push((Kind::Warning, text));
    }
    if identity.root {
        let text = "Warning: Midge should not be run as root. Name another one with 'user'.";
        remarks.push((Kind::Warning, text.to_owned()));
    }
    remarks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environments_numbers_win_over_the_configured_user() {
        let named = |name: &str| Owner::Named(name.to_owned());
        let ids = |user, group| Owner::Ids { user, group };
        assert_eq!(Owner::choose(None, None, None), named("mosquitto"));
        assert_eq!(Owner::choose(None, None, Some("mq")), named("mq"));
        assert_eq!(Owner::choose(Some(7), None, Some("mq")), ids(Some(7), None));
        assert_eq!(Owner::choose(None, Some(0), Some("mq")), ids(None, Some(0)));
    }

    #[test]
    fn who_runs_is_remarked_only_when_it_is_not_as_it_should_be() {
        let identity = |root, fell_back| Identity {
            user: "nobody".to_owned(),
            root,
            fell_back,
        };
        assert!(remarks(&identity(false, false)).is_empty());
        assert_eq!(remarks(&identity(true, false)).len(), 1);
        assert!(remarks(&identity(false, true))[0].1.contains("'nobody'"));
    }
}
