//! Tokens: whose keys they are verified with, and who waits for keys.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use midge_access::tokens::identity::{Claim, ClaimNames, Claims, Identity, Presented, ScopeRules};
use midge_access::tokens::introspection::{Introspection, IntrospectionSettings, LookUp, Question};
use midge_access::tokens::keys::{
    Availability, Fetch, KeyPolicy, KeySet, KeyStore, Symmetric, UnknownKey, Update, parse_jwks,
    parse_pem,
};
use midge_access::tokens::verify::{Audience, Checks, looks_signed};
use midge_access::tokens::{ClientAuthentication, HashKey, Refusal, UnixSecs};

use super::attempt::{Refused, Who};
use super::files::{self, Stamp};
use super::gate::Gate;
use crate::auth_fetch::{Answer, FetchError, FetchSettings, Fetcher};
use crate::config::OAuth;
use crate::log::{Kind, Logger};

/// What the log calls tokens.
pub(super) const TOKEN: &str = "token";

/// Logins that may wait for the keys of a provider. Each holds its password, 64 KiB at most.
const WAITING_MAX: usize = 1_000;

/// How long a login waits for keys.
const WAIT_MAX: Duration = Duration::from_secs(15);

/// The clocks as a login is judged by them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// Since the start; what the broker's own times are.
    pub(super) now: Duration,
    /// By the wall clock.
    pub(super) unix: UnixSecs,
}

/// How the tokens of one provider are judged.
pub(super) struct Tokens {
    pub(super) settings: OAuth,
    pub(super) stamps: Vec<(PathBuf, Option<Stamp>)>,
    checks: Checks,
    names: ClaimNames,
    keys: Option<Mutex<Keys>>,
    introspection: Option<Mutex<Introspection>>,
    /// For keys.
    fetcher: Option<Fetcher>,
    /// For questions, which may be many.
    asker: Option<Fetcher>,
}

struct Keys {
    store: KeyStore,
    /// Logins that are judged again after the next answer.
    waiting: Vec<(Duration, Box<TokenLogin>)>,
}

/// A login with a token.
pub(super) struct TokenLogin {
    pub(super) who: Who,
    pub(super) gate: Arc<Gate>,
    pub(super) token: Box<str>,
    /// Whom the client wants to act as.
    pub(super) acts_as: Option<Box<str>>,
    /// It came by enhanced authentication.
    pub(super) is_enhanced: bool,
    /// Keys have been fetched for it.
    pub(super) has_waited: bool,
}

/// How far the judgement of a token has come.
pub(super) enum Seen {
    Judged(Box<TokenLogin>, Result<Claims, Refusal>),
    /// It waits for keys, which may have to be asked for.
    Waits,
    /// The provider has to be asked about it.
    Ask(Box<TokenLogin>, Box<Question>),
}

