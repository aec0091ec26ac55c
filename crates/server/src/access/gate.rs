//! What decides about the clients of one listener.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use midge_access::passwords::{self, DecoyKey, PasswordFile};
use midge_access::scram::Mechanism;
use midge_access::tokens::HashKey;
use midge_access::tokens::oauthbearer;
use midge_access::{Client, acl, dynsec};
use midge_broker::{Identity, Method, Rights, Shown, Time};
use midge_codec::ReasonCode;

use super::attempt::{Refused, Verdict, Who};
use super::dynsec::Dynsec;
use super::files::{ReadAhead, Stamp};
use super::http::Backend;
use super::rights::{ClientRights, LoginRules};
use super::scram;
use super::tokens::{TOKEN, TokenLogin, Tokens};
use crate::config::ListenerSettings;
use crate::log::{Kind, Logger};

/// The methods and rules of one listener, as its files say at the moment.
#[derive(Clone)]
pub(super) struct Gate {
    settings: ListenerSettings,
    passwords: Option<PasswordFile>,
    acl: Option<acl::Rules>,
    pub(super) dynsec: Option<Arc<Dynsec>>,
    pub(super) tokens: Option<Arc<Tokens>>,
    pub(super) http: Option<Arc<Backend>>,
    /// The files that were read, to notice changes.
    stamps: Vec<(PathBuf, Option<Stamp>)>,
}

/// What several listeners may have in common.
#[derive(Clone, Default)]
pub(super) struct Open {
    pub(super) dynsec: Vec<Arc<Dynsec>>,
    pub(super) tokens: Vec<Arc<Tokens>>,
    pub(super) backends: Vec<Arc<Backend>>,
}

/// What is needed to open a gate.
pub(super) struct Means<'a> {
    pub(super) decoys: [u8; 32],
    pub(super) hash_key: HashKey,
    pub(super) now: Duration,
    pub(super) logger: &'a Logger,
    pub(super) ahead: &'a ReadAhead,
}

/// How a login goes on.
pub(super) enum Judged {
    /// It is decided.
    At(Verdict),
    /// Something has to be checked that takes a while.
    Checks(Pending),
}

/// What takes a while.
pub(super) enum Pending {
    Password(Box<Check>),
    Token(Box<TokenLogin>),
    Http(Box<HttpCheck>),
}

/// A login that the HTTP back end is to be asked about.
pub(super) struct HttpCheck {
    pub(super) gate: Arc<Gate>,
    pub(super) password: Option<Box<[u8]>>,
}

/// How far a check has come.
pub(super) enum Checked {
    Judged(Verdict),
    /// Nobody here knows the user.
    AskHttp(Box<HttpCheck>),
}

/// A password that is to be checked, on a thread that serves nobody else.
pub(super) struct Check {
    passwords: Option<passwords::Check>,
    dynsec: Option<dynsec::Check>,
    password: Option<Box<[u8]>>,
    accepted: Box<Identity>,
    /// Who is asked when nobody here knows the user.
    gate: Option<Arc<Gate>>,
}

/// What a login has brought beside a name.
#[derive(Default)]
pub(super) struct Brought {
    pub(super) rules: Option<Arc<LoginRules>>,
    pub(super) expires: Option<Time>,
    /// What ends an enhanced authentication.
    pub(super) method: Option<Method>,
}

/// What the log calls the methods.
pub(super) const ANONYMOUS: &str = "allow_anonymous";
const CERTIFICATE: &str = "certificate";
const PASSWORD_FILE: &str = "password_file";
const DYNSEC: &str = "dynamic security";
const ENHANCED: &str = "enhanced authentication";

impl From<Refused> for Judged {
    fn from(refused: Refused) -> Self {
        Self::At(Verdict::Refused(refused))
    }
}

fn are_current(stamps: &[(PathBuf, Option<Stamp>)]) -> bool {
    let mut stamps = stamps.iter();
    stamps.all(|(path, stamp)| Stamp::look(path) == *stamp)
}

