//! The HTTP back end: a URL that is asked about logins.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use midge_access::tokens::http_login::{
    HttpLogin as Logins, HttpLoginSettings, Login, LookUp, Question,
};
use midge_access::tokens::identity::Identity;
use midge_access::tokens::{HashKey, Refusal};

use super::attempt::Who;
use super::files::Stamp;
use super::tokens::{Moment, secret};
use crate::auth_fetch::{Answer, FetchError, FetchSettings, Fetcher};
use crate::config::HttpLogin;

/// What the log calls it.
pub(super) const HTTP: &str = "http_login_url";

/// Requests that are under way at once.
const THREADS: usize = 4;

/// One back end, and what it said lately.
pub(super) struct Backend {
    pub(super) settings: HttpLogin,
    pub(super) stamps: Vec<(PathBuf, Option<Stamp>)>,
    logins: Mutex<Logins>,
    fetcher: Fetcher,
}

impl Backend {
    /// Reads the file that the settings name. Nothing is asked yet.
    ///
    /// # Errors
    /// What is to be told the operator.
    pub(super) fn open(settings: &HttpLogin, key: HashKey) -> Result<Self, String> {
        let mut stamps = Vec::new();
        let authorization = match &settings.token_file {
            None => None,
            Some(path) => {
                let token = secret("http_login_token_file", path, &mut stamps)?;
                Some(format!("Bearer {token}"))
            }
        };
        let mut asked = HttpLoginSettings::new(&settings.url);
        asked.authorization = authorization;
        asked.cache_for = Duration::from_secs(settings.cache_secs.into());
        if settings.cache_secs == 0 {
            asked.cache_for_max = Duration::ZERO;
            asked.denied_for = Duration::ZERO;
        }
        let limit = Duration::from_millis(settings.timeout_ms.into());
        let fetcher = Fetcher::start(FetchSettings {
            threads: THREADS,
            connect_timeout: limit,
            total_timeout: limit,
            ..FetchSettings::default()
        });
        Ok(Self {
            settings: settings.clone(),
            stamps,
            logins: Mutex::new(Logins::new(asked, key)),
            fetcher: fetcher
                .map_err(|error| format!("Error: Unable to start a thread: {error}."))?,
        })
    }

    /// What is known of a login, or the question to ask.
    pub(super) fn look_up(&self, who: &Who, password: Option<&[u8]>, moment: Moment) -> LookUp {
        let login = Login {
            client_id: &who.client_id,
            user_name: who.user_name.as_deref(),
            password,
            address: who.address,
            tls_common_name: None,
            listener: who.port,
        };
        self.lock().look_up(&login, moment.now, moment.unix)
    }

    /// Who asks.
    pub(super) const fn fetcher(&self) -> &Fetcher {
        &self.fetcher
    }

    /// Takes the answer to a question.
    pub(super) fn answered(
        &self,
        question: &Question,
        answer: Result<Answer, FetchError>,
        moment: Moment,
    ) -> Result<Identity, Refusal> {
        let answer = answer.map_err(|error| Refusal::NoAnswer(error.to_string()))?;
        self.lock().answered(
            question,
            answer.status,
            &answer.body,
            moment.now,
            moment.unix,
        )
    }

    fn lock(&self) -> MutexGuard<'_, Logins> {
        self.logins.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
