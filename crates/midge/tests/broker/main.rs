//! `midge broker` as a process: its command line, signals, files and exit status.

#[cfg(test)]
mod check;
#[cfg(test)]
mod ctrl;
#[cfg(test)]
mod dump;
#[cfg(test)]
mod logins;
#[cfg(test)]
mod passwd;
#[cfg(test)]
mod process;

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt;

use process::{CONNECT, Midge, Started, eventually, expect_connack, free_port, midge, text};

#[test]
fn without_a_configuration_this_machine_is_served_and_told_how_to_open_it() {
    let port = free_port();
    let broker = Midge::start(&["-p", &port.to_string()]);
    let mut client = broker.connect(port);
    let log = broker.log();
    let order = [
        "midge version ",
        "Using default config.",
        "Starting in local only mode. Connections will only be possible from clients running on \
         this machine.",
        "Create a configuration file which defines a listener to allow remote access.",
        &format!("Opening ipv4 listen socket on port {port}."),
        "running",
    ];
    let mut rest = log.as_str();
    for line in order {
        let place = rest.find(line);
        rest = &rest[place.unwrap_or_else(|| panic!("{line:?} is missing in\n{log}"))..];
    }
    let ended = broker.terminate();
    assert_eq!(ended.status.code(), Some(0));
    assert!(ended.log.contains(" terminating\n"), "{}", ended.log);
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
}

#[test]
fn an_interrupt_ends_it_as_well() {
    let port = free_port();
    let broker = Midge::start(&["-p", &port.to_string(), "-q"]);
    let ended = broker.end_by("INT");
    assert_eq!(ended.status.code(), Some(0));
    assert_eq!(ended.log, "");
}

#[test]
fn the_command_lines_faults_have_mosquittos_words_and_status_3() {
    let check = |args: &[&str], words: &str| {
        let output = midge().args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{args:?}");
        let said = text(output.stderr);
        assert!(said.starts_with(words), "{args:?}: {said}");
    };
    check(&["--wrong"], "Error: Unknown option '--wrong'.\n");
    check(
        &["broker", "-c"],
        "Error: -c argument given, but no config file specified.\n",
    );
    check(&["-p", "70000"], "Error: Invalid port specified (70000).\n");
    check(
        &["-c", "/nowhere/m.conf"],
        "Error: Unable to open config file '/nowhere/m.conf'.",
    );
    check(
        &["--test-config"],
        "Error: Please provide a configuration file to test.\n",
    );
}

#[test]
fn version_and_help_end_well() {
    for (option, words) in [("--version", "midge version "), ("--help", "Usage: ")] {
        let output = midge().args(["broker", option]).output().unwrap();
        assert!(output.status.success());
        assert!(text(output.stdout).contains(words), "{option}");
    }
}

#[test]
fn test_config_tells_whether_a_file_is_sound() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("m.conf");
    let test = |content: &str| {
        fs::write(&file, content).unwrap();
        let output = midge()
            .arg("--test-config")
            .arg("-c")
            .arg(&file)
            .output()
            .unwrap();
        (output.status.code(), text(output.stderr))
    };
    assert_eq!(
        test("listener 1883\n"),
        (Some(0), "Configuration file is OK.\n".to_owned())
    );
    let (status, said) = test("listener 1883\nmax_qos 7\n");
    assert_eq!(status, Some(3));
    assert!(said.contains("m.conf:2:"), "{said}");
}

#[test]
fn a_port_that_is_taken_is_status_1_and_says_which() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    for quiet in [&[][..], &["-q"]] {
        let port = port.to_string();
        let output = midge().args(["-p", &port]).args(quiet).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let said = text(output.stderr);
        assert_eq!(
            said.matches("Error: Address already in use").count(),
            1,
            "{said}"
        );
        assert!(said.contains(&port), "{said}");
    }
}

#[test]
fn sighup_takes_a_new_configuration_and_keeps_the_old_one_if_that_is_faulty() {
    let (first, second) = (free_port(), free_port());
    let listener = |port| format!("listener {port} 127.0.0.1\nallow_anonymous true\n");
    let broker = Midge::with_config(&listener(first));
    let mut client = broker.connect(first);

    broker.configure(&format!("{}{}", listener(first), listener(second)));
    broker.signal("HUP");
    broker.expect_log(&format!("Opening ipv4 listen socket on port {second}."));
    let mut late = eventually(|| process::try_connect(second));
    late.write_all(&[0xC0, 0]).unwrap();

    broker.configure("listener 1\nwrong_option 1\nmax_qos 9\n");
    broker.signal("HUP");
    broker.expect_log("Error: Unknown configuration variable 'wrong_option'.");
    broker.expect_log("Error: The configuration has not been changed");
    let log = broker.log();
    assert!(log.contains("m.conf:2: "), "{log}");
    assert!(log.contains("m.conf:3: "), "{log}");
    assert_eq!(log.matches("Reloading config.").count(), 2);

    for client in [&mut client, &mut late] {
        client.write_all(&[0xC0, 0]).unwrap();
        let mut pong = [0; 2];
        client.read_exact(&mut pong).unwrap();
        assert_eq!(pong, [0xD0, 0]);
    }
    assert_eq!(broker.terminate().status.code(), Some(0));
}

