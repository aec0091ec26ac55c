//! Dynamic security: its file, its state, and what administrators change while the broker runs.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use midge_access::Client;
use midge_access::dynsec::{Connections, Effects, FirstPassword, State, Surroundings, needs};
use midge_access::passwords::Verifier;
use midge_broker::ControlRequest;

use super::files::{self, Stamp};
use crate::config::DynamicSecurity;
use crate::log::{Kind, Logger};

/// The environment variable that gives the first administrator's password.
pub(super) const PASSWORD_VARIABLE: &str = "MOSQUITTO_DYNSEC_PASSWORD";

/// One file of dynamic security, and what it says now.
pub(super) struct Dynsec {
    path: PathBuf,
    /// Held while the state is changed and written; taken before `inner`.
    writing: Mutex<()>,
    inner: Mutex<Inner>,
}

struct Inner {
    state: State,
    stamp: Option<Stamp>,
}

/// What a request led to.
pub(super) struct Carried {
    pub(super) response: String,
    pub(super) effects: Effects,
}

/// What a request needs that is slow, made before the state is locked.
#[derive(Default)]
struct Prepared {
    hashes: HashMap<String, Verifier>,
    connections: Vec<Connection>,
}

/// A connected client, as `getClient` tells of it.
pub(super) struct Connection {
    pub(super) user_name: Box<str>,
    pub(super) client_id: Box<str>,
    pub(super) address: String,
}

impl Surroundings for Prepared {
    fn addresses(&self, user_name: &str, client_id: Option<&str>) -> Vec<String> {
        let of_user = |connection: &&Connection| {
            *connection.user_name == *user_name
                && client_id.is_none_or(|client_id| *connection.client_id == *client_id)
        };
        // In the order of user names.
        let start = self
            .connections
            .partition_point(|connection| *connection.user_name < *user_name);
        let rest = self.connections.get(start..).unwrap_or_default();
        rest.iter()
            .take_while(|connection| *connection.user_name == *user_name)
            .filter(of_user)
            .map(|connection| connection.address.clone())
            .collect()
    }

    fn random(&mut self, bytes: &mut [u8]) {
        random(bytes);
    }

    fn hash(&mut self, password: &str) -> Verifier {
        match self.hashes.get(password) {
            // A password that two users get has one salt then, for which the same request is to blame.
            Some(verifier) => verifier.clone(),
            None => new_password(password),
        }
    }
}

/// Hashes with what a state without anything prepared has.
fn new_password(password: &str) -> Verifier {
    struct Plain;
    impl Surroundings for Plain {
        fn addresses(&self, _: &str, _: Option<&str>) -> Vec<String> {
            Vec::new()
        }

        fn random(&mut self, bytes: &mut [u8]) {
            random(bytes);
        }
    }
    Plain.hash(password)
}

pub(super) fn random(bytes: &mut [u8]) {
    #[expect(
        clippy::expect_used,
        reason = "without random numbers no password can be kept safely, and no system lacks them"
    )]
    getrandom::fill(bytes).expect("the system gives random bytes");
}

