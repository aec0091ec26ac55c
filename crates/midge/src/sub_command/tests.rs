use super::*;
use crate::command_line::{Request, parse};
use midge_codec::{RetainHandling, Version};

fn read(line: &str) -> Result<Request<Job>, UsageError> {
    parse::<Job>(line.split_whitespace().map(OsString::from).collect())
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
fn options_arrive_where_they_belong() {
    let job = job("-t a/# -t b/+ -T a/x -U c -q 1 -v -N -R -C 25 -W 3 -V mqttv31 -E");
    assert_eq!(job.filters, ["a/#", "b/+"]);
    assert_eq!(job.filters_out, ["a/x"]);
    assert_eq!(job.unsubscribe, ["c"]);
    assert_eq!(job.subscribe.asked.qos, QoS::AtLeastOnce);
    assert_eq!(
        job.subscribe.asked.retain_handling,
        RetainHandling::DoNotSend
    );
    assert!(job.print.show_topic && !job.print.newline);
    assert!(!job.subscribe.show_retained && job.exit_after_subscribe);
    assert_eq!(job.count, Some(25));
    assert_eq!(job.subscribe.timeout, Some(Duration::from_secs(3)));
    assert_eq!(job.connect.version, Version::V3_1);
    assert_eq!(job.connect.receive_maximum, None);
}

#[test]
fn a_small_count_is_announced_as_receive_maximum() {
    assert_eq!(job("-t a -C 19").connect.receive_maximum, Some(19));
    assert_eq!(job("-t a -C 20").connect.receive_maximum, None);
    assert_eq!(job("-t a").connect.receive_maximum, None);
}

#[test]
fn faults_are_told_in_the_words_of_mosquitto_sub() {
    fails(
        "",
        "You must specify a topic to subscribe to (-t) or unsubscribe from (-U).",
    );
    fails("-t a -C 0", "Invalid message count \"0\".");
    fails("-t a -W 0", "Invalid timeout \"0\".");
    fails("-t a -q 5", "Invalid QoS given: 5");
    fails("-t a -r", "Unknown option '-r'.");
    fails(
        "-t a --retain-handling x",
        "Unknown value 'x' for --retain-handling.",
    );
    fails(
        "-t a -R --retained-only",
        "Combining '-R' and '--retained-only' makes no sense.",
    );
    fails(
        "-t a -U b/#/c",
        "Invalid unsubscribe topic 'b/#/c', are all '+' and '#' wildcards correct?",
    );
    fails(
        "-t a/#b",
        "Invalid subscription topic 'a/#b', are all '+' and '#' wildcards correct?",
    );
    fails(
        "-t a -T #x",
        "Invalid filter topic '#x', are all '+' and '#' wildcards correct?",
    );
    fails(
        "-t a -c",
        "You must provide a client id if you are using the -c option.",
    );
}
