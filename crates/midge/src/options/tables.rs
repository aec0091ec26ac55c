//! The options of every tool.

use super::{Command, Id, Operand, Opt};

const fn flag(id: Id, names: &'static [&'static str], help: &'static str) -> Opt {
    Opt {
        id,
        names,
        operand: None,
        help,
    }
}

const fn valued(
    id: Id,
    names: &'static [&'static str],
    name: &'static str,
    missing: &'static str,
    help: &'static str,
) -> Opt {
    Opt {
        id,
        names,
        operand: Some(Operand { name, missing }),
        help,
    }
}

const QOS: Opt = valued(
    Id::QoS,
    &["-q", "--qos"],
    "qos",
    "-q argument given but no QoS specified.",
    "Quality of service: 0, 1 or 2. Defaults to 0.",
);

const TOPIC_MISSING: &str = "-t argument given but no topic specified.";

/// Where to connect to and as whom.
const CONNECT: &[Opt] = &[
    valued(
        Id::Host,
        &["-h", "--host"],
        "host",
        "-h argument given but no host specified.",
        "The broker's name or address. Defaults to localhost.",
    ),
    valued(
        Id::Port,
        &["-p", "--port"],
        "port",
        "-p argument given but no port specified.",
        "The broker's port. Defaults to 1883.",
    ),
    valued(
        Id::UserName,
        &["-u", "--username"],
        "name",
        "-u argument given but no username specified.",
        "The user name to connect with.",
    ),
    valued(
        Id::Password,
        &["-P", "--pw"],
        "password",
        "-P argument given but no password specified.",
        "The password to connect with.",
    ),
    valued(
        Id::ProtocolVersion,
        &["-V", "--protocol-version"],
        "version",
        "--protocol-version argument given but no version specified.",
        "The protocol version: mqttv5 (5), mqttv311 (311) or mqttv31 (31). Defaults to mqttv311.",
    ),
];

/// What pub and sub say about their session.
const SESSION: &[Opt] = &[
    valued(
        Id::SessionName,
        &["-i", "--id"],
        "id",
        "-i argument given but no id specified.",
        "The client id. Defaults to a random one.",
    ),
    valued(
        Id::SessionNamePrefix,
        &["-I", "--id-prefix"],
        "prefix",
        "-I argument given but no id prefix specified.",
        "Makes the client id from this prefix and the process id.",
    ),
    valued(
        Id::KeepAlive,
        &["-k", "--keepalive"],
        "seconds",
        "-k argument given but no keepalive specified.",
        "The keep alive, 5 to 65535 seconds. Defaults to 60.",
    ),
    flag(
        Id::CleanSessionOff,
        &["-c", "--disable-clean-session"],
        "Keeps the session and what is queued in it for the next connection; needs a client id.",
    ),
    valued(
        Id::SessionExpiry,
        &["-x"],
        "seconds",
        "-x argument given but no session expiry interval specified.",
        "How long an MQTT 5 session outlives its connection; -1 for ever. Defaults to -1 with -c, \
         to 0 without.",
    ),
    flag(
        Id::NoDelay,
        &["--nodelay"],
        "Accepted for compatibility: packets never wait for more to come.",
    ),
    flag(
        Id::Debug,
        &["-d", "--debug"],
        "Prints each packet sent and received.",
    ),
    flag(Id::Quiet, &["--quiet"], "Prints no errors."),
    flag(Id::Version, &["--version"], "Prints the version."),
    flag(Id::Help, &["--help"], "Prints this text."),
];

/// `midge pub`.
pub(crate) const PUB: Command = Command {
    name: "midge pub",
    about: "Publishes a message to a topic and ends.",
    usage: "[-h host] [-p port] [-q qos] [-r] -t topic {-m message | -f file | -l | -n | -s}",
    options: &[
        &[
            valued(
                Id::Topic,
                &["-t", "--topic"],
                "topic",
                TOPIC_MISSING,
                "The topic to publish to.",
            ),
            valued(
                Id::Message,
                &["-m", "--message"],
                "message",
                "-m argument given but no message specified.",
                "Publishes this text.",
            ),
            valued(
                Id::File,
                &["-f", "--file"],
                "file",
                "-f argument given but no file specified.",
                "Publishes the content of a file.",
            ),
            flag(
                Id::Lines,
                &["-l", "--stdin-line"],
                "Publishes each line of the standard input as a message.",
            ),
            flag(
                Id::StdinFile,
                &["-s", "--stdin-file"],
                "Publishes the whole standard input as one message.",
            ),
            flag(
                Id::NullMessage,
                &["-n", "--null-message"],
                "Publishes an empty message; with -r it removes a retained one.",
            ),
            QOS,
            flag(
                Id::Retain,
                &["-r", "--retain"],
                "Asks the broker to keep the message for later subscribers.",
            ),
            valued(
                Id::Repeat,
                &["--repeat"],
                "count",
                "--repeat argument given but no count specified.",
                "Publishes the message of -m, -f, -n or -s this many times.",
            ),
            valued(
                Id::MaxInflight,
                &["-M"],
                "count",
                "-M argument given but max_inflight not specified.",
                "How many messages may wait for their acknowledgement. Defaults to 20.",
            ),
        ],
        CONNECT,
        SESSION,
    ],
};

