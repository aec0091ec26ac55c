//! ARCHITECTURE.md names every crate, and no guide for contributors names a file that is not there.

use super::Problem;
use crate::Outcome;
use crate::workspace::Workspace;

/// The map of the project.
const MAP: &str = "ARCHITECTURE.md";

/// Guides whose paths are checked.
const GUIDES: [&str; 2] = [MAP, "CONTRIBUTING.md"];

/// A quoted word that ends like this is the name of a file of ours.
const FILE_ENDS: [&str; 6] = [".rs", ".md", ".toml", ".py", ".mjs", ".sh"];

/// A quoted word that begins like this is a path from the root.
const FOLDERS: [&str; 11] = [
    "crates/", "xtask/", "spec/", "tests/", "docs/", "fuzz/", "benches/", "dist/", "changes/",
    ".ci/", ".cargo/",
];

pub(super) fn rule(workspace: &Workspace) -> Outcome<Vec<Problem>> {
    let mut problems = Vec::new();
    for guide in GUIDES {
        match workspace.text(guide) {
            Some(text) => {
                problems.extend(check_paths(guide, &text, |path| exists(workspace, path)));
            }
            None => problems.push(Problem::in_file(guide, "is missing")),
        }
    }
    let map = workspace.text(MAP).unwrap_or_default();
    let folders = workspace.crates.iter().map(|member| member.folder.as_str());
    problems.extend(unnamed_crates(&map, folders));
    Ok(problems)
}

fn unnamed_crates<'a>(map: &str, folders: impl Iterator<Item = &'a str>) -> Vec<Problem> {
    folders
        .filter(|folder| {
            let path = if *folder == "xtask" {
                "xtask".to_owned()
            } else {
                format!("crates/{folder}")
            };
            !quoted_words(map).any(|(_, word)| word.trim_end_matches('/') == path)
        })
        .map(|folder| Problem::in_file(MAP, format!("does not name the crate {folder}")))
        .collect()
}

fn check_paths(guide: &str, text: &str, exists: impl Fn(&str) -> bool) -> Vec<Problem> {
    quoted_words(text)
        .filter(|(_, word)| is_path(word) && !exists(word))
        .map(|(line, word)| Problem::at(guide, line, format!("`{word}` does not exist")))
        .collect()
}

/// What stands in single backticks, with its line; fenced blocks are left out.
fn quoted_words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    text.lines()
        .enumerate()
        .filter(move |(_, line)| {
            let is_fence = line.trim_start().starts_with("```");
            fenced ^= is_fence;
            !fenced && !is_fence
        })
        .flat_map(|(index, line)| {
            line.split('`')
                .skip(1)
                .step_by(2)
                .map(move |word| (index + 1, word))
        })
}

/// Whether `word` means a file or folder of this tree; patterns with `*` and `<name>` do not.
fn is_path(word: &str) -> bool {
    let plain = word
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "._-/".contains(c));
    let is_file = FILE_ENDS
        .iter()
        .any(|end| word.len() > end.len() && word.ends_with(end));
    plain && !word.starts_with('/') && (is_file || FOLDERS.iter().any(|f| word.starts_with(f)))
}

/// A path from the root, or the last parts of one.
fn exists(workspace: &Workspace, path: &str) -> bool {
    let tail = format!("/{path}");
    workspace.exists(path) || workspace.files.iter().any(|file| file.ends_with(&tail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_crate_is_named_by_its_folder() {
        let map = "| `crates/codec` | `crates/proto/` |\n`midge-broker`, `xtask`";
        let problems = unnamed_crates(map, ["codec", "proto", "broker", "xtask"].into_iter());
        assert_eq!(problems.len(), 1);
        assert!(problems[0].message.contains("broker"));
    }

    #[test]
    fn a_quoted_path_must_exist() {
        let text = "See `crates/codec/src/lib.rs`, `gone.rs`,\n`crates/gone`, `a::b`, `crates/*/x`, \
            `docs/<name>.md`, `/etc/x.toml`\n```\ncd `crates/gone2`\n```\n`spec/gone.toml`";
        let problems = check_paths(MAP, text, |path| path == "crates/codec/src/lib.rs");
        let found: Vec<_> = problems
            .iter()
            .map(|problem| problem.message.as_str())
            .collect();
        let expected = [
            "`gone.rs` does not exist",
            "`crates/gone` does not exist",
            "`spec/gone.toml` does not exist",
        ];
        assert_eq!(found, expected);
        assert_eq!(problems[2].line, Some(6));
    }
}
