//! The options of `midge ctrl`.

use super::connect::{CONNECT, LINK, OAUTH, TLS};
use super::{Command, Id, file, flag, own, valued};

/// `midge ctrl`.
pub(crate) const CTRL: Command = Command {
    name: "midge ctrl",
    about: "Administers a broker while it runs. Without a module it asks for commands.",
    usage: "[-h host] [-p port] [-u name] [-P password] [dynsec|broker command ...]",
    options: &[
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
                "The client id. Defaults to a random one.",
            ),
            valued(
                Id::QoS,
                &["-q", "--qos"],
                "qos",
                "-q argument given but no QoS specified.",
                "Quality of service of requests and answers: 0, 1 or 2. Defaults to 1.",
            ),
            file(
                Id::File,
                &["-f"],
                "file",
                "-f argument given but no data file specified.",
                "A dynamic-security file that `dynsec setClientPassword` changes, without a broker.",
            ),
            file(
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
        ]),
    ],
    examples: &[
        ("-u admin dynsec listClients", "who may log in"),
        ("broker listListeners", "where the broker listens"),
    ],
};
