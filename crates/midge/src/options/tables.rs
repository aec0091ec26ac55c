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
        "The protocol version: mqttv5 (5), mqttv311 (311) or mqttv31 (31). Defaults to mqttv311, \
         with ctrl to mqttv5.",
    ),
];

const SESSION_EXPIRY: Opt = valued(
    Id::SessionExpiry,
    &["-x"],
    "seconds",
    "-x argument given but no session expiry interval specified.",
    "How long an MQTT 5 session outlives its connection; -1 for ever. Defaults to -1 with -c, \
     to 0 without.",
);

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
    SESSION_EXPIRY,
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

/// `midge ctrl`.
pub(crate) const CTRL: Command = Command {
    name: "midge ctrl",
    about: "Administers a broker while it runs. Without a module it asks for commands.",
    usage: "[-h host] [-p port] [-u name] [-P password] [dynsec|broker command ...]",
    options: &[
        CONNECT,
        &[
            valued(
                Id::SessionName,
                &["-i", "--id"],
                "id",
                "-i argument given but no id specified.",
                "The client id. Defaults to a random one.",
            ),
            valued(
                Id::QoS,
                &["-q", "--qos"],
                "qos",
                "-q argument given but no QoS specified.",
                "Quality of service of requests and answers: 0, 1 or 2. Defaults to 1.",
            ),
            valued(
                Id::File,
                &["-f"],
                "file",
                "-f argument given but no data file specified.",
                "A dynamic-security file that `dynsec setClientPassword` changes, without a broker.",
            ),
            valued(
                Id::OptionsFile,
                &["-o"],
                "file",
                "-o argument given but no options file specified.",
                "A file with an option and its value in each line. Defaults to mosquitto_ctrl in \
                 $XDG_CONFIG_HOME or ~/.config. What the command line says counts more.",
            ),
            flag(
                Id::Debug,
                &["-d", "--debug"],
                "Prints each packet sent and received.",
            ),
            flag(Id::Quiet, &["--quiet"], "Prints no warnings."),
            flag(
                Id::Verbose,
                &["-v", "--verbose"],
                "Accepted for compatibility.",
            ),
            flag(Id::Version, &["--version"], "Prints the version."),
            flag(Id::Help, &["--help"], "Prints this text."),
        ],
    ],
};

/// `midge bench`: the choice of the scenario.
pub(crate) const BENCH: Command = Command {
    name: "midge bench",
    about: "Measures a broker: throughput, latency, losses, and its processor time per message.\n\n\
            Scenarios:\n  \
            p2p      pairs of one publisher and one subscriber\n  \
            fan-out  one publisher, many subscribers\n  \
            fan-in   many publishers, a group of subscribers that share them (or one for all)\n  \
            wildcard many filters with wildcards, three of which match each message\n  \
            conn     clients that connect, subscribe and disconnect, over and over\n  \
            idle     clients that connect, subscribe, and do nothing\n  \
            retained messages that are retained, then subscribers to all of them\n  \
            offline  messages for sessions that are away and then come back",
    usage: "{p2p | fan-out | fan-in | wildcard | conn | idle | retained | offline} [options]",
    options: &[],
};

const PAYLOAD: Opt = valued(
    Id::Payload,
    &["--payload"],
    "bytes",
    "--payload argument given but no size specified.",
    "Size of each message, 24 to 1048576 bytes. Defaults to 128.",
);

const SECONDS: Opt = valued(
    Id::Seconds,
    &["--seconds"],
    "seconds",
    "--seconds argument given but no time specified.",
    "How long to measure. Defaults to 10.",
);

const WINDOW_MISSING: &str = "--window argument given but no count specified.";

/// What scenarios take that go on until their time is over.
const LOAD: &[Opt] = &[
    QOS,
    PAYLOAD,
    SESSION_EXPIRY,
    valued(
        Id::Window,
        &["--window"],
        "count",
        WINDOW_MISSING,
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
    SECONDS,
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
];

/// What all scenarios take.
const REPORT: &[Opt] = &[
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

const CLIENTS_MISSING: &str = "--clients argument given but no count specified.";
const MESSAGES_MISSING: &str = "--messages argument given but no count specified.";
const PUBLISHERS_MISSING: &str = "--publishers argument given but no count specified.";
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
        REPORT,
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
        REPORT,
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
                PUBLISHERS_MISSING,
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
        REPORT,
        CONNECT,
    ],
};

