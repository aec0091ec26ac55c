//! What decides about the clients of one listener.

use std::path::PathBuf;
use std::sync::Arc;

use midge_access::passwords::{self, DecoyKey, PasswordFile};
use midge_access::{Client, acl, dynsec};
use midge_broker::{Identity, Login, LoginAnswer, Rights, Says};
use midge_codec::ReasonCode;

use super::dynsec::Dynsec;
use super::files::{self, Stamp};
use super::rights::ClientRights;
use crate::config::ListenerSettings;
use crate::log::{Kind, Logger};

/// The methods and rules of one listener, as its files say at the moment.
#[derive(Clone)]
pub(super) struct Gate {
    settings: ListenerSettings,
    passwords: Option<PasswordFile>,
    acl: Option<acl::Rules>,
    pub(super) dynsec: Option<Arc<Dynsec>>,
    /// The files that were read, to notice changes.
    stamps: Vec<(PathBuf, Option<Stamp>)>,
}

/// How a login goes on.
pub(super) enum Judged {
    /// It is decided.
    At(LoginAnswer),
    /// A password has to be checked, which takes a while.
    Checks(Box<Check>),
}

/// A password that is to be checked, on a thread that serves nobody else.
pub(super) struct Check {
    passwords: Option<passwords::Check>,
    dynsec: Option<dynsec::Check>,
    password: Option<Box<[u8]>>,
    accepted: Box<Identity>,
}

fn refused(why: impl Into<String>) -> LoginAnswer {
    LoginAnswer::Refused(ReasonCode::NOT_AUTHORIZED, why.into())
}

impl Gate {
    /// Reads the files that the configuration names. `open` are those of dynamic security that are open
    /// already; one that is not is added.
    ///
    /// # Errors
    /// What is to be told the operator about a file.
    pub(super) fn open(
        settings: &ListenerSettings,
        decoys: [u8; 32],
        open: &mut Vec<Arc<Dynsec>>,
        logger: &Logger,
    ) -> Result<Self, String> {
        let mut gate = Self {
            settings: settings.clone(),
            passwords: None,
            acl: None,
            dynsec: None,
            stamps: Vec::new(),
        };
        if let Some(path) = &settings.password_file {
            let (bytes, stamp) = files::read("pwfile", path)?;
            let name = path.display();
            let (passwords, faults) = PasswordFile::parse(&bytes, DecoyKey::new(decoys))
                .map_err(|error| format!("Error: {name}: {error}."))?;
            for fault in &faults.list {
                let text = format!("Warning: {name}:{}: {}.", fault.line, fault.text);
                logger.log(Kind::Warning, text);
            }
            gate.passwords = Some(passwords);
            gate.stamps.push((path.clone(), Some(stamp)));
        }
        if let Some(path) = &settings.acl_file {
            let (bytes, stamp) = files::read("acl_file", path)?;
            let name = path.display().to_string();
            let (rules, warnings) =
                acl::Rules::parse(&name, &bytes).map_err(|error| format!("Error: {error}."))?;
            for warning in &warnings.list {
                let text = format!("Warning: {name}:{}: {}.", warning.line, warning.text);
                logger.log(Kind::Warning, text);
            }
            gate.acl = Some(rules);
            gate.stamps.push((path.clone(), Some(stamp)));
        }
        if let Some(config) = &settings.dynamic_security {
            let known = open.iter().find(|known| known.path() == config.config_file);
            let dynsec = match known {
                Some(known) => Arc::clone(known),
                None => {
                    let dynsec = Arc::new(Dynsec::open(config, logger)?);
                    open.push(Arc::clone(&dynsec));
                    dynsec
                }
            };
            gate.dynsec = Some(dynsec);
        }
        Ok(gate)
    }

    /// Whether a file that was read has changed since.
    pub(super) fn is_stale(&self) -> bool {
        self.stamps
            .iter()
            .any(|(path, stamp)| Stamp::look(path) != *stamp)
    }

    /// Notes that the files have been looked at, though they could not be used.
    pub(super) fn restamp(&mut self) {
        for (path, stamp) in &mut self.stamps {
            *stamp = Stamp::look(path);
        }
    }

    pub(super) const fn settings(&self) -> &ListenerSettings {
        &self.settings
    }

