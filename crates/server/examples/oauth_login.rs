//! Judges tokens as a broker does, with the keys of a provider that really is there.
//!
//! `oauth_login ISSUER AUDIENCE CLIENT_ID SECRET LEEWAY` reads commands from its standard input and answers each
//! with one line. `tests/oauth` drives it against a provider.
//!
//! - `token T` verifies a signed token.
//! - `opaque T` asks the provider about a token, as the client that the arguments name.
//! - `publish TOPIC`, `subscribe FILTER`: what the last token that was taken allows.

use std::env;
use std::io::{self, BufRead as _, Write as _};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use midge_access::Action;
use midge_access::tokens::identity::{Claim, ClaimNames, Identity, Presented, ScopeRules};
use midge_access::tokens::introspection::{Introspection, IntrospectionSettings, LookUp};
use midge_access::tokens::keys::{Availability, KeyPolicy, KeySet, KeyStore, UnknownKey};
use midge_access::tokens::verify::{Audience, Checks};
use midge_access::tokens::{ClientAuthentication, HashKey, Refusal, UnixSecs};
use midge_server::auth_fetch::{Answer, FetchError, FetchSettings, Fetcher};

fn main() -> io::Result<()> {
    let mut arguments = env::args().skip(1);
    let mut next = || arguments.next().unwrap_or_default();
    let (issuer, audience) = (next(), Audience::OneOf(vec![next()]));
    let own = ClientAuthentication::Basic {
        id: next(),
        secret: next(),
    };
    let leeway_secs = next().parse().unwrap_or(60);
    let mut logins = Logins::new(&issuer, audience, own, leeway_secs)?;
    let mut out = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let line = line?;
        let (command, rest) = line.split_once(' ').unwrap_or((&line, ""));
        writeln!(out, "{}", logins.carry_out(command, rest))?;
        out.flush()?;
    }
    Ok(())
}

struct Logins {
    checks: Checks,
    names: ClaimNames,
    keys: KeyStore,
    introspection: Option<Introspection>,
    own: ClientAuthentication,
    last: Option<Identity>,
    fetcher: Fetcher,
    answers: Receiver<Result<Answer, FetchError>>,
    sender: Sender<Result<Answer, FetchError>>,
    started: Instant,
}

impl Logins {
    fn new(
        issuer: &str,
        audience: Audience,
        own: ClientAuthentication,
        leeway_secs: u64,
    ) -> io::Result<Self> {
        let policy = KeyPolicy {
            unknown_key_interval: Duration::from_secs(2),
            ..KeyPolicy::default()
        };
        let (sender, answers) = mpsc::channel();
        Ok(Self {
            checks: Checks {
                issuer: Some(issuer.to_owned()),
                leeway_secs,
                ..Checks::new(audience)
            },
            names: ClaimNames {
                user_name: vec![Claim::SUB, Claim::CLIENT_ID],
                groups: Some(Claim::at("realm.roles")),
                scopes: Some(ScopeRules {
                    claim: Claim::SCOPE,
                    prefix: "mqtt.".to_owned(),
                }),
                ..ClaimNames::default()
            },
            keys: KeyStore::from_issuer(issuer, policy, Duration::ZERO),
            introspection: None,
            own,
            last: None,
            fetcher: Fetcher::start(FetchSettings::default())?,
            answers,
            sender,
            started: Instant::now(),
        })
    }

    fn carry_out(&mut self, command: &str, rest: &str) -> String {
        let claims = match command {
            "token" => self.verify(rest),
            "opaque" => self.ask_about(rest),
            "publish" => return self.explain(Action::Publish, rest),
            "subscribe" => return self.explain(Action::Subscribe, rest),
            _ => return "unknown command".to_owned(),
        };
        match claims {
            Ok(identity) => {
                let user_name = identity.user_name.as_deref().unwrap_or_default();
                let line = format!("ok {user_name} {}", identity.groups.join(","));
                self.last = Some(identity);
                line
            }
            Err(refusal) => format!("refused: {refusal}"),
        }
    }

