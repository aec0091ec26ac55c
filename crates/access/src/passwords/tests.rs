use std::collections::HashSet;

use super::*;

const KEY: DecoyKey = DecoyKey::new([7; 32]);

fn line(name: &str, hashing: Hashing, password: &str) -> String {
    let salt = [b's'; 16];
    let verifier = Verifier::create(hashing, password.as_bytes(), &salt).unwrap();
    format!("{name}:{verifier}\n")
}

fn parse(text: impl AsRef<[u8]>) -> (PasswordFile, LineFaults) {
    PasswordFile::parse(text.as_ref(), KEY).unwrap()
}

/// The faults of `text`, each as its line and a part of what it says.
#[track_caller]
fn check_faults(text: impl AsRef<[u8]>, expected: &[(usize, &str)]) -> PasswordFile {
    let (file, faults) = parse(text);
    let found: Vec<_> = faults.list.iter().map(|fault| fault.line).collect();
    let lines: Vec<_> = expected.iter().map(|(line, _)| *line).collect();
    assert_eq!(found, lines, "{faults}");
    for (fault, (_, part)) in faults.list.iter().zip(expected) {
        assert!(fault.text.contains(part), "{fault} has no {part:?}");
    }
    file
}

#[test]
fn comments_empty_lines_spaces_and_windows_line_ends_do_not_count() {
    let alice = line("  alice ", Hashing::Sha512, "a");
    let bob = line("bob", Hashing::Sha512, "b").replace('\n', " \r\n");
    let text = format!("\u{FEFF}# comment: x\n\n   \n{alice}#\r\n{bob}");
    let file = check_faults(text, &[]);
    assert_eq!(file.len(), 2);
    assert!(file.check("alice").run(Some(b"a")));
    assert!(file.check("bob").run(Some(b"b")));
    assert!(!file.check("bob").run(Some(b"a")));
    assert!(!file.check("bob").run(None));
}

#[test]
fn what_follows_a_second_colon_is_left_out() {
    let text = line("alice", Hashing::Sha512, "a").replace('\n', ":Alice Liddell:/home\n");
    assert!(check_faults(text, &[]).check("alice").run(Some(b"a")));
}

#[test]
fn a_line_that_cannot_be_used_costs_its_user_only_and_says_the_way_out() {
    let good = line("good", Hashing::Sha512, "g");
    let text = format!("alice\n:x\nbob:\ncarol:secret\n{good}dave:$9$x\nerin:$1$salt$hash\n");
    let file = check_faults(
        text,
        &[
            (1, "NAME:HASH"),
            (2, "NAME:HASH"),
            (3, "user 'bob' has no password"),
            (4, "midge passwd -U FILE"),
            (6, "no hash type $9$"),
            (7, "crypt(3)"),
        ],
    );
    assert_eq!(file.user_names().collect::<Vec<_>>(), ["good"]);
}

#[test]
fn bytes_that_are_no_text_are_faults_of_their_lines() {
    let mut text = line("a", Hashing::Sha512, "a").into_bytes();
    text.extend(b"b\xFF:$6$\nc\0:$6$\n");
    text.extend(vec![b'x'; lines::LINE_BYTES_MAX + 1]);
    text.extend(b"\n");
    text.extend(vec![b'n'; USER_NAME_BYTES_MAX + 1]);
    text.extend(b":$6$\n");
    let faults = [
        (2, "UTF-8"),
        (3, "NUL"),
        (4, "70001 bytes"),
        (5, "65536 bytes"),
    ];
    assert_eq!(check_faults(text, &faults).len(), 1);
}

#[test]
fn of_two_lines_for_a_user_the_last_counts_and_the_first_is_told() {
    let [first, last] = ["first", "last"].map(|word| line("alice", Hashing::Sha512, word));
    let file = check_faults(
        format!("{first}\n{last}"),
        &[(1, "user 'alice' stands again in line 3")],
    );
    assert!(file.check("alice").run(Some(b"last")));
    assert!(!file.check("alice").run(Some(b"first")));
}

