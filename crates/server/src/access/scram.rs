//! SCRAM by enhanced authentication: dialogues that are under way.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use midge_access::passwords::PasswordFile;
use midge_access::scram::{Mechanism, NONCE_BYTES, Server, ServerError, ServerFailure};
use midge_broker::{ConnId, Method};

use super::attempt::{Refused, Who};

/// Dialogues under way at a time. Each further one takes the place of the oldest, so that whoever begins
/// many and ends none keeps nobody out who answers at once.
pub(super) const DIALOGUES_MAX: usize = 4_096;

/// Bytes of a client's first message, which a dialogue holds about four times.
const MESSAGE_BYTES_MAX: usize = 2_048;

/// How long a client may take for its answer.
const TIME_MAX: Duration = Duration::from_secs(30);

/// The dialogues of all connections, each by the connection that it belongs to.
#[derive(Default)]
pub(super) struct Dialogues(Mutex<UnderWay>);

#[derive(Default)]
struct UnderWay {
    by_client: HashMap<(u16, ConnId), Dialogue>,
    /// By their numbers, the oldest first.
    by_age: BTreeMap<u64, (u16, ConnId)>,
    next: u64,
}

/// A client that was challenged.
struct Dialogue {
    who: Who,
    mechanism: Mechanism,
    server: Server,
    until: Duration,
    number: u64,
}

/// A client that has shown that it knows its password.
pub(super) struct Shown {
    pub(super) who: Who,
    pub(super) user_name: Arc<str>,
    /// What ends the dialogue.
    pub(super) method: Method,
}

/// The mechanism of a method's name. Binding to the TLS channel is not offered.
pub(super) fn mechanism(name: &str) -> Option<Mechanism> {
    Mechanism::from_name(name).filter(|mechanism| !mechanism.plus)
}

impl Dialogues {
    /// Takes a client's first message; gives the challenge.
    pub(super) fn begin(
        &self,
        now: Duration,
        who: &mut Who,
        file: &PasswordFile,
        mechanism: Mechanism,
        message: &[u8],
        nonce: [u8; NONCE_BYTES],
    ) -> Result<Method, Refused> {
        if message.len() > MESSAGE_BYTES_MAX {
            let why = format!("authentication data of more than {MESSAGE_BYTES_MAX} bytes");
            return Err(Refused::guess(mechanism.name(), why, message));
        }
        let (server, answer) = Server::answer(mechanism, file, message, None, nonce)
            .map_err(|failure| refused(mechanism, who, failure, message))?;
        let name = server.user_name();
        if who.user_name.as_deref().is_some_and(|said| said != name) {
            let why = "CONNECT and the authentication data have different user names";
            return Err(Refused::new(mechanism.name(), why));
        }
        who.user_name = Some(name.into());
        self.lock().begin(Dialogue {
            who: who.clone(),
            mechanism,
            server,
            until: now.saturating_add(TIME_MAX),
            number: 0,
        });
        Ok(Method {
            name: mechanism.name().into(),
            data: Some(answer.into()),
        })
    }

    /// Takes a client's last message. The dialogue is over, whatever it says.
    pub(super) fn finish(
        &self,
        now: Duration,
        who: &mut Who,
        method: &Method,
    ) -> Result<Shown, Refused> {
        let dialogue = self.lock().end((who.worker, who.conn));
        let Some(dialogue) = dialogue else {
            let why = "no authentication is under way";
            return Err(Refused::new("enhanced authentication", why));
        };
        let mechanism = dialogue.mechanism;
        *who = dialogue.who;
        if now >= dialogue.until {
            let why = format!("no answer within {} s", TIME_MAX.as_secs());
            return Err(Refused::new(mechanism.name(), why));
        }
        if *method.name != *mechanism.name() {
            let why = format!("it was begun as {mechanism}");
            return Err(Refused::new("enhanced authentication", why));
        }
        let message = method.data.as_deref().unwrap_or_default();
        let success = dialogue
            .server
            .finish(message)
            .map_err(|failure| refused(mechanism, who, failure, message))?;
        Ok(Shown {
            who: who.clone(),
            user_name: success.user_name.into(),
            method: Method {
                name: mechanism.name().into(),
                data: Some(success.message.into()),
            },
        })
    }

    /// Forgets the dialogue of a client.
    pub(super) fn drop(&self, who: &Who) {
        self.lock().end((who.worker, who.conn));
    }

    /// Forgets the dialogues whose time is over: their connections may have gone.
    pub(super) fn sweep(&self, now: Duration) {
        self.lock().sweep(now);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        let under_way = self.lock();
        assert_eq!(under_way.by_age.len(), under_way.by_client.len());
        under_way.by_client.len()
    }

    fn lock(&self) -> MutexGuard<'_, UnderWay> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UnderWay {
    fn begin(&mut self, mut dialogue: Dialogue) {
        let key = (dialogue.who.worker, dialogue.who.conn);
        self.end(key);
        if self.by_client.len() >= DIALOGUES_MAX
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            self.by_client.remove(&oldest);
        }
        dialogue.number = self.next;
        self.by_age.insert(self.next, key);
        self.by_client.insert(key, dialogue);
        self.next += 1;
    }

    fn end(&mut self, key: (u16, ConnId)) -> Option<Dialogue> {
        let dialogue = self.by_client.remove(&key)?;
        self.by_age.remove(&dialogue.number);
        Some(dialogue)
    }

    fn sweep(&mut self, now: Duration) {
        while let Some(oldest) = self.by_age.first_entry() {
            let dialogue = self.by_client.get(oldest.get());
            if dialogue.is_some_and(|dialogue| now < dialogue.until) {
                return;
            }
            self.by_client.remove(&oldest.remove());
        }
    }
}

/// Each attempt has another nonce, so that each counts.
fn refused(mechanism: Mechanism, who: &mut Who, failure: ServerFailure, tried: &[u8]) -> Refused {
    if let Some(name) = &failure.user_name {
        who.user_name = Some(name.as_str().into());
    }
    let why = failure.error.to_string();
    match failure.error {
        ServerError::WrongPassword
        | ServerError::UnknownUser
        | ServerError::NoKeys
        | ServerError::Malformed(_) => Refused::guess(mechanism.name(), why, tried),
        _ => Refused::new(mechanism.name(), why),
    }
}