fn start(settings: FetchSettings) -> Result<Fetcher, String> {
    Fetcher::start(settings).map_err(|error| format!("Error: Unable to start a thread: {error}."))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads a file with one secret on its line.
pub(super) fn secret(
    what: &str,
    path: &Path,
    stamps: &mut Vec<(PathBuf, Option<Stamp>)>,
) -> Result<String, String> {
    let (bytes, stamp) = files::read(what, path)?;
    stamps.push((path.to_owned(), Some(stamp)));
    let text = String::from_utf8(bytes).ok();
    let line = text.as_deref().map(str::trim_ascii).unwrap_or_default();
    if line.is_empty() || line.chars().any(char::is_control) {
        let path = path.display();
        return Err(format!("Error: {path}: {what} is one line of text."));
    }
    Ok(line.to_owned())
}

impl Tokens {
    /// Reads the files that the settings name. Nothing is asked for yet.
    ///
    /// # Errors
    /// What is to be told the operator.
    pub(super) fn open(
        settings: &OAuth,
        hash_key: HashKey,
        now: Duration,
        logger: &Logger,
    ) -> Result<Self, String> {
        let mut stamps = Vec::new();
        let audience = if settings.audience.iter().any(|name| name == "*") {
            Audience::Any
        } else {
            Audience::OneOf(settings.audience.clone())
        };
        let checks = Checks {
            algorithms: settings.algorithms.clone(),
            issuer: settings.issuer.clone(),
            leeway_secs: settings.leeway_secs.into(),
            ..Checks::new(audience.clone())
        };
        let policy = KeyPolicy::default();
        let store = match (&settings.jwks_uri, &settings.issuer) {
            _ if !settings.key_files.is_empty() => {
                Some(KeyStore::fixed(read_keys(settings, &mut stamps, logger)?))
            }
            (Some(uri), _) => Some(KeyStore::from_keys_uri(uri, policy, now)),
            (None, Some(issuer)) => Some(KeyStore::from_issuer(issuer, policy, now)),
            (None, None) => None,
        };
        let claim = |path: &String| Claim::at(path.as_str());
        let names = ClaimNames {
            user_name: settings.username_claims.iter().map(claim).collect(),
            client_id: settings.clientid_claim.as_ref().map(claim),
            groups: settings.groups_claim.as_ref().map(claim),
            rules: Some(claim(&settings.rules_claim)),
            scopes: Some(ScopeRules {
                claim: Claim::SCOPE,
                prefix: "mqtt.".to_owned(),
            }),
            ..ClaimNames::default()
        };
        let introspection = match &settings.introspection_uri {
            None => None,
            Some(uri) => {
                let own = settings.introspection_client_id.as_ref();
                let own = match own.zip(settings.introspection_secret_file.as_ref()) {
                    None => ClientAuthentication::None,
                    Some((id, path)) => ClientAuthentication::Basic {
                        id: id.clone(),
                        secret: secret("oauth_introspection_secret_file", path, &mut stamps)?,
                    },
                };
                let mut asked = IntrospectionSettings::new(uri, own, audience);
                asked.checks.leeway_secs = checks.leeway_secs;
                Some(Mutex::new(Introspection::new(asked, hash_key)))
            }
        };
        let fetches = store
            .as_ref()
            .is_some_and(|store| store.next_due().is_some());
        let one = FetchSettings {
            threads: 1,
            ..FetchSettings::default()
        };
        Ok(Self {
            fetcher: if fetches { Some(start(one)?) } else { None },
            asker: match introspection {
                Some(_) => Some(start(FetchSettings::default())?),
                None => None,
            },
            settings: settings.clone(),
            stamps,
            checks,
            names,
            keys: store.map(|store| {
                Mutex::new(Keys {
                    store,
                    waiting: Vec::new(),
                })
            }),
            introspection,
        })
    }

    /// The token of a CONNECT, if its password is one.
    pub(super) fn token_in(
        &self,
        user_name: Option<&str>,
        password: Option<&[u8]>,
    ) -> Option<Box<str>> {
        let text = password.and_then(|bytes| std::str::from_utf8(bytes).ok());
        self.is_token(user_name, password)
            .then(|| text.unwrap_or_default().into())
    }

    /// Whether the password of a CONNECT is a token.
    pub(super) fn is_token(&self, user_name: Option<&str>, password: Option<&[u8]>) -> bool {
        match &self.settings.token_username {
            Some(name) => user_name == Some(name),
            None => password
                .and_then(|bytes| std::str::from_utf8(bytes).ok())
                .is_some_and(looks_signed),
        }
    }

    /// Judges a token as far as what is known goes.
    pub(super) fn look(&self, login: Box<TokenLogin>, moment: Moment) -> Seen {
        let keys = self.keys.as_ref();
        match (keys, &self.introspection) {
            (Some(keys), _) if looks_signed(&login.token) => self.verify(keys, login, moment),
            (_, Some(introspection)) => {
                let known = lock(introspection).look_up(&login.token, moment.now, moment.unix);
                match known {
                    LookUp::Known(known) => Seen::Judged(login, known),
                    LookUp::Ask(question) => Seen::Ask(login, Box::new(question)),
                }
            }
            _ => {
                // It says what is wrong with the form.
                let no_keys = KeySet::default();
                let seen = self.checks.verify(&login.token, &no_keys, moment.unix);
                Seen::Judged(login, seen)
            }
        }
    }

    fn verify(&self, keys: &Mutex<Keys>, login: Box<TokenLogin>, moment: Moment) -> Seen {
        let known = {
            let mut keys = lock(keys);
            match keys.store.availability(moment.now) {
                Availability::Ready(known) => known,
                Availability::Unavailable(why) => {
                    return Seen::Judged(login, Err(Refusal::NoKeys(why)));
                }
                Availability::Waiting => return Self::wait(&mut keys, login, moment.now),
            }
        };
        // Not under the lock: it takes a while.
        let mut seen = self.checks.verify(&login.token, &known, moment.unix);
        if !login.has_waited && matches!(seen, Err(Refusal::UnknownKey(_))) {
            let mut keys = lock(keys);
            match keys.store.availability(moment.now) {
                // They came while the others were tried.
                Availability::Ready(newer) if !Arc::ptr_eq(&newer, &known) => {
                    drop(keys);
                    seen = self.checks.verify(&login.token, &newer, moment.unix);
                }
                _ if keys.store.unknown_key(moment.now) == UnknownKey::Wait => {
                    return Self::wait(&mut keys, login, moment.now);
                }
                _ => {}
            }
        }
        Seen::Judged(login, seen)
    }

    fn wait(keys: &mut Keys, mut login: Box<TokenLogin>, now: Duration) -> Seen {
        if login.has_waited || keys.waiting.len() >= WAITING_MAX {
            let why = "its keys are still being fetched".to_owned();
            return Seen::Judged(login, Err(Refusal::NoAnswer(why)));
        }
        login.has_waited = true;
        keys.waiting.push((now, login));
        Seen::Waits
    }

    /// What is to be fetched now, and by whom.
    pub(super) fn next_fetch(&self, now: Duration) -> Option<(&Fetcher, Fetch)> {
        let fetch = lock(self.keys.as_ref()?).store.next_fetch(now)?;
        Some((self.fetcher.as_ref()?, fetch))
    }

    /// When something is to be fetched next.
    pub(super) fn next_due(&self) -> Option<Duration> {
        lock(self.keys.as_ref()?).store.next_due()
    }

    /// Takes the answer to a fetch.
    pub(super) fn fetched(
        &self,
        url: &str,
        answer: Result<Answer, FetchError>,
        now: Duration,
        logger: &Logger,
    ) {
        let Some(keys) = &self.keys else { return };
        let store = &mut lock(keys).store;
        let why = match answer {
            Ok(answer) if answer.status == 200 => {
                match store.fetched(&answer.body, answer.max_age, now) {
                    Ok(update) => {
                        tell(&update, url, logger);
                        return;
                    }
                    Err(fault) => fault.to_string(),
                }
            }
            Ok(answer) => {
                let why = format!("status {}", answer.status);
                store.failed(why.as_str(), now);
                why
            }
            Err(error) => {
                let why = error.to_string();
                store.failed(why.as_str(), now);
                if matches!(error, FetchError::Stopped) {
                    return;
                }
                why
            }
        };
        let goes_on = match store.availability(now) {
            Availability::Ready(_) => "the keys that are known go on to hold",
            _ => "no token can be verified",
        };
        let text = format!("Warning: {url}: {why}; {goes_on}, and it is asked again.");
        logger.log(Kind::Warning, text);
    }

    /// The logins that waited for an answer which has come, or for too long.
    pub(super) fn take_waiting(&self, now: Duration, answered: bool) -> Vec<TokenLogin> {
        let Some(keys) = &self.keys else {
            return Vec::new();
        };
        let waiting = &mut lock(keys).waiting;
        let is_over = |since: &Duration| answered || now >= since.saturating_add(WAIT_MAX);
        let over = waiting.extract_if(.., |(since, _)| is_over(since));
        over.map(|(_, login)| *login).collect()
    }

    /// Who is asked about tokens.
    pub(super) const fn asker(&self) -> Option<&Fetcher> {
        self.asker.as_ref()
    }

    /// Takes the answer about a token.
    pub(super) fn answered(
        &self,
        question: &Question,
        answer: Result<Answer, FetchError>,
        moment: Moment,
    ) -> Result<Claims, Refusal> {
        let answer = answer.map_err(|error| Refusal::NoAnswer(error.to_string()))?;
        let introspection = self.introspection.as_ref();
        let introspection =
            introspection.ok_or_else(|| Refusal::NoAnswer("nobody asked".to_owned()))?;
        lock(introspection).answered(
            question,
            answer.status,
            &answer.body,
            moment.now,
            moment.unix,
        )
    }

    /// The client that a token speaks of. `takes_name` says that its user name is its client id.
    pub(super) fn identity(
        &self,
        claims: &Claims,
        who: &Who,
        takes_name: bool,
    ) -> Result<Identity, Refusal> {
        let presented = Presented {
            client_id: &who.client_id,
            user_name: who.user_name.as_deref(),
            certificate_sha256: None,
        };
        if !takes_name {
            return self.names.identity(claims, &presented);
        }
        let any_client = ClaimNames {
            client_id: None,
            ..self.names.clone()
        };
        let named = any_client.identity(claims, &presented)?;
        let client_id = named.user_name.as_deref().unwrap_or_default();
        self.names.identity(
            claims,
            &Presented {
                client_id,
                ..presented
            },
        )
    }
}

/// What a refused token counts as: one that could not be judged says nothing against the client.
pub(super) fn refused(method: &'static str, refusal: &Refusal, tried: &[u8]) -> Refused {
    match refusal {
        Refusal::NoKeys(_) | Refusal::NoAnswer(_) => Refused::new(method, refusal.to_string()),
        _ => Refused::guess(method, refusal.to_string(), tried),
    }
}

fn tell(update: &Update, url: &str, logger: &Logger) {
    let Update::Keys {
        added,
        removed,
        skipped,
    } = update
    else {
        return;
    };
    for key in skipped {
        logger.log(Kind::Debug, format!("{url}: {key}."));
    }
    if !added.is_empty() || !removed.is_empty() {
        let text = format!(
            "{url}: {} keys came and {} went.",
            added.len(),
            removed.len()
        );
        logger.log(Kind::Information, text);
    }
}

fn read_keys(
    settings: &OAuth,
    stamps: &mut Vec<(PathBuf, Option<Stamp>)>,
    logger: &Logger,
) -> Result<KeySet, String> {
    let is_shared = |name: &midge_access::tokens::keys::Algorithm| name.is_symmetric();
    let symmetric = if settings.algorithms.iter().any(is_shared) {
        Symmetric::Allowed
    } else {
        Symmetric::Refused
    };
    let mut sets = Vec::new();
    for path in &settings.key_files {
        let (bytes, stamp) = files::read("oauth_key_file", path)?;
        stamps.push((path.clone(), Some(stamp)));
        let parsed = if bytes.trim_ascii_start().starts_with(b"{") {
            parse_jwks(&bytes, symmetric)
        } else {
            parse_pem(&bytes)
        };
        let parsed = parsed.map_err(|fault| format!("Error: {}: {fault}.", path.display()))?;
        for key in parsed.skipped {
            let text = format!("Warning: {}: {key}.", path.display());
            logger.log(Kind::Warning, text);
        }
        sets.push(parsed.keys);
    }
    Ok(KeySet::joined(sets))
}
