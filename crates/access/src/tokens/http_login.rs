//! An HTTP back end that decides logins: one POST of JSON for each, answered with JSON.
//!
//! The request has these members; those that a client does not have are left out:
//!
//! ```json
//! {
//!   "client_id": "sensor-7",
//!   "user_name": "device",
//!   "password": "secret",
//!   "address": "192.0.2.7",
//!   "tls_common_name": "sensor-7.example.com",
//!   "listener": 8883
//! }
//! ```
//!
//! A password that is not UTF-8 comes as `password_base64` instead. The answer has status 200 and one
//! object, in which all but `allow` may be left out:
//!
//! ```json
//! {
//!   "allow": true,
//!   "user_name": "garden-device",
//!   "superuser": false,
//!   "groups": ["sensors"],
//!   "rules": {"pub": ["garden/%c/#"], "sub": ["garden/#"]},
//!   "expires_in": 3600,
//!   "cache_for": 30,
//!   "reason": "for the log"
//! }
//! ```
//!
//! `user_name` replaces the client's. `rules` have the form of [`rules`](super::rules); without them the
//! listener's rules hold. `expires_in` seconds from now the client has to log in again. `cache_for` seconds
//! the same request is not sent again, within the broker's own limit. Status 401 and 403 deny as well.
//!
//! Whatever is not such an answer denies: another status, a member with an unknown name or a wrong type, no
//! answer in time. Such a denial is not kept, so that the back end is asked again as soon as it is well.

use core::net::IpAddr;
use core::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::cache::{Cache, Digest, HashKey};
use super::identity::{GROUPS_MAX, Identity, WithoutRules, is_user_name};
use super::json::{Limits, parse_object};
use super::rules::{Origin, Rules};
use super::{Post, Refusal, UnixSecs};
use crate::Client;

/// Where the back end is, and how long its word counts.
#[derive(Clone, Debug)]
pub struct HttpLoginSettings {
    /// Where to post.
    pub url: String,
    /// The `Authorization` header, such as `Bearer …`.
    pub authorization: Option<String>,
    /// How long an answer is kept that does not say `cache_for`.
    pub cache_for: Duration,
    /// The most that is made of `cache_for`.
    pub cache_for_max: Duration,
    /// How long a denial is kept.
    pub denied_for: Duration,
    /// Answers of each of the two kinds that are kept.
    pub entries_max: usize,
    /// What a client may do whose answer has no rules.
    pub without_rules: WithoutRules,
}

impl HttpLoginSettings {
    /// Allows are kept for 10 seconds unless the answer says otherwise, up to 10 minutes; denials for 5
    /// seconds; 10,000 of each. Clients without rules have those of the listener.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            authorization: None,
            cache_for: Duration::from_secs(10),
            cache_for_max: Duration::from_secs(600),
            denied_for: Duration::from_secs(5),
            entries_max: 10_000,
            without_rules: WithoutRules::OtherRules,
        }
    }
}

/// A client that wants to log in.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Login<'a> {
    /// The client id that it will have.
    pub client_id: &'a str,
    /// The user name of its CONNECT.
    pub user_name: Option<&'a str>,
    /// The password of its CONNECT.
    pub password: Option<&'a [u8]>,
    /// Its address, without the port.
    pub address: Option<IpAddr>,
    /// The common name of the TLS certificate that it has proved to own.
    pub tls_common_name: Option<&'a str>,
    /// The port of the listener.
    pub listener: u16,
}

/// Whether the back end has to be asked.
#[derive(Debug)]
pub enum LookUp {
    /// The same login was decided not long ago.
    Known(Result<Identity, Refusal>),
    /// The back end is to be asked.
    Ask(Box<Question>),
}

/// A request that is to be sent, and comes back with its answer.
#[derive(Debug)]
pub struct Question {
    /// What is to be sent.
    pub post: Post,
    about: Digest,
    client_id: String,
    user_name: Option<String>,
}

/// Asks the back end, and keeps its answers for a while without the passwords.
#[derive(Debug)]
pub struct HttpLogin {
    settings: HttpLoginSettings,
    key: HashKey,
    allowed: Cache<Identity>,
    /// Apart from those who were let in, so that a flood of guesses displaces none of them.
    denied: Cache<Refusal>,
}

