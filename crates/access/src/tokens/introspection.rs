//! Opaque tokens: the provider is asked what a token is worth (RFC 7662).

use core::time::Duration;

use serde_json::Value;

use super::cache::{Cache, Digest, HashKey};
use super::identity::{Claim, Claims};
use super::json::{Limits, parse_object};
use super::verify::{Audience, Checks, Expiry};
use super::{ClientAuthentication, Post, Refusal, UnixSecs};

/// How a provider is asked, and how long its word counts.
#[derive(Clone, Debug)]
pub struct IntrospectionSettings {
    /// The introspection endpoint.
    pub endpoint: String,
    /// How the broker says who it is.
    pub authentication: ClientAuthentication,
    /// What an active token must claim. Providers need not send `iss`, `aud` and `exp`.
    pub checks: Checks,
    /// How long a token that is active is not asked about again. A token that is withdrawn lets its client
    /// in for so long.
    pub active_for: Duration,
    /// How long a token that is not active is refused without asking.
    pub inactive_for: Duration,
    /// Answers of each of the two kinds that are kept.
    pub entries_max: usize,
    /// The life in seconds of a token whose end the provider does not tell.
    pub lifetime_secs: u64,
}

impl IntrospectionSettings {
    /// One minute for active tokens, ten seconds for others, 10,000 of each; an hour of life for tokens
    /// without `exp`.
    #[must_use]
    pub fn new(
        endpoint: impl Into<String>,
        authentication: ClientAuthentication,
        audience: Audience,
    ) -> Self {
        Self {
            endpoint: endpoint.into(),
            authentication,
            checks: Checks {
                expiry: Expiry::Optional,
                ..Checks::new(audience)
            },
            active_for: Duration::from_secs(60),
            inactive_for: Duration::from_secs(10),
            entries_max: 10_000,
            lifetime_secs: 3600,
        }
    }
}

/// What is known of a token.
#[derive(Debug)]
pub enum LookUp {
    /// The provider was asked not long ago: this is what it said, judged by the time of now.
    Known(Result<Claims, Refusal>),
    /// The provider is to be asked.
    Ask(Question),
}

/// A request that is to be sent, and comes back with its answer.
#[derive(Debug)]
pub struct Question {
    /// What is to be sent.
    pub post: Post,
    about: Digest,
}

/// Asks about tokens and keeps the answers for a while, without the tokens.
#[derive(Debug)]
pub struct Introspection {
    settings: IntrospectionSettings,
    key: HashKey,
    active: Cache<Claims>,
    /// Apart from the active ones, so that a flood of made-up tokens displaces none of them.
    inactive: Cache<()>,
}

impl Introspection {
    /// Begins with no answers.
    #[must_use]
    pub const fn new(settings: IntrospectionSettings, key: HashKey) -> Self {
        let entries_max = settings.entries_max;
        Self {
            settings,
            key,
            active: Cache::new(entries_max),
            inactive: Cache::new(entries_max),
        }
    }

    /// Says what is known of `token`, or what to send to know it.
    pub fn look_up(&mut self, token: &str, now: Duration, time: UnixSecs) -> LookUp {
        if let Err(refusal) = check_form(token, self.settings.checks.limits.token_bytes_max) {
            return LookUp::Known(Err(refusal));
        }
        let about = self.key.digest([Some(token.as_bytes())]);
        if let Some(claims) = self.active.find(&about, now) {
            let judged = self.settings.checks.check_claims(claims, time);
            return LookUp::Known(judged.map(|()| claims.clone()));
        }
        if self.inactive.find(&about, now).is_some() {
            return LookUp::Known(Err(Refusal::Inactive));
        }
        LookUp::Ask(Question {
            post: self.request(token),
            about,
        })
    }

    fn request(&self, token: &str) -> Post {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("token", token);
        form.append_pair("token_type_hint", "access_token");
        if let ClientAuthentication::Form { id, secret } = &self.settings.authentication {
            form.append_pair("client_id", id);
            form.append_pair("client_secret", secret);
        }
        Post {
            url: self.settings.endpoint.clone(),
            authorization: self.settings.authentication.header(),
            content_type: "application/x-www-form-urlencoded",
            body: form.finish().into_bytes(),
        }
    }

    /// Takes the answer to a question.
    ///
    /// # Errors
    /// [`Refusal::Inactive`] for a token that is worth nothing, [`Refusal::NoAnswer`] for an answer that
    /// cannot be used (which is not kept), and what [`Checks::check_claims`] finds.
    pub fn answered(
        &mut self,
        question: &Question,
        status: u16,
        body: &[u8],
        now: Duration,
        time: UnixSecs,
    ) -> Result<Claims, Refusal> {
        let claims = match parse_answer(status, body, time, self.settings.lifetime_secs) {
            Ok(claims) => claims,
            Err(refusal) => {
                if refusal == Refusal::Inactive {
                    let until = now.saturating_add(self.settings.inactive_for);
                    self.active.remove(&question.about);
                    self.inactive.keep(question.about, (), until);
                }
                return Err(refusal);
            }
        };
        let judged = self.settings.checks.check_claims(&claims, time);
        let until = now.saturating_add(self.settings.active_for);
        self.active.keep(question.about, claims.clone(), until);
        judged.map(|()| claims)
    }

    /// Forgets all answers, as after a change of settings.
    pub fn forget_all(&mut self) {
        self.active.clear();
        self.inactive.clear();
    }
}

/// Tokens are visible ASCII (RFC 6750 section 2.1); nothing else is worth a request.
fn check_form(token: &str, bytes_max: usize) -> Result<(), Refusal> {
    if token.is_empty() {
        return Err(Refusal::Empty);
    }
    if token.len() > bytes_max {
        return Err(Refusal::TooLong {
            bytes: token.len(),
            max: bytes_max,
        });
    }
    if token.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(())
    } else {
        Err(Refusal::Inactive)
    }
}

fn parse_answer(
    status: u16,
    body: &[u8],
    time: UnixSecs,
    lifetime_secs: u64,
) -> Result<Claims, Refusal> {
    match status {
        200 => {}
        401 | 403 => {
            let why = format!("status {status}: are the broker's client id and secret right?");
            return Err(Refusal::NoAnswer(why));
        }
        _ => return Err(Refusal::NoAnswer(format!("status {status}"))),
    }
    let limits = Limits {
        bytes_max: ANSWER_BYTES_MAX,
        depth_max: 8,
        values_max: 4096,
    };
    let no_answer = |fault: super::JsonFault| Refusal::NoAnswer(fault.to_string());
    let mut members = parse_object(body, limits).map_err(no_answer)?;
    match members.get("active") {
        Some(Value::Bool(true)) => {}
        Some(Value::Bool(false)) => return Err(Refusal::Inactive),
        _ => return Err(Refusal::NoAnswer("no boolean \"active\"".to_owned())),
    }
    let has_end = members.get("exp").is_some_and(|end| !end.is_null());
    if !has_end {
        let end = time.saturating_add(lifetime_secs);
        members.insert("exp".to_owned(), end.0.into());
    }
    let claims = Claims::from(members);
    claims.time(Claim::EXP)?;
    Ok(claims)
}

/// Bytes of an answer.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests;
