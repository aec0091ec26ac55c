//! The secret that decides what unknown users look like, kept where the state is kept: with another one after
//! each restart, the names whose challenges have changed would be those that do not exist.

use std::path::Path;

use super::files;

/// The name of the file in the persistence location.
const FILE: &str = "midge-login-decoys";

type Secret = [u8; 32];

/// The secret of an earlier life in `location`, or a new one, which is kept; and what is to be told the
/// operator if it cannot be.
pub(crate) fn kept_secret(location: Option<&Path>, new: Secret) -> (Secret, Option<String>) {
    let Some(file) = location.map(|location| location.join(FILE)) else {
        return (new, None);
    };
    let known = files::read("secret", &file)
        .ok()
        .and_then(|(bytes, _)| read(&bytes));
    if let Some(known) = known {
        return (known, None);
    }
    let fault = files::replace(&file, write(&new).as_bytes()).err();
    let fault = fault.map(|error| {
        format!(
            "Warning: Unable to write {}: {error}. After a restart, challenges of SCRAM may tell which users \
             do not exist.",
            file.display()
        )
    });
    (new, fault)
}

fn write(secret: &Secret) -> String {
    let digits: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("# Secret: whoever has this can tell which users do not exist.\n{digits}\n")
}

fn read(bytes: &[u8]) -> Option<Secret> {
    let text = str::from_utf8(bytes).ok()?;
    let digits = text.lines().find(|line| !line.starts_with('#'))?;
    let mut secret = [0; 32];
    if digits.len() != 2 * secret.len() {
        return None;
    }
    for (place, byte) in secret.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * place..2 * place + 2)?, 16).ok()?;
    }
    Some(secret)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_secret_outlives_a_restart_where_state_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(kept_secret(Some(folder.path()), [7; 32]), ([7; 32], None));
        assert_eq!(kept_secret(Some(folder.path()), [8; 32]), ([7; 32], None));
        assert_eq!(kept_secret(None, [9; 32]), ([9; 32], None));
        let file = folder.path().join(FILE);
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::write(&file, "nonsense \u{e9}").unwrap();
        assert_eq!(kept_secret(Some(folder.path()), [8; 32]).0, [8; 32]);
    }

    #[test]
    fn a_secret_that_cannot_be_kept_is_used_and_told() {
        let folder = tempfile::tempdir().unwrap();
        let nowhere = folder.path().join("missing");
        let (secret, fault) = kept_secret(Some(&nowhere), [7; 32]);
        assert_eq!(secret, [7; 32]);
        assert!(fault.unwrap().contains("Unable to write"));
    }
}
