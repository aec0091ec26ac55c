//! `cargo xtask spec`: which statements of the standards are proven by a test.
//!
//! A test proves a statement by citing its id, in its documentation, its body or its name
//! (`mqtt5_3_1_2_8_…`). What cannot be shown has its reason in `spec/*.toml`.

use std::collections::BTreeSet;
use std::fs;

use toml::Table;

use crate::Outcome;
use crate::source::Source;
use crate::statements::{self, Id, Standard, Statements};
use crate::workspace::Workspace;

const FLOOR: &str = "spec/floor.toml";

/// What `cargo xtask spec` was asked for.
#[derive(Default)]
pub(crate) struct Options {
    missing: bool,
    check: bool,
    raise: bool,
}

impl Options {
    /// Reads the command line after `spec`.
    pub(crate) fn parse(arguments: &[&str]) -> Outcome<Self> {
        let mut options = Self::default();
        for argument in arguments {
            match *argument {
                "--missing" => options.missing = true,
                "--check" => options.check = true,
                "--raise" => options.raise = true,
                other => return Err(format!("spec has no option {other:?}")),
            }
        }
        Ok(options)
    }
}

/// Prints the tally; `false` when `--check` finds a gap.
pub(crate) fn command(workspace: &Workspace, options: &Options) -> Outcome<bool> {
    let statements = statements::read(workspace)?;
    let cited = cited_by_tests(workspace);
    let tallies = Standard::ALL.map(|standard| Tally::count(standard, &statements, &cited));
    print_table(&tallies);

    for tally in &tallies {
        for id in &tally.needless {
            println!(
                "{id} has a reason for not being tested, but a test cites it: remove the reason"
            );
        }
        if options.missing || options.check {
            print_missing(tally, &statements);
        }
    }
    if options.raise {
        raise_floor(workspace, &tallies)?;
    }
    if options.check {
        return check(workspace, &tallies);
    }
    Ok(true)
}

/// How one standard stands.
struct Tally {
    standard: Standard,
    total: usize,
    /// What a server must obey.
    binding: usize,
    /// Of these, cited by a test.
    proven: usize,
    /// Of these, not cited, with a reason.
    excepted: usize,
    /// Of these, neither.
    missing: Vec<Id>,
    /// Cited by a test although there is a reason why it could not be.
    needless: Vec<Id>,
}

impl Tally {
    fn count(standard: Standard, statements: &Statements, cited: &BTreeSet<Id>) -> Self {
        let mut tally = Self {
            standard,
            total: 0,
            binding: 0,
            proven: 0,
            excepted: 0,
            missing: Vec::new(),
            needless: Vec::new(),
        };
        for (id, statement) in statements.iter().filter(|(id, _)| id.standard == standard) {
            let is_cited = cited.contains(id);
            let is_excepted = statement.not_tested.is_some();
            tally.total += 1;
            if is_cited && is_excepted {
                tally.needless.push(id.clone());
            }
            if !statement.binds_server() {
                continue;
            }
            tally.binding += 1;
            match (is_cited, is_excepted) {
                (true, _) => tally.proven += 1,
                (false, true) => tally.excepted += 1,
                (false, false) => tally.missing.push(id.clone()),
            }
        }
        tally
    }
}

/// The clients. What their tests show is no evidence for a server, even of a statement that binds both.
const CLIENTS: [&str; 2] = ["crates/client/", "crates/embedded/"];

/// Collects every id that a test of a crate cites, other than a client's.
fn cited_by_tests(workspace: &Workspace) -> BTreeSet<Id> {
    workspace
        .rust_files()
        .filter(|(path, _)| may_prove(path))
        .flat_map(|(path, text)| ids_of_tests(path, &text))
        .collect()
}

fn may_prove(path: &str) -> bool {
    path.starts_with("crates/") && !CLIENTS.iter().any(|client| path.starts_with(client))
}

/// The ids in those parts of a file that are tests.
fn ids_of_tests(path: &str, text: &str) -> Vec<Id> {
    let source = Source::split(text);
    let regions = if is_test_file(path) {
        std::iter::once(0..text.len()).collect()
    } else {
        source.test_regions()
    };
    let mut ids: Vec<Id> = Vec::new();
    for region in regions {
        let part = &text[region];
        ids.extend(statements::ids_in(part).into_iter().map(|(_, id)| id));
        let functions = Source::split(part).functions();
        ids.extend(
            functions
                .iter()
                .filter_map(|function| Id::from_test_name(function.name)),
        );
    }
    ids
}

/// Whether the whole file is compiled for tests alone.
fn is_test_file(path: &str) -> bool {
    let mut parts = path.rsplit('/');
    parts.next() == Some("tests.rs") || parts.any(|folder| folder == "tests")
}

fn print_table(tallies: &[Tally]) {
    println!("standard  statements  for servers  proven  excepted  missing");
    for tally in tallies {
        println!(
            "{:<8}  {:>10}  {:>11}  {:>6}  {:>8}  {:>7}",
            tally.standard.version(),
            tally.total,
            tally.binding,
            tally.proven,
            tally.excepted,
            tally.missing.len()
        );
    }
}

fn print_missing(tally: &Tally, statements: &Statements) {
    for id in &tally.missing {
        let gist = statements
            .get(id)
            .map_or("", |statement| statement.gist.as_str());
        println!("missing: {id}  {gist}");
    }
}

/// Whether nothing is missing and nothing has been lost.
fn check(workspace: &Workspace, tallies: &[Tally]) -> Outcome<bool> {
    let text = workspace
        .text(FLOOR)
        .ok_or_else(|| format!("{FLOOR}: cannot be read"))?;
    let mut all_well = true;
    for tally in tallies {
        let floor = floor_of(&text, tally.standard)?;
        let version = tally.standard.version();
        if tally.proven < floor {
            println!(
                "MQTT {version}: {} proven, but {FLOOR} says {floor}",
                tally.proven
            );
            all_well = false;
        }
        if !tally.missing.is_empty() {
            println!(
                "MQTT {version}: {} statements without a test",
                tally.missing.len()
            );
            all_well = false;
        }
    }
    Ok(all_well)
}

fn floor_of(text: &str, standard: Standard) -> Outcome<usize> {
    let table: Table = text.parse().map_err(|error| format!("{FLOOR}: {error}"))?;
    table
        .get(standard.stem())
        .and_then(toml::Value::as_integer)
        .and_then(|number| usize::try_from(number).ok())
        .ok_or_else(|| format!("{FLOOR}: no number for {}", standard.stem()))
}

fn raise_floor(workspace: &Workspace, tallies: &[Tally]) -> Outcome<()> {
    let mut text = workspace
        .text(FLOOR)
        .ok_or_else(|| format!("{FLOOR}: cannot be read"))?;
    for tally in tallies {
        let floor = floor_of(&text, tally.standard)?;
        text = with_floor(&text, tally.standard, floor.max(tally.proven));
    }
    fs::write(workspace.root.join(FLOOR), text).map_err(|error| format!("{FLOOR}: {error}"))
}

/// `text` with the number of `standard` replaced and everything else as it was.
fn with_floor(text: &str, standard: Standard, number: usize) -> String {
    text.lines()
        .map(|line| match line.split_once('=') {
            Some((key, _)) if key.trim() == standard.stem() => format!("{key}= {number}\n"),
            _ => format!("{line}\n"),
        })
        .collect()
}

#[cfg(test)]
mod tests;