/// `midge sub`.
pub(crate) const SUB: Command = Command {
    name: "midge sub",
    about: "Subscribes to topics and prints the messages that arrive.",
    usage: "[-h host] [-p port] [-q qos] [-v] [-C count] [-W seconds] -t topic ...",
    options: &[
        &[
            valued(
                Id::Topic,
                &["-t", "--topic"],
                "filter",
                TOPIC_MISSING,
                "The topic filter to subscribe to. May be repeated.",
            ),
            valued(
                Id::FilterOut,
                &["-T", "--filter-out"],
                "filter",
                "-T argument given but no topic filter specified.",
                "Doesn't print messages of these topics. May be repeated.",
            ),
            QOS,
            flag(
                Id::Verbose,
                &["-v", "--verbose"],
                "Prints the topic before each message.",
            ),
            flag(
                Id::NoNewline,
                &["-N"],
                "Adds no end of line to the messages.",
            ),
            flag(
                Id::RetainedOff,
                &["-R"],
                "Doesn't print messages that were retained.",
            ),
            valued(
                Id::Count,
                &["-C"],
                "count",
                "-C argument given but no count specified.",
                "Ends after this many messages.",
            ),
            valued(
                Id::Timeout,
                &["-W"],
                "seconds",
                "-W argument given but no timeout specified.",
                "Ends after this time, with exit code 27.",
            ),
            flag(
                Id::ExitAfterSubscribe,
                &["-E"],
                "Ends once the broker has acknowledged the subscriptions.",
            ),
        ],
        CONNECT,
        SESSION,
    ],
};

/// `midge bench`: the choice of the scenario.
pub(crate) const BENCH: Command = Command {
    name: "midge bench",
    about: "Measures a broker: throughput, latency, losses, and its processor time per message.\n\n\
            Scenarios:\n  \
            p2p      pairs of one publisher and one subscriber\n  \
            fan-out  one publisher, many subscribers\n  \
            fan-in   many publishers, a group of subscribers that share them (or one for all)",
    usage: "{p2p | fan-out | fan-in} [options]",
    options: &[],
};

/// What all scenarios take.
const LOAD: &[Opt] = &[
    QOS,
    valued(
        Id::Payload,
        &["--payload"],
        "bytes",
        "--payload argument given but no size specified.",
        "Size of each message, 24 to 1048576 bytes. Defaults to 128.",
    ),
    valued(
        Id::Window,
        &["--window"],
        "count",
        "--window argument given but no count specified.",
        "Closed loop: how many messages each publisher may have on their way, up to 65535. \
         Defaults to 100.",
    ),
    valued(
        Id::Rate,
        &["--rate"],
        "messages",
        "--rate argument given but no number specified.",
        "Open loop: messages published each second, all publishers together. Latency then counts \
         from when a message was due.",
    ),
    valued(
        Id::Seconds,
        &["--seconds"],
        "seconds",
        "--seconds argument given but no time specified.",
        "How long to measure. Defaults to 10.",
    ),
    valued(
        Id::WarmUp,
        &["--warm-up"],
        "seconds",
        "--warm-up argument given but no time specified.",
        "How long to run before measuring. Defaults to 1.",
    ),
    valued(
        Id::Threads,
        &["--threads"],
        "count",
        "--threads argument given but no count specified.",
        "Threads that make the load, up to 64. Defaults to 1.",
    ),
    valued(
        Id::RoundMicros,
        &["--round-us"],
        "microseconds",
        "--round-us argument given but no time specified.",
        "The shortest time from one round of reading and writing to the next: longer rounds cost \
         less and add to the latency; 0 never sleeps. Defaults to 1000.",
    ),
    valued(
        Id::Pid,
        &["--pid"],
        "process",
        "--pid argument given but no process id specified.",
        "The broker's process id: its processor time per message and its memory are reported.",
    ),
    flag(
        Id::Json,
        &["--json"],
        "Prints the result as one JSON object.",
    ),
    flag(Id::Quiet, &["--quiet"], "Prints no progress."),
    flag(Id::Help, &["--help"], "Prints this text."),
];

const SUBSCRIBERS_MISSING: &str = "--subscribers argument given but no count specified.";

/// `midge bench p2p`.
pub(crate) const P2P: Command = Command {
    name: "midge bench p2p",
    about: "Pairs of one publisher and one subscriber, each pair with a topic of its own.",
    usage: "[--pairs count] [options]",
    options: &[
        &[valued(
            Id::Pairs,
            &["--pairs"],
            "count",
            "--pairs argument given but no count specified.",
            "How many pairs. Defaults to 100.",
        )],
        LOAD,
        CONNECT,
    ],
};

/// `midge bench fan-out`.
pub(crate) const FAN_OUT: Command = Command {
    name: "midge bench fan-out",
    about: "One publisher whose messages go to every subscriber.",
    usage: "[--subscribers count] [options]",
    options: &[
        &[valued(
            Id::Subscribers,
            &["--subscribers"],
            "count",
            SUBSCRIBERS_MISSING,
            "How many subscribers. Defaults to 1000.",
        )],
        LOAD,
        CONNECT,
    ],
};

/// `midge bench fan-in`.
pub(crate) const FAN_IN: Command = Command {
    name: "midge bench fan-in",
    about: "Many publishers whose messages a few subscribers share.",
    usage: "[--publishers count] [--subscribers count | --wildcard] [options]",
    options: &[
        &[
            valued(
                Id::Publishers,
                &["--publishers"],
                "count",
                "--publishers argument given but no count specified.",
                "How many publishers. Defaults to 100.",
            ),
            valued(
                Id::Subscribers,
                &["--subscribers"],
                "count",
                SUBSCRIBERS_MISSING,
                "How many subscribers of one shared subscription. Defaults to 5.",
            ),
            flag(
                Id::Wildcard,
                &["--wildcard"],
                "One subscriber with a wildcard instead of a shared subscription.",
            ),
        ],
        LOAD,
        CONNECT,
    ],
};
