//! Who may import whom: the layers of the project, as a table.

use toml::{Table, Value};

use super::Problem;
use crate::Outcome;
use crate::workspace::{Member, Workspace};

/// One crate's place in the layers.
struct Row {
    /// Folder under `crates/`, or `xtask`.
    folder: &'static str,
    /// Folders of the workspace crates that it may depend on.
    may_use: &'static [&'static str],
    /// Why not more.
    reason: &'static str,
}

/// Lower layers first. A crate is added when its work begins.
const TABLE: [Row; 17] = [
    Row {
        folder: "codec",
        may_use: &[],
        reason: "bytes and packets need nobody",
    },
    Row {
        folder: "proto",
        may_use: &["codec"],
        reason: "one connection, either role, no broker",
    },
    Row {
        folder: "broker",
        may_use: &["codec", "proto"],
        reason: "decisions are pure: no socket, store or clock can be reached from here",
    },
    Row {
        folder: "store",
        may_use: &[],
        reason: "a log of opaque records knows no MQTT",
    },
    Row {
        folder: "persistence",
        may_use: &["codec", "broker", "store"],
        reason: "the state on disk, without sockets and threads",
    },
    Row {
        folder: "transport",
        may_use: &[],
        reason: "bytes in, bytes out, no socket",
    },
    Row {
        folder: "access",
        may_use: &["codec"],
        reason: "who may what, over values that others have read",
    },
    Row {
        folder: "reactor",
        may_use: &[],
        reason: "readiness and mailboxes know no MQTT",
    },
    Row {
        folder: "admin",
        may_use: &["broker"],
        reason: "sees the broker's admin types alone",
    },
    Row {
        folder: "server",
        may_use: &[
            "codec",
            "proto",
            "broker",
            "store",
            "persistence",
            "transport",
            "access",
            "reactor",
            "admin",
        ],
        reason: "performs what the broker decides; knows no client",
    },
    Row {
        folder: "client",
        may_use: &["codec", "proto", "store", "transport"],
        reason: "a client library must not pull in a broker",
    },
    Row {
        folder: "embedded",
        may_use: &["codec", "proto"],
        reason: "runs where there is nothing else",
    },
    Row {
        folder: "capi",
        may_use: &["client"],
        reason: "a C face of the client library",
    },
    Row {
        folder: "midge",
        may_use: &[
            "codec",
            "proto",
            "persistence",
            "server",
            "client",
            "transport",
            "access",
        ],
        reason: "puts broker and tools into one binary",
    },
    Row {
        folder: "sim",
        may_use: &["codec", "proto", "broker", "access", "store", "persistence"],
        reason: "simulates what is pure; real sockets would break its seeds",
    },
    Row {
        folder: "conformance",
        may_use: &[],
        reason: "its own bytes, so that one mistake cannot hide in both sides",
    },
    Row {
        folder: "xtask",
        may_use: &[],
        reason: "builds before and without the project",
    },
];

/// What the tests of a crate may use besides, since it never ships with them.
const TESTS_MAY_USE: [(&str, &[&str]); 2] = [
    // A client is tested against the real thing; its guide shows the one for microcontrollers, too.
    ("client", &["broker", "embedded", "server"]),
    ("embedded", &["access", "broker", "server"]),
];

/// Sections of a manifest that name dependencies.
const SECTIONS: [&str; 3] = ["dependencies", DEV, "build-dependencies"];

const DEV: &str = "dev-dependencies";

pub(super) fn rule(workspace: &Workspace) -> Outcome<Vec<Problem>> {
    Ok(workspace
        .crates
        .iter()
        .flat_map(|member| check(member, &workspace.crates))
        .collect())
}

