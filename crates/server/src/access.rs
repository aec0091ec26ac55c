//! Who may come in, and what they may do: the files and methods of the configuration at work.
//!
//! A worker hands each login to the [`Guard`]. What is known at once it answers at once; passwords are
//! checked by threads of their own, since that is slow by design, and the answer comes by mail. What a
//! client may do is compiled at its login and asked without leaving the worker.

mod attempt;
mod check;
mod dynsec;
mod facts;
mod failures;
pub(crate) mod files;
mod gate;
mod guard;
mod handshakes;
mod http;
mod kept_secret;
mod logins;
mod rights;
mod scram;
#[cfg(test)]
mod tests;
mod tokens;

pub(crate) use facts::broker_facts;
pub(crate) use guard::Guard;
pub(crate) use kept_secret::kept_secret;
