//! The manual of the options is what the option table prints.

use super::Problem;
use crate::Outcome;
use crate::process;
use crate::workspace::Workspace;

/// Prints the manual.
const EXAMPLE: &str = "crates/server/examples/configuration_reference.rs";

/// The committed manual.
const MANUAL: &str = "docs/configuration.md";

pub(super) fn rule(workspace: &Workspace) -> Outcome<Vec<Problem>> {
    if !workspace.exists(EXAMPLE) {
        return Ok(Vec::new());
    }
    let output = process::cargo(&workspace.root)
        .args([
            "run",
            "--quiet",
            "-p",
            "midge-server",
            "--example",
            "configuration_reference",
        ])
        .output()
        .map_err(|error| format!("cargo: {error}"))?;
    if !output.status.success() {
        let reason = String::from_utf8_lossy(&output.stderr).into_owned();
        return Ok(vec![Problem::in_file(
            EXAMPLE,
            format!("does not run:\n{reason}"),
        )]);
    }
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let manual = workspace.text(MANUAL).unwrap_or_default();
    Ok(first_difference(&manual, &printed)
        .map(|line| {
            let message = "differs from the option table; write it anew with \
                `cargo run -p midge-server --example configuration_reference`";
            Problem::at(MANUAL, line, message)
        })
        .into_iter()
        .collect())
}

/// The first line, from 1, in which the two differ.
fn first_difference(left: &str, right: &str) -> Option<usize> {
    if left == right {
        return None;
    }
    let same = left
        .lines()
        .zip(right.lines())
        .take_while(|(a, b)| a == b)
        .count();
    Some(same + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_difference_is_named() {
        assert_eq!(first_difference("a\nb\n", "a\nb\n"), None);
        assert_eq!(first_difference("a\nb\n", "a\nc\n"), Some(2));
        assert_eq!(first_difference("a\n", "a\nc\n"), Some(2));
        assert_eq!(first_difference("", "a\n"), Some(1));
    }
}
