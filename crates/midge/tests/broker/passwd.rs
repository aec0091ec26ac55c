//! `midge passwd`, on files and a terminal.

use std::fs::{self, File, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Output, Stdio};

use midge_access::passwords::{DecoyKey, PasswordFile};

use crate::process::{midge, text};

/// Quick to compute.
const QUICK: [&str; 2] = ["-H", "sha512"];

fn passwd(args: &[&str], file: &Path, rest: &[&str], typed: &str) -> Output {
    let mut command = midge();
    command.arg("passwd").args(args).arg(file).args(rest);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A tool that asks nothing may be gone.
    let _ = child.stdin.take().unwrap().write_all(typed.as_bytes());
    child.wait_with_output().unwrap()
}

#[track_caller]
fn check(output: Output, code: i32, stdout: &str, stderr: &str) {
    let (said, printed) = (text(output.stderr), text(output.stdout));
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert_eq!(printed, stdout);
    assert!(said.contains(stderr), "{said:?} has no {stderr:?}");
    assert_eq!(said.is_empty(), stderr.is_empty(), "{said}");
}

fn logs_in(file: &Path, user: &str, password: &str) -> bool {
    let (file, faults) =
        PasswordFile::parse(&fs::read(file).unwrap(), DecoyKey::new([0; 32])).unwrap();
    assert!(faults.is_empty(), "{faults}");
    file.check(user).run(Some(password.as_bytes()))
}

fn mode(file: &Path) -> u32 {
    fs::metadata(file).unwrap().permissions().mode() & 0o7777
}

/// How many files are in the folder of a file: none may be left over.
fn neighbours(file: &Path) -> usize {
    fs::read_dir(file.parent().unwrap()).unwrap().count()
}

#[test]
fn users_come_change_and_go_in_a_file_that_its_owner_alone_may_read() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("passwd");
    let run = |args: &[&str], rest: &[&str]| passwd(&[&QUICK[..], args].concat(), &file, rest, "");
    let adding = "Adding password for user alice\n";
    check(run(&["-c", "-b"], &["alice", "a"]), 0, adding, "");
    assert_eq!(mode(&file), 0o600);
    check(
        run(&["-b"], &["bob x", "b"]),
        0,
        "Adding password for user bob x\n",
        "",
    );
    check(
        run(&["-b"], &["alice", "new"]),
        0,
        "Updating password for user alice\n",
        "",
    );
    assert!(logs_in(&file, "alice", "new") && !logs_in(&file, "alice", "a"));
    assert!(logs_in(&file, "bob x", "b"));
    check(run(&["-D"], &["alice"]), 0, "", "");
    assert!(!logs_in(&file, "alice", "new") && logs_in(&file, "bob x", "b"));
    let gone = "Warning: User alice not found in password file.\n";
    check(run(&["-D"], &["alice"]), 1, "", gone);
    let exists = "for writing. File exists. Leave -c out to change it";
    check(run(&["-c", "-b"], &["alice", "a"]), 1, "", exists);
    assert_eq!((mode(&file), neighbours(&file)), (0o600, 1));
}

#[test]
fn a_password_is_asked_for_twice_and_only_when_the_file_can_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("passwd");
    let asked =
        |args: &[&str], typed: &str| passwd(&[&QUICK[..], args].concat(), &file, &["u"], typed);
    check(asked(&[], "x\nx\n"), 1, "", "Unable to open password file");
    let both = "Password: \nReenter password: \n";
    check(
        asked(&["-c"], "x\ny\n"),
        2,
        "",
        &format!("{both}Error: Passwords do not match.\n"),
    );
    check(
        asked(&["-c"], ""),
        1,
        "",
        "Password: \nError: Empty password.\n",
    );
    check(
        asked(&["-c"], "\n\n"),
        1,
        "",
        "Password: \nError: Empty password.\n",
    );
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    check(
        asked(&["-c"], "p w\r\np w\n"),
        0,
        "Adding password for user u\n",
        both,
    );
    assert!(logs_in(&file, "u", "p w"));
    check(
        asked(&[], "q\nq"),
        0,
        "Updating password for user u\n",
        both,
    );
    assert!(logs_in(&file, "u", "q"));
}

#[test]
fn a_line_is_printed_where_the_file_is_a_dash() {
    let output = passwd(
        &["-H", "sha512-pbkdf2", "-I", "5", "-c", "-b"],
        Path::new("-"),
        &["u", "p"],
        "",
    );
    let printed = text(output.stdout);
    assert!(
        printed.starts_with("u:$7$5$") && printed.ends_with("==\n"),
        "{printed}"
    );
    assert!(!Path::new("-").exists());
}

#[test]
fn mode_owner_links_and_comments_stay() {
    let folder = tempfile::tempdir().unwrap();
    let (file, link) = (folder.path().join("real"), folder.path().join("link"));
    fs::write(&file, "# people\n\nalice:$6$c2FsdA==$c2FsdA==\n").unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
    symlink("real", &link).unwrap();
    let before = fs::metadata(&file).unwrap();
    let args = [&QUICK[..], &["-b"]].concat();
    check(
        passwd(&args, &link, &["alice", "a"], ""),
        0,
        "Updating password for user alice\n",
        "",
    );
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    let after = fs::metadata(&file).unwrap();
    assert_eq!(
        (after.uid(), after.gid(), mode(&file)),
        (before.uid(), before.gid(), 0o640)
    );
    assert_ne!(after.ino(), before.ino(), "it was replaced in one step");
    assert!(
        fs::read_to_string(&file)
            .unwrap()
            .starts_with("# people\n\nalice:$6$")
    );
    assert_eq!(neighbours(&file), 2);
}

