//! `cargo xtask tidy`: the rules of the project that neither the compiler nor clippy knows.

use std::fmt;

use crate::Outcome;
use crate::source::{Function, Source};
use crate::workspace::Workspace;

mod architecture;
mod citations;
mod comments;
mod imports;
mod manifests;
mod paths;
mod reference;

/// Beyond this many lines a file may hold two ideas; it is listed, not refused.
const LONG_FILE_LINES: usize = 800;

/// How many of the longest functions are listed.
const LONGEST_FUNCTIONS: usize = 20;

/// What `cargo xtask tidy` was asked for.
#[derive(Default)]
pub(crate) struct Options {
    longest: bool,
}

impl Options {
    /// Reads the command line after `tidy`.
    pub(crate) fn parse(arguments: &[&str]) -> Outcome<Self> {
        match arguments {
            [] => Ok(Self::default()),
            ["--longest"] => Ok(Self { longest: true }),
            other => Err(format!("tidy has no options {other:?}")),
        }
    }
}

/// One place where a rule is broken.
#[derive(Debug, PartialEq, Eq)]
struct Problem {
    path: String,
    line: Option<usize>,
    message: String,
}

impl Problem {
    fn in_file(path: &str, message: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            line: None,
            message: message.into(),
        }
    }

    fn at(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            line: Some(line),
            message: message.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.path, self.message),
            None => write!(f, "{}: {}", self.path, self.message),
        }
    }
}

/// A rule looks at the whole tree and lists where it is broken.
type Rule = fn(&Workspace) -> Outcome<Vec<Problem>>;

/// All rules, by the name under which their problems are printed.
const RULES: [(&str, Rule); 7] = [
    ("imports", imports::rule),
    ("manifests", manifests::rule),
    ("citations", citations::rule),
    ("comments", comments::rule),
    ("paths", paths::rule),
    ("architecture", architecture::rule),
    ("reference", reference::rule),
];

/// Prints every problem; `false` if there is one.
pub(crate) fn command(workspace: &Workspace, options: &Options) -> Outcome<bool> {
    let mut count = 0;
    for (name, rule) in RULES {
        for problem in rule(workspace)? {
            println!("tidy {name}: {problem}");
            count += 1;
        }
    }
    list_long_files(workspace);
    if options.longest {
        list_longest_functions(workspace);
    }
    if count == 0 {
        println!(
            "tidy: {} files, {} rules, no problem",
            workspace.files.len(),
            RULES.len()
        );
    }
    Ok(count == 0)
}

fn list_long_files(workspace: &Workspace) {
    for (path, text) in workspace.rust_files() {
        let lines = text.lines().count();
        if lines > LONG_FILE_LINES {
            println!("tidy note: {path} has {lines} lines: are there two ideas in it?");
        }
    }
}

fn list_longest_functions(workspace: &Workspace) {
    let mut all: Vec<String> = Vec::new();
    let mut sizes: Vec<(usize, usize)> = Vec::new();
    for (path, text) in workspace.rust_files() {
        for Function { name, line, lines } in Source::split(&text).functions() {
            sizes.push((lines, all.len()));
            all.push(format!("{path}:{line} {name}"));
        }
    }
    sizes.sort_by_key(|&(lines, index)| (std::cmp::Reverse(lines), index));
    for (lines, index) in sizes.into_iter().take(LONGEST_FUNCTIONS) {
        if let Some(place) = all.get(index) {
            println!("{lines:>5} lines  {place}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_says_where_it_is() {
        assert_eq!(Problem::at("a/b.rs", 7, "bad").to_string(), "a/b.rs:7: bad");
        assert_eq!(Problem::in_file("a/b.rs", "bad").to_string(), "a/b.rs: bad");
    }
}
