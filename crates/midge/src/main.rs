//! MQTT for people who depend on it: broker and tools in one binary.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

mod bench;
mod broker_command;
mod check_command;
mod client;
mod command_line;
mod completions_command;
mod connect_options;
mod content;
mod ctrl_command;
mod dump_command;
mod failure;
mod kept_file;
mod oauth;
mod options;
mod options_file;
mod passwd_command;
mod printer;
mod prompt;
mod properties;
mod pub_command;
mod qos_report;
mod rr_command;
mod srv;
mod sub_command;
mod subscribe_options;
mod terminal;
mod top_command;

/// What the binary can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tool {
    Broker,
    Pub,
    Sub,
    Rr,
    Top,
    Bench,
    Check,
    Dump,
    Passwd,
    Ctrl,
    Completions,
    Manual,
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
            "mosquitto_rr" => return Self::Rr,
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
            Some("rr") => Self::Rr,
            Some("top") => Self::Top,
            Some("bench") => Self::Bench,
            Some("check") => Self::Check,
            Some("dump") => Self::Dump,
            Some("passwd") => Self::Passwd,
            Some("ctrl") => Self::Ctrl,
            Some("completions") => Self::Completions,
            Some("manual") => Self::Manual,
            _ => return Self::Unknown,
        };
        args.remove(0);
        tool
    }
}

const HELP: &str = "\
Midge: MQTT broker and tools in one program.

Usage: midge [COMMAND] [OPTIONS]

Run a broker:
  midge                        on this machine alone, at port 1883
  midge -c FILE                as a mosquitto.conf says

Talk to a broker:
  midge pub -t TOPIC -m TEXT   publishes a message
  midge sub -t FILTER -v       subscribes and prints what arrives
  midge rr -t TOPIC -e TOPIC -m TEXT
                               publishes a request and prints the response
  midge top                    shows what a broker is doing
  midge ctrl dynsec help       administers a broker that runs
  midge bench SCENARIO         measures a broker

Look after files:
  midge passwd FILE USER       writes password files
  midge check acl|passwords    checks an access or password file, and what it decides
  midge dump PATH              prints a store, or a mosquitto.db

About midge:
  midge completions SHELL      for bash, zsh or fish
  midge manual [COMMAND]       a page for man
  midge --version

Each command takes --help. Called as mosquitto, mosquitto_pub, mosquitto_sub, mosquitto_rr,
mosquitto_passwd, mosquitto_ctrl or mosquitto_db_dump, midge is that program.
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
        Tool::Rr => rr_command::run(args),
        Tool::Top => top_command::run(args),
        Tool::Bench => bench::run(args),
        Tool::Check => check_command::run(args),
        Tool::Dump => dump_command::run(args),
        Tool::Passwd => passwd_command::run(args),
        Tool::Ctrl => ctrl_command::run(args),
        Tool::Completions => completions_command::completions(&args),
        Tool::Manual => completions_command::manual(&args),
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
        check("midge rr -t a", Tool::Rr, &["-t", "a"]);
        check("mosquitto_rr -t a", Tool::Rr, &["-t", "a"]);
        check("midge top", Tool::Top, &[]);
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
