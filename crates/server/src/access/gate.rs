//! What decides about the clients of one listener.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use midge_access::passwords::{DecoyKey, Mark, PasswordFile, Verifier};
use midge_access::scram::Mechanism;
use midge_access::tokens::HashKey;
use midge_access::tokens::oauthbearer;
use midge_access::{Client, acl};
use midge_broker::{Identity, Method, Reviewed, Rights, Shown, Time};
use midge_codec::ReasonCode;

use super::attempt::{Refused, Verdict, Who};
use super::check::{Check, Rests, VerifiedLogins};
use super::dynsec::Dynsec;
use super::files::{ReadAhead, Stamp};
use super::http::Backend;
use super::rights::{ClientRights, LoginRules};
use super::scram;
use super::tokens::{TOKEN, TokenLogin, Tokens};
use crate::config::{AuthMethod, ListenerSettings};
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
    pub(super) hash_key: HashKey,
    verified: Arc<VerifiedLogins>,
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
    pub(super) verified: &'a Arc<VerifiedLogins>,
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

/// What a login has brought beside a name.
#[derive(Default)]
pub(super) struct Brought {
    pub(super) rules: Option<Arc<LoginRules>>,
    pub(super) expires: Option<Time>,
    /// What the login rests on.
    pub(super) seal: u64,
    /// What ends an enhanced authentication.
    pub(super) method: Option<Method>,
}

