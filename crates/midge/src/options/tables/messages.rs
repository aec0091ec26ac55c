//! The options of `midge pub`, `midge sub` and `midge rr`.

use super::connect::{CONNECT, LINK, OAUTH, SESSION, TLS};
use super::{Command, Group, Id, QOS, chosen, file, flag, own, valued};

const TOPIC_MISSING: &str = "-t argument given but no topic specified.";

/// What is published by pub and rr.
const CONTENT: Group = Group {
    title: "Message",
    options: &[
        valued(
            Id::Message,
            &["-m", "--message"],
            "message",
            "-m argument given but no message specified.",
            "Publishes this text.",
        ),
        file(
            Id::File,
            &["-f", "--file"],
            "file",
            "-f argument given but no file specified.",
            "Publishes the content of a file.",
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
    ],
};

/// How sub and rr print messages.
const OUTPUT: Group = Group {
    title: "Output",
    options: &[
        flag(
            Id::Verbose,
            &["-v", "--verbose"],
            "Prints the topic before each message.",
        ),
        valued(
            Id::Format,
            &["-F"],
            "format",
            "-F argument given but no format specified.",
            "Prints each message by this format, with %t topic, %p payload, %x and %X payload in hex, %f \
         and %d payload as float and double, %l length, %q QoS, %r retain, %m packet id, %j and %J \
         all as JSON with the payload as text or as JSON, %I and %U time in ISO 8601 and since 1970, \
         @Y and such as of strftime, MQTT 5: %A alias, %C content type, %D correlation data, %E \
         expiry, %F format indicator, %P user properties, %R response topic, %S subscription \
         identifier. %-10t, %010l, %.20p: width, and most characters.",
        ),
        flag(
            Id::JsonLines,
            &["--json"],
            "Prints each message as one line of JSON: a payload of JSON as such, of text as text, of \
         anything else in base64. As -F %j, but nothing is lost.",
        ),
        flag(Id::Pretty, &["--pretty"], "Prints JSON in several lines."),
        chosen(
            Id::Decode,
            &["--decode"],
            ("form", &["auto", "cbor", "msgpack", "none"]),
            "--decode argument given but no form specified.",
            "Prints payloads of this form readable: cbor, msgpack, or auto for what their content type \
         says. Defaults to none.",
        ),
        chosen(
            Id::Colour,
            &["--colour", "--color"],
            ("when", &["auto", "always", "never"]),
            "--colour argument given but no choice specified.",
            "Colours topics of -v: auto (on a terminal, unless NO_COLOR is set), always or never.",
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
        flag(
            Id::RetainAsPublished,
            &["--retain-as-published"],
            "Asks the broker to pass on the retain flag as it was published (MQTT 5).",
        ),
        chosen(
            Id::RetainHandling,
            &["--retain-handling"],
            ("when", &["always", "new", "never"]),
            "--retain-handling argument given but no option specified.",
            "When retained messages are to be sent: always, new (for a new subscription) or never \
         (MQTT 5). Defaults to always.",
        ),
        valued(
            Id::Timeout,
            &["-W"],
            "seconds",
            "-W argument given but no timeout specified.",
            "Ends after this time, with exit code 27.",
        ),
    ],
};

/// `midge pub`.
pub(crate) const PUB: Command = Command {
    name: "midge pub",
    about: "Publishes a message to a topic and ends.",
    usage: "[-h host] [-p port] [-q qos] [-r] -t topic {-m message | -f file | -l | -n | -s}",
    options: &[
        own(&[valued(
            Id::Topic,
            &["-t", "--topic"],
            "topic",
            TOPIC_MISSING,
            "The topic to publish to.",
        )]),
        CONTENT,
        own(&[
            flag(
                Id::Lines,
                &["-l", "--stdin-line"],
                "Publishes each line of the standard input as a message.",
            ),
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
                "Publishes the message of -m, -f, -n or -s this many times; lines of -l once.",
            ),
            valued(
                Id::RepeatDelay,
                &["--repeat-delay"],
                "seconds",
                "--repeat-delay argument given but no time specified.",
                "How long to wait between them, such as 0.5. Defaults to 0.",
            ),
        ]),
        CONNECT,
        LINK,
        TLS,
        OAUTH,
        SESSION,
    ],
    examples: &[
        (
            "-t garden/temperature -m 21.5",
            "publishes to the broker of this machine",
        ),
        (
            "-h broker.example -q 1 -r -t garden/gate -m open",
            "is acknowledged, and kept for those who come later",
        ),
        (
            "-L mqtts://ann:secret@broker.example/garden/log -l < log.txt",
            "each line, over TLS",
        ),
    ],
};

/// `midge sub`.
pub(crate) const SUB: Command = Command {
    name: "midge sub",
    about: "Subscribes to topics and prints the messages that arrive.",
    usage: "[-h host] [-p port] [-q qos] [-v] [-C count] [-W seconds] -t topic ...",
    options: &[
        own(&[
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
            valued(
                Id::Unsubscribe,
                &["-U", "--unsubscribe"],
                "filter",
                "-U argument given but no unsubscribe topic specified.",
                "Unsubscribes from a topic filter, in a session that was kept. May be repeated.",
            ),
            QOS,
            valued(
                Id::Count,
                &["-C"],
                "count",
                "-C argument given but no count specified.",
                "Ends after this many messages.",
            ),
            flag(
                Id::ExitAfterSubscribe,
                &["-E"],
                "Ends once the broker has acknowledged the subscriptions.",
            ),
            flag(
                Id::RetainedOnly,
                &["--retained-only"],
                "Prints retained messages and ends at the first that was not.",
            ),
            flag(
                Id::RemoveRetained,
                &["--remove-retained"],
                "Removes the retained messages that arrive; -T spares topics.",
            ),
            valued(
                Id::RandomFilter,
                &["--random-filter"],
                "percent",
                "--random-filter argument given but no chance specified.",
                "Prints a part of the messages, chosen at random: 0.1 to 100.",
            ),
            flag(
                Id::MessageRate,
                &["--message-rate"],
                "Prints how many messages came in each second, instead of the messages.",
            ),
            flag(
                Id::Watch,
                &["-w", "--watch"],
                "Shows the last message of each topic in a line of its own.",
            ),
        ]),
        OUTPUT,
        CONNECT,
        LINK,
        TLS,
        OAUTH,
        SESSION,
    ],
    examples: &[
        (
            "-t 'garden/#' -v",
            "prints what is published below garden, with its topic",
        ),
        (
            "-t garden/gate -C 1 -W 5",
            "prints one message, or ends after five seconds",
        ),
        ("-t '#' --json", "prints every message as a line of JSON"),
        (
            "-t '#' -F '@H:@M:@S %t %l'",
            "prints time, topic and length",
        ),
    ],
};

/// `midge rr`.
pub(crate) const RR: Command = Command {
    name: "midge rr",
    about: "Publishes a request and prints the response.",
    usage: "[-h host] [-p port] [-W seconds] -t topic -e topic {-m message | -f file | -n | -s}",
    options: &[
        own(&[
            valued(
                Id::Topic,
                &["-t", "--topic"],
                "topic",
                TOPIC_MISSING,
                "The topic to publish the request to.",
            ),
            valued(
                Id::ResponseTopic,
                &["-e"],
                "topic",
                "-e argument given but no response topic specified.",
                "The topic where the response is expected.",
            ),
        ]),
        CONTENT,
        own(&[flag(
            Id::Latency,
            &["--latency"],
            "Prints how long the response took.",
        )]),
        OUTPUT,
        CONNECT,
        LINK,
        TLS,
        OAUTH,
        SESSION,
    ],
    examples: &[(
        "-t garden/ask -e garden/answer -m 'gate?' -W 5",
        "asks, and prints the answer",
    )],
};