impl Gate {
    /// Reads the files that the configuration names. `open` are those of dynamic security that are open
    /// already; one that is not is added.
    ///
    /// # Errors
    /// What is to be told the operator about a file.
    pub(super) fn open(
        settings: &ListenerSettings,
        means: &Means<'_>,
        open: &mut Open,
    ) -> Result<Self, String> {
        let logger = means.logger;
        let mut gate = Self {
            settings: settings.clone(),
            passwords: None,
            acl: None,
            dynsec: None,
            tokens: None,
            http: None,
            stamps: Vec::new(),
        };
        if let Some(path) = &settings.password_file {
            let (bytes, stamp) = means.ahead.read("pwfile", path, logger)?;
            let name = path.display();
            let (passwords, faults) = PasswordFile::parse(&bytes, DecoyKey::new(means.decoys))
                .map_err(|error| format!("Error: {name}: {error}."))?;
            for fault in &faults.list {
                let text = format!("Warning: {name}:{}: {}.", fault.line, fault.text);
                logger.log(Kind::Warning, text);
            }
            gate.passwords = Some(passwords);
            gate.stamps.push((path.clone(), Some(stamp)));
        }
        if let Some(path) = &settings.acl_file {
            let (bytes, stamp) = means.ahead.read("acl_file", path, logger)?;
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
            let known = open
                .dynsec
                .iter()
                .find(|known| known.path() == config.config_file);
            let dynsec = match known {
                Some(known) => Arc::clone(known),
                None => {
                    let dynsec = Arc::new(Dynsec::open(config, logger)?);
                    open.dynsec.push(Arc::clone(&dynsec));
                    dynsec
                }
            };
            gate.dynsec = Some(dynsec);
        }
        if let Some(config) = &settings.oauth {
            let mut known = open.tokens.iter();
            let known = known.find(|known| known.settings == *config && are_current(&known.stamps));
            let tokens = match known {
                Some(known) => Arc::clone(known),
                None => {
                    let key = means.hash_key.clone();
                    let tokens = Arc::new(Tokens::open(config, key, means.now, logger)?);
                    open.tokens.push(Arc::clone(&tokens));
                    tokens
                }
            };
            gate.stamps.extend(tokens.stamps.iter().cloned());
            gate.tokens = Some(tokens);
        }
        if let Some(config) = &settings.http_login {
            let mut known = open.backends.iter();
            let known = known.find(|known| known.settings == *config && are_current(&known.stamps));
            let http = match known {
                Some(known) => Arc::clone(known),
                None => {
                    let http = Arc::new(Backend::open(config, means.hash_key.clone())?);
                    open.backends.push(Arc::clone(&http));
                    http
                }
            };
            gate.stamps.extend(http.stamps.iter().cloned());
            gate.http = Some(http);
        }
        Ok(gate)
    }