#[test]
fn the_other_signals_do_what_they_can() {
    let port = free_port();
    let broker = Midge::start(&["-p", &port.to_string()]);
    let _client = broker.connect(port);
    broker.signal("USR1");
    broker.expect_log("What changes is saved as it changes: there is nothing to do.");
    broker.signal("USR2");
    broker.expect_log("1 connections, 1 sessions, 0 subscriptions, 0 shared subscriptions");
    assert_eq!(broker.terminate().status.code(), Some(0));
}

#[test]
fn the_log_file_is_opened_anew_after_a_rotation() {
    let directory = tempfile::tempdir().unwrap();
    let (log, old) = (
        directory.path().join("m.log"),
        directory.path().join("m.log.1"),
    );
    let port = free_port();
    let config = format!(
        "listener {port} 127.0.0.1\nallow_anonymous true\nlog_dest file {}\n",
        log.display()
    );
    let broker = Midge::with_config_unannounced(&config, port);
    drop(broker.connect(port));
    fs::rename(&log, &old).unwrap();
    // SIGRTMIN does it as well, but has no number that is the same everywhere.
    broker.signal("HUP");
    eventually(|| log.exists().then_some(()));
    drop(broker.connect(port));
    eventually(|| {
        let text = fs::read_to_string(&log).unwrap();
        text.contains("New client connected").then_some(())
    });
    assert!(
        fs::read_to_string(&old)
            .unwrap()
            .contains("Reloading config.")
    );
    assert_eq!(broker.terminate().status.code(), Some(0));
}

#[test]
fn the_pid_file_lives_as_long_as_the_broker() {
    let directory = tempfile::tempdir().unwrap();
    let pid_file = directory.path().join("m.pid");
    let port = free_port();
    let config = format!(
        "listener {port} 127.0.0.1\nallow_anonymous true\npid_file {}\nuser root\n",
        pid_file.display()
    );
    let broker = Midge::with_config(&config);
    assert_eq!(
        fs::read_to_string(&pid_file).unwrap(),
        broker.id().to_string()
    );
    assert_eq!(broker.terminate().status.code(), Some(0));
    assert!(!pid_file.exists());

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("m.conf");
    let config = format!("listener {port} 127.0.0.1\npid_file /nowhere/m.pid\n");
    fs::write(&file, config).unwrap();
    let output = midge().arg("-c").arg(&file).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = text(output.stderr);
    assert!(
        said.contains("Error: Unable to write pid file /nowhere/m.pid"),
        "{said}"
    );
}

#[test]
fn a_daemon_detaches_once_it_listens_and_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let (file, pid_file) = (
        directory.path().join("m.conf"),
        directory.path().join("m.pid"),
    );
    let port = free_port();
    let config = format!(
        "listener {port} 127.0.0.1\nallow_anonymous true\nlog_dest none\nuser root\npid_file {}\n",
        pid_file.display()
    );
    fs::write(&file, config).unwrap();
    let output = midge().arg("-d").arg("-c").arg(&file).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let pid = eventually(|| {
        let text = fs::read_to_string(&pid_file).ok()?;
        text.parse::<u32>().ok()
    });
    // Listening began before the command returned.
    let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
    client.write_all(CONNECT).unwrap();
    expect_connack(&mut client);
    process::kill(pid, "TERM");
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    eventually(|| (!pid_file.exists()).then_some(()));

    // What is wrong is told while somebody looks.
    let taken = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let output = midge().arg("-d").arg("-c").arg(&file).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = text(output.stderr);
    assert!(said.contains("Error: Address already in use"), "{said}");
    drop(taken);
}

#[test]
fn without_descriptors_it_goes_on_serving_and_recovers() {
    let port = free_port();
    let broker = Started::new(
        std::process::Command::new("sh")
            .args(["-c", "ulimit -n 48; exec \"$0\" \"$@\""])
            .arg(env!("CARGO_BIN_EXE_midge"))
            .args(["-p", &port.to_string()]),
    );
    let broker = Midge::running(broker);
    let first_line = broker.log();
    assert!(
        first_line.contains("Warning: This process may have 48 descriptors open"),
        "{first_line}"
    );
    let mut first = broker.connect(port);
    let mut others = Vec::new();
    let mut turned_away = 0;
    while turned_away < 5 {
        match process::try_connect(port) {
            Some(client) => others.push(client),
            None => turned_away += 1,
        }
    }
    assert!(!others.is_empty());
    broker.expect_log("Error: Unable to accept new connection, system socket count has been");
    // Who is there is served.
    first.write_all(&[0xC0, 0]).unwrap();
    let mut pong = [0; 2];
    first.read_exact(&mut pong).unwrap();
    // When some have gone, others can come.
    others.truncate(others.len() / 2);
    let mut late = eventually(|| process::try_connect(port));
    late.write_all(&[0xC0, 0]).unwrap();
    late.read_exact(&mut pong).unwrap();
    broker.expect_log("Connections are accepted again; ");
    let ended = broker.terminate();
    assert_eq!(ended.status.code(), Some(0));
    assert_eq!(ended.status.signal(), None);
    assert_eq!(
        ended.log.matches("system socket count").count(),
        1,
        "{}",
        ended.log
    );
}
