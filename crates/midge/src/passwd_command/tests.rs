use super::*;

fn of(line: &str) -> Result<Request, String> {
    let args = line.split_whitespace().map(OsString::from).collect();
    parse(args).map_err(|UsageError(text)| text)
}

fn set(target: Target, password: Option<&str>, hashing: Hashing) -> Result<Request, String> {
    Ok(Request::Task(Task::Set {
        target,
        user: "u".into(),
        password: password.map(|password| password.as_bytes().to_vec()),
        hashing,
    }))
}

#[test]
fn a_user_is_set_in_an_existing_or_new_file_or_printed() {
    let argon2id = Hashing::ARGON2ID;
    let file = || Target::Existing("f".into());
    assert_eq!(of("f u"), set(file(), None, argon2id));
    assert_eq!(of("-b f u p"), set(file(), Some("p"), argon2id));
    assert_eq!(of("-c f u"), set(Target::New("f".into()), None, argon2id));
    assert_eq!(
        of("-b -c - u p"),
        set(Target::StandardOutput, Some("p"), argon2id)
    );
    assert_eq!(of("- u"), set(Target::Existing("-".into()), None, argon2id));
    assert_eq!(of("-b f u -p"), set(file(), Some("-p"), argon2id));
}

#[test]
fn the_hash_and_its_iterations_may_be_chosen() {
    let file = || Target::Existing("f".into());
    let pbkdf2 = |iterations| Hashing::Sha512Pbkdf2 { iterations };
    assert_eq!(of("-H sha512 f u"), set(file(), None, Hashing::Sha512));
    assert_eq!(of("-H sha512-pbkdf2 f u"), set(file(), None, pbkdf2(1_000)));
    assert_eq!(
        of("-I 7 -H sha512-pbkdf2 f u"),
        set(file(), None, pbkdf2(7))
    );
    // As mosquitto_passwd: they are nothing to argon2id.
    assert_eq!(of("-I 7 f u"), set(file(), None, Hashing::ARGON2ID));
    assert_eq!(
        of("-H scram-sha-256 -I 9 f u"),
        set(file(), None, Hashing::ScramSha256 { iterations: 9 })
    );
}

#[test]
fn users_are_deleted_and_plain_passwords_hashed() {
    let delete = Task::Delete {
        file: "f".into(),
        user: "u".into(),
    };
    assert_eq!(of("-D f u"), Ok(Request::Task(delete)));
    let update = Task::HashPlain {
        file: "f".into(),
        hashing: Hashing::Sha512,
    };
    assert_eq!(of("-U -H sha512 f"), Ok(Request::Task(update)));
    assert_eq!(of("--help"), Ok(Request::Help));
    for line in ["", "f", "f u p", "-b f u", "-b f u p q", "-c f u p"] {
        assert_eq!(of(line), Ok(Request::Usage), "{line}");
    }
}

#[test]
fn faults_have_the_words_of_mosquitto_passwd() {
    let check = |line: &str, text: &str| assert_eq!(of(line), Err(text.to_owned()), "{line}");
    check(
        "-c f",
        "-c argument given but password file or username missing.",
    );
    check(
        "-c -b f u",
        "-c argument given but password file, username, or password missing.",
    );
    check(
        "-D f",
        "-D argument given but password file or username missing.",
    );
    check("-U", "-U argument given but password file missing.");
    check("-U f u", "-U argument given but password file missing.");
    check("-c -D f u", "-c and -D cannot be used together.");
    check("-c -U f", "-c and -U cannot be used together.");
    check("-D -U f", "-D and -U cannot be used together.");
    check("-b -D f u", "-b and -D cannot be used together.");
    check("-H", "-H argument given but not enough other arguments.");
    check("-I", "-I argument given but not enough other arguments.");
    check("-x f u", "Unknown option '-x'.");
    check("f a:b", "Username must not contain the ':' character.");
    check("f a\u{7}b", "Username must not contain control characters.");
    check(
        "f #a",
        "Username must not begin with '#', which makes a line of the file a comment.",
    );
    assert!(
        of("-H md5 f u")
            .unwrap_err()
            .starts_with("Unknown hash type 'md5'")
    );
    for number in ["0", "-1", "x", "10000001"] {
        let said = of(&format!("-I {number} f u")).unwrap_err();
        assert!(
            said.starts_with("Number of iterations must be > 0."),
            "{said}"
        );
    }
    let long = "x".repeat(65_536);
    check(
        &format!("f {long}"),
        "Username must be less than 65536 characters long.",
    );
    check(
        &format!("-b f u {long}"),
        "Password must be less than 65536 characters long.",
    );
}
