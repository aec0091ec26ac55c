//! `cargo xtask build-profiled`: the release build, laid out by what a run of it showed.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Outcome;
use crate::durable::broker::{Broker, Kind};
use crate::process::{cargo, run, works};
use crate::workspace::Workspace;

/// What the broker does while it is watched: `midge bench` with these arguments, for a second each. The
/// first list is without persistence, the second with it.
const LOADS: [(Kind, &[&[&str]]); 2] = [
    (
        Kind::MidgeOff,
        &[
            &["p2p", "-q", "0", "--seconds", "1"],
            &["p2p", "-q", "1", "--seconds", "1"],
            &["p2p", "-q", "2", "--seconds", "1"],
            &["p2p", "-q", "0", "-V", "5", "--seconds", "1"],
            &["p2p", "-q", "1", "-V", "5", "--seconds", "1"],
            &["p2p", "-q", "2", "-V", "5", "--seconds", "1"],
            &["p2p", "-q", "0", "--rate", "20000", "--seconds", "1"],
            &["p2p", "-q", "1", "--rate", "20000", "--seconds", "1"],
            &["fan-out", "-q", "0", "--seconds", "1"],
            &["fan-out", "-q", "1", "--seconds", "1"],
            &["fan-in", "-q", "0", "--seconds", "1"],
            &["fan-in", "-q", "1", "--seconds", "1"],
            &["wildcard", "--seconds", "1"],
            &["conn", "--seconds", "1"],
            &["retained", "-q", "1"],
            &["offline"],
        ],
    ),
    (
        Kind::Midge("always"),
        &[
            &["p2p", "-q", "1", "-V", "5", "-x", "60", "--seconds", "1"],
            &["p2p", "-q", "2", "-V", "5", "-x", "60", "--seconds", "1"],
            &["offline"],
        ],
    ),
];

/// Builds, watches, and builds again; says where the program is.
pub(crate) fn command(workspace: &Workspace) -> Outcome<bool> {
    let merge = profdata()?;
    let folder = workspace.target().join("profiled");
    let profiles = folder.join("profiles");
    // Profiles of an older source would be counted in.
    let _ = fs::remove_dir_all(&profiles);
    fs::create_dir_all(&profiles).map_err(|error| format!("{}: {error}", profiles.display()))?;

    let program = build(
        workspace,
        &folder,
        &format!("-Cprofile-generate={}", profiles.display()),
    )?;
    watch(&program, &folder.join("store"))?;

    let profile = folder.join("midge.profdata");
    let mut command = Command::new(merge);
    command.arg("merge").arg("-o").arg(&profile);
    run(command.args(raw_profiles(&profiles)?))?;
    let flag = format!("-Cprofile-use={}", profile.display());
    let program = build(workspace, &folder, &flag)?;
    println!("{}", program.display());
    Ok(true)
}

/// Builds `midge` with a flag for the compiler; build scripts go without, for the target is named.
fn build(workspace: &Workspace, folder: &Path, flag: &str) -> Outcome<PathBuf> {
    let (host, _) = compiler()?;
    let mut flags = std::env::var("RUSTFLAGS").unwrap_or_default();
    flags.push(' ');
    flags.push_str(flag);
    run(cargo(&workspace.root)
        .env("RUSTFLAGS", flags)
        .args(["build", "--release", "--package", "midge"])
        .args(["--target", &host, "--target-dir"])
        .arg(folder))?;
    Ok(folder.join(host).join("release").join("midge"))
}

/// Runs the loads against the program, which writes what it did when it ends.
fn watch(program: &Path, location: &Path) -> Outcome<()> {
    for (kind, loads) in LOADS {
        let _ = fs::remove_dir_all(location);
        fs::create_dir_all(location).map_err(|error| format!("{}: {error}", location.display()))?;
        let broker = Broker::start(kind, program, location)?;
        for load in loads {
            run(Command::new(program)
                .arg("bench")
                .args(*load)
                .args(["-h", "127.0.0.1", "-p", &broker.port.to_string(), "--quiet"])
                .stdin(Stdio::null()))?;
        }
        broker.stop()?;
    }
    Ok(())
}

fn raw_profiles(folder: &Path) -> Outcome<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let raw: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|ending| ending == "profraw"))
        .collect();
    if raw.is_empty() {
        return Err(format!("{}: no profile was written", folder.display()));
    }
    Ok(raw)
}

/// The compiler's host and the major version of its LLVM.
fn compiler() -> Outcome<(String, String)> {
    let output = Command::new("rustc")
        .arg("-vV")
        .output()
        .map_err(|error| format!("rustc: {error}"))?;
    read_compiler(&String::from_utf8_lossy(&output.stdout))
        .ok_or_else(|| "rustc -vV does not say its host and LLVM version".to_owned())
}

fn read_compiler(text: &str) -> Option<(String, String)> {
    let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    let (major, _) = value("LLVM version: ")?.split_once('.')?;
    Some((value("host: ")?.to_owned(), major.to_owned()))
}

/// The program that reads profiles: of the compiler's own LLVM, or of the same major version.
fn profdata() -> Outcome<OsString> {
    let (host, major) = compiler()?;
    let output = Command::new("rustc").args(["--print", "sysroot"]).output();
    let output = output.map_err(|error| format!("rustc: {error}"))?;
    let sysroot = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let candidates = [
        format!("{sysroot}/lib/rustlib/{host}/bin/llvm-profdata"),
        format!("llvm-profdata-{major}"),
        format!("/usr/lib/llvm-{major}/bin/llvm-profdata"),
    ];
    let found = candidates
        .iter()
        .find(|program| works(program, &["--version"]) || works(program, &["merge", "--help"]));
    found.map(OsString::from).ok_or_else(|| {
        format!(
            "llvm-profdata of LLVM {major} is not here: `rustup component add llvm-tools`, or a package \
             llvm-{major}, has it"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_and_llvm_are_read_from_what_the_compiler_says() {
        let text =
            "rustc 1.95.0\nhost: x86_64-unknown-linux-gnu\nrelease: 1.95.0\nLLVM version: 22.1.2\n";
        let (host, major) = read_compiler(text).unwrap();
        assert_eq!(
            (host.as_str(), major.as_str()),
            ("x86_64-unknown-linux-gnu", "22")
        );
        assert_eq!(read_compiler("rustc 1.95.0\n"), None);
    }
}
