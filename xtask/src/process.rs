//! Running other programs, with their output passed through.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};

/// Whether `program` with `arguments` can be started and says that all is well; prints nothing.
pub(crate) fn works(program: &str, arguments: &[&str]) -> bool {
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The cargo that runs us.
pub(crate) fn cargo(root: &Path) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| OsStr::new("cargo").to_owned());
    let mut command = Command::new(program);
    command.current_dir(root).stdin(Stdio::null());
    // `cargo run` sets these for us; for the cargo below us they would only confuse its cache.
    for name in [
        "CARGO_MANIFEST_DIR",
        "CARGO_MANIFEST_PATH",
        "CARGO_PKG_NAME",
        "CARGO_PKG_VERSION",
    ] {
        command.env_remove(name);
    }
    command
}

/// Runs `command` to its end; the error is a sentence that names it.
pub(crate) fn run(command: &mut Command) -> Result<(), String> {
    let name = describe(command);
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`{name}` ended with {status}")),
        Err(error) => Err(format!("`{name}` could not start: {error}")),
    }
}

/// The command line as one would type it.
fn describe(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let program = program.file_name().unwrap_or(program.as_os_str());
    std::iter::once(program)
        .chain(command.get_args())
        .map(OsStr::to_string_lossy)
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_its_command() {
        let error = run(Command::new("false").arg("--really")).unwrap_err();
        assert!(error.starts_with("`false --really` ended with"), "{error}");
        let error = run(&mut Command::new("/nowhere/at-all")).unwrap_err();
        assert!(error.starts_with("`at-all` could not start"), "{error}");
    }

    #[test]
    fn an_absent_program_does_not_work() {
        assert!(works("true", &[]));
        assert!(!works("false", &[]));
        assert!(!works("/nowhere/at-all", &[]));
    }
}
