//! What every crate's manifest must say.

use toml::{Table, Value};

use super::Problem;
use super::imports::manifest_path;
use crate::Outcome;
use crate::workspace::Workspace;

pub(super) fn rule(workspace: &Workspace) -> Outcome<Vec<Problem>> {
    Ok(workspace
        .crates
        .iter()
        .flat_map(|member| {
            let path = manifest_path(&member.folder);
            check(&member.manifest)
                .into_iter()
                .map(move |message| Problem::in_file(&path, message))
        })
        .collect())
}

fn check(manifest: &Table) -> Vec<&'static str> {
    let mut problems = Vec::new();
    let is_true = |value: Option<&Value>| value.and_then(Value::as_bool) == Some(true);
    if !is_true(
        manifest
            .get("lints")
            .and_then(|lints| lints.get("workspace")),
    ) {
        problems.push("the crate must take the lints of the workspace");
    }
    let package = manifest.get("package");
    let field = |name: &str| package.and_then(|package| package.get(name));
    for (name, message) in [
        ("version", "the version must be that of the workspace"),
        ("edition", "the edition must be that of the workspace"),
        (
            "rust-version",
            "the rust-version must be that of the workspace",
        ),
        ("license", "the license must be that of the workspace"),
    ] {
        if !is_true(field(name).and_then(|value| value.get("workspace"))) {
            problems.push(message);
        }
    }
    let is_published = field("publish").and_then(Value::as_bool) != Some(false);
    let description = field("description")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if is_published && description.trim().is_empty() {
        problems.push("a crate that can be published needs a description");
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMON: &str = "[package]\nversion.workspace = true\nedition.workspace = true\n\
        rust-version.workspace = true\nlicense.workspace = true\n";
    const LINTS: &str = "[lints]\nworkspace = true\n";

    fn check_manifest(rest: &str, expected: &[&str]) {
        let manifest: Table = format!("{COMMON}{rest}").parse().unwrap();
        let problems = check(&manifest);
        assert_eq!(problems.len(), expected.len(), "{problems:?}");
        for (problem, words) in problems.iter().zip(expected) {
            assert!(problem.contains(words), "{problem}");
        }
    }

    #[test]
    fn lints_and_descriptions_are_required() {
        check_manifest(&format!("description = \"x\"\n{LINTS}"), &[]);
        check_manifest("description = \"x\"\n", &["lints"]);
        check_manifest(LINTS, &["description"]);
        check_manifest(&format!("publish = false\n{LINTS}"), &[]);
        assert_eq!(check(&Table::new()).len(), 6);
    }
}
