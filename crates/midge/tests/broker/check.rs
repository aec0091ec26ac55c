//! `midge check acl`, on files.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use crate::process::{midge, text};

struct Acl {
    file: PathBuf,
    _folder: TempDir,
}

impl Acl {
    fn new(rules: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("acl");
        fs::write(&file, rules).unwrap();
        Self {
            file,
            _folder: folder,
        }
    }

    /// The exit code, and what is printed with the file as `FILE`.
    fn check(&self, args: &[&str]) -> (i32, String) {
        let mut command = midge();
        command
            .args(["check", "acl", "--acl-file"])
            .arg(&self.file)
            .args(args);
        let output = command.output().unwrap();
        let printed = text(output.stdout) + &text(output.stderr);
        let file = self.file.display().to_string();
        (
            output.status.code().unwrap(),
            printed.replace(&file, "FILE"),
        )
    }
}

#[test]
fn a_decision_is_printed_with_the_line_that_made_it() {
    let acl = Acl::new("user bob\ntopic read garden/#\npattern write devices/%c/#\n");
    let ask = ["--user", "bob", "--client", "c1"];
    let check = |args: &[&str], code, printed: &str| {
        assert_eq!(
            acl.check(&[&ask[..], args].concat()),
            (code, printed.to_owned())
        );
    };
    check(
        &["--topic", "garden/rose", "--deliver"],
        0,
        "allowed: deliver garden/rose: FILE:2 topic read garden/#\n",
    );
    check(
        &["--topic", "garden/rose", "--publish"],
        1,
        "denied: publish to garden/rose: FILE: no rule allows it to user 'bob'\n",
    );
    check(
        &[
            "--topic",
            "devices/c1/up",
            "--publish",
            "--topic",
            "devices/c2/up",
        ],
        1,
        "allowed: publish to devices/c1/up: FILE:3 pattern write devices/%c/#\n\
         denied: publish to devices/c2/up: FILE: no rule allows it to user 'bob'\n",
    );
    let (code, printed) = acl.check(&["--topic", "garden/#"]);
    assert_eq!(code, 0);
    assert!(
        printed.starts_with("allowed: subscribe to garden/#: FILE: subscribing is not"),
        "{printed}"
    );
    let (code, printed) = acl.check(&["--topic", "$SYS/a", "--publish"]);
    assert_eq!(code, 1);
    assert!(
        printed.contains("note: the broker alone publishes below $SYS"),
        "{printed}"
    );
}

#[test]
fn a_file_is_checked_with_all_its_faults_and_warnings() {
    let sound = Acl::new("topic a/%c\n");
    let (code, printed) = sound.check(&[]);
    assert_eq!(code, 0);
    assert!(
        printed.starts_with("FILE is sound; rules: 1\nWarning: FILE:1: %c"),
        "{printed}"
    );
    let wrong = Acl::new("topic a b\nusers x\n");
    let (code, printed) = wrong.check(&["--topic", "a"]);
    assert_eq!(code, 3);
    assert!(
        printed.starts_with("Error: FILE:1: Invalid topic access"),
        "{printed}"
    );
    assert!(
        printed.contains("\nFILE:2: Invalid line: 'users'"),
        "{printed}"
    );
    let output = midge()
        .args(["check", "acl", "--acl-file", "/nonexistent"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3));
    let said = text(output.stderr);
    assert!(
        said.contains("Unable to open acl_file \"/nonexistent\". No such file"),
        "{said}"
    );
}

