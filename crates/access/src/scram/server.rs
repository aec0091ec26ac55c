//! The server's side.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq as _;

use crate::lines::shown;
use crate::passwords::scram_keys::{ScramKeys, hash, hmac, key_bytes};
use crate::passwords::{PasswordFile, USER_NAME_BYTES_MAX};

use super::{
    ChannelBinding, Mechanism, NONCE_BYTES, is_nonce, nonce_text, prepared, unescaped, value, xor,
};

/// A login that waits for the client's last message.
pub struct Server {
    mechanism: Mechanism,
    user_name: String,
    keys: ScramKeys,
    /// Why the proof cannot be right, whatever it is.
    hidden: Option<ServerError>,
    /// What the client's `c=` must say.
    binding: String,
    nonce: String,
    /// The client's first message without its header, and the server's.
    messages: String,
}

/// A client that has shown that it knows the password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Success {
    /// Who it is.
    pub user_name: String,
    /// The server's last message, which shows that the server knows the keys.
    pub message: Vec<u8>,
}

/// A login that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerFailure {
    /// Whose login it would have been, as far as that was said. For counting failures.
    pub user_name: Option<String>,
    /// Why, for the log. The peer hears that it is not authorised, and no more.
    pub error: ServerError,
}

/// Why a login failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerError {
    /// A message has not the form of RFC 5802; the text says where.
    Malformed(&'static str),
    /// The message has an extension that must be understood, and there is none.
    Extension,
    /// The client wants to act as somebody else.
    OtherUser,
    /// The client asks for a channel binding that does not fit the mechanism or the connection.
    NoChannelBinding,
    /// The client can bind to the channel and was told that the server cannot: somebody in between may have
    /// changed what the server offers.
    Downgrade,
    /// The channel that the client is bound to is another one: somebody may be in between.
    OtherChannel,
    /// There is no such user.
    UnknownUser,
    /// The user has a hash of another form, which the mechanism cannot use.
    NoKeys,
    /// The password was another one.
    WrongPassword,
}

impl fmt::Display for ServerError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(what) => write!(out, "malformed SCRAM message: {what}"),
            Self::Extension => out.write_str("unknown mandatory SCRAM extension"),
            Self::OtherUser => out.write_str("an authorization identity other than the user name"),
            Self::NoChannelBinding => out.write_str("channel binding is not possible here"),
            Self::Downgrade => out.write_str("the client could have bound to the TLS channel"),
            Self::OtherChannel => out.write_str("the client is bound to another TLS channel"),
            Self::UnknownUser => out.write_str("unknown user"),
            Self::NoKeys => out.write_str(
                "the user has no SCRAM keys; make them with `midge passwd -H scram-sha-256`",
            ),
            Self::WrongPassword => out.write_str("wrong password"),
        }
    }
}

impl Server {
    /// Takes the client's first message and answers it. `binding` is the channel binding of the connection, if
    /// it has one; `nonce` is random.
    ///
    /// For a user who is not in the file, or has other keys, the answer looks like any other, and is the same
    /// each time. The login then fails at its end.
    ///
    /// # Errors
    /// [`ServerFailure`] when the message says something that no answer fits.
    pub fn answer(
        mechanism: Mechanism,
        file: &PasswordFile,
        message: &[u8],
        binding: Option<&ChannelBinding>,
        nonce: [u8; NONCE_BYTES],
    ) -> Result<(Self, Vec<u8>), ServerFailure> {
        Self::answer_with(mechanism, file, message, binding, &nonce_text(nonce))
    }

    pub(super) fn answer_with(
        mechanism: Mechanism,
        file: &PasswordFile,
        message: &[u8],
        binding: Option<&ChannelBinding>,
        nonce: &str,
    ) -> Result<(Self, Vec<u8>), ServerFailure> {
        let first = First::read(message).map_err(|error| ServerFailure {
            user_name: None,
            error,
        })?;
        let fail = |error| ServerFailure {
            user_name: Some(first.user_name.clone()),
            error,
        };
        let bound = first.check_binding(mechanism, binding).map_err(fail)?;
        if first
            .acts_as
            .as_ref()
            .is_some_and(|name| *name != first.user_name)
        {
            return Err(fail(ServerError::OtherUser));
        }
        let found = file.scram(&first.user_name, mechanism.hash.function());
        let nonce = format!("{}{nonce}", first.nonce);
        let salt = STANDARD.encode(&found.salt);
        let answer = format!("r={nonce},s={salt},i={}", found.iterations);
        let mut header = first.header.as_bytes().to_vec();
        header.extend(bound);
        let server = Self {
            mechanism,
            user_name: first.user_name,
            keys: found.keys,
            hidden: found.error,
            binding: STANDARD.encode(header),
            nonce,
            messages: format!("{},{answer}", first.bare),
        };
        Ok((server, answer.into_bytes()))
    }

    /// Who wants to log in.
    #[must_use]
    pub fn user_name(&self) -> &str {
        &self.user_name
    }

