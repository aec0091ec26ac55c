//! `midge broker`: the broker. Called as `mosquitto`, midge is this command.

use std::ffi::OsString;
use std::process::ExitCode;

use midge_server::daemon::{self, EXIT_CONFIG, Launch};

use crate::options::{Command, Id, Opt, UsageError, Value, file, flag, own, valued};
use crate::terminal;

/// The command line, which is Mosquitto's.
pub(crate) const BROKER: Command = Command {
    name: "midge broker",
    about: "The MQTT broker. Without a configuration, it serves this machine alone.",
    usage: "[-c file] [-d] [-p port]... [-q | -v] [--test-config]",
    options: &[own(OPTIONS)],
    examples: &[
        ("-c mosquitto.conf", "as a configuration says"),
        (
            "-v -p 1884",
            "on this machine alone, at port 1884, telling everything",
        ),
    ],
};

const OPTIONS: &[Opt] = &[
    file(
        Id::ConfigFile,
        &["-c", "--config-file"],
        "file",
        "-c argument given, but no config file specified.",
        "The configuration, in the format of mosquitto.conf.",
    ),
    flag(
        Id::Daemon,
        &["-d", "--daemon"],
        "Detaches from the terminal once all listeners are open.",
    ),
    flag(Id::Help, &["-h", "--help"], "Prints this text."),
    valued(
        Id::Port,
        &["-p", "--port"],
        "port",
        "-p argument given, but no port specified.",
        "Listens on this port of this machine alone; can be given several times. Counts only \
               where the configuration defines no listener.",
    ),
    flag(
        Id::Quiet,
        &["-q", "--quiet"],
        "Logs nothing, whatever the configuration says.",
    ),
    flag(
        Id::TestConfig,
        &["--test-config"],
        "Checks the configuration file and ends: with status 0 if it is sound, 3 if not.",
    ),
    file(
        Id::TlsKeylog,
        &["--tls-keylog"],
        "file",
        "--tls-keylog argument given, but no file specified.",
        "Appends the secrets of TLS connections to this file, for Wireshark: a debugging aid.",
    ),
    flag(
        Id::Verbose,
        &["-v", "--verbose"],
        "Logs everything, whatever the configuration says.",
    ),
    flag(Id::Version, &["--version"], "Prints the version."),
];

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
enum Request {
    Help,
    Version,
    TestConfig(Launch),
    Run(Launch),
}

/// Runs the command and gives its exit code.
pub(crate) fn run(args: Vec<OsString>) -> ExitCode {
    match parse(args) {
        Ok(Request::Help) => terminal::print(&BROKER.help()),
        Ok(Request::Version) => terminal::print(&terminal::version("midge")),
        Ok(Request::TestConfig(launch)) => ExitCode::from(daemon::test_config(&launch)),
        Ok(Request::Run(launch)) => ExitCode::from(daemon::run(&launch)),
        Err(UsageError(text)) => terminal::fail(
            &format!(
                "Error: {text}\n\nUse '{} --help' to see usage.",
                BROKER.name
            ),
            EXIT_CONFIG,
        ),
    }
}

fn parse(args: Vec<OsString>) -> Result<Request, UsageError> {
    let mut launch = Launch::default();
    let mut test = false;
    for option in BROKER.parse(args) {
        let (id, value) = option?;
        match id {
            Id::ConfigFile => launch.config_file = Some(value.into_os_string().into()),
            Id::Daemon => launch.detach = true,
            Id::Help => return Ok(Request::Help),
            Id::Port => launch.command_line.ports.push(port(&value)?),
            Id::Quiet => launch.command_line.quiet = true,
            Id::TestConfig => test = true,
            Id::TlsKeylog => launch.command_line.tls_keylog = Some(value.into_os_string().into()),
            Id::Verbose => launch.command_line.verbose = true,
            Id::Version => return Ok(Request::Version),
            other => unreachable!("{other:?} is not an option of the broker"),
        }
    }
    Ok(if test {
        Request::TestConfig(launch)
    } else {
        Request::Run(launch)
    })
}

fn port(value: &Value) -> Result<u16, UsageError> {
    value.number(1, u16::MAX, "Invalid port specified ({}).")
}

#[cfg(test)]
mod tests {
    use super::*;
    use midge_server::config::CommandLine;

    fn of(line: &str) -> Result<Request, String> {
        let args = line.split_whitespace().map(OsString::from).collect();
        parse(args).map_err(|UsageError(text)| text)
    }

    #[test]
    fn the_command_line_is_mosquittos() {
        assert_eq!(of(""), Ok(Request::Run(Launch::default())));
        assert_eq!(
            of("-c m.conf -d -v -p 1884 --port 1885 --tls-keylog keys"),
            Ok(Request::Run(Launch {
                config_file: Some("m.conf".into()),
                command_line: CommandLine {
                    ports: vec![1884, 1885],
                    verbose: true,
                    quiet: false,
                    tls_keylog: Some("keys".into()),
                },
                detach: true,
            }))
        );
        assert_eq!(
            of("--test-config --config-file m.conf -q"),
            Ok(Request::TestConfig(Launch {
                config_file: Some("m.conf".into()),
                command_line: CommandLine {
                    quiet: true,
                    ..CommandLine::default()
                },
                detach: false,
            }))
        );
        assert_eq!(of("-h -x"), Ok(Request::Help));
        assert_eq!(of("-v --version"), Ok(Request::Version));
    }

    #[test]
    fn faults_are_told_in_mosquittos_words() {
        let check = |line: &str, text: &str| assert_eq!(of(line), Err(text.to_owned()));
        check("--what", "Unknown option '--what'.");
        check("-c", "-c argument given, but no config file specified.");
        check("-p", "-p argument given, but no port specified.");
        check("-p 0", "Invalid port specified (0).");
        check("-p 65536", "Invalid port specified (65536).");
        check("-p mqtt", "Invalid port specified (mqtt).");
        check(
            "--tls-keylog",
            "--tls-keylog argument given, but no file specified.",
        );
    }

    #[test]
    fn every_option_is_understood() {
        for option in OPTIONS {
            for name in option.names {
                let operand = if option.operand.is_some() { "1" } else { "" };
                let _ = of(&format!("{name} {operand}"));
            }
        }
    }
}