impl HttpLogin {
    /// Begins with no answers.
    #[must_use]
    pub const fn new(settings: HttpLoginSettings, key: HashKey) -> Self {
        let entries_max = settings.entries_max;
        Self {
            settings,
            key,
            allowed: Cache::new(entries_max),
            denied: Cache::new(entries_max),
        }
    }

    /// Says what is known of a login, or what to send to know it.
    pub fn look_up(&mut self, login: &Login<'_>, now: Duration, time: UnixSecs) -> LookUp {
        let about = self.digest(login);
        if let Some(identity) = self.allowed.find(&about, now) {
            // An end that has come is asked about again: the back end may give a new one.
            if identity.expires_at.is_none_or(|end| time < end) {
                return LookUp::Known(Ok(identity.clone()));
            }
        }
        if let Some(refusal) = self.denied.find(&about, now) {
            return LookUp::Known(Err(refusal.clone()));
        }
        LookUp::Ask(Box::new(Question {
            post: Post {
                url: self.settings.url.clone(),
                authorization: self.settings.authorization.clone(),
                content_type: "application/json",
                body: request(login),
            },
            about,
            client_id: login.client_id.to_owned(),
            user_name: login.user_name.map(str::to_owned),
        }))
    }

    /// All that the back end sees decides what is the same login.
    fn digest(&self, login: &Login<'_>) -> Digest {
        let address = login.address.map(|address| address.to_string());
        self.key.digest([
            Some(login.client_id.as_bytes()),
            login.user_name.map(str::as_bytes),
            login.password,
            address.as_ref().map(String::as_bytes),
            login.tls_common_name.map(str::as_bytes),
            Some(&login.listener.to_be_bytes()),
        ])
    }

    /// Takes the answer to a question.
    ///
    /// # Errors
    /// [`Refusal::Denied`] if the back end says no, [`Refusal::NoAnswer`] for anything that is no answer,
    /// [`Refusal::Rules`] for wrong rules.
    pub fn answered(
        &mut self,
        question: &Question,
        status: u16,
        body: &[u8],
        now: Duration,
        time: UnixSecs,
    ) -> Result<Identity, Refusal> {
        match self.judge(question, status, body, time) {
            Ok((identity, cache_for)) => {
                let until = now.saturating_add(cache_for);
                self.denied.remove(&question.about);
                if !cache_for.is_zero() {
                    self.allowed.keep(question.about, identity.clone(), until);
                }
                Ok(identity)
            }
            Err(refusal) => {
                self.allowed.remove(&question.about);
                if matches!(refusal, Refusal::Denied(_)) && !self.settings.denied_for.is_zero() {
                    let until = now.saturating_add(self.settings.denied_for);
                    self.denied.keep(question.about, refusal.clone(), until);
                }
                Err(refusal)
            }
        }
    }

    /// Forgets all answers: those of clients whose rights have changed, or after a change of settings.
    pub fn forget_all(&mut self) {
        self.allowed.clear();
        self.denied.clear();
    }

    fn judge(
        &self,
        question: &Question,
        status: u16,
        body: &[u8],
        time: UnixSecs,
    ) -> Result<(Identity, Duration), Refusal> {
        match status {
            200 => {}
            401 | 403 => return Err(Refusal::Denied(format!("status {status}"))),
            _ => return Err(Refusal::NoAnswer(format!("status {status}"))),
        }
        let answer = Answer::parse(body)?;
        if !answer.allow {
            return Err(Refusal::Denied(answer.reason.unwrap_or_default()));
        }
        let cache_for = answer
            .cache_for
            .map_or(self.settings.cache_for, Duration::from_secs)
            .min(self.settings.cache_for_max);
        Ok((self.identity(question, answer, time)?, cache_for))
    }

    fn identity(
        &self,
        question: &Question,
        answer: Answer,
        time: UnixSecs,
    ) -> Result<Identity, Refusal> {
        let user_name = answer.user_name.or_else(|| question.user_name.clone());
        let client = Client {
            id: &question.client_id,
            user_name: user_name.as_deref(),
        };
        let rules = match answer.rules {
            _ if answer.superuser => Some(Rules::superuser()),
            Some(rules) => Some(
                Rules::from_json(&rules, Origin::HttpAnswer, &client).map_err(Refusal::Rules)?,
            ),
            None if self.settings.without_rules == WithoutRules::Nothing => Some(Rules::nothing()),
            None => None,
        };
        Ok(Identity {
            groups: answer.groups,
            rules,
            expires_at: answer.expires_in.map(|secs| time.saturating_add(secs)),
            user_name,
        })
    }
}