#[test]
fn the_owner_is_kept_when_root_changes_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("passwd");
    fs::write(&file, "").unwrap();
    if std::os::unix::fs::chown(&file, Some(1), Some(2)).is_err() {
        println!("only root can tell");
        return;
    }
    let args = [&QUICK[..], &["-b"]].concat();
    check(
        passwd(&args, &file, &["u", "p"], ""),
        0,
        "Adding password for user u\n",
        "",
    );
    let after = fs::metadata(&file).unwrap();
    assert_eq!((after.uid(), after.gid()), (1, 2));
}

#[test]
fn plain_passwords_are_hashed_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("passwd");
    fs::write(&file, "alice:a\n# c\nbob:b\n").unwrap();
    check(
        passwd(&[&QUICK[..], &["-U"]].concat(), &file, &[], ""),
        0,
        "",
        "",
    );
    let hashed = fs::read_to_string(&file).unwrap();
    assert!(logs_in(&file, "alice", "a") && logs_in(&file, "bob", "b"));
    let said = "0 passwords were hashed; 2 were hashed before and are as they were.\n";
    check(passwd(&["-U"], &file, &[], ""), 0, "", said);
    assert_eq!(fs::read_to_string(&file).unwrap(), hashed);
}

#[test]
fn a_damaged_file_is_left_alone_and_its_line_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("passwd");
    let damaged = "alice:x\nbob\n";
    fs::write(&file, damaged).unwrap();
    for (args, rest) in [
        (&["-b"][..], &["u", "p"][..]),
        (&["-D"], &["alice"]),
        (&["-U"], &[]),
    ] {
        let output = passwd(&[&QUICK[..], args].concat(), &file, rest, "");
        check(output, 1, "", "Error: Corrupt password file at line 2: ");
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), damaged);
    assert_eq!(neighbours(&file), 1);
}

#[test]
fn what_is_no_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let output = passwd(&["-b"], folder.path(), &["u", "p"], "");
    check(output, 1, "", "It is not a file.\n");
    let output = passwd(&["-b"], Path::new("/nonexistent/file"), &["u", "p"], "");
    check(
        output,
        1,
        "",
        "Unable to open password file /nonexistent/file. No such file or directory.\n",
    );
}

#[test]
fn of_many_at_once_everybody_gets_in() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("passwd");
    fs::write(&file, "").unwrap();
    let names: Vec<_> = (0..8).map(|number| format!("user{number}")).collect();
    let children: Vec<_> = names
        .iter()
        .map(|name| {
            let mut command = midge();
            command
                .arg("passwd")
                .args(QUICK)
                .arg("-b")
                .arg(&file)
                .args([name, name]);
            command.stdout(Stdio::null()).spawn().unwrap()
        })
        .collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    for name in &names {
        assert!(logs_in(&file, name, name), "{name}");
    }
    assert_eq!(neighbours(&file), 1);
}

/// A child on a terminal, and our end of it.
fn on_a_terminal(file: &Path) -> (std::process::Child, File, nix::sys::termios::Termios) {
    let terminal = nix::pty::openpty(None, None).unwrap();
    let before = nix::sys::termios::tcgetattr(&terminal.slave).unwrap();
    let mut command = midge();
    command
        .arg("passwd")
        .args(QUICK)
        .arg("-c")
        .arg(file)
        .arg("u");
    let slave = || Stdio::from(terminal.slave.try_clone().unwrap());
    let child = command
        .stdin(slave())
        .stdout(slave())
        .stderr(slave())
        .spawn()
        .unwrap();
    (child, File::from(terminal.master), before)
}

fn read_until(master: &mut File, end: &str) -> String {
    let mut read = Vec::new();
    while !read.ends_with(end.as_bytes()) {
        let mut byte = [0];
        master.read_exact(&mut byte).unwrap();
        read.push(byte[0]);
    }
    text(read)
}

#[test]
fn nothing_of_a_password_is_shown_on_a_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("passwd");
    let (mut child, mut master, _) = on_a_terminal(&file);
    assert_eq!(read_until(&mut master, "Password: "), "Password: ");
    master.write_all(b"secreX\x7Ft\n").unwrap();
    assert_eq!(
        read_until(&mut master, "Reenter password: "),
        "\r\nReenter password: "
    );
    master.write_all(b"secret\n").unwrap();
    assert_eq!(
        read_until(&mut master, "user u\r\n"),
        "\r\nAdding password for user u\r\n"
    );
    assert!(child.wait().unwrap().success());
    assert!(logs_in(&file, "u", "secret"));
}

#[test]
fn an_interrupt_leaves_the_terminal_as_it_was_and_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("passwd");
    let (mut child, mut master, before) = on_a_terminal(&file);
    read_until(&mut master, "Password: ");
    master.write_all(b"secr\x03").unwrap();
    assert_eq!(
        read_until(&mut master, "Interrupted.\r\n"),
        "\r\nError: Interrupted.\r\n"
    );
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert_eq!(nix::sys::termios::tcgetattr(&master).unwrap(), before);
    assert!(!file.exists());
}
