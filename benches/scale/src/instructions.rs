//! Instructions for each message, counted by valgrind: they do not depend on how busy the machine is.

use std::process::{Command, Stdio};

use crate::cores::Shape;
use crate::{Error, clients, cores, routing};

/// Work whose instructions can be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counted {
    /// Publishing to some of so many clients.
    Clients(usize),
    /// Publishing among so many filters.
    Routing(usize),
    /// Traffic on so many shards.
    Cores(Shape, u16),
}

impl Counted {
    /// Reads what [`Self::words`] wrote.
    pub(crate) fn parse(words: &[&str]) -> Option<Self> {
        match words {
            ["clients", count] => count.parse().ok().map(Self::Clients),
            ["routing", count] => count.parse().ok().map(Self::Routing),
            ["cores", shape, shards] => {
                let shape = Shape::ALL.iter().find(|known| known.name() == *shape)?;
                Some(Self::Cores(*shape, shards.parse().ok()?))
            }
            _ => None,
        }
    }

    fn words(self) -> Vec<String> {
        match self {
            Self::Clients(count) => vec!["clients".to_owned(), count.to_string()],
            Self::Routing(count) => vec!["routing".to_owned(), count.to_string()],
            Self::Cores(shape, shards) => {
                vec![
                    "cores".to_owned(),
                    shape.name().to_owned(),
                    shards.to_string(),
                ]
            }
        }
    }

    /// Does the work; how many messages were delivered by what is counted.
    pub(crate) fn run(self) -> Result<u64, Error> {
        match self {
            Self::Clients(count) => clients::count(count),
            Self::Routing(count) => routing::count(count),
            Self::Cores(shape, shards) => cores::count(shape, shards),
        }
    }

    /// Instructions for each message.
    pub(crate) fn instructions(self) -> Result<f64, Error> {
        let output = Command::new("valgrind")
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
            .arg("--toggle-collect=*counted_by_valgrind*")
            .arg(std::env::current_exe()?)
            .arg("count")
            .args(self.words())
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("valgrind: {error}"))?;
        let errors = String::from_utf8_lossy(&output.stderr);
        let text = String::from_utf8_lossy(&output.stdout);
        per_message(&text, &errors)
            .ok_or_else(|| format!("valgrind has not said what it counted: {errors}").into())
    }
}

/// Reads what the program printed, and what callgrind said of it.
fn per_message(output: &str, errors: &str) -> Option<f64> {
    let (_, collected) = errors.split_once("Collected :")?;
    let instructions: f64 = collected.split_whitespace().next()?.parse().ok()?;
    let messages: f64 = output.trim().parse().ok()?;
    (messages > 0.0).then_some(instructions / messages)
}

/// Does what is counted, and nothing else is: valgrind knows it by this function's name.
#[inline(never)]
pub(crate) fn counted_by_valgrind<R>(work: impl FnOnce() -> R) -> R {
    work()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callgrinds_words_are_read() {
        let errors = "==7== Events    : Ir\n==7== Collected : 1000\n==7==\n";
        assert_eq!(per_message("20\n", errors), Some(50.0));
        assert_eq!(per_message("0\n", errors), None);
        assert_eq!(per_message("20\n", "==7== "), None);
    }

    #[test]
    fn work_is_found_by_its_words() {
        let shapes = Shape::ALL.iter().map(|shape| Counted::Cores(*shape, 16));
        for counted in shapes.chain([Counted::Clients(7), Counted::Routing(8)]) {
            let words = counted.words();
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            assert_eq!(Counted::parse(&words), Some(counted));
        }
    }
}
