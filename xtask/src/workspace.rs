//! The tree that is checked: its root, its files as git sees them, and its crates.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use toml::Table;

use crate::Outcome;

/// The checked-out project.
pub(crate) struct Workspace {
    /// The folder of the root manifest.
    pub(crate) root: PathBuf,
    /// Every file that is in git or would be added, as paths with `/` from the root, sorted.
    pub(crate) files: Vec<String>,
    /// The members of the workspace, by folder name.
    pub(crate) crates: Vec<Member>,
}

/// One crate of the workspace.
pub(crate) struct Member {
    /// Folder name under `crates/`, or `xtask`.
    pub(crate) folder: String,
    /// Package name.
    pub(crate) package: String,
    /// The parsed `Cargo.toml`.
    pub(crate) manifest: Table,
}

impl Workspace {
    /// Reads the project that this tool belongs to.
    pub(crate) fn open() -> Outcome<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .ok_or("xtask has no parent folder")?
            .to_path_buf();
        let files = list_files(&root)?;
        let crates = files
            .iter()
            .filter_map(|path| Some((path, member_folder(path)?)))
            .map(|(path, folder)| Member::read(&root.join(path), folder))
            .collect::<Outcome<Vec<_>>>()?;
        Ok(Self {
            root,
            files,
            crates,
        })
    }

    /// Reads one of [`Workspace::files`]; `None` where it is not text.
    pub(crate) fn text(&self, path: &str) -> Option<String> {
        fs::read(self.root.join(path))
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok())
    }

    /// Whether `path`, from the root, exists as a file or folder.
    pub(crate) fn exists(&self, path: &str) -> bool {
        self.root.join(path).exists()
    }

    /// All Rust files with their text.
    pub(crate) fn rust_files(&self) -> impl Iterator<Item = (&str, String)> {
        self.files
            .iter()
            .filter(|path| path.ends_with(".rs"))
            .filter_map(|path| Some((path.as_str(), self.text(path)?)))
    }

    /// Where cargo puts what it builds.
    pub(crate) fn target(&self) -> PathBuf {
        match std::env::var_os("CARGO_TARGET_DIR") {
            Some(folder) => self.root.join(folder),
            None => self.root.join("target"),
        }
    }
}

impl Member {
    fn read(path: &Path, folder: &str) -> Outcome<Self> {
        let name = path.display();
        let text = fs::read_to_string(path).map_err(|error| format!("{name}: {error}"))?;
        Self::parse(&text, folder).map_err(|error| format!("{name}: {error}"))
    }

    /// Reads the manifest `text` of the crate in `folder`.
    pub(crate) fn parse(text: &str, folder: &str) -> Outcome<Self> {
        let manifest: Table = text.parse().map_err(|error| format!("{error}"))?;
        let package = manifest
            .get("package")
            .and_then(|package| package.get("name"))
            .and_then(|name| name.as_str())
            .ok_or("no package name")?
            .to_owned();
        Ok(Self {
            folder: folder.to_owned(),
            package,
            manifest,
        })
    }
}

/// The crate folder of a member's manifest: `crates/x/Cargo.toml` and `xtask/Cargo.toml`.
fn member_folder(path: &str) -> Option<&str> {
    let folder = path.strip_suffix("/Cargo.toml")?;
    let folder = folder.strip_prefix("crates/").unwrap_or(folder);
    let is_member = path.starts_with("crates/") || folder == "xtask";
    (is_member && !folder.contains('/')).then_some(folder)
}

/// Asks git, so that build products and what is ignored never count.
fn list_files(root: &Path) -> Outcome<Vec<String>> {
    let output = Command::new("git")
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .current_dir(root)
        .output()
        .map_err(|error| format!("git ls-files: {error}"))?;
    if !output.status.success() {
        let reason = String::from_utf8_lossy(&output.stderr);
        return Err(format!("git ls-files: {}", reason.trim()));
    }
    let mut files: Vec<String> = String::from_utf8_lossy(&output.stdout)
        .split('\0')
        // What is deleted but not yet committed is still listed.
        .filter(|path| !path.is_empty() && root.join(path).is_file())
        .map(str::to_owned)
        .collect();
    files.sort();
    files.dedup();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_the_crates_and_xtask() {
        assert_eq!(member_folder("crates/codec/Cargo.toml"), Some("codec"));
        assert_eq!(member_folder("xtask/Cargo.toml"), Some("xtask"));
        assert_eq!(member_folder("Cargo.toml"), None);
        assert_eq!(member_folder("fuzz/Cargo.toml"), None);
        assert_eq!(member_folder("crates/codec/fuzz/Cargo.toml"), None);
    }

    #[test]
    fn this_tree_can_be_read() {
        let workspace = Workspace::open().unwrap();
        assert!(workspace.files.iter().any(|path| path == "Cargo.toml"));
        assert!(
            workspace
                .crates
                .iter()
                .any(|member| member.package == "midge-codec")
        );
        assert!(
            workspace
                .crates
                .iter()
                .any(|member| member.folder == "xtask")
        );
    }
}