/// What the log calls the methods.
pub(super) const ANONYMOUS: &str = "allow_anonymous";
const CERTIFICATE: &str = "certificate";
const ENHANCED: &str = "enhanced authentication";
const ORDER: &str = "auth_order";

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
            hash_key: means.hash_key.clone(),
            verified: Arc::clone(means.verified),
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
        now: Duration,
    ) -> Judged {
        if let Some(order) = &self.settings.auth_order {
            return self.judge_in_order(order, who, said, password, shown, now);
        }
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
        self.check_password(who, user_name, password, (true, true), asks_http, now)
    }

    /// Has a password checked, by the password file and dynamic security as far as these are asked.
    fn check_password(
        self: &Arc<Self>,
        who: &Who,
        user_name: &Arc<str>,
        password: Option<Box<[u8]>>,
        (by_file, by_dynsec): (bool, bool),
        asks_http: bool,
        now: Duration,
    ) -> Judged {
        let mut accepted = match self.identity(who, Some(user_name), Brought::default()) {
            Ok(accepted) => accepted,
            Err(refused) => return refused.into(),
        };
        let client_id = accepted.client_id.as_ref().unwrap_or(&who.client_id);
        let file = self.passwords.as_ref().filter(|_| by_file);
        let dynsec = self.dynsec.as_ref().filter(|_| by_dynsec);
        let check = dynsec.and_then(|dynsec| {
            dynsec.with(|state| state.login(Some(user_name), client_id, password.is_some()))
        });
        let rests = |stored: &Verifier| Rests {
            mark: password
                .as_deref()
                .and_then(|password| Mark::of(&self.hash_key, user_name, password, stored)),
            seal: self.hash_key.seal(user_name, stored),
        };
        let by_file = file.and_then(|file| file.verifier(user_name)).map(rests);
        let by_dynsec = check.as_ref().and_then(|check| check.verifier()).map(rests);
        for rests in [by_file, by_dynsec].into_iter().flatten() {
            if let Some(mark) = rests.mark
                && self.verified.lock().is_known(&mark, now)
            {
                accepted.seal = rests.seal;
                return Judged::At(Verdict::Accepted(accepted));
            }
        }
        Judged::Checks(Pending::Password(Box::new(Check {
            passwords: file.map(|file| file.check(user_name)),
            dynsec: check,
            password,
            accepted,
            by_file,
            by_dynsec,
            verified: Arc::clone(&self.verified),
            gate: asks_http.then(|| Arc::clone(self)),
        })))
    }

    /// Judges a login by the methods of `auth_order`: the first that knows it decides.
    fn judge_in_order(
        self: &Arc<Self>,
        order: &[AuthMethod],
        who: &Who,
        said: Option<&str>,
        password: Option<Box<[u8]>>,
        shown: &Shown,
        now: Duration,
    ) -> Judged {
        for (place, method) in order.iter().enumerate() {
            match method {
                AuthMethod::Certificate if self.settings.certificate_name().is_some() => {
                    if shown.certificate_name.is_some() {
                        return Judged::At(
                            self.judge_certificate(who, shown.certificate_name.as_ref()),
                        );
                    }
                }
                AuthMethod::OAuth => {
                    if let Some(token) = self.token_of(said, password.as_deref(), shown) {
                        return self.token(who, token, None, false);
                    }
                }
                AuthMethod::PasswordFile | AuthMethod::Dynsec => {
                    if let Some(user_name) = &who.user_name
                        && self.has(*method)
                    {
                        let rest = order.get(place..).unwrap_or_default();
                        let http = rest.contains(&AuthMethod::Http) && self.http.is_some();
                        let knows = rest.iter().find(|method| self.knows(**method, user_name));
                        // Where nobody knows the user, that must not cost less.
                        let by = *knows.unwrap_or(method);
                        let asked = (by == AuthMethod::PasswordFile, by == AuthMethod::Dynsec);
                        let asks_http = http && knows.is_none();
                        return self
                            .check_password(who, user_name, password, asked, asks_http, now);
                    }
                }
                AuthMethod::Http if self.http.is_some() => {
                    let gate = Arc::clone(self);
                    let check = HttpCheck { gate, password };
                    return Judged::Checks(Pending::Http(Box::new(check)));
                }
                AuthMethod::Anonymous if who.user_name.is_none() => {
                    return Judged::At(self.judge_anonymous(who));
                }
                AuthMethod::Certificate | AuthMethod::Http | AuthMethod::Anonymous => {}
            }
        }
        let tried = password.unwrap_or_default();
        Refused::guess(ORDER, "no method in it knows this login", &tried).into()
    }

    /// Whether a method that checks passwords has something to check them by.
    const fn has(&self, method: AuthMethod) -> bool {
        match method {
            AuthMethod::PasswordFile => self.passwords.is_some(),
            AuthMethod::Dynsec => self.dynsec.is_some(),
            _ => false,
        }
    }

    fn knows(&self, method: AuthMethod, user_name: &str) -> bool {
        match method {
            AuthMethod::PasswordFile => {
                let file = self.passwords.as_ref();
                file.is_some_and(|file| file.contains(user_name))
            }
            AuthMethod::Dynsec => {
                let dynsec = self.dynsec.as_ref();
                dynsec.is_some_and(|dynsec| dynsec.with(|state| state.contains(user_name)))
            }
            _ => false,
        }
    }

    /// Whether a method is asked at all.
    fn asks(&self, method: AuthMethod) -> bool {
        let order = self.settings.auth_order.as_ref();
        order.is_none_or(|order| order.contains(&method))
    }

    /// What the login of a user of the password file rests on.
    pub(super) fn seal_of_file(&self, user_name: &str) -> u64 {
        let stored = self
            .passwords
            .as_ref()
            .and_then(|file| file.verifier(user_name));
        stored.map_or(0, |stored| self.hash_key.seal(user_name, stored))
    }

    /// Why a client may not stay, by its name and what its login rests on; the rules of a login that others
    /// have judged hold as long as it.
    pub(super) fn objects(&self, client: &Reviewed<'_>, is_by_others: bool) -> Option<String> {
        if is_by_others {
            return None;
        }
        let Some(user_name) = client.user_name else {
            let lets_in = self.settings.allow_anonymous && self.asks(AuthMethod::Anonymous);
            let why = "clients without a user name are not let in any more";
            return (!lets_in).then(|| why.to_owned());
        };
        let certificates = self.settings.certificate_name().is_some();
        if client.seal == 0 && certificates && self.asks(AuthMethod::Certificate) {
            return None;
        }
        if self.passwords.is_none() && self.dynsec.is_none() && self.settings.allow_anonymous {
            return None;
        }
        let holds =
            self.asks(AuthMethod::PasswordFile) && self.seal_of_file(user_name) == client.seal;
        let holds_in_dynsec = || {
            let dynsec = self
                .dynsec
                .as_ref()
                .filter(|_| self.asks(AuthMethod::Dynsec));
            let seal = |dynsec: &Arc<Dynsec>| {
                dynsec.with(|state| {
                    let stored = state.verifier(user_name)?;
                    Some(self.hash_key.seal(user_name, stored))
                })
            };
            dynsec.and_then(seal) == Some(client.seal)
        };
        if client.seal != 0 && (holds || holds_in_dynsec()) {
            return None;
        }
        Some("what its login rests on has changed: user, password or methods".to_owned())
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
        let is_certified = self.settings.certificate_name().is_some()
            && (self.settings.auth_order.is_none()
                || (self.asks(AuthMethod::Certificate) && shown.certificate_name.is_some()));
        is_certified || self.token_of(said, password, shown).is_some()
    }

    /// The token of a CONNECT, or else that of the WebSocket upgrade before it.
    fn token_of(
        &self,
        said: Option<&str>,
        password: Option<&[u8]>,
        shown: &Shown,
    ) -> Option<Box<str>> {
        let tokens = self
            .tokens
            .as_ref()
            .filter(|_| self.asks(AuthMethod::OAuth))?;
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
        self.settings.certificate_name().is_none() || self.settings.auth_order.is_some()
    }

    /// Whether tokens are taken by an authentication method.
    pub(super) fn offers_tokens(&self) -> bool {
        self.tokens.is_some() && self.offers_methods() && self.asks(AuthMethod::OAuth)
    }

    /// The password file, if an authentication method of that name can use it.
    ///
    /// # Errors
    /// `[MQTT5-4.12.0-1]`: the method is not offered.
    pub(super) fn scram(&self, name: &str) -> Result<(&PasswordFile, Mechanism), Refused> {
        match (&self.passwords, scram::mechanism(name)) {
            (Some(file), Some(mechanism))
                if self.offers_methods() && self.asks(AuthMethod::PasswordFile) =>
            {
                Ok((file, mechanism))
            }
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
            seal: brought.seal,
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
