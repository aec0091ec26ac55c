//! What the command line asks for.

use crate::instructions::Counted;

/// How to call this program.
pub(crate) const USAGE: &str = "\
Usage: midge-scale <scenario> [options]

  clients    Clients that are connected and idle: memory, time to connect, an idle minute, a publish.
  routing    A publish among few and among many filters; subscribing and unsubscribing.
  retained   Retained messages: memory, and a subscription to all of them while others publish.
  cores      The same traffic on more and more shards: what grows with them.
  all        One after the other.
  store      Writes a store on the disk, for a broker to start from: sessions that are away.

  --count <n>      How many clients, filters, retained messages or sessions.
  --shards <n>     Shards of `clients` and `store` (2).
  --directory <d>  The broker's `persistence_location` that `store` fills.
  --messages <n>   QoS 1 messages that wait for the sessions of `store`, in all (0).
  --payload <n>    Bytes of each (128).
  --user-name <n>  Bytes of the user name of each session of `store` (0: none).
  --instructions   Count instructions as well, with valgrind.
  --quick          Small numbers, to see that it works.
  --json           A line of JSON for each scenario.";

/// A measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scenario {
    Clients,
    Routing,
    Retained,
    Cores,
    /// Not a measurement: it makes what others measure with.
    Store,
}

const ALL: [(&str, Scenario); 4] = [
    ("clients", Scenario::Clients),
    ("routing", Scenario::Routing),
    ("retained", Scenario::Retained),
    ("cores", Scenario::Cores),
];

/// What is to be measured, and how.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) scenarios: Vec<Scenario>,
    pub(crate) count: Option<usize>,
    pub(crate) shards: u16,
    pub(crate) instructions: bool,
    pub(crate) quick: bool,
    pub(crate) json: bool,
    /// What `store` writes, and where.
    pub(crate) directory: Option<String>,
    pub(crate) messages: usize,
    pub(crate) payload: usize,
    pub(crate) user_name: usize,
}

/// What the command line means.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Help,
    Run(Plan),
    /// Under valgrind: do the work and print how many messages it was.
    Count(Counted),
}

impl Plan {
    /// How many of what the scenario is about.
    pub(crate) fn count(&self, full: usize, quick: usize) -> usize {
        let usual = if self.quick { quick } else { full };
        self.count.unwrap_or(usual).max(1)
    }

    /// How often something is measured of which the best counts.
    pub(crate) fn rounds(&self) -> usize {
        if self.quick { 2 } else { 7 }
    }
}

/// Reads the command line after the program's name.
pub(crate) fn parse(arguments: &[String]) -> Result<Request, String> {
    let mut arguments = arguments.iter().map(String::as_str);
    let scenarios = match arguments.next() {
        None => return Err("which scenario?".to_owned()),
        Some("help" | "--help" | "-h") => return Ok(Request::Help),
        Some("count") => {
            let words: Vec<&str> = arguments.collect();
            let counted = Counted::parse(&words);
            return counted
                .map(Request::Count)
                .ok_or_else(|| format!("count {words:?}?"));
        }
        Some("all") => ALL.iter().map(|(_, scenario)| *scenario).collect(),
        Some("store") => vec![Scenario::Store],
        Some(name) => match ALL.iter().find(|(known, _)| *known == name) {
            Some((_, scenario)) => vec![*scenario],
            None => return Err(format!("there is no scenario {name}")),
        },
    };
    let mut plan = Plan {
        scenarios,
        count: None,
        shards: 2,
        instructions: false,
        quick: false,
        json: false,
        directory: None,
        messages: 0,
        payload: 128,
        user_name: 0,
    };
    while let Some(argument) = arguments.next() {
        match argument {
            "--quick" => plan.quick = true,
            "--json" => plan.json = true,
            "--instructions" => plan.instructions = true,
            "--count" => plan.count = Some(number(argument, arguments.next())?),
            "--directory" => {
                let directory = arguments.next().ok_or("--directory takes a path")?;
                plan.directory = Some(directory.to_owned());
            }
            "--messages" => plan.messages = number(argument, arguments.next())?,
            "--payload" => plan.payload = number(argument, arguments.next())?,
            "--user-name" => plan.user_name = number(argument, arguments.next())?,
            "--shards" => plan.shards = number::<u16>(argument, arguments.next())?.max(1),
            other => return Err(format!("there is no option {other}")),
        }
    }
    Ok(Request::Run(plan))
}

fn number<N: std::str::FromStr>(option: &str, text: Option<&str>) -> Result<N, String> {
    let number = text.and_then(|text| text.parse().ok());
    number.ok_or_else(|| format!("{option} takes a number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Request, String> {
        let words: Vec<String> = line.split_whitespace().map(Into::into).collect();
        parse(&words)
    }

    #[test]
    fn options_follow_the_scenario() {
        let plan = Plan {
            scenarios: vec![Scenario::Routing],
            count: Some(70),
            shards: 3,
            instructions: false,
            quick: true,
            json: false,
            directory: None,
            messages: 0,
            payload: 128,
            user_name: 0,
        };
        let line = "routing --count 70 --quick --shards 3";
        assert_eq!(parsed(line), Ok(Request::Run(plan)));
        let Ok(Request::Run(all)) = parsed("all --json") else {
            panic!("no plan");
        };
        assert_eq!((all.scenarios.len(), all.json), (ALL.len(), true));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for line in ["", "all --loud", "nothing", "cores --count", "count what"] {
            assert!(parsed(line).is_err(), "{line}");
        }
    }
}
