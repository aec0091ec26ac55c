//! What a client does beside the common. It is part of the client's type, so that a program has no code for
//! what it does not use.

use crate::aliases::Aliases;
use crate::authentication::{Authentication, Exchange};
use crate::{Authenticator, TopicAliases};

/// What [`Client::connect_with`](crate::Client::connect_with) is given: nothing at first, and what the
/// methods add. Made anew for each connection.
///
/// ```
/// use midge_embedded::{TopicAliases, With};
///
/// let mut memory = [0; 100];
/// let aliases = TopicAliases::new().outgoing(&["sensor-17/temperature"]).incoming(2, &mut memory);
/// let with = With::new().topic_aliases(aliases).session_saved();
/// ```
#[derive(Debug)]
pub struct With<A = (), U = (), const SAVED: bool = false> {
    aliases: A,
    exchange: U,
}

impl With {
    /// Nothing beside the common.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            aliases: (),
            exchange: (),
        }
    }
}

impl Default for With {
    fn default() -> Self {
        Self::new()
    }
}

impl<A, U, const SAVED: bool> With<A, U, SAVED> {
    /// The application writes the session to memory that keeps it without power, and wants to be told when
    /// that has to be done: see [loss of power](crate#loss-of-power).
    #[must_use]
    pub fn session_saved(self) -> With<A, U, true> {
        With {
            aliases: self.aliases,
            exchange: self.exchange,
        }
    }

    /// Numbers in the place of topics (5.0).
    #[must_use]
    pub fn topic_aliases(self, aliases: TopicAliases<'_>) -> With<TopicAliases<'_>, U, SAVED> {
        With {
            aliases,
            exchange: self.exchange,
        }
    }

    /// Authenticates by a method of its own (5.0), beside user name and password or in their place.
    #[must_use]
    pub fn authenticator<N: Authenticator>(
        self,
        authenticator: N,
    ) -> With<A, Authentication<N>, SAVED> {
        With {
            aliases: self.aliases,
            exchange: Authentication::new(authenticator),
        }
    }
}

/// Implemented by every [`With`].
pub trait Extras: Parts {}

impl<X: Parts> Extras for X {}

/// What the connection asks of them.
pub trait Parts {
    /// Says when the session has to be written.
    const SAVED: bool;
    type Aliases: Aliases;
    type Exchange: Exchange;

    fn aliases(&self) -> &Self::Aliases;
    fn aliases_mut(&mut self) -> &mut Self::Aliases;
    fn exchange_mut(&mut self) -> &mut Self::Exchange;
}

impl<A: Aliases, U: Exchange, const SAVED: bool> Parts for With<A, U, SAVED> {
    const SAVED: bool = SAVED;
    type Aliases = A;
    type Exchange = U;

    fn aliases(&self) -> &A {
        &self.aliases
    }

    fn aliases_mut(&mut self) -> &mut A {
        &mut self.aliases
    }

    fn exchange_mut(&mut self) -> &mut U {
        &mut self.exchange
    }
}
