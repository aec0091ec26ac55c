//! The options of `midge bench`.

use super::connect::{CONNECT, LINK, OAUTH, TLS};
use super::{Command, Group, Id, Opt, QOS, SESSION_EXPIRY, flag, own, valued};

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
            offline  messages for sessions that are away and then come back\n\n\
            Saved runs (midge bench SCENARIO --json >> FILE):\n  \
            compare BEFORE AFTER   the figures of two files and their ratio\n  \
            report FILE ...        a page with plots: midge bench report FILE > report.html",
    usage: "{p2p | fan-out | fan-in | wildcard | conn | idle | retained | offline} [options]\n       \
            midge bench compare FILE FILE\n       midge bench report FILE ...",
    options: &[],
    examples: &[
        (
            "p2p --pairs 100 -q 1 --pid $(pidof midge)",
            "throughput, latency, and what it costs the broker",
        ),
        ("p2p --help", "what a scenario can be told"),
    ],
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

/// What scenarios take that go on until their time is over.
const LOAD: Group = Group {
    title: "Load",
    options: &[
        QOS,
        PAYLOAD,
        SESSION_EXPIRY,
        window(
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
        count(
            Id::Threads,
            &["--threads"],
            "--threads argument given but no count specified.",
            "Threads that make the load, up to 64. Defaults to 1.",
        ),
        count(
            Id::Processes,
            &["--processes"],
            "--processes argument given but no count specified.",
            "Does all of it so many times at once, each in a process of its own with its own clients, and \
         reports the sum. Up to 64. Defaults to 1.",
        ),
        valued(
            Id::RoundMicros,
            &["--round-us"],
            "microseconds",
            "--round-us argument given but no time specified.",
            "The shortest time from one round of reading and writing to the next: longer rounds cost \
         less and add to the latency; 0 never sleeps. Defaults to 1000.",
        ),
    ],
};

/// What all scenarios take.
const REPORT: Group = Group {
    title: "Report",
    options: &[
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
    ],
};

/// The groups of a scenario that goes on until its time is over.
const fn load(options: &'static [Opt]) -> [Group; 7] {
    [own(options), LOAD, REPORT, CONNECT, LINK, TLS, OAUTH]
}

/// The groups of any other scenario.
const fn scenario(options: &'static [Opt]) -> [Group; 6] {
    [own(options), REPORT, CONNECT, LINK, TLS, OAUTH]
}

const fn clients(help: &'static str) -> Opt {
    count(
        Id::Clients,
        &["--clients"],
        "--clients argument given but no count specified.",
        help,
    )
}

const fn messages(help: &'static str) -> Opt {
    count(
        Id::Messages,
        &["--messages"],
        "--messages argument given but no count specified.",
        help,
    )
}

const fn publishers(help: &'static str) -> Opt {
    count(
        Id::Publishers,
        &["--publishers"],
        "--publishers argument given but no count specified.",
        help,
    )
}

const fn subscribers(help: &'static str) -> Opt {
    count(
        Id::Subscribers,
        &["--subscribers"],
        "--subscribers argument given but no count specified.",
        help,
    )
}

const fn count(
    id: Id,
    names: &'static [&'static str],
    missing: &'static str,
    help: &'static str,
) -> Opt {
    valued(id, names, "count", missing, help)
}

const fn window(help: &'static str) -> Opt {
    count(
        Id::Window,
        &["--window"],
        "--window argument given but no count specified.",
        help,
    )
}

/// `midge bench p2p`.
pub(crate) const P2P: Command = Command {
    name: "midge bench p2p",
    about: "Pairs of one publisher and one subscriber, each pair with a topic of its own.",
    usage: "[--pairs count] [options]",
    options: &load(&[count(
        Id::Pairs,
        &["--pairs"],
        "--pairs argument given but no count specified.",
        "How many pairs. Defaults to 100.",
    )]),
    examples: &[],
};

