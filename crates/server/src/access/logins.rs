//! The way of one login, from what the client says to the answer that it gets.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::TrySendError;
use midge_access::scram::NONCE_BYTES;
use midge_access::tokens::http_login::LookUp;
use midge_access::tokens::identity::{Claims, Identity as Found};
use midge_access::tokens::{Refusal, UnixSecs, oauthbearer};
use midge_broker::{LoginAnswer, Method, Says, Shown, Time};
use midge_codec::ReasonCode;

use super::attempt::{Refused, Verdict, Who};
use super::check::Checked;
use super::dynsec;
use super::failures::HeldAnswer;
use super::gate::{Brought, Gate, HttpCheck, Judged, Pending};
use super::guard::{Inner, JOBS_MAX, Job, Wake};
use super::http::HTTP;
use super::rights::LoginRules;
use super::tokens::{self, Moment, Seen, TOKEN, TokenLogin, Tokens};
use crate::mail::WorkerMail;

impl Inner {
    pub(super) fn now(&self) -> Duration {
        Duration::from_millis(self.clock.now_ms())
    }

    fn moment(&self) -> Moment {
        Moment {
            now: self.now(),
            unix: UnixSecs(self.clock.unix_secs()),
        }
    }

    /// Judges what a client says, as far as that costs nothing.
    pub(super) fn begin(&self, who: &mut Who, says: Says, shown: &Shown) -> Judged {
        let Some(gate) = self.gate(who.listener) else {
            return Refused::new("listener", "the listener has gone").into();
        };
        if let Says::Connect {
            user_name,
            password,
            method: None,
        } = &says
            && gate.ignores_name(user_name.as_deref(), password.as_deref(), shown)
        {
            // The name says nothing, and all devices may have the same: it is not to be banned.
            who.user_name = None;
        }
        // Before anything is hashed.
        if let Some(banned) = self.failures.check(self.now(), who) {
            return banned.into();
        }
        match says {
            Says::Connect {
                user_name,
                password,
                method: None,
            } => gate.judge(who, user_name.as_deref(), password, shown, self.now()),
            Says::Connect {
                method: Some(method),
                ..
            }
            | Says::Again(method) => self.begin_method(&gate, who, &method),
            Says::Auth(method) => self.end_method(&gate, who, &method),
        }
    }

    fn begin_method(&self, gate: &Arc<Gate>, who: &mut Who, method: &Method) -> Judged {
        let message = method.data.as_deref().unwrap_or_default();
        if *method.name == *oauthbearer::METHOD && gate.offers_tokens() {
            return match oauthbearer::Credentials::parse(message) {
                Ok(credentials) => {
                    let token = credentials.token.unwrap_or_default().into();
                    let acts_as = credentials.acts_as.as_deref().map(Into::into);
                    gate.token(who, token, acts_as, true)
                }
                Err(fault) => {
                    Refused::guess(oauthbearer::METHOD, fault.to_string(), message).into()
                }
            };
        }
        let (file, mechanism) = match gate.scram(&method.name) {
            Ok(found) => found,
            Err(refused) => return refused.into(),
        };
        let mut nonce = [0; NONCE_BYTES];
        dynsec::random(&mut nonce);
        let now = self.now();
        let challenge = self
            .dialogues
            .begin(now, who, file, mechanism, message, nonce);
        match challenge {
            Err(refused) => refused.into(),
            // By now it is known who it is.
            Ok(challenge) => match self.failures.check(now, who) {
                Some(banned) => {
                    self.dialogues.drop(who);
                    banned.into()
                }
                None => Judged::At(Verdict::Challenged(challenge)),
            },
        }
    }

    fn end_method(&self, gate: &Gate, who: &mut Who, method: &Method) -> Judged {
        let shown = match self.dialogues.finish(self.now(), who, method) {
            Ok(shown) => shown,
            Err(refused) => return refused.into(),
        };
        let brought = Brought {
            method: Some(shown.method),
            seal: gate.seal_of_file(&shown.user_name),
            ..Brought::default()
        };
        match gate.identity(&shown.who, Some(&shown.user_name), brought) {
            Ok(identity) => Judged::At(Verdict::Accepted(identity)),
            Err(refused) => refused.into(),
        }
    }

