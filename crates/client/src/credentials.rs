//! Who the client is: credentials that may change, and enhanced authentication.

use std::error::Error;
use std::fmt;
use std::pin::Pin;

use crate::error::Refusal;

/// User name and password of one connection.
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Credentials {
    /// The user name.
    pub user_name: Option<String>,
    /// The password, or a token that stands for it.
    pub password: Option<Vec<u8>>,
}

impl Credentials {
    /// Both of them.
    pub fn new(user_name: impl Into<String>, password: impl Into<Vec<u8>>) -> Self {
        Self {
            user_name: Some(user_name.into()),
            password: Some(password.into()),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("user_name", &self.user_name)
            .finish_non_exhaustive()
    }
}

/// What a source of credentials is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CredentialRequest {
    /// How often it was tried to connect since the last connection.
    pub attempt: u32,
    /// The refusal of the credentials that were given last: fetch new ones, whatever their expiry.
    pub refused: Option<Refusal>,
}

/// Why there are no credentials. The client tries again later; the text is in
/// [`Event::ConnectFailed`](crate::Event::ConnectFailed).
pub type CredentialsError = Box<dyn Error + Send + Sync>;

/// A future without a name.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Gives credentials; a closure that returns a future is one.
pub(crate) trait CredentialSource: Send + Sync {
    fn credentials(
        &self,
        request: CredentialRequest,
    ) -> BoxFuture<'static, Result<Credentials, CredentialsError>>;
}

impl<S, F> CredentialSource for S
where
    S: Fn(CredentialRequest) -> F + Send + Sync,
    F: Future<Output = Result<Credentials, CredentialsError>> + Send + 'static,
{
    fn credentials(
        &self,
        request: CredentialRequest,
    ) -> BoxFuture<'static, Result<Credentials, CredentialsError>> {
        Box::pin(self(request))
    }
}

/// Why an exchange begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// A new connection; forget the one before.
    Connect,
    /// The connection stands and is to be authenticated anew.
    Reauthenticate,
}

/// The client's side of an enhanced authentication (MQTT5 4.12): SCRAM, Kerberos or the like.
///
/// The futures may take their time, within
/// [`connect_timeout`](crate::Options::connect_timeout). An error ends the connection; the client then
/// tries again as after any other failure.
pub trait Authenticator: Send {
    /// The method's name, which has to stay the same.
    fn method(&self) -> String;

    /// Begins an exchange; gives the first authentication data, which may be empty.
    fn start(&mut self, occasion: Occasion) -> BoxFuture<'_, Result<Vec<u8>, CredentialsError>>;

    /// Answers a challenge of the broker's.
    fn answer(&mut self, data: Vec<u8>) -> BoxFuture<'_, Result<Vec<u8>, CredentialsError>>;

    /// Judges what the broker says at the end of the exchange, e.g. its own proof.
    ///
    /// # Errors
    /// Why this broker is not to be trusted.
    fn finish(&mut self, data: &[u8]) -> Result<(), CredentialsError> {
        let _ = data;
        Ok(())
    }
}

/// Makes the authenticator of a client.
pub(crate) trait AuthenticatorFactory: Send + Sync {
    fn make(&self) -> Box<dyn Authenticator>;
}

impl<M: Fn() -> Box<dyn Authenticator> + Send + Sync> AuthenticatorFactory for M {
    fn make(&self) -> Box<dyn Authenticator> {
        self()
    }
}
