//! No file names a folder of somebody's machine.

use super::Problem;
use crate::Outcome;
use crate::workspace::Workspace;

/// Where people and build machines keep their trees, in halves so that this file does not match.
const FOLDERS: [[&str; 2]; 4] = [
    ["/ro", "ot/"],
    ["/wo", "rk/"],
    ["/Us", "ers/"],
    ["/ho", "me/"],
];

pub(super) fn rule(workspace: &Workspace) -> Outcome<Vec<Problem>> {
    let folders = folders(&workspace.root.to_string_lossy());
    Ok(workspace
        .files
        .iter()
        .filter_map(|path| Some((path, workspace.text(path)?)))
        .flat_map(|(path, text)| check(path, &text, &folders))
        .collect())
}

/// The usual folders, and the one that this tree is in.
fn folders(root: &str) -> Vec<String> {
    let mut folders: Vec<String> = FOLDERS.iter().map(|halves| halves.concat()).collect();
    // One component alone, such as /src, is too common a word.
    if root.matches('/').count() > 1 {
        folders.push(root.to_owned());
    }
    folders
}

fn check(path: &str, text: &str, folders: &[String]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let found = folders.iter().find(|folder| {
            line.match_indices(folder.as_str())
                .any(|(at, _)| begins_a_path(&line[..at]))
        });
        if let Some(folder) = found {
            let message = format!("names a folder of one machine ({folder})");
            problems.push(Problem::at(path, index + 1, message));
        }
    }
    problems
}

/// Whether what follows `before` is an absolute path and not the middle of a topic or address.
fn begins_a_path(before: &str) -> bool {
    !before.ends_with(|c: char| c.is_alphanumeric() || "/+#.~$-_}".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absolute_folders_are_found_and_topics_are_not() {
        let folders = folders("/srv/build/midge");
        let check = |line: &str| !check("a", line, &folders).is_empty();
        assert!(check(&format!("see {}tree", FOLDERS[0].concat())));
        assert!(check(&format!("\"{}me/x\"", FOLDERS[3].concat())));
        assert!(check("cd /srv/build/midge"));
        assert!(!check(&format!(
            "publish to garden{}lamp",
            FOLDERS[3].concat()
        )));
        assert!(!check(&format!(
            "https://example.org{}x",
            FOLDERS[1].concat()
        )));
        assert!(!check(&format!("+{}lamp", FOLDERS[3].concat())));
        assert!(!check("/var/lib/mosquitto"));
    }
}
