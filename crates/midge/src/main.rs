//! MQTT for people who depend on it: broker and tools in one binary.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

mod bench;
mod broker_command;
mod check_command;
mod client;
mod connect_options;
mod ctrl_command;
mod dump_command;
mod failure;
mod kept_file;
mod options;
mod passwd_command;
mod prompt;
mod pub_command;
mod sub_command;
mod terminal;

/// What the binary can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tool {
    Broker,
    Pub,
    Sub,
    Bench,
    Check,
    Dump,
    Passwd,
    Ctrl,
    Version,
    Help,
    Unknown,
}

impl Tool {
    /// Chooses by the name that the binary was called by, else by the first argument, which is then
    /// taken off `args`.
    fn choose(program: &str, args: &mut Vec<OsString>) -> Self {
        match program {
            "mosquitto" => return Self::Broker,
            "mosquitto_pub" => return Self::Pub,
            "mosquitto_sub" => return Self::Sub,
            "mosquitto_db_dump" => return Self::Dump,
            "mosquitto_passwd" => return Self::Passwd,
            "mosquitto_ctrl" => return Self::Ctrl,
            _ => {}
        }
        let first = args.first().and_then(|first| first.to_str());
        let tool = match first {
            None if args.is_empty() => return Self::Broker,
            Some("--version") => Self::Version,
            Some("--help" | "help") => Self::Help,
            Some(option) if option.starts_with('-') => return Self::Broker,
            Some("broker") => Self::Broker,
            Some("pub") => Self::Pub,
            Some("sub") => Self::Sub,
            Some("bench") => Self::Bench,
            Some("check") => Self::Check,
            Some("dump") => Self::Dump,
            Some("passwd") => Self::Passwd,
            Some("ctrl") => Self::Ctrl,
            _ => return Self::Unknown,
        };
        args.remove(0);
        tool
    }
}

const HELP: &str = "\
Usage: midge [broker] [options]     the broker
       midge pub [options]          publishes messages
       midge sub [options]          subscribes and prints messages
       midge bench SCENARIO         measures a broker
       midge dump [options] PATH    prints a store, or a mosquitto.db
       midge check acl|passwords    checks an access or password file, and what it decides
       midge passwd FILE USER       writes password files
       midge ctrl [options] MODULE  administers a broker that runs
       midge --version

Each takes --help. Called as mosquitto, mosquitto_pub, mosquitto_sub, mosquitto_passwd,
mosquitto_ctrl or mosquitto_db_dump, midge is that program.
";

fn main() -> ExitCode {
    let mut args = std::env::args_os();
    let program = args.next().unwrap_or_default();
    let program = Path::new(&program)
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let mut args: Vec<OsString> = args.collect();
    match Tool::choose(&program, &mut args) {
        Tool::Broker => broker_command::run(args),
        Tool::Pub => pub_command::run(args),
        Tool::Sub => sub_command::run(args),
        Tool::Bench => bench::run(args),
        Tool::Check => check_command::run(args),
        Tool::Dump => dump_command::run(args),
        Tool::Passwd => passwd_command::run(args),
        Tool::Ctrl => ctrl_command::run(args),
        Tool::Version => terminal::print(&terminal::version("midge")),
        Tool::Help => terminal::print(HELP),
        Tool::Unknown => {
            let first = args.first().map(|arg| arg.to_string_lossy());
            let first = first.unwrap_or_default();
            terminal::fail(
                &format!("Error: Unknown command '{first}'.\n\nUse 'midge --help' to see usage."),
                1,
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, tool: Tool, rest: &[&str]) {
        let mut words = line.split(' ').map(OsString::from);
        let program = words.next().unwrap().into_string().unwrap();
        let mut args: Vec<_> = words.collect();
        assert_eq!(Tool::choose(&program, &mut args), tool, "{line}");
        assert_eq!(args, rest, "{line}");
    }

    #[test]
    fn the_name_or_the_first_argument_chooses_the_tool() {
        check("midge", Tool::Broker, &[]);
        check("midge -v -p 1884", Tool::Broker, &["-v", "-p", "1884"]);
        check("midge broker -v", Tool::Broker, &["-v"]);
        check("mosquitto -c pub", Tool::Broker, &["-c", "pub"]);
        check("mosquitto --help", Tool::Broker, &["--help"]);
        check("midge pub -t a", Tool::Pub, &["-t", "a"]);
        check("mosquitto_pub -t a", Tool::Pub, &["-t", "a"]);
        check("midge sub --help", Tool::Sub, &["--help"]);
        check("mosquitto_sub pub", Tool::Sub, &["pub"]);
        check("midge bench p2p", Tool::Bench, &["p2p"]);
        check("midge check acl -x", Tool::Check, &["acl", "-x"]);
        check("midge dump --stats a", Tool::Dump, &["--stats", "a"]);
        check("mosquitto_db_dump a", Tool::Dump, &["a"]);
        check("midge passwd -c f u", Tool::Passwd, &["-c", "f", "u"]);
        check("mosquitto_passwd f u", Tool::Passwd, &["f", "u"]);
        check("midge ctrl dynsec help", Tool::Ctrl, &["dynsec", "help"]);
        check("mosquitto_ctrl -p 1", Tool::Ctrl, &["-p", "1"]);
        check("midge --version", Tool::Version, &[]);
        check("midge --help", Tool::Help, &[]);
        check("midge sup", Tool::Unknown, &["sup"]);
    }
}
