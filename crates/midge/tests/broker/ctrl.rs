//! `midge ctrl` against a broker that is dynamic security alone, and against files.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::{Output, Stdio};
use std::thread;

use midge_access::Client;
use midge_access::dynsec::{LoginVerdict, State, Surroundings};

use crate::process::{midge, text};

struct Quiet;

impl Surroundings for Quiet {
    fn addresses(&self, _: &str, _: Option<&str>) -> Vec<String> {
        vec!["127.0.0.1".into()]
    }

    fn random(&mut self, bytes: &mut [u8]) {
        bytes.fill(7);
    }
}

fn packet(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let mut byte = [0];
    stream.read_exact(&mut byte).ok()?;
    let first = byte[0];
    let (mut length, mut shift) = (0, 0);
    loop {
        stream.read_exact(&mut byte).ok()?;
        length |= usize::from(byte[0] & 0x7F) << shift;
        shift += 7;
        if byte[0] < 0x80 {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some((first, body))
}

fn published(topic: &str, payload: &[u8]) -> Vec<u8> {
    let length = 2 + topic.len() + 1 + payload.len();
    let mut bytes = vec![0x30];
    let mut rest = length;
    loop {
        let digit = u8::try_from(rest % 128).unwrap();
        rest /= 128;
        bytes.push(if rest > 0 { digit | 0x80 } else { digit });
        if rest == 0 {
            break;
        }
    }
    bytes.extend(u16::try_from(topic.len()).unwrap().to_be_bytes());
    bytes.extend(topic.as_bytes());
    bytes.push(0);
    bytes.extend(payload);
    bytes
}

/// A broker that speaks just enough 5.0, and answers requests by `state`.
fn serve(state: State, connections: usize) -> (u16, thread::JoinHandle<State>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = thread::spawn(move || {
        let mut state = state;
        for _ in 0..connections {
            let (mut stream, _) = listener.accept().unwrap();
            while let Some((first, body)) = packet(&mut stream) {
                let answer = match first >> 4 {
                    1 => vec![0x20, 3, 0, 0, 0],
                    8 => vec![0x90, 4, body[0], body[1], 0, 1],
                    3 => {
                        let end = 2 + usize::from(u16::from_be_bytes([body[0], body[1]]));
                        let topic = std::str::from_utf8(&body[2..end]).unwrap();
                        let admin = Client {
                            id: "x",
                            user_name: Some("admin"),
                        };
                        let mut answer = vec![0x40, 2, body[end], body[end + 1]];
                        let response = match topic {
                            "$CONTROL/dynamic-security/v1" => {
                                state.control(&body[end + 3..], admin, &mut Quiet).response
                            }
                            _ => r#"{"error": "endpoint not available"}"#.to_owned(),
                        };
                        answer.extend(published(&format!("{topic}/response"), response.as_bytes()));
                        answer
                    }
                    _ => continue,
                };
                stream.write_all(&answer).unwrap();
            }
        }
        state
    });
    (port, thread)
}

fn ctrl(args: &[&str], input: &str) -> Output {
    let mut child = midge()
        .args(["ctrl", "-o", "/dev/null"])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A program that asks nothing has ended before it reads.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output().unwrap()
}

#[track_caller]
fn check(args: &[&str], input: &str, code: i32, out: &str, complaint: &str) {
    let output = ctrl(args, input);
    assert_eq!(output.status.code(), Some(code), "{args:?} {output:?}");
    assert_eq!(text(output.stdout), out, "{args:?}");
    assert_eq!(text(output.stderr), complaint, "{args:?}");
}

#[test]
fn commands_are_carried_out_and_answers_printed() {
    let (port, broker) = serve(State::default(), 7);
    let port = port.to_string();
    let dynsec = |command: &str, input: &str, out: &str, complaint: &str| {
        let mut args = vec!["--quiet", "-p", &port, "dynsec"];
        args.extend(command.split(' '));
        check(&args, input, 0, out, complaint);
    };
    dynsec("createRole r", "", "", "");
    // The broker's refusal is told, and is no failure, as with mosquitto_ctrl.
    dynsec(
        "createRole r",
        "",
        "",
        "createRole: Error: Role already exists.\n",
    );
    let asks = "Enter new password for ann. Press return for no password (user will be unable to login).\n\
         New password for ann: \nReenter password for ann: \n";
    dynsec("createClient ann", "secret\nsecret\n", "", asks);
    dynsec("addClientRole ann r 5", "", "", "");
    dynsec("listClients", "", "ann\n", "");
    dynsec(
        "getClient ann",
        "",
        "Username:    ann\nClientid:\nRoles:       r (priority: 5)\nConnections: 127.0.0.1\n",
        "",
    );
    check(
        &["--quiet", "-p", &port, "broker", "listListeners"],
        "",
        0,
        "",
        "The broker does not offer this module: endpoint not available.\n",
    );
    let state = broker.join().unwrap();
    let login = state.login(Some("ann"), "x", true).unwrap();
    assert_eq!(login.verify(b"secret"), LoginVerdict::Accepted);
}

#[test]
fn the_shell_takes_commands_line_by_line() {
    let (port, broker) = serve(State::default(), 1);
    let lines = format!(
        "help\nnonsense\nconnect mqtt://127.0.0.1:{port}\ndynsec\ncreateGroup g\n\
         createClient u pw c\naddGroupClient g u\ngetGroup g\ndeleteRole\nreturn\ndisconnect\nexit\n"
    );
    let output = ctrl(&[], &lines);
    assert_eq!(output.status.code(), Some(0));
    let out = text(output.stdout);
    let url = format!("mqtt://127.0.0.1:{port}");
    for part in [
        "> Unknown command 'nonsense'\n".to_owned(),
        format!("> {url}> {url}|dynsec> OK\n{url}|dynsec> OK\n{url}|dynsec> OK\n"),
        format!("{url}|dynsec> Groupname: g\nClients:   u\n{url}|dynsec> deleteRole <rolename>\n"),
        format!("{url}|dynsec> {url}> > \n"),
    ] {
        assert!(out.contains(&part), "{part:?} is missing in\n{out}");
    }
    assert!(broker.join().unwrap().has_client("u"));
}

#[test]
fn faults_have_the_exit_codes_of_mosquitto_ctrl() {
    let arguments = "Error: Invalid function arguments provided.\n";
    check(
        &["dynsec", "createRole"],
        "",
        3,
        "",
        &format!("{arguments}Usage: dynsec createRole <rolename>\n"),
    );
    check(
        &["dynsec", "nonsense"],
        "",
        13,
        "",
        "Command 'nonsense' not recognised.\n",
    );
    check(
        &["nonsense", "x"],
        "",
        10,
        "",
        "Error: Module 'nonsense' not supported.\n",
    );
    let refused = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    check(
        &["--quiet", "-p", &refused.to_string(), "dynsec", "listRoles"],
        "",
        14,
        "",
        "Error: Connection refused\n",
    );
    let output = ctrl(&["-z"], "");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(output.stderr).starts_with("Error: Unknown option '-z'.\n"));
    assert_eq!(ctrl(&["dynsec"], "").status.code(), Some(1));
    assert_eq!(ctrl(&["dynsec", "help"], "").status.code(), Some(0));
}

#[test]
fn init_makes_a_file_and_leaves_one_that_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ds.json");
    let path = file.to_str().unwrap();
    let output = ctrl(&["dynsec", "init", path, "boss"], "secret\nsecret\n");
    assert_eq!(output.status.code(), Some(0));
    assert!(text(output.stdout).starts_with(&format!(
        "The client 'boss' has been created in the file '{path}'.\n"
    )));
    let made = fs::read(&file).unwrap();
    let state = State::parse(&made).unwrap().state;
    let login = state.login(Some("boss"), "x", true).unwrap();
    assert_eq!(login.verify(b"secret"), LoginVerdict::Accepted);
    // Nobody else may read it, and nothing else was left behind.
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o137, 0);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    check(
        &["dynsec", "init", path, "boss", "other"],
        "",
        0,
        "",
        &format!(
            "dynsec init: '{path}' already exists. Remove the file or use a different location.\n"
        ),
    );
    assert_eq!(fs::read(&file).unwrap(), made);
    let output = ctrl(&["dynsec", "init", "/nowhere/ds.json", "boss", "x"], "");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_password_is_set_in_a_file_that_keeps_its_mode() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ds.json");
    let path = file.to_str().unwrap();
    ctrl(&["dynsec", "init", path, "boss", "old"], "");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o604)).unwrap();
    check(
        &[
            "-f",
            path,
            "dynsec",
            "setClientPassword",
            "boss",
            "new",
            "-i",
            "5",
        ],
        "",
        0,
        "",
        "",
    );
    let state = State::parse(&fs::read(&file).unwrap()).unwrap().state;
    let login = state.login(Some("boss"), "x", true).unwrap();
    assert_eq!(login.verify(b"new"), LoginVerdict::Accepted);
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o604);
    assert!(
        fs::read_to_string(&file)
            .unwrap()
            .contains("\"iterations\": 5")
    );
    check(
        &["-f", path, "dynsec", "setClientPassword", "zoe", "new"],
        "",
        1,
        "",
        &format!("Error: {path}: Client zoe not found.\n"),
    );
}