fn check(member: &Member, all: &[Member]) -> Vec<Problem> {
    let path = manifest_path(&member.folder);
    let Some(row) = TABLE.iter().find(|row| row.folder == member.folder) else {
        let message = "this crate has no row in the import table of xtask/src/tidy/imports.rs";
        return vec![Problem::in_file(&path, message)];
    };
    let tests_may_use = TESTS_MAY_USE
        .iter()
        .find(|(folder, _)| *folder == member.folder)
        .map_or(&[][..], |(_, folders)| folders);
    dependencies(&member.manifest)
        .filter_map(|(section, name)| {
            let used = all.iter().find(|other| other.package == name)?;
            Some((section, used))
        })
        // A crate may name itself to give its own tests a feature.
        .filter(|(_, used)| used.folder != member.folder)
        .filter(|(_, used)| !row.may_use.contains(&used.folder.as_str()))
        .filter(|(section, used)| *section != DEV || !tests_may_use.contains(&used.folder.as_str()))
        .map(|(_, used)| {
            let Row { folder, reason, .. } = row;
            Problem::in_file(
                &path,
                format!("{folder} may not use {}: {reason}", used.folder),
            )
        })
        .collect()
}

/// Where the manifest of the crate in `folder` is.
pub(super) fn manifest_path(folder: &str) -> String {
    match folder {
        "xtask" => "xtask/Cargo.toml".to_owned(),
        _ => format!("crates/{folder}/Cargo.toml"),
    }
}

/// The package names of all dependencies with their sections, also those of one platform.
fn dependencies(manifest: &Table) -> impl Iterator<Item = (&'static str, &str)> {
    let targets = manifest.get("target").and_then(Value::as_table).into_iter();
    let targets = targets.flat_map(Table::values).filter_map(Value::as_table);
    std::iter::once(manifest)
        .chain(targets)
        .flat_map(|table| {
            SECTIONS
                .iter()
                .filter_map(|section| Some((*section, table.get(*section)?.as_table()?)))
        })
        .flat_map(|(section, table)| {
            table.iter().map(move |(name, value)| {
                // A dependency may be renamed; then its package name is inside.
                let package = value.get("package").and_then(Value::as_str);
                (section, package.unwrap_or(name))
            })
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(folder: &str, rest: &str) -> Member {
        Member::parse(
            &format!("[package]\nname = \"midge-{folder}\"\n{rest}"),
            folder,
        )
        .unwrap()
    }

    fn check_dependencies(folder: &str, rest: &str, expected: &[&str]) {
        let all = [
            member("codec", ""),
            member("broker", ""),
            member("reactor", ""),
        ];
        let problems = check(&member(folder, rest), &all);
        assert_eq!(problems.len(), expected.len(), "{problems:?}");
        for (problem, words) in problems.iter().zip(expected) {
            assert!(problem.message.contains(words), "{problem}");
        }
    }

    #[test]
    fn a_crate_uses_only_what_its_row_allows() {
        check_dependencies(
            "broker",
            "[dependencies]\nmidge-codec.workspace = true",
            &[],
        );
        check_dependencies(
            "broker",
            "[dependencies]\nmidge-reactor.workspace = true\nserde = \"1\"",
            &["broker may not use reactor"],
        );
        check_dependencies(
            "codec",
            "[dev-dependencies]\nb = { package = \"midge-broker\", path = \"../broker\" }",
            &["codec may not use broker"],
        );
        check_dependencies(
            "codec",
            "[target.'cfg(unix)'.dependencies]\nmidge-reactor = { path = \"../reactor\" }",
            &["codec may not use reactor"],
        );
    }

    #[test]
    fn tests_may_use_more_where_the_table_says_so() {
        check_dependencies(
            "client",
            "[dev-dependencies]\nmidge-broker.workspace = true\nmidge-reactor.workspace = true",
            &["client may not use reactor"],
        );
        check_dependencies(
            "client",
            "[dependencies]\nmidge-broker.workspace = true",
            &["client may not use broker"],
        );
    }

    #[test]
    fn a_crate_without_a_row_is_refused() {
        check_dependencies("helpers", "", &["no row in the import table"]);
    }

    #[test]
    fn the_table_has_no_circle() {
        // A row may only name rows above it, except for what stands beside the layers.
        for (index, row) in TABLE.iter().enumerate() {
            for used in row.may_use {
                assert!(
                    TABLE[..index].iter().any(|above| above.folder == *used),
                    "{used}"
                );
            }
        }
    }
}