    /// Whether a file that was read has changed since.
    pub(super) fn is_stale(&self) -> bool {
        !are_current(&self.stamps)
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

    /// Judges a CONNECT without enhanced authentication, as far as that costs nothing.
    pub(super) fn judge(
        self: &Arc<Self>,
        who: &mut Who,
        said: Option<&str>,
        password: Option<Box<[u8]>>,
        shown: &Shown,
    ) -> Judged {
        if self.settings.certificate_name().is_some() {
            return Judged::At(self.judge_certificate(who, shown.certificate_name.as_ref()));
        }
        let tokens = self.tokens.as_ref();
        if let Some(token) = self.token_of(said, password.as_deref(), shown) {
            return self.token(who, token, None, false);
        }
        let ask_http = |password| {
            let gate = Arc::clone(self);
            Judged::Checks(Pending::Http(Box::new(HttpCheck { gate, password })))
        };
        let asks_http = self.http.is_some();
        let Some(user_name) = &who.user_name else {
            if asks_http && !self.settings.allow_anonymous {
                return ask_http(password);
            }
            return Judged::At(self.judge_anonymous(who));
        };
        if asks_http && self.passwords.is_none() && self.dynsec.is_none() {
            return ask_http(password);
        }
        if tokens.is_some() && self.passwords.is_none() && self.dynsec.is_none() {
            let tried = password.unwrap_or_default();
            return Refused::guess(TOKEN, "the password is no token", &tried).into();
        }
        if self.passwords.is_none() && self.dynsec.is_none() {
            // Nobody knows users here, so names are taken as they are.
            if self.settings.allow_anonymous {
                return match self.identity(who, Some(user_name), Brought::default()) {
                    Ok(identity) => Judged::At(Verdict::Accepted(identity)),
                    Err(refused) => refused.into(),
                };
            }
            let why = "no password_file and no plugin knows users, and it is false";
            return Refused::new(ANONYMOUS, why).into();
        }
        let accepted = match self.identity(who, Some(user_name), Brought::default()) {
            Ok(accepted) => accepted,
            Err(refused) => return refused.into(),
        };
        let client_id = accepted.client_id.as_ref().unwrap_or(&who.client_id);
        let dynsec = self.dynsec.as_ref();
        Judged::Checks(Pending::Password(Box::new(Check {
            passwords: self.passwords.as_ref().map(|file| file.check(user_name)),
            dynsec: dynsec.and_then(|dynsec| {
                dynsec.with(|state| state.login(Some(user_name), client_id, password.is_some()))
            }),
            password,
            accepted,
            gate: asks_http.then(|| Arc::clone(self)),
        })))
    }

    /// Has a token judged.
    pub(super) fn token(
        self: &Arc<Self>,
        who: &Who,
        token: Box<str>,
        acts_as: Option<Box<str>>,
        is_enhanced: bool,
    ) -> Judged {
        Judged::Checks(Pending::Token(Box::new(TokenLogin {
            who: who.clone(),
            gate: Arc::clone(self),
            token,
            acts_as,
            is_enhanced,
            has_waited: false,
        })))
    }

    /// Whether the user name of a CONNECT says nothing: a token or a certificate says who comes.
    pub(super) fn ignores_name(
        &self,
        said: Option<&str>,
        password: Option<&[u8]>,
        shown: &Shown,
    ) -> bool {
        let is_certified = self.settings.certificate_name().is_some();
        is_certified || self.token_of(said, password, shown).is_some()
    }

    /// The token of a CONNECT, or else that of the WebSocket upgrade before it.
    fn token_of(
        &self,
        said: Option<&str>,
        password: Option<&[u8]>,
        shown: &Shown,
    ) -> Option<Box<str>> {
        let tokens = self.tokens.as_ref()?;
        let in_header = || {
            let header = shown.authorization.as_deref()?;
            oauthbearer::bearer_token(header).map(Into::into)
        };
        let token = tokens.token_in(said, password);
        token.or_else(|| password.is_none().then(in_header).flatten())
    }

    fn judge_anonymous(&self, who: &Who) -> Verdict {
        if !self.settings.allow_anonymous {
            let why = "clients without a user name are not let in";
            return Refused::new(ANONYMOUS, why).into();
        }
        match self.identity(who, None, Brought::default()) {
            Ok(identity) => Verdict::Accepted(identity),
            Err(refused) => refused.into(),
        }
    }

    /// Whether enhanced authentication has a place here: not where certificates say who comes.
    pub(super) const fn offers_methods(&self) -> bool {
        self.settings.certificate_name().is_none()
    }

    /// The password file, if an authentication method of that name can use it.
    ///
    /// # Errors
    /// `[MQTT5-4.12.0-1]`: the method is not offered.
    pub(super) fn scram(&self, name: &str) -> Result<(&PasswordFile, Mechanism), Refused> {
        match (&self.passwords, scram::mechanism(name)) {
            (Some(file), Some(mechanism)) if self.offers_methods() => Ok((file, mechanism)),
            _ => {
                let why = format!("the authentication method '{name}' is not offered");
                Err(Refused::new(ENHANCED, why).because(ReasonCode::BAD_AUTHENTICATION_METHOD))
            }
        }
    }

    /// A client that has been accepted.
    pub(super) fn identity(
        &self,
        who: &Who,
        user_name: Option<&Arc<str>>,
        brought: Brought,
    ) -> Result<Box<Identity>, Refused> {
        let takes_name = self.settings.use_username_as_clientid;
        let client_id = match user_name {
            Some(user_name) if takes_name => user_name,
            None if takes_name => {
                let why = "a user name is needed as client id";
                return Err(Refused::new("use_username_as_clientid", why));
            }
            _ => &who.client_id,
        };
        if who.is_connected && *client_id != who.client_id {
            let why = "the client has authenticated as another user than before";
            return Err(Refused::new("use_username_as_clientid", why));
        }
        Ok(Box::new(Identity {
            rights: self.rights(client_id, user_name.map(|name| &**name), brought.rules),
            client_id: takes_name.then(|| Arc::clone(client_id)),
            user_name: user_name.map(Arc::clone),
            expires: brought.expires,
            method: brought.method,
        }))
    }

    /// Judges a login where certificates say who comes: no password is asked, and what CONNECT says does
    /// not count.
    fn judge_certificate(&self, who: &Who, name: Option<&Arc<str>>) -> Verdict {
        if name.is_none() {
            let why =
                "the connection has shown no certificate with the name that is to be the user's";
            let refused = Refused::new(CERTIFICATE, why);
            return refused
                .because(ReasonCode::BAD_USER_NAME_OR_PASSWORD)
                .into();
        }
        match self.identity(who, name, Brought::default()) {
            Ok(identity) => Verdict::Accepted(identity),
            Err(refused) => refused.into(),
        }
    }

    /// What a client may do; `None` for everything.
    pub(super) fn rights(
        &self,
        client_id: &str,
        user_name: Option<&str>,
        login: Option<Arc<LoginRules>>,
    ) -> Option<Arc<dyn Rights>> {
        if self.acl.is_none() && self.dynsec.is_none() && login.is_none() {
            return None;
        }
        let client = Client {
            id: client_id,
            user_name,
        };
        let dynsec = self.dynsec.as_ref();
        Some(Arc::new(ClientRights {
            acl: self.acl.as_ref().map(|rules| match &login {
                Some(login) => rules.for_member(client, &login.groups),
                None => rules.for_client(client),
            }),
            dynsec: dynsec.map(|dynsec| dynsec.with(|state| state.rules(client))),
            login,
        }))
    }
}

impl Check {
    /// Checks the password: by the password file, and by dynamic security for users that it knows.
    pub(super) fn run(self) -> Checked {
        let password = self.password.as_deref();
        let tried = password.unwrap_or_default();
        let mut refused = Refused::guess(PASSWORD_FILE, "wrong password", tried);
        let mut is_known = false;
        if let Some(check) = &self.passwords {
            if check.run(password) {
                return Checked::Judged(Verdict::Accepted(self.accepted));
            }
            is_known = check.is_known();
            if !is_known {
                "the user is not in the password file".clone_into(&mut refused.why);
            }
        }
        match self.dynsec.map(|check| check.verify(tried)) {
            Some(dynsec::LoginVerdict::Accepted) => {
                return Checked::Judged(Verdict::Accepted(self.accepted));
            }
            Some(dynsec::LoginVerdict::Refused(refusal)) => {
                is_known = true;
                refused = Refused::guess(DYNSEC, refusal.to_string(), tried);
            }
            Some(dynsec::LoginVerdict::Unknown) if self.passwords.is_none() => {
                refused = Refused::guess(DYNSEC, "the user is unknown", tried);
            }
            Some(dynsec::LoginVerdict::Unknown) => {}
            None if password.is_none() => "no password was given".clone_into(&mut refused.why),
            None => {}
        }
        match self.gate {
            Some(gate) if !is_known => Checked::AskHttp(Box::new(HttpCheck {
                gate,
                password: self.password,
            })),
            _ => Checked::Judged(refused.into()),
        }
    }
}