    /// Takes the client's last message.
    ///
    /// # Errors
    /// [`ServerFailure`].
    pub fn finish(self, message: &[u8]) -> Result<Success, ServerFailure> {
        match self.check(message) {
            Ok(message) => Ok(Success {
                user_name: self.user_name,
                message,
            }),
            Err(error) => Err(ServerFailure {
                error,
                user_name: Some(self.user_name),
            }),
        }
    }

    fn check(&self, message: &[u8]) -> Result<Vec<u8>, ServerError> {
        let message = std::str::from_utf8(message).map_err(|_| ServerError::Malformed("UTF-8"))?;
        let (signed, proof) = message
            .rsplit_once(",p=")
            .ok_or(ServerError::Malformed("no proof"))?;
        let mut parts = signed.split(',');
        let binding =
            value(parts.next(), 'c').ok_or(ServerError::Malformed("no channel binding"))?;
        let nonce = value(parts.next(), 'r').ok_or(ServerError::Malformed("no nonce"))?;
        if nonce != self.nonce {
            return Err(ServerError::Malformed("another nonce"));
        }
        if binding != self.binding {
            return Err(ServerError::OtherChannel);
        }
        let function = self.mechanism.hash.function();
        let proof = STANDARD
            .decode(proof)
            .ok()
            .filter(|proof| proof.len() == key_bytes(function))
            .ok_or(ServerError::Malformed("the proof is no base64 of a key"))?;
        let messages = format!("{},{signed}", self.messages);
        let signature = hmac(function, self.keys.stored(), messages.as_bytes());
        let stored = hash(function, &xor(&proof, &signature));
        let is_right = bool::from(stored.ct_eq(self.keys.stored()));
        // Asked last, so that a user who does not exist takes as long.
        if let Some(error) = &self.hidden {
            return Err(error.clone());
        }
        if !is_right {
            return Err(ServerError::WrongPassword);
        }
        let signature = hmac(function, self.keys.server(), messages.as_bytes());
        Ok(format!("v={}", STANDARD.encode(signature)).into_bytes())
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = out.debug_struct("Server");
        out.field("mechanism", &self.mechanism)
            .field("user_name", &shown(&self.user_name))
            .finish_non_exhaustive()
    }
}

/// The client's first message.
struct First<'a> {
    /// `n,,` and the like.
    header: &'a str,
    flag: Flag<'a>,
    acts_as: Option<String>,
    bare: &'a str,
    user_name: String,
    nonce: &'a str,
}

/// What the client says about channel binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flag<'a> {
    /// It cannot.
    Cannot,
    /// It can, and thinks that the server cannot.
    Could,
    /// It does, with this type.
    Does(&'a str),
}

impl<'a> First<'a> {
    fn read(message: &'a [u8]) -> Result<Self, ServerError> {
        let malformed = ServerError::Malformed;
        let message = std::str::from_utf8(message).map_err(|_| malformed("UTF-8"))?;
        let mut parts = message.splitn(3, ',');
        let (Some(flag), Some(acts_as), Some(bare)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(malformed("no header"));
        };
        let flag = match flag {
            "n" => Flag::Cannot,
            "y" => Flag::Could,
            _ => Flag::Does(value(Some(flag), 'p').ok_or(malformed("channel binding flag"))?),
        };
        let acts_as = match acts_as {
            "" => None,
            _ => Some(
                value(Some(acts_as), 'a')
                    .and_then(unescaped)
                    .ok_or(malformed("authorization identity"))?,
            ),
        };
        let mut attributes = bare.split(',');
        let name = attributes.next();
        if value(name, 'm').is_some() {
            return Err(ServerError::Extension);
        }
        let user_name = value(name, 'n')
            .and_then(unescaped)
            .filter(|name| name.len() <= USER_NAME_BYTES_MAX)
            .ok_or(malformed("user name"))?;
        let nonce = value(attributes.next(), 'r')
            .filter(|nonce| is_nonce(nonce))
            .ok_or(malformed("nonce"))?;
        let header = message
            .get(..message.len() - bare.len())
            .unwrap_or_default();
        Ok(Self {
            header,
            flag,
            acts_as,
            bare,
            user_name: named(&user_name),
            nonce,
        })
    }

    /// The bytes of the channel that the client has to be bound to.
    fn check_binding<'b>(
        &self,
        mechanism: Mechanism,
        binding: Option<&'b ChannelBinding>,
    ) -> Result<&'b [u8], ServerError> {
        match (self.flag, mechanism.plus, binding) {
            (Flag::Does(kind), true, Some(binding)) if binding.kind == kind => Ok(&binding.data),
            (Flag::Cannot, false, _) | (Flag::Could, false, None) => Ok(&[]),
            (Flag::Could, false, Some(_)) => Err(ServerError::Downgrade),
            (Flag::Does(_), ..) | (Flag::Cannot | Flag::Could, true, _) => {
                Err(ServerError::NoChannelBinding)
            }
        }
    }
}

fn named(name: &str) -> String {
    let prepared = prepared(name.as_bytes());
    String::from_utf8_lossy(&prepared).into_owned()
}

#[cfg(test)]
mod tests;