/// `midge bench fan-out`.
pub(crate) const FAN_OUT: Command = Command {
    name: "midge bench fan-out",
    about: "One publisher whose messages go to every subscriber.",
    usage: "[--subscribers count] [options]",
    options: &load(&[subscribers("How many subscribers. Defaults to 1000.")]),
    examples: &[],
};

/// `midge bench fan-in`.
pub(crate) const FAN_IN: Command = Command {
    name: "midge bench fan-in",
    about: "Many publishers whose messages a few subscribers share.",
    usage: "[--publishers count] [--subscribers count | --wildcard] [options]",
    options: &load(&[
        publishers("How many publishers. Defaults to 100."),
        subscribers("How many subscribers of one shared subscription. Defaults to 5."),
        flag(
            Id::Wildcard,
            &["--wildcard"],
            "One subscriber with a wildcard instead of a shared subscription.",
        ),
    ]),
    examples: &[],
};

/// `midge bench wildcard`.
pub(crate) const WILDCARD: Command = Command {
    name: "midge bench wildcard",
    about: "Many filters with wildcards. Each publisher takes many topics in turn; each topic is \
            matched by three filters, of three subscribers.",
    usage: "[--publishers count] [--filters count] [options]",
    options: &load(&[
        publishers("How many publishers, with three subscribers each. Defaults to 10."),
        count(
            Id::Filters,
            &["--filters"],
            "--filters argument given but no count specified.",
            "How many filters in all, up to 2999999. Defaults to 100000.",
        ),
    ]),
    examples: &[],
};

/// `midge bench conn`.
pub(crate) const CONN: Command = Command {
    name: "midge bench conn",
    about: "Clients that connect, subscribe to a topic of their own and disconnect, and then do so \
            again, as fast as they can. All handshakes are under way at once, but for proxies and Unix \
            sockets; TLS resumes sessions, as clients do.",
    usage: "[--clients count] [options]",
    options: &scenario(&[
        clients("How many clients do so at a time. Defaults to 100."),
        QOS,
        SECONDS,
    ]),
    examples: &[],
};

/// `midge bench idle`.
pub(crate) const IDLE: Command = Command {
    name: "midge bench idle",
    about: "Clients that connect, subscribe to a topic of their own, and then do nothing: what each \
            of them costs.",
    usage: "[--clients count] [options]",
    options: &scenario(&[clients("How many clients. Defaults to 1000."), QOS, SECONDS]),
    examples: &[],
};

const PUBLISHER_WINDOW: Opt = window(
    "How many messages of QoS 1 or 2 the publisher may have on their way, up to 65535. Defaults \
     to 100.",
);

/// `midge bench retained`.
pub(crate) const RETAINED: Command = Command {
    name: "midge bench retained",
    about: "Retains a message in each of many topics, then subscribes to all of them at once, and \
            removes the messages.",
    usage: "[--messages count] [--subscribers count] [options]",
    options: &scenario(&[
        messages("How many messages. Defaults to 10000."),
        subscribers("How many subscribers get all of them. Defaults to 10."),
        QOS,
        PAYLOAD,
        PUBLISHER_WINDOW,
    ]),
    examples: &[],
};

/// `midge bench offline`.
pub(crate) const OFFLINE: Command = Command {
    name: "midge bench offline",
    about: "Sessions subscribe to a topic of their own and go away; messages are queued for them; \
            then they come back and get them. The broker must queue as many as are sent.",
    usage: "[--clients count] [--messages count] [--publishers count] [options]",
    options: &scenario(&[
        clients("How many sessions. Defaults to 100."),
        messages("How many messages for each. Defaults to 100."),
        publishers("How many publishers share the sessions. Defaults to 1."),
        valued(
            Id::QoS,
            &["-q", "--qos"],
            "qos",
            "-q argument given but no QoS specified.",
            "Quality of service: 1 or 2. Defaults to 1.",
        ),
        PAYLOAD,
        PUBLISHER_WINDOW,
    ]),
    examples: &[],
};
