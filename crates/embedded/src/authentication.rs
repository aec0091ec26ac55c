//! Enhanced authentication: an exchange of AUTH packets that a method defines, at CONNECT and later again
//! (MQTT5 4.12).

use ::core::fmt;

/// The client's side of an authentication method, such as SCRAM.
///
/// What it says is borrowed from it: it has memory of its own for that. The send buffer holds each as a
/// packet, with the method's name and some 12 bytes.
pub trait Authenticator {
    /// The method's name, e.g. `SCRAM-SHA-256`. Always the same.
    fn method(&self) -> &'static str;

    /// Begins an exchange, of which there are several if the client authenticates again. Gives the data that
    /// go first; `None` where the method lets the broker begin.
    fn begin(&mut self) -> Option<&[u8]>;

    /// Answers what the broker says.
    ///
    /// # Errors
    /// If it cannot be answered. That ends the connection.
    fn answer(&mut self, data: Option<&[u8]>) -> Result<Option<&[u8]>, Unconvinced>;

    /// The broker says that the exchange is over, with its last data. It may say so at any moment: here is
    /// where a method that proves who the broker is has to see that proof.
    ///
    /// # Errors
    /// If the broker has not proven what it has to. That ends the connection.
    fn finish(&mut self, data: Option<&[u8]>) -> Result<(), Unconvinced>;
}

impl<U: Authenticator + ?Sized> Authenticator for &mut U {
    fn method(&self) -> &'static str {
        U::method(self)
    }

    fn begin(&mut self) -> Option<&[u8]> {
        U::begin(self)
    }

    fn answer(&mut self, data: Option<&[u8]>) -> Result<Option<&[u8]>, Unconvinced> {
        U::answer(self, data)
    }

    fn finish(&mut self, data: Option<&[u8]>) -> Result<(), Unconvinced> {
        U::finish(self, data)
    }
}

/// The broker is not who it should be, or does not keep to the method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unconvinced;

impl fmt::Display for Unconvinced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the broker's part of the authentication is not accepted")
    }
}

impl ::core::error::Error for Unconvinced {}

/// An [`Authenticator`] in a client.
#[derive(Debug)]
pub struct Authentication<U> {
    authenticator: U,
    is_under_way: bool,
}

impl<U> Authentication<U> {
    pub(crate) const fn new(authenticator: U) -> Self {
        Self {
            authenticator,
            is_under_way: false,
        }
    }
}

/// Implemented by `()`, without code, and by [`Authentication`].
pub trait Exchange {
    const IS_USED: bool = true;

    fn method(&self) -> &'static str;

    /// Whether an exchange is under way.
    fn is_under_way(&self) -> bool;

    fn set_under_way(&mut self, is_under_way: bool);

    fn begin(&mut self) -> Option<&[u8]>;

    fn answer(&mut self, data: Option<&[u8]>) -> Result<Option<&[u8]>, Unconvinced>;

    fn finish(&mut self, data: Option<&[u8]>) -> Result<(), Unconvinced>;
}

impl Exchange for () {
    const IS_USED: bool = false;

    fn method(&self) -> &'static str {
        ""
    }

    fn is_under_way(&self) -> bool {
        false
    }

    fn set_under_way(&mut self, _is_under_way: bool) {}

    fn begin(&mut self) -> Option<&[u8]> {
        None
    }

    fn answer(&mut self, _data: Option<&[u8]>) -> Result<Option<&[u8]>, Unconvinced> {
        Err(Unconvinced)
    }

    fn finish(&mut self, _data: Option<&[u8]>) -> Result<(), Unconvinced> {
        Err(Unconvinced)
    }
}

impl<U: Authenticator> Exchange for Authentication<U> {
    fn method(&self) -> &'static str {
        self.authenticator.method()
    }

    fn is_under_way(&self) -> bool {
        self.is_under_way
    }

    fn set_under_way(&mut self, is_under_way: bool) {
        self.is_under_way = is_under_way;
    }

    fn begin(&mut self) -> Option<&[u8]> {
        self.authenticator.begin()
    }

    fn answer(&mut self, data: Option<&[u8]>) -> Result<Option<&[u8]>, Unconvinced> {
        self.authenticator.answer(data)
    }

    fn finish(&mut self, data: Option<&[u8]>) -> Result<(), Unconvinced> {
        self.authenticator.finish(data)
    }
}