    /// Has something checked by a thread of its own.
    pub(super) fn queue(&self, who: Who, pending: Pending) -> Option<LoginAnswer> {
        match self.jobs.try_send(Job::Check {
            who,
            pending,
            since: self.now(),
        }) {
            Ok(()) => None,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                let why = format!("{JOBS_MAX} logins wait to be checked");
                Some(LoginAnswer::Refused(ReasonCode::SERVER_BUSY, why))
            }
        }
    }

    /// Makes an answer of a verdict, and counts it. Nothing for one that is held back.
    pub(super) fn settle(&self, who: &Who, verdict: Verdict) -> Option<LoginAnswer> {
        let refused = match verdict {
            Verdict::Accepted(identity) => {
                self.failures.succeeded(who, identity.user_name.as_deref());
                return Some(LoginAnswer::Accepted(identity));
            }
            Verdict::Challenged(method) => return Some(LoginAnswer::Challenged(method)),
            Verdict::Refused(refused) => refused,
        };
        let now = self.now();
        let delay = self.failures.failed(now, who, &refused, &self.logger);
        if delay.is_zero() {
            return Some(refused.answer());
        }
        let held = HeldAnswer {
            worker: who.worker,
            conn: who.conn,
            answer: refused.answer(),
        };
        match self.held.hold(now.saturating_add(delay), held) {
            Ok(()) => {
                // Who is full of wake-ups will look.
                let _ = self.wake.try_send(Wake::Look);
                None
            }
            Err(answer) => Some(answer),
        }
    }

    fn answer(&self, who: &Who, verdict: Verdict) {
        if let Some(answer) = self.settle(who, verdict) {
            let conn = who.conn;
            self.mail(who.worker, WorkerMail::LoggedIn { conn, answer });
        }
    }

    /// Checks what takes a while.
    pub(super) fn check(self: &Arc<Self>, who: Who, pending: Pending) {
        match pending {
            Pending::Password(check) => match check.run(self.now()) {
                Checked::Judged(verdict) => self.answer(&who, verdict),
                Checked::AskHttp(check) => self.ask_http(who, *check),
            },
            Pending::Token(login) => self.judge_token(login),
            Pending::Http(check) => self.ask_http(who, *check),
        }
    }

    /// Judges a token with the keys that are there, or has it wait for others.
    pub(super) fn judge_token(self: &Arc<Self>, login: Box<TokenLogin>) {
        let Some(tokens) = login.gate.tokens.clone() else {
            return;
        };
        match tokens.look(login, self.moment()) {
            Seen::Judged(login, seen) => self.conclude(&tokens, &login, seen),
            Seen::Waits => self.fetch_keys(&tokens),
            Seen::Ask(login, question) => {
                let Some(asker) = tokens.asker() else { return };
                let inner = Arc::clone(self);
                let shared = Arc::new(login);
                let (asked, of) = (Arc::clone(&shared), Arc::clone(&tokens));
                let post = question.post.clone();
                let sent = asker.fetch(post, move |answer| {
                    let seen = of.answered(&question, answer, inner.moment());
                    inner.conclude(&of, &asked, seen);
                });
                if let Err(error) = sent {
                    let refusal = Refusal::NoAnswer(error.to_string());
                    self.conclude(&tokens, &shared, Err(refusal));
                }
            }
        }
    }

    fn conclude(&self, tokens: &Tokens, login: &TokenLogin, seen: Result<Claims, Refusal>) {
        let takes_name = login.gate.settings().use_username_as_clientid;
        let method = if login.is_enhanced {
            oauthbearer::METHOD
        } else {
            TOKEN
        };
        let found = seen.and_then(|claims| tokens.identity(&claims, &login.who, takes_name));
        let verdict = match found {
            Err(refusal) => tokens::refused(method, &refusal, login.token.as_bytes()).into(),
            Ok(found)
                if login.acts_as.is_some()
                    && login.acts_as.as_deref() != found.user_name.as_deref() =>
            {
                let why = "the client wants to act as somebody else than its token names";
                Refused::guess(method, why, login.token.as_bytes()).into()
            }
            Ok(found) => {
                let leeway = tokens.settings.leeway_secs.into();
                let end = login.is_enhanced.then(|| Method {
                    name: oauthbearer::METHOD.into(),
                    data: None,
                });
                self.admit(&login.gate, &login.who, found, leeway, end)
            }
        };
        self.answer(&login.who, verdict);
    }

    /// Lets in a client whom a token or the HTTP back end has named.
    fn admit(
        &self,
        gate: &Gate,
        who: &Who,
        found: Found,
        leeway: u64,
        method: Option<Method>,
    ) -> Verdict {
        let moment = self.moment();
        let expires = found.expires_at.map(|end| {
            let left = end.saturating_add(leeway).0.saturating_sub(moment.unix.0);
            Time(self.clock.now_ms()).plus_secs(left)
        });
        let brought = Brought {
            rules: Some(Arc::new(LoginRules {
                rules: found.rules,
                groups: found.groups,
            })),
            expires,
            seal: 0,
            method,
        };
        let user_name: Option<Arc<str>> = found.user_name.map(Into::into);
        match gate.identity(who, user_name.as_ref(), brought) {
            Ok(identity) => Verdict::Accepted(identity),
            Err(refused) => refused.into(),
        }
    }

    /// Fetches the keys that are due.
    pub(super) fn fetch_keys(self: &Arc<Self>, tokens: &Arc<Tokens>) {
        let Some((fetcher, fetch)) = tokens.next_fetch(self.now()) else {
            return;
        };
        let inner = Arc::clone(self);
        let of = Arc::clone(tokens);
        let url = fetch.url.clone();
        let sent = fetcher.fetch(fetch, move |answer| {
            of.fetched(&url, answer, inner.now(), &inner.logger);
            // A discovery document is followed by the keys.
            match of.next_due() {
                Some(due) if due <= inner.now() => inner.fetch_keys(&of),
                _ => inner.judge_waiting(&of, true),
            }
        });
        if let Err(error) = sent {
            let now = self.now();
            tokens.fetched("the provider", Err(error), now, &self.logger);
            self.judge_waiting(tokens, true);
        }
    }

    /// Has logins judged again whose keys have been fetched, or that have waited for too long.
    pub(super) fn judge_waiting(&self, tokens: &Tokens, answered: bool) {
        for login in tokens.take_waiting(self.now(), answered) {
            if let Err(error) = self.jobs.try_send(Job::Again(Box::new(login)))
                && let Job::Again(login) = error.into_inner()
            {
                let why = format!("{JOBS_MAX} logins wait to be checked");
                let refused = Refused::new(TOKEN, why).because(ReasonCode::SERVER_BUSY);
                self.answer(&login.who, refused.into());
            }
        }
    }

    fn ask_http(self: &Arc<Self>, who: Who, check: HttpCheck) {
        let HttpCheck { gate, password } = check;
        let Some(http) = gate.http.clone() else {
            return;
        };
        match http.look_up(&who, password.as_deref(), self.moment()) {
            LookUp::Known(known) => self.conclude_http(&gate, &who, password.as_deref(), known),
            LookUp::Ask(question) => {
                let inner = Arc::clone(self);
                let post = question.post.clone();
                let asked = (Arc::clone(&http), Arc::clone(&gate), who.clone());
                let sent = http.fetcher().fetch(post, move |answer| {
                    let (http, gate, who) = asked;
                    let seen = http.answered(&question, answer, inner.moment());
                    inner.conclude_http(&gate, &who, password.as_deref(), seen);
                });
                if let Err(error) = sent {
                    let refusal = Refusal::NoAnswer(error.to_string());
                    self.conclude_http(&gate, &who, None, Err(refusal));
                }
            }
        }
    }

    fn conclude_http(
        &self,
        gate: &Gate,
        who: &Who,
        password: Option<&[u8]>,
        seen: Result<Found, Refusal>,
    ) {
        let verdict = match seen {
            Ok(found) => self.admit(gate, who, found, 0, None),
            Err(refusal) => tokens::refused(HTTP, &refusal, password.unwrap_or_default()).into(),
        };
        self.answer(who, verdict);
    }
}