fn request(login: &Login<'_>) -> Vec<u8> {
    let mut members = Map::new();
    let mut add = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            members.insert(name.to_owned(), value);
        }
    };
    add("client_id", Some(login.client_id.into()));
    add("user_name", login.user_name.map(Into::into));
    match login
        .password
        .map(|bytes| (bytes, core::str::from_utf8(bytes)))
    {
        None => {}
        Some((_, Ok(text))) => add("password", Some(text.into())),
        Some((bytes, Err(_))) => add("password_base64", Some(STANDARD.encode(bytes).into())),
    }
    add(
        "address",
        login.address.map(|address| address.to_string().into()),
    );
    add("tls_common_name", login.tls_common_name.map(Into::into));
    add("listener", Some(login.listener.into()));
    Value::Object(members).to_string().into_bytes()
}

/// The members of an answer.
#[derive(Debug, Default)]
struct Answer {
    allow: bool,
    user_name: Option<String>,
    superuser: bool,
    groups: Vec<String>,
    rules: Option<Value>,
    expires_in: Option<u64>,
    cache_for: Option<u64>,
    reason: Option<String>,
}

impl Answer {
    fn parse(body: &[u8]) -> Result<Self, Refusal> {
        let limits = Limits {
            bytes_max: ANSWER_BYTES_MAX,
            depth_max: 4,
            values_max: 8192,
        };
        let members =
            parse_object(body, limits).map_err(|fault| Refusal::NoAnswer(fault.to_string()))?;
        let mut answer = Self::default();
        let mut decided = false;
        for (name, value) in members {
            let taken = match (name.as_str(), value) {
                ("allow", Value::Bool(allow)) => {
                    answer.allow = allow;
                    decided = true;
                    true
                }
                // What is null is not there. For `allow` that is no decision.
                ("allow", _) => false,
                (_, Value::Null) => is_member(&name),
                ("superuser", Value::Bool(superuser)) => {
                    answer.superuser = superuser;
                    true
                }
                ("user_name", Value::String(text)) if is_user_name(&text) => {
                    answer.user_name = Some(text);
                    true
                }
                ("reason", Value::String(text)) => {
                    answer.reason = Some(text);
                    true
                }
                ("groups", Value::Array(items)) => match group_names(items) {
                    Some(groups) => {
                        answer.groups = groups;
                        true
                    }
                    None => false,
                },
                ("rules", rules @ Value::Object(_)) => {
                    answer.rules = Some(rules);
                    true
                }
                ("expires_in", Value::Number(secs)) => {
                    answer.expires_in = secs.as_u64();
                    secs.is_u64()
                }
                ("cache_for", Value::Number(secs)) => {
                    answer.cache_for = secs.as_u64();
                    secs.is_u64()
                }
                _ => false,
            };
            if !taken {
                return Err(Refusal::NoAnswer(if is_member(&name) {
                    format!("the member {name} has a value that it cannot have")
                } else {
                    format!("the member {name} is unknown")
                }));
            }
        }
        if decided {
            Ok(answer)
        } else {
            Err(Refusal::NoAnswer("there is no \"allow\"".to_owned()))
        }
    }
}

fn is_member(name: &str) -> bool {
    matches!(
        name,
        "allow"
            | "user_name"
            | "superuser"
            | "groups"
            | "rules"
            | "expires_in"
            | "cache_for"
            | "reason"
    )
}

fn group_names(items: Vec<Value>) -> Option<Vec<String>> {
    if items.len() > GROUPS_MAX {
        return None;
    }
    items
        .into_iter()
        .map(|item| match item {
            Value::String(name) if is_user_name(&name) => Some(name),
            _ => None,
        })
        .collect()
}

/// Bytes of an answer.
pub const ANSWER_BYTES_MAX: usize = 256 * 1024;

#[cfg(test)]
mod tests;