#[test]
fn an_unknown_user_costs_as_much_as_a_known_one_and_never_gets_in() {
    let hashing = Hashing::Sha512Pbkdf2 { iterations: 77 };
    let (file, _) = parse(line("alice", hashing, ""));
    let unknown = file.check("mallory");
    assert!(!unknown.is_known());
    assert_eq!(unknown.cost(), file.check("alice").cost());
    assert!(!unknown.run(Some(b"")));
    let (empty, _) = parse("");
    assert!(empty.is_empty());
    assert_eq!(empty.check("x").cost(), Hashing::SHA512_PBKDF2.cost());
}

#[test]
fn unknown_users_have_the_costs_of_the_file_as_often_as_its_users_and_always_the_same() {
    let mut text = String::new();
    for number in 0..30 {
        let iterations = if number < 20 { 2 } else { 3 };
        let hashing = Hashing::Sha512Pbkdf2 { iterations };
        text.push_str(&line(&format!("user{number}"), hashing, "x"));
    }
    let (file, _) = parse(&text);
    let names: Vec<_> = (0..3_000).map(|number| format!("guess{number}")).collect();
    let costs = |file: &PasswordFile| -> Vec<u64> {
        names
            .iter()
            .map(|name| file.check(name).cost().micros)
            .collect()
    };
    let found = costs(&file);
    let twos = found.iter().filter(|micros| **micros == 2).count();
    assert!((1_900..2_100).contains(&twos), "{twos}");
    assert_eq!(found, costs(&file));
    let (other, _) = PasswordFile::parse(text.as_bytes(), DecoyKey::new([8; 32])).unwrap();
    assert_ne!(found, costs(&other), "the key decides");
}

#[test]
fn decoys_never_verify_whatever_their_form() {
    for hashing in [
        Hashing::Sha512,
        Hashing::Sha512Pbkdf2 { iterations: 1 },
        Hashing::Argon2id {
            memory_kib: 8,
            passes: 1,
            lanes: 1,
        },
        Hashing::ScramSha256 { iterations: 1 },
        Hashing::ScramSha512 { iterations: 1 },
    ] {
        let (file, faults) = parse(line("a", hashing, "a"));
        assert!(faults.is_empty(), "{faults}");
        assert!(file.check("a").run(Some(b"a")), "{hashing:?}");
        for password in ["", "a", "\0\0"] {
            assert!(
                !file.check("b").run(Some(password.as_bytes())),
                "{hashing:?}"
            );
        }
    }
}

#[test]
fn checks_can_be_run_on_another_thread() {
    fn is_send<T: Send + Sync + 'static>(_: &T) {}
    let (file, _) = parse("");
    is_send(&file);
    is_send(&file.check("a"));
}

#[test]
fn a_file_of_faults_costs_no_memory_for_each() {
    let text = "x\n".repeat(200_000);
    let (file, faults) = parse(text);
    assert!(file.is_empty());
    assert_eq!((faults.list.len(), faults.more), (100, 199_900));
}

#[test]
fn nothing_that_is_printed_shows_a_hash() {
    let text = line("alice", Hashing::Sha512, "a");
    let (file, _) = parse(&text);
    let hash = text.rsplit('$').next().unwrap().trim().to_owned();
    for printed in [format!("{file:?}"), format!("{:?}", file.check("alice"))] {
        assert!(printed.contains("Sha512"), "{printed}");
        assert!(
            !printed.contains(&hash) && !printed.contains("c3Nz"),
            "{printed}"
        );
    }
    assert!(!format!("{KEY:?}").contains('7'));
}

#[test]
fn bytes_of_a_name_depend_on_key_purpose_and_name() {
    let all = [
        KEY.of("a", "b"),
        KEY.of("b", "b"),
        KEY.of("a", "a"),
        DecoyKey::new([8; 32]).of("a", "b"),
    ];
    assert_eq!(all.iter().collect::<HashSet<_>>().len(), 4);
    assert_eq!(all[0], KEY.of("a", "b"));
}
