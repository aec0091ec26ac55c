//! Who a client is, and what it may do.
//!
//! Everything here is a decision over values that the caller has read: the text of a password or access
//! file, the JSON of dynamic security, a token and the keys that verify it. There is no file, socket, clock
//! or source of randomness inside; times and salts are arguments.

pub mod acl;
pub mod address_rates;
pub mod dynsec;
pub mod lines;
pub mod lockout;
pub mod passwords;
pub mod scram;
pub mod tokens;

/// Something that a client wants to do with a topic or a topic filter, or that is to be done for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// The client publishes to a topic.
    Publish,
    /// A message of a topic is to be delivered to the client.
    Deliver,
    /// The client subscribes to a topic filter.
    Subscribe,
    /// The client unsubscribes from a topic filter.
    Unsubscribe,
}

/// A client as rules see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client<'a> {
    /// Its client id.
    pub id: &'a str,
    /// Its user name; `None` for one that came without.
    pub user_name: Option<&'a str>,
}

/// What the rules say, and which of them said it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether the client may.
    pub allowed: bool,
    /// The rule that decided, as an operator would look for it: `acl.conf:12 topic read garden/#`, `role
    /// gardener, subscribePattern garden/#`, `no rule allows it`.
    pub rule: String,
}
