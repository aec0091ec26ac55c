//! Pages of the manual, in the language of man.

use std::fmt::Write as _;

use super::words;
use crate::options::{Command, Opt};

/// Text that is none of roff's requests.
fn plain(text: &str) -> String {
    let text = text
        .replace('\\', "\\e")
        .replace('-', "\\-")
        .replace('\'', "\\(aq");
    if text.starts_with('.') {
        format!("\\&{text}")
    } else {
        text
    }
}

fn header(name: &str) -> String {
    format!(
        ".TH \"{}\" 1 \"\" \"midge {}\" \"User Commands\"\n",
        name.to_uppercase(),
        env!("CARGO_PKG_VERSION")
    )
}

/// The page of one command.
pub(super) fn page(command: &Command, other: Option<&str>) -> String {
    let name = command.name.replace(' ', "-");
    let about = command.about.split("\n\n").next().unwrap_or_default();
    let first = about
        .split(". ")
        .next()
        .unwrap_or_default()
        .trim_end_matches('.');
    let mut text = header(&name);
    let _ = writeln!(text, ".SH NAME\n{} \\- {}", plain(&name), plain(first));
    let _ = writeln!(
        text,
        ".SH SYNOPSIS\n.nf\n{} {}\n.fi",
        plain(command.name),
        plain(command.usage)
    );
    let _ = writeln!(text, ".SH DESCRIPTION\n{}", plain(about));
    if let Some(other) = other {
        let _ = writeln!(
            text,
            ".PP\nCalled as \\fB{}\\fR, midge is this command.",
            plain(other)
        );
    }
    text.push_str(".SH OPTIONS\n");
    for group in command.options {
        if !group.title.is_empty() {
            let _ = writeln!(text, ".SS {}", plain(group.title));
        }
        for option in group.options {
            put_option(option, &mut text);
        }
    }
    if !command.examples.is_empty() {
        text.push_str(".SH EXAMPLES\n");
        for (line, what) in command.examples {
            let line = format!("{} {line}", command.name);
            let _ = writeln!(text, ".TP\n.B {}\n{}", plain(&line), plain(what));
        }
    }
    if matches!(words(command).as_slice(), ["pub" | "sub" | "rr"]) {
        text.push_str(EXIT_STATUS);
    }
    text.push_str(".SH SEE ALSO\n.BR midge (1)\n");
    text
}

/// Appends an option.
fn put_option(option: &Opt, text: &mut String) {
    let names: Vec<_> = option
        .names
        .iter()
        .map(|name| format!("\\fB{}\\fR", plain(name)))
        .collect();
    let operand = option.operand.map_or_else(String::new, |operand| {
        format!(" \\fI{}\\fR", plain(operand.name))
    });
    let _ = writeln!(
        text,
        ".TP\n{}{operand}\n{}",
        names.join(", "),
        plain(option.help)
    );
}

const EXIT_STATUS: &str = "\
.SH EXIT STATUS
.TP
0
Everything went well.
.TP
1
The command line is wrong, or there is no connection.
.TP
7
The connection was lost.
.TP
8
TLS failed.
.TP
27
The time of \\-W has passed.
.TP
others
The reason code with which the broker refused the connection.
.SH FILES
.TP
$XDG_CONFIG_HOME/mosquitto_pub, mosquitto_sub, mosquitto_rr, or in ~/.config
Options that are read before the command line, one in each line.
";

/// The page of midge itself.
pub(super) fn overview(commands: &[(&Command, Option<&str>)]) -> String {
    let mut text = header("midge");
    text.push_str(
        ".SH NAME\nmidge \\- MQTT broker and tools\n.SH SYNOPSIS\n.B midge\n[\\fIcommand\\fR] \
         [\\fIoptions\\fR]\n.SH DESCRIPTION\nWithout a command, midge is the broker. Every command has a \
         page, midge\\-COMMAND(1), and takes \\-\\-help.\n.SH COMMANDS\n",
    );
    for (command, _) in commands {
        let about = command.about.split("\n\n").next().unwrap_or_default();
        let _ = writeln!(
            text,
            ".TP\n\\fB{}\\fR\n{}",
            plain(command.name),
            plain(about)
        );
    }
    text
}