    fn explain(&self, action: Action, topic: &str) -> String {
        let rules = self.last.as_ref().and_then(|last| last.rules.as_ref());
        match rules.map(|rules| rules.explain(action, topic)) {
            Some(decision) if decision.allowed => format!("allowed: {}", decision.rule),
            Some(decision) => format!("denied: {}", decision.rule),
            None => "no rules".to_owned(),
        }
    }

    fn verify(&mut self, token: &str) -> Result<Identity, Refusal> {
        let keys = self.keys()?;
        let claims = match self.checks.verify(token, &keys, time()) {
            Err(Refusal::UnknownKey(id)) => {
                if self.keys.unknown_key(self.now()) == UnknownKey::Refuse {
                    return Err(Refusal::UnknownKey(id));
                }
                self.fetch();
                let keys = self.keys()?;
                self.checks.verify(token, &keys, time())?
            }
            other => other?,
        };
        self.names.identity(&claims, &PRESENTED)
    }

    /// The keys, for which the first login waits.
    fn keys(&mut self) -> Result<Arc<KeySet>, Refusal> {
        self.fetch();
        match self.keys.availability(self.now()) {
            Availability::Ready(keys) => Ok(keys),
            Availability::Waiting => Err(Refusal::NoAnswer("still waiting".to_owned())),
            Availability::Unavailable(why) => Err(Refusal::NoKeys(why)),
        }
    }

    /// Makes the fetches that are due. A broker does this beside its work and not in the middle of a login.
    fn fetch(&mut self) {
        while let Some(fetch) = self.keys.next_fetch(self.now()) {
            let answer = self.send(fetch);
            let now = self.now();
            match answer {
                Ok(answer) if answer.status == 200 => {
                    // What is wrong with it is kept as the reason of the failure.
                    let _ = self.keys.fetched(&answer.body, answer.max_age, now);
                }
                Ok(answer) => self.keys.failed(format!("status {}", answer.status), now),
                Err(error) => self.keys.failed(error.to_string(), now),
            }
        }
    }

    fn ask_about(&mut self, token: &str) -> Result<Identity, Refusal> {
        self.keys()?;
        let now = self.now();
        let no_endpoint = || Refusal::NoAnswer("the provider has no introspection".to_owned());
        if self.introspection.is_none() {
            let document = self.keys.document().ok_or_else(no_endpoint)?;
            let endpoint = document.introspection_endpoint.clone();
            let mut settings = IntrospectionSettings::new(
                endpoint.ok_or_else(no_endpoint)?,
                self.own.clone(),
                self.checks.audience.clone(),
            );
            settings.checks.leeway_secs = self.checks.leeway_secs;
            self.introspection = Some(Introspection::new(settings, HashKey::new(&[0; 32])));
        }
        let introspection = self.introspection.as_mut().ok_or_else(no_endpoint)?;
        let claims = match introspection.look_up(token, now, time()) {
            LookUp::Known(known) => known?,
            LookUp::Ask(question) => {
                let answer = self
                    .send(question.post.clone())
                    .map_err(|error| Refusal::NoAnswer(error.to_string()))?;
                let introspection = self.introspection.as_mut().ok_or_else(no_endpoint)?;
                introspection.answered(&question, answer.status, &answer.body, now, time())?
            }
        };
        self.names.identity(&claims, &PRESENTED)
    }

    /// Sends one request and waits for its answer.
    fn send(
        &self,
        request: impl Into<midge_server::auth_fetch::Request>,
    ) -> Result<Answer, FetchError> {
        let sender = self.sender.clone();
        self.fetcher.fetch(request, move |answer| {
            // Nobody waits any more if this fails.
            let _ = sender.send(answer);
        })?;
        self.answers.recv().unwrap_or(Err(FetchError::Stopped))
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }
}

const PRESENTED: Presented<'_> = Presented {
    client_id: "sensor-7",
    user_name: None,
    certificate_sha256: None,
};

fn time() -> UnixSecs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    UnixSecs(since.unwrap_or_default().as_secs())
}
