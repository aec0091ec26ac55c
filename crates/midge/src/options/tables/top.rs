//! The options of `midge top`.

use super::connect::{CONNECT, LINK, OAUTH, TLS};
use super::{Command, Id, flag, own, valued};

/// `midge top`.
pub(crate) const TOP: Command = Command {
    name: "midge top",
    about: "Shows what a broker is doing, from its $SYS topics, live or as lines.",
    usage: "[-h host] [-p port] [-u name] [-P password] [-t filter ...]",
    options: &[
        own(&[
            valued(
                Id::Topic,
                &["-t", "--topic"],
                "filter",
                "-t argument given but no topic specified.",
                "Counts the messages of these topics too, and shows the busiest: -t '#' for all, which \
                 sends every message here. May be repeated.",
            ),
            valued(
                Id::Seconds,
                &["--interval"],
                "seconds",
                "--interval argument given but no time specified.",
                "How often to draw, or to print a line. Defaults to 1. The broker's own figures are as \
                 fresh as its sys_interval.",
            ),
            flag(
                Id::Plain,
                &["--plain"],
                "Prints lines, as it does where the output is no terminal.",
            ),
            valued(
                Id::Count,
                &["--count"],
                "count",
                "--count argument given but no count specified.",
                "Ends after this many views or lines.",
            ),
        ]),
        CONNECT,
        LINK,
        TLS,
        OAUTH,
        own(&[
            valued(
                Id::SessionName,
                &["-i", "--id"],
                "id",
                "-i argument given but no id specified.",
                "The client id. Defaults to one that the broker chooses.",
            ),
            flag(Id::Version, &["--version"], "Prints the version."),
            flag(Id::Help, &["--help"], "Prints this text."),
        ]),
    ],
    examples: &[
        ("-h broker.example -u ann -P secret", "a live view"),
        ("-t 'garden/#'", "with the busiest topics below garden"),
        (
            "--plain --interval 10 >> load.txt",
            "a line each ten seconds, into a file",
        ),
    ],
};
