//! Brokers by the SRV records of a domain (`-S`, RFC 2782).

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use simple_dns::Name;

mod answer;
mod exchange;
mod servers;

pub(crate) use servers::server;

/// Where a broker is, by a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    priority: u16,
    weight: u16,
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Why a domain leads to no broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The name cannot be looked up.
    BadName(String),
    /// None of the name servers gave an answer: each with the reason.
    NoAnswer(Vec<(SocketAddr, &'static str)>),
    /// The name does not exist.
    NoName(String),
    /// The name has no record that can be used.
    NoRecord(String),
    /// The record says that there is no broker.
    NotOffered(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadName(name) => write!(f, "'{}' is no domain", name.escape_debug()),
            Self::NoAnswer(servers) => {
                f.write_str("no name server gave an answer")?;
                for (number, (server, why)) in servers.iter().enumerate() {
                    write!(
                        f,
                        "{}{server}: {why}",
                        if number == 0 { " (" } else { ", " }
                    )?;
                }
                f.write_str(if servers.is_empty() { "" } else { ")" })
            }
            Self::NoName(name) => write!(f, "there is no name {name}"),
            Self::NoRecord(name) => write!(f, "{name} has no SRV record that can be used"),
            Self::NotOffered(name) => {
                write!(f, "the record of {name} says that there is no broker")
            }
        }
    }
}

/// How long one name server may take for an answer before the next is asked.
const EACH: Duration = Duration::from_secs(2);

/// Who is asked for records.
#[derive(Clone, Debug)]
pub(crate) struct Resolver {
    servers: Vec<SocketAddr>,
    each: Duration,
}

impl Resolver {
    /// Asks these name servers, in this order.
    pub(crate) const fn new(servers: Vec<SocketAddr>) -> Self {
        Self {
            servers,
            each: EACH,
        }
    }

    /// Asks the name servers of this machine.
    pub(crate) fn of_system() -> Self {
        Self::new(servers::of_system())
    }

    /// The brokers of `domain` in the order in which they are to be tried; never none.
    pub(crate) fn brokers(
        &self,
        domain: &str,
        with_tls: bool,
        deadline: Instant,
    ) -> Result<Vec<Target>, Fault> {
        let service = if with_tls { "_secure-mqtt" } else { "_mqtt" };
        let text = format!("{service}._tcp.{}", domain.trim_end_matches('.'));
        let name = name(domain, &text).ok_or_else(|| Fault::BadName(domain.to_owned()))?;
        match exchange::ask(&self.servers, &name, self.each, deadline)? {
            answer::Answer::NoName => Err(Fault::NoName(text)),
            answer::Answer::NotOffered => Err(Fault::NotOffered(text)),
            answer::Answer::Targets(targets) if targets.is_empty() => Err(Fault::NoRecord(text)),
            answer::Answer::Targets(targets) => Ok(in_order(targets, random_up_to)),
        }
    }
}

/// The name of a service of `domain`, if that is one.
fn name<'a>(domain: &str, text: &'a str) -> Option<Name<'a>> {
    let bare = domain.trim_end_matches('.');
    // A backslash would begin an escape, and two dots in a row would be one.
    let is_plain = |label: &str| {
        !label.is_empty() && !label.contains('\\') && !label.contains(char::is_control)
    };
    if !bare.split('.').all(is_plain) {
        return None;
    }
    Name::new(text).ok()
}

/// Puts targets in the order of RFC 2782: the lowest priority first, and among equals by chance, the more
/// often the greater their weight. `random` gives a number from 0 up to its argument.
fn in_order(mut targets: Vec<Target>, mut random: impl FnMut(u32) -> u32) -> Vec<Target> {
    // Those without weight come first, so that they have a chance beside the others.
    targets.sort_by_key(|target| (target.priority, target.weight));
    let mut ordered = Vec::with_capacity(targets.len());
    while let Some(first) = targets.first() {
        let priority = first.priority;
        let equals = || {
            targets
                .iter()
                .take_while(|target| target.priority == priority)
        };
        let pick = random(equals().map(|target| u32::from(target.weight)).sum());
        let mut sum = 0;
        let chosen = equals().position(|target| {
            sum += u32::from(target.weight);
            sum >= pick
        });
        ordered.push(targets.remove(chosen.unwrap_or_default()));
    }
    ordered
}

/// A random number from 0 up to `max`; without random numbers, 0.
fn random_up_to(max: u32) -> u32 {
    let number = getrandom::u64().unwrap_or_default() % (u64::from(max) + 1);
    u32::try_from(number).unwrap_or_default()
}

#[cfg(test)]
mod tests;
