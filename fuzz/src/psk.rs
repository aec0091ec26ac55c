//! Any bytes are a file of pre-shared keys with faults in some lines.

use midge_transport::tls::{IDENTITY_BYTES_MAX, KEY_BYTES_MAX, PskKeys};

/// Reads `input` as such a file.
///
/// # Panics
/// When the reader breaks a promise.
pub fn check(input: &[u8]) {
    let (keys, faults) = PskKeys::parse(input);
    let lines = input.split(|byte| *byte == b'\n').count();
    assert_eq!(keys.len(), keys.identities().count());
    assert!(keys.len() + faults.list.len() + faults.more <= lines);
    assert!(faults.list.is_sorted_by_key(|(line, _)| *line));
    assert!(
        faults
            .list
            .iter()
            .all(|(line, why)| (1..=lines).contains(line) && !why.is_empty())
    );
    assert!(
        faults
            .list
            .iter()
            .all(|(_, why)| !why.contains(char::is_control))
    );
    // A byte order mark is left out at the beginning of a file alone.
    let mut written = String::from("#\n");
    for identity in keys.identities() {
        assert!((1..=IDENTITY_BYTES_MAX).contains(&identity.len()));
        assert_eq!(identity, identity.trim_ascii());
        assert!(!identity.contains(['\0', '\n', ':']) && !identity.starts_with('#'));
        let key = keys.get(identity).unwrap_or_default();
        assert!((1..=KEY_BYTES_MAX).contains(&key.len()));
        let digits: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        written = format!("{written}{identity}:{digits}\n");
    }
    // What was understood is written and read again.
    let (again, faults) = PskKeys::parse(written.as_bytes());
    assert!(again == keys && faults.is_empty());
}
