//! One login on its way: who comes, and how it was judged.

use std::net::IpAddr;
use std::sync::Arc;

use midge_broker::{ConnId, Identity, Login, LoginAnswer, Method, Says};
use midge_codec::ReasonCode;

/// Who wants to be let in, and who waits for the answer.
#[derive(Clone, Debug)]
pub(super) struct Who {
    pub(super) worker: u16,
    pub(super) conn: ConnId,
    /// The number of the listener.
    pub(super) listener: u64,
    /// Its port; 0 for a unix socket.
    pub(super) port: u16,
    pub(super) address: Option<IpAddr>,
    pub(super) client_id: Arc<str>,
    /// The user name, as far as the client has said one.
    pub(super) user_name: Option<Arc<str>>,
    /// The client is connected, and shows anew who it is.
    pub(super) is_connected: bool,
}

impl Who {
    pub(super) fn of(worker: u16, login: &Login) -> Self {
        let user_name = match &login.says {
            // An empty name is none, as in Mosquitto.
            Says::Connect { user_name, .. } => user_name
                .as_deref()
                .filter(|name| !name.is_empty())
                .map(Into::into),
            Says::Auth(_) | Says::Again(_) => None,
        };
        Self {
            worker,
            conn: login.conn,
            listener: login.listener.number,
            port: login.listener.port,
            address: login.address.map(|address| address.ip().to_canonical()),
            client_id: Arc::clone(&login.client_id),
            user_name,
            is_connected: matches!(login.says, Says::Again(_)),
        }
    }
}

/// How a login was judged.
#[derive(Debug)]
pub(super) enum Verdict {
    Accepted(Box<Identity>),
    Challenged(Method),
    Refused(Refused),
}

/// A login that is not accepted.
#[derive(Debug)]
pub(super) struct Refused {
    /// Who refuses, as the log calls it.
    pub(super) method: &'static str,
    /// Why, for the log alone.
    pub(super) why: String,
    pub(super) reason: ReasonCode,
    /// What was tried in vain, if this counts as a failed login: the same again is no new guess.
    pub(super) tried: Option<Box<[u8]>>,
}

impl Refused {
    /// A refusal that says nothing against the client.
    pub(super) fn new(method: &'static str, why: impl Into<String>) -> Self {
        Self {
            method,
            why: why.into(),
            reason: ReasonCode::NOT_AUTHORIZED,
            tried: None,
        }
    }

    /// A refusal that counts.
    pub(super) fn guess(method: &'static str, why: impl Into<String>, tried: &[u8]) -> Self {
        Self {
            tried: Some(tried.into()),
            ..Self::new(method, why)
        }
    }

    pub(super) fn because(self, reason: ReasonCode) -> Self {
        Self { reason, ..self }
    }

    pub(super) fn answer(&self) -> LoginAnswer {
        LoginAnswer::Refused(self.reason, format!("{}: {}", self.method, self.why))
    }
}

impl From<Refused> for Verdict {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}
