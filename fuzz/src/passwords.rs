//! Any bytes are a password file with faults in some lines, and changes of it concern one user alone.

use std::collections::BTreeSet;

use midge_access::lines::FAULTS_MAX;
use midge_access::passwords::{DecoyKey, PasswordFile, Verifier, edit};

/// A hash of the password `x` that is quick to verify.
const HASH: &str = "$6$MDEyMzQ1Njc4OWFi$fsu4UYhX8SMkFgv4xcEPMcenTliOnUyME+88Er755ZrFPQPOyvpVf7FztBEQztIspDHVmu\
    LGAP+zTG4PjlBc7g==";

/// What a check may cost so that a fuzzer does not wait for it.
const MICROS_MAX: u64 = 50;

/// Reads `input` as a password file, and changes it.
///
/// # Panics
/// When the password file breaks a promise.
pub fn check(input: &[u8]) {
    let file = parse(input);
    for name in file.user_names() {
        let Some(verifier) = file.verifier(name) else {
            panic!("{name} has no verifier");
        };
        let written = verifier.to_string();
        assert!(
            Verifier::parse(&written).as_ref() == Ok(verifier),
            "{written} is not read as it was written"
        );
        let check = file.check(name);
        assert!(check.is_known());
        if check.cost().micros <= MICROS_MAX {
            let _ = check.run(Some(b"x"));
        }
    }
    let unknown = file.check("\u{1}nobody");
    assert!(!unknown.is_known());
    if unknown.cost().micros <= MICROS_MAX {
        assert!(!unknown.run(Some(b"x")));
    }
    check_edits(input, &file);
}

fn parse(input: &[u8]) -> PasswordFile {
    let Ok((file, faults)) = PasswordFile::parse(input, DecoyKey::new([3; 32])) else {
        panic!("no input is too large");
    };
    assert!(faults.list.len() <= FAULTS_MAX);
    assert!(faults.list.is_sorted_by_key(|fault| fault.line));
    let told = faults.to_string();
    assert!(!told.contains('\u{1b}'), "nothing commands a terminal");
    file
}

fn names(file: &PasswordFile) -> BTreeSet<String> {
    file.user_names().map(str::to_owned).collect()
}

fn check_edits(input: &[u8], file: &PasswordFile) {
    let before = names(file);
    for name in ["alice", "zoe"] {
        let Ok((changed, _)) = edit::set(input, name, HASH) else {
            return;
        };
        let after = parse(&changed);
        let mut expected = before.clone();
        expected.insert(name.to_owned());
        assert_eq!(names(&after), expected);
        assert!(after.check(name).run(Some(b"x")));
        let Ok(Some(removed)) = edit::remove(&changed, name) else {
            panic!("{name} is not found again");
        };
        expected.remove(name);
        assert_eq!(names(&parse(&removed)), expected);
    }
    let Ok(hashed) = edit::hash_plain(input, |_| HASH.to_owned()) else {
        panic!("what can be set can be hashed");
    };
    let after = parse(&hashed.text);
    assert!(before.iter().all(|name| after.contains(name)));
    assert_eq!(hashed.hashed == 0, hashed.text == input);
    // Now all are hashed, so nothing is left to do.
    let again = edit::hash_plain(&hashed.text, |_| panic!("it was hashed"));
    assert_eq!(again.map(|again| again.text), Ok(hashed.text));
}
