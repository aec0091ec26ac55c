//! No notes to self, no code that was commented out, no test that is ignored without a reason.

use super::Problem;
use crate::Outcome;
use crate::source::{Kind, Source, is_word, line_of};
use crate::workspace::Workspace;

/// Words that mark unfinished work, in halves so that this file does not hold them.
const MARKS: [[&str; 2]; 3] = [["TO", "DO"], ["FIX", "ME"], ["XX", "X"]];

/// Files other than Rust whose lines are searched for the marks.
const SCRIPTS: [&str; 7] = [".py", ".js", ".mjs", ".sh", ".toml", ".yml", ".ci/run"];

/// How a statement of Rust begins that a sentence of English does not.
const CODE_STARTS: [&str; 13] = [
    "let ", "pub ", "fn ", "use ", "return ", "impl ", "mod ", "struct ", "enum ", "match ",
    "if let ", "assert", "#[",
];

pub(super) fn rule(workspace: &Workspace) -> Outcome<Vec<Problem>> {
    let mut problems: Vec<Problem> = workspace
        .rust_files()
        .flat_map(|(path, text)| check_rust(path, &text))
        .collect();
    for path in &workspace.files {
        if SCRIPTS.iter().any(|end| path.ends_with(end))
            && let Some(text) = workspace.text(path)
        {
            problems.extend(marks_in(&text).map(|(at, mark)| mark_problem(path, &text, at, &mark)));
        }
    }
    Ok(problems)
}

fn check_rust(path: &str, text: &str) -> Vec<Problem> {
    let source = Source::split(text);
    let mut problems = Vec::new();
    for (at, comment) in source.comments() {
        for (inside, mark) in marks_in(comment) {
            problems.push(mark_problem(path, text, at + inside, &mark));
        }
        if is_commented_out(comment) {
            let message = "this comment looks like code: delete it, git remembers";
            problems.push(Problem::at(path, line_of(text, at), message));
        }
    }
    for (at, _) in source.only(Kind::Code).match_indices("#[ignore]") {
        let message = "an ignored test needs its reason: #[ignore = \"…\"]";
        problems.push(Problem::at(path, line_of(text, at), message));
    }
    problems
}

fn mark_problem(path: &str, text: &str, at: usize, mark: &str) -> Problem {
    let message = format!("{mark}: finish it, or open an issue and say here what holds");
    Problem::at(path, line_of(text, at), message)
}

/// Marks as whole words, with their offsets.
fn marks_in(text: &str) -> impl Iterator<Item = (usize, String)> {
    MARKS
        .iter()
        .map(|halves| halves.concat())
        .flat_map(move |mark| {
            let places: Vec<usize> = text
                .match_indices(&mark)
                .filter(|(at, _)| !text[..*at].ends_with(is_word))
                .filter(|(at, _)| !text[at + mark.len()..].starts_with(is_word))
                .map(|(at, _)| at)
                .collect();
            places.into_iter().map(move |at| (at, mark.clone()))
        })
}

/// Guesses; documentation comments hold examples and are left alone.
fn is_commented_out(comment: &str) -> bool {
    let Some(line) = comment
        .strip_prefix("//")
        .filter(|rest| !rest.starts_with(['/', '!']))
    else {
        return false;
    };
    let line = line.trim();
    let ends_like_code = line.ends_with([';', '{', '}', ']']);
    let starts_like_code = CODE_STARTS.iter().any(|start| line.starts_with(start));
    matches!(line, "{" | "}" | "};" | "})" | "});")
        || (ends_like_code && starts_like_code)
        || [");", "?;", "};"].iter().any(|end| line.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(usize, &str)]) {
        let problems = check_rust("a.rs", text);
        assert_eq!(problems.len(), expected.len(), "{problems:?}");
        for (problem, (line, words)) in problems.iter().zip(expected) {
            assert_eq!(problem.line, Some(*line));
            assert!(problem.message.contains(words), "{problem}");
        }
    }

    #[test]
    fn marks_are_found_in_comments_as_whole_words() {
        let mark = MARKS[0].concat();
        check(&format!("\n// {mark}: later\n"), &[(2, &mark)]);
        check(&format!("/// {mark}(me)\n"), &[(1, &mark)]);
        check(&format!("// {mark}S\nlet x = \"{mark}\";\n"), &[]);
    }

    #[test]
    fn commented_out_code_is_guessed() {
        check("// let x = 1;\n", &[(1, "looks like code")]);
        check("// }\n", &[(1, "looks like code")]);
        check("// self.queue.push(message);\n", &[(1, "looks like code")]);
        check("// pub fn take(&mut self) {\n", &[(1, "looks like code")]);
        check("// Use the oldest one; it is the safest.\n", &[]);
        check("// the first waits;\n", &[]);
        check(
            "// A sender may stop after any field (section 3.4.2.1).\n",
            &[],
        );
        check("/// let x = 1;\n", &[]);
        check("//! }\n", &[]);
    }

    #[test]
    fn an_ignored_test_needs_a_reason() {
        check("#[ignore]\nfn a() {}", &[(1, "reason")]);
        check("#[ignore = \"needs a minute\"]\nfn a() {}", &[]);
        check("let x = \"#[ignore]\";", &[]);
    }
}
