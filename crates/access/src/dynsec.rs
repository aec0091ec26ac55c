//! Dynamic security: clients, groups and roles that are changed while the broker runs.
//!
//! Compatible with Mosquitto's plugin `dynamic-security`: the JSON file that it keeps, the order in which
//! rules are looked at, and the requests and answers of `$CONTROL/dynamic-security/v1`.
//!
//! - [`State`] is what the file says. [`State::parse`] reads it, [`State::to_json`] writes it,
//!   [`State::first_start`] makes the content of a file that does not exist yet.
//! - [`State::login`] finds what a user name, a client id and a password have to be checked against. The
//!   check itself is slow by design and is a value of its own, [`Check`], for another thread.
//! - [`State::rules`] gives the [`Rules`] of one client, which answer without a lock or an allocation.
//! - [`State::control`] carries out a request and says what has to happen next.

mod control;
mod file;
mod first_start;
mod json;
mod login;
mod password;
mod rules;
mod state;
mod topics;
mod write;

pub use control::{
    BROKER_TOPIC, BanBook, BrokerFacts, CONTROL_TOPIC, Connections, Effects, ITERATIONS_DEFAULT,
    Listener, Needs, Outcome, Plugin, Surroundings, Who, broker_control, needs,
};
pub use file::{FILE_BYTES_MAX, LoadError, Loaded, Warning, set_password_in_file};
pub use first_start::{FirstPassword, FirstStart, FirstStartError, init_file, password_from_bytes};
pub use login::{Check, LoginVerdict, Refusal};
pub use rules::{Rules, Verdict};
pub use state::{AclKind, State};