/// `midge bench wildcard`.
pub(crate) const WILDCARD: Command = Command {
    name: "midge bench wildcard",
    about: "Many filters with wildcards. Each publisher takes many topics in turn; each topic is \
            matched by three filters, of three subscribers.",
    usage: "[--publishers count] [--filters count] [options]",
    options: &[
        &[
            valued(
                Id::Publishers,
                &["--publishers"],
                "count",
                PUBLISHERS_MISSING,
                "How many publishers, with three subscribers each. Defaults to 10.",
            ),
            valued(
                Id::Filters,
                &["--filters"],
                "count",
                "--filters argument given but no count specified.",
                "How many filters in all, up to 2999999. Defaults to 100000.",
            ),
        ],
        LOAD,
        REPORT,
        CONNECT,
    ],
};

/// `midge bench conn`.
pub(crate) const CONN: Command = Command {
    name: "midge bench conn",
    about: "Clients that connect, subscribe to a topic of their own and disconnect, and then do so \
            again, as fast as they can.",
    usage: "[--clients count] [options]",
    options: &[
        &[
            valued(
                Id::Clients,
                &["--clients"],
                "count",
                CLIENTS_MISSING,
                "How many clients do so at a time. Defaults to 100.",
            ),
            QOS,
            SECONDS,
        ],
        REPORT,
        CONNECT,
    ],
};

/// `midge bench idle`.
pub(crate) const IDLE: Command = Command {
    name: "midge bench idle",
    about: "Clients that connect, subscribe to a topic of their own, and then do nothing: what each \
            of them costs.",
    usage: "[--clients count] [options]",
    options: &[
        &[
            valued(
                Id::Clients,
                &["--clients"],
                "count",
                CLIENTS_MISSING,
                "How many clients. Defaults to 1000.",
            ),
            QOS,
            SECONDS,
        ],
        REPORT,
        CONNECT,
    ],
};

const PUBLISHER_WINDOW: Opt = valued(
    Id::Window,
    &["--window"],
    "count",
    WINDOW_MISSING,
    "How many messages of QoS 1 or 2 the publisher may have on their way, up to 65535. Defaults \
     to 100.",
);

/// `midge bench retained`.
pub(crate) const RETAINED: Command = Command {
    name: "midge bench retained",
    about: "Retains a message in each of many topics, then subscribes to all of them at once, and \
            removes the messages.",
    usage: "[--messages count] [--subscribers count] [options]",
    options: &[
        &[
            valued(
                Id::Messages,
                &["--messages"],
                "count",
                MESSAGES_MISSING,
                "How many messages. Defaults to 10000.",
            ),
            valued(
                Id::Subscribers,
                &["--subscribers"],
                "count",
                SUBSCRIBERS_MISSING,
                "How many subscribers get all of them. Defaults to 10.",
            ),
            QOS,
            PAYLOAD,
            PUBLISHER_WINDOW,
        ],
        REPORT,
        CONNECT,
    ],
};

/// `midge bench offline`.
pub(crate) const OFFLINE: Command = Command {
    name: "midge bench offline",
    about: "Sessions subscribe to a topic of their own and go away; messages are queued for them; \
            then they come back and get them. The broker must queue as many as are sent.",
    usage: "[--clients count] [--messages count] [--publishers count] [options]",
    options: &[
        &[
            valued(
                Id::Clients,
                &["--clients"],
                "count",
                CLIENTS_MISSING,
                "How many sessions. Defaults to 100.",
            ),
            valued(
                Id::Messages,
                &["--messages"],
                "count",
                MESSAGES_MISSING,
                "How many messages for each. Defaults to 100.",
            ),
            valued(
                Id::Publishers,
                &["--publishers"],
                "count",
                PUBLISHERS_MISSING,
                "How many publishers share the sessions. Defaults to 1.",
            ),
            valued(
                Id::QoS,
                &["-q", "--qos"],
                "qos",
                "-q argument given but no QoS specified.",
                "Quality of service: 1 or 2. Defaults to 1.",
            ),
            PAYLOAD,
            PUBLISHER_WINDOW,
        ],
        REPORT,
        CONNECT,
    ],
};