#[test]
fn a_password_file_is_checked_and_a_login_tried() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("passwd");
    fs::write(
        &file,
        include_str!("../../../access/tests/access/fixtures/debian_passwd"),
    )
    .unwrap();
    let check = |args: &[&str], code, printed: &str, said: &str| {
        let mut command = midge();
        command
            .args(["check", "passwords", "--password-file"])
            .arg(&file)
            .args(args);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{args:?}");
        assert_eq!(
            text(output.stdout).replace(file.to_str().unwrap(), "FILE"),
            printed
        );
        assert_eq!(
            text(output.stderr).replace(file.to_str().unwrap(), "FILE"),
            said
        );
    };
    check(&[], 0, "FILE is sound; users: 5\n", "");
    let dave = ["--user", "dave with spaces"];
    check(
        &[&dave[..], &["--pw", "x"]].concat(),
        0,
        "allowed: user dave with spaces with this password (sha512-pbkdf2)\n",
        "",
    );
    check(
        &[&dave[..], &["--pw", "y"]].concat(),
        1,
        "denied: user dave with spaces has another password (sha512-pbkdf2)\n",
        "",
    );
    check(
        &["-u", "bob"],
        0,
        "allowed: user bob with this password (sha512)\n",
        "Password: \n",
    );
    check(
        &["-u", "zoe"],
        1,
        "denied: there is no user zoe in FILE\n",
        "",
    );
    fs::write(&file, "bob:plain\n").unwrap();
    let fault = "Error: FILE:1: user 'bob' has a password that is not hashed and cannot log in; hash all \
                 such lines with `midge passwd -U FILE`.\n";
    check(&[], 3, "", fault);
}

/// What is printed with the folder as `DIR`, and the exit code.
fn check_config(folder: &TempDir, args: &[&str]) -> (i32, String) {
    let output = midge()
        .args(["check", "acl", "--config"])
        .arg(folder.path().join("conf"))
        .args(args)
        .output()
        .unwrap();
    let printed = text(output.stdout) + &text(output.stderr);
    let folder = folder.path().display().to_string();
    (
        output.status.code().unwrap(),
        printed.replace(&folder, "DIR"),
    )
}

#[test]
fn rules_are_those_that_a_configuration_names() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let dir = folder.path().display().to_string();
        fs::write(folder.path().join(name), text.replace("DIR", &dir)).unwrap();
    };
    write("acl", "pattern readwrite #\n");
    write(
        "dynsec.json",
        r#"{"clients":[{"username":"bob","roles":[{"rolename":"gardener"}]}],
            "roles":[{"rolename":"gardener","acls":[
            {"acltype":"publishClientSend","topic":"garden/#","allow":true}]}]}"#,
    );
    write(
        "conf",
        "listener 1884\nacl_file DIR/acl\nplugin /x/mosquitto_dynamic_security.so\n\
         plugin_opt_config_file DIR/dynsec.json\n",
    );
    let ask = |topic: &str| check_config(&folder, &["-u", "bob", "-t", topic, "--publish"]);
    let (code, printed) = ask("garden/rose");
    assert_eq!(code, 0, "{printed}");
    assert!(
        printed.starts_with(
            "allowed: publish to garden/rose: DIR/acl:1 pattern readwrite #; dynamic security, "
        ) && printed.contains("gardener"),
        "{printed}"
    );
    let (code, printed) = ask("house");
    assert_eq!(code, 1, "{printed}");
    assert!(
        printed.starts_with("denied: publish to house: dynamic security, "),
        "{printed}"
    );

    write(
        "conf",
        "per_listener_settings true\nlistener 1884\nacl_file DIR/acl\nmount_point garden/\n\
         listener 1885\nplugin /x/mosquitto_dynamic_security.so\nplugin_opt_config_file DIR/dynsec.json\n\
         listener 1886\n",
    );
    let (code, printed) = ask("rose");
    assert_eq!(code, 1);
    assert_eq!(printed.matches("listener ").count(), 3, "{printed}");
    assert!(printed.contains("there are no rules"), "{printed}");
    let (code, printed) = check_config(
        &folder,
        &["-p", "1884", "-u", "bob", "-t", "rose", "--publish"],
    );
    assert_eq!(code, 0, "{printed}");
    assert!(!printed.contains("listener "), "{printed}");
    let (code, printed) = check_config(&folder, &["-p", "1", "-t", "rose"]);
    assert_eq!(code, 3);
    assert!(printed.contains("no listener on port 1"), "{printed}");
    write("conf", "nonsense\n");
    let (code, printed) = check_config(&folder, &["-t", "rose"]);
    assert_eq!(code, 3);
    assert!(
        printed.contains("Unknown configuration variable"),
        "{printed}"
    );
}
