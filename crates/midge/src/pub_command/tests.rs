use super::*;
use crate::command_line::{Request, parse};
use midge_codec::Version;

fn read(line: &str) -> Result<Request<Job>, UsageError> {
    parse::<Line>(line.split_whitespace().map(OsString::from).collect())
}

fn job(line: &str) -> Job {
    match read(line) {
        Ok(Request::Run(job)) => *job,
        other => panic!("{line}: {other:?}"),
    }
}

#[track_caller]
fn fails(line: &str, text: &str) {
    assert_eq!(read(line), Err(text.into()), "{line}");
}

#[test]
fn defaults_are_those_of_mosquitto_pub() {
    let job = job("-t a -m x");
    assert_eq!(job.connect.host, "localhost");
    assert_eq!(job.connect.port(), 1883);
    assert_eq!(job.connect.version, Version::V3_1_1);
    assert_eq!(job.connect.keep_alive_secs, 60);
    assert!(job.connect.clean_start);
    assert_eq!(job.connect.client_id, None);
    assert_eq!(job.source, Source::Bytes(b"x".to_vec()));
    assert_eq!((job.qos, job.retain), (QoS::AtMostOnce, false));
}

#[test]
fn options_arrive_where_they_belong() {
    let job = job("-t a/b -n -q 2 -r -h h -p 7 -u u -P p -i id -c -k 5 -V 5 -M 3 --repeat 4");
    assert_eq!(job.topic, "a/b");
    assert_eq!(job.source, Source::Bytes(Vec::new()));
    assert_eq!((job.qos, job.retain), (QoS::ExactlyOnce, true));
    assert_eq!((job.connect.host.as_str(), job.connect.port()), ("h", 7));
    assert_eq!(job.connect.user_name.as_deref(), Some("u"));
    assert_eq!(job.connect.password.as_deref(), Some(b"p".as_slice()));
    assert_eq!(job.connect.client_id.as_deref(), Some("id"));
    assert!(!job.connect.clean_start);
    assert_eq!(job.connect.keep_alive_secs, 5);
    assert_eq!(job.connect.version, Version::V5);
    assert_eq!((job.connect.max_inflight, job.repeat), (3, 4));
}

#[test]
fn faults_are_told_in_the_words_of_mosquitto_pub() {
    fails("", "Both topic and message must be supplied.");
    fails("-t a", "Both topic and message must be supplied.");
    fails("-m x", "Both topic and message must be supplied.");
    fails("-t a -m x -p 70000", "Invalid port given: 70000");
    fails("-t a -m x -q 3", "Invalid QoS given: 3");
    fails(
        "-t a -m x -k 2",
        "Invalid keepalive given, it must be between 5 and 65535 inclusive.",
    );
    fails("-t a -m x -V 9", "Invalid protocol version argument given.");
    fails(
        "-t a/# -m x",
        "Invalid publish topic 'a/#', does it contain '+' or '#'?",
    );
    fails(
        "-t a -m x -n",
        "Only one type of message can be sent at once.",
    );
    fails(
        "-t a -l -m x",
        "Only one type of message can be sent at once.",
    );
    fails(
        "-t a -m x -c",
        "You must provide a client id if you are using the -c option.",
    );
    fails(
        "-t a -m x -P p",
        "Problem setting username and/or password. A password needs a user name: add -u, or -V 5.",
    );
    fails(
        "-t a -m x --repeat-delay -1",
        "--repeat-delay argument must be >=0.0.",
    );
    fails(
        "-L mqtt://h -m x",
        "Invalid URL for -L argument specified - topic missing.",
    );
    fails("-t a -m x -C 1", "Unknown option '-C'.");
    fails(
        "-t a -m x -i a -I b",
        "-i and -I argument cannot be used together.",
    );
    fails("-t a -m x --repeat 0", "--repeat argument must be >0.");
    // As the original, which repeats no lines.
    assert!(read("-t a -l --repeat 2").is_ok());
    fails(
        "-t a -m x -M 0",
        "Maximum inflight messages must be greater than 0.",
    );
    fails("-t a -m x -x s", "session-expiry-interval not a number.");
}

#[test]
fn the_first_fault_is_told() {
    fails("-q 3 -z", "Invalid QoS given: 3");
    fails("-z -q 3", "Unknown option '-z'.");
}

#[test]
fn help_wins_over_what_is_missing() {
    assert_eq!(read("--help"), Ok(Request::Help));
    assert_eq!(read("-t a --version"), Ok(Request::Version));
}