    /// Judges a login, as far as that costs nothing.
    pub(super) fn judge(&self, login: Login) -> Judged {
        let Says::Connect {
            user_name,
            password,
            method,
        } = login.says
        else {
            return Judged::At(refused("no authentication is under way"));
        };
        if let Some(method) = method {
            // [MQTT5-4.12.0-1]
            return Judged::At(LoginAnswer::Refused(
                ReasonCode::BAD_AUTHENTICATION_METHOD,
                format!("the authentication method '{}' is not offered", method.name),
            ));
        }
        if self.settings.certificate_name().is_some() {
            return Judged::At(
                self.judge_certificate(login.client_id, login.shown.certificate_name),
            );
        }
        // An empty name is none, as in Mosquitto.
        let Some(user_name) = user_name.filter(|name| !name.is_empty()) else {
            if !self.settings.allow_anonymous {
                let why = "clients without a user name are not let in (allow_anonymous)";
                return Judged::At(refused(why));
            }
            if self.settings.use_username_as_clientid {
                let why = "a user name is needed as client id (use_username_as_clientid)";
                return Judged::At(refused(why));
            }
            let rights = self.rights(&login.client_id, None);
            return Judged::At(LoginAnswer::Accepted(Box::new(Identity {
                rights,
                ..Identity::default()
            })));
        };
        let user_name: Arc<str> = user_name.into();
        let client_id = if self.settings.use_username_as_clientid {
            Arc::clone(&user_name)
        } else {
            login.client_id
        };
        let accepted = Box::new(Identity {
            rights: self.rights(&client_id, Some(&user_name)),
            client_id: self
                .settings
                .use_username_as_clientid
                .then(|| Arc::clone(&user_name)),
            user_name: Some(Arc::clone(&user_name)),
            ..Identity::default()
        });
        let dynsec = self.dynsec.as_ref();
        let check = Check {
            passwords: self.passwords.as_ref().map(|file| file.check(&user_name)),
            dynsec: dynsec.and_then(|dynsec| {
                dynsec.with(|state| state.login(Some(&user_name), &client_id, password.is_some()))
            }),
            password,
            accepted,
        };
        if self.passwords.is_none() && self.dynsec.is_none() {
            // Nobody knows users here, so names are taken as they are.
            return Judged::At(if self.settings.allow_anonymous {
                LoginAnswer::Accepted(check.accepted)
            } else {
                refused("no password_file and no plugin knows users (allow_anonymous is false)")
            });
        }
        Judged::Checks(Box::new(check))
    }

    /// Judges a login where certificates say who comes: no password is asked, and what CONNECT says does
    /// not count.
    fn judge_certificate(&self, client_id: Arc<str>, name: Option<Arc<str>>) -> LoginAnswer {
        let Some(name) = name else {
            let why =
                "the connection has shown no certificate with the name that is to be the user's";
            return LoginAnswer::Refused(ReasonCode::BAD_USER_NAME_OR_PASSWORD, why.to_owned());
        };
        let as_id = self.settings.use_username_as_clientid;
        let client_id = if as_id { Arc::clone(&name) } else { client_id };
        LoginAnswer::Accepted(Box::new(Identity {
            rights: self.rights(&client_id, Some(&name)),
            client_id: as_id.then_some(client_id),
            user_name: Some(name),
            ..Identity::default()
        }))
    }

    /// What a client may do; `None` for everything.
    pub(super) fn rights(
        &self,
        client_id: &str,
        user_name: Option<&str>,
    ) -> Option<Arc<dyn Rights>> {
        if self.acl.is_none() && self.dynsec.is_none() {
            return None;
        }
        let client = Client {
            id: client_id,
            user_name,
        };
        let dynsec = self.dynsec.as_ref();
        Some(Arc::new(ClientRights {
            acl: self.acl.as_ref().map(|rules| rules.for_client(client)),
            dynsec: dynsec.map(|dynsec| dynsec.with(|state| state.rules(client))),
        }))
    }
}

impl Check {
    /// Checks the password: by the password file, and by dynamic security for users that it knows.
    pub(super) fn run(self) -> LoginAnswer {
        let password = self.password.as_deref();
        let mut why = "wrong password".to_owned();
        if let Some(check) = &self.passwords {
            if check.run(password) {
                return LoginAnswer::Accepted(self.accepted);
            }
            if !check.is_known() {
                "the user is not in the password file".clone_into(&mut why);
            }
        }
        match self
            .dynsec
            .map(|check| check.verify(password.unwrap_or_default()))
        {
            Some(dynsec::LoginVerdict::Accepted) => return LoginAnswer::Accepted(self.accepted),
            Some(dynsec::LoginVerdict::Refused(refusal)) => {
                why = format!("dynamic security: {refusal}");
            }
            Some(dynsec::LoginVerdict::Unknown) if self.passwords.is_none() => {
                "the user is unknown to dynamic security".clone_into(&mut why);
            }
            Some(dynsec::LoginVerdict::Unknown) => {}
            None if password.is_none() => "no password was given".clone_into(&mut why),
            None => {}
        }
        refused(why)
    }
}