impl Dynsec {
    /// Reads the file, or makes it when it is not there.
    ///
    /// # Errors
    /// What is to be told the operator.
    pub(super) fn open(config: &DynamicSecurity, logger: &Logger) -> Result<Self, String> {
        let path = config.config_file.clone();
        if Stamp::look(&path).is_none() {
            make(config, logger)?;
        }
        let (state, stamp) = load(&path, logger)?;
        Ok(Self {
            path,
            writing: Mutex::new(()),
            inner: Mutex::new(Inner {
                state,
                stamp: Some(stamp),
            }),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the file again if somebody else has changed it; whether that was so.
    ///
    /// # Errors
    /// What is to be told the operator; the state is as it was.
    pub(super) fn reread(&self, logger: &Logger) -> Result<bool, String> {
        // What is being written here is nobody else's.
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut inner = self.lock();
        if Stamp::look(&self.path) == inner.stamp {
            return Ok(false);
        }
        // Told once, whether it can be used or not.
        inner.stamp = Stamp::look(&self.path);
        let (state, stamp) = load(&self.path, logger)?;
        inner.state = state;
        inner.stamp = Some(stamp);
        Ok(true)
    }

    /// Looks at the state.
    pub(super) fn with<R>(&self, look: impl FnOnce(&State) -> R) -> R {
        look(&self.lock().state)
    }

    /// Carries out a request, and keeps what it changes before it is answered. Logins wait for none of
    /// what is slow: hashing, `connected` and the disk.
    pub(super) fn control(
        &self,
        request: &ControlRequest,
        logger: &Logger,
        connected: impl FnOnce(Connections) -> Vec<Connection>,
    ) -> Carried {
        let needs = needs(&request.payload);
        let hash = |password: String| {
            let verifier = new_password(&password);
            (password, verifier)
        };
        let mut prepared = Prepared {
            hashes: needs.passwords.into_iter().map(hash).collect(),
            connections: connected(needs.connections),
        };
        prepared
            .connections
            .sort_by(|one, other| one.user_name.cmp(&other.user_name));
        // What is written stands in the order in which it was carried out.
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut inner = self.lock();
        let admin = Client {
            id: &request.client_id,
            user_name: request.user_name.as_deref(),
        };
        let outcome = inner.state.control(&request.payload, admin, &mut prepared);
        for line in outcome.log {
            logger.log(Kind::Information, line);
        }
        let json = outcome.save.then(|| inner.state.to_json());
        drop(inner);
        if let Some(json) = json {
            match files::replace(&self.path, json.as_bytes()) {
                Ok(()) => self.lock().stamp = Stamp::look(&self.path),
                Err(error) => logger.log(
                    Kind::Error,
                    format!(
                        "Error: Unable to write {}: {error}. The change holds until the broker \
                         ends; make room or correct the permissions, and make another change.",
                        self.path.display()
                    ),
                ),
            }
        }
        Carried {
            response: outcome.response,
            effects: outcome.effects,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn load(path: &Path, logger: &Logger) -> Result<(State, Stamp), String> {
    let (bytes, stamp) = files::read("dynamic security file", path)?;
    let loaded =
        State::parse(&bytes).map_err(|error| format!("Error: {}: {error}.", path.display()))?;
    for warning in loaded.warnings {
        let text = format!("Warning: {}: {warning}.", path.display());
        logger.log(Kind::Warning, text);
    }
    Ok((loaded.state, stamp))
}

/// The first start: a file with an administrator.
fn make(config: &DynamicSecurity, logger: &Logger) -> Result<(), String> {
    let path = &config.config_file;
    let from_variable = std::env::var(PASSWORD_VARIABLE).ok();
    let from_file = match &config.password_init_file {
        Some(file) => {
            let (bytes, _) = files::read("password_init_file", file)?;
            let text = String::from_utf8(bytes)
                .map_err(|_| format!("Error: {} is not UTF-8.", file.display()))?;
            Some(text)
        }
        None => None,
    };
    let password = match (&from_file, &from_variable) {
        (Some(line), _) => FirstPassword::File(line),
        (None, Some(text)) => FirstPassword::Environment(text),
        (None, None) => FirstPassword::Random,
    };
    let first = State::first_start(password, &mut random)
        .map_err(|error| format!("Error: {}: {error}.", path.display()))?;
    let write = |path: &Path, text: &str| {
        files::replace(path, text.as_bytes())
            .map_err(|error| format!("Error: Unable to write {}: {error}.", path.display()))
    };
    if let Some(passwords) = &first.passwords {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".pw");
        let place = path.with_file_name(name);
        write(&place, passwords)?;
        let text = format!(
            "Dynamic security has made the user 'admin'; its password is in {}. Delete that file \
             when you have it.",
            place.display()
        );
        logger.log(Kind::Warning, text);
    }
    write(path, &first.state.to_json())
}
