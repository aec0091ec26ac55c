//! The broker with TLS-PSK, for `tests/tls/psk.py`: the same as `midge broker -c FILE` of a build with the
//! feature, under a name of its own, so that the tests of the usual build keep theirs.

use std::env;
use std::process::ExitCode;

use midge_server::daemon::{self, EXIT_CONFIG, Launch};

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    let [command, option, file] = &arguments[..] else {
        return ExitCode::from(EXIT_CONFIG);
    };
    if command != "broker" || option != "-c" {
        return ExitCode::from(EXIT_CONFIG);
    }
    ExitCode::from(daemon::run(&Launch {
        config_file: Some(file.into()),
        ..Launch::default()
    }))
}
