//! `midge completions` and `midge manual`: made from the same tables as the command lines.

use std::ffi::OsString;
use std::process::ExitCode;

use crate::failure::Failure;
use crate::options::{self, Command};
use crate::terminal;
use crate::{broker_command, check_command, dump_command, passwd_command};

mod manual;
mod shells;

/// Every command that has options, with the name of the program that it stands in for.
pub(crate) const COMMANDS: &[(&Command, Option<&str>)] = &[
    (&broker_command::BROKER, Some("mosquitto")),
    (&options::PUB, Some("mosquitto_pub")),
    (&options::SUB, Some("mosquitto_sub")),
    (&options::RR, Some("mosquitto_rr")),
    (&options::TOP, None),
    (&options::P2P, None),
    (&options::FAN_OUT, None),
    (&options::FAN_IN, None),
    (&options::WILDCARD, None),
    (&options::CONN, None),
    (&options::IDLE, None),
    (&options::RETAINED, None),
    (&options::OFFLINE, None),
    (&dump_command::DUMP, Some("mosquitto_db_dump")),
    (&check_command::acl::ACL, None),
    (&check_command::passwords::PASSWORDS, None),
    (&passwd_command::PASSWD, Some("mosquitto_passwd")),
    (&options::CTRL, Some("mosquitto_ctrl")),
];

/// The words behind `midge` that start a command: one or two.
fn words(command: &Command) -> Vec<&'static str> {
    command.name.split(' ').skip(1).collect()
}

/// Runs `midge completions SHELL`.
pub(crate) fn completions(args: &[OsString]) -> ExitCode {
    let text = match args.first().and_then(|shell| shell.to_str()) {
        Some("bash") => shells::bash(COMMANDS),
        Some("zsh") => shells::zsh(COMMANDS),
        Some("fish") => shells::fish(COMMANDS),
        Some("--help") => COMPLETIONS_HELP.to_owned(),
        _ => return misused("midge completions", "Say which shell: bash, zsh or fish."),
    };
    terminal::print(&text)
}

/// Runs `midge manual [COMMAND ...]`.
pub(crate) fn manual(args: &[OsString]) -> ExitCode {
    let wanted: Vec<_> = args.iter().filter_map(|word| word.to_str()).collect();
    match wanted.as_slice() {
        ["--help"] => return terminal::print(MANUAL_HELP),
        [] => return terminal::print(&manual::overview(COMMANDS)),
        ["--into", folder] => return write_all(folder),
        _ => {}
    }
    let found = COMMANDS.iter().find(|(command, other)| {
        words(command) == wanted || other.is_some_and(|name| wanted == [name])
    });
    match found {
        Some((command, other)) => terminal::print(&manual::page(command, *other)),
        None => misused("midge manual", "There is no such command."),
    }
}

/// Writes every page into a folder, under the names that man looks for.
fn write_all(folder: &str) -> ExitCode {
    let folder = std::path::Path::new(folder);
    let write = |name: &str, text: &str| std::fs::write(folder.join(format!("{name}.1")), text);
    let written = std::fs::create_dir_all(folder).and_then(|()| {
        write("midge", &manual::overview(COMMANDS))?;
        for (command, other) in COMMANDS {
            let page = manual::page(command, *other);
            write(&command.name.replace(' ', "-"), &page)?;
            if let Some(name) = other {
                write(name, &manual::page(command, *other))?;
            }
        }
        Ok(())
    });
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let why = crate::failure::plain(&error);
            terminal::fail(
                &format!("Error: Unable to write into {}: {why}.", folder.display()),
                1,
            )
        }
    }
}

fn misused(name: &str, text: &str) -> ExitCode {
    let failure = Failure::Usage(text.into());
    terminal::fail(
        &format!("{failure}\n\nUse '{name} --help' to see usage."),
        1,
    )
}

const COMPLETIONS_HELP: &str = "\
Prints what a shell needs to complete the command lines of midge.

Usage: midge completions {bash | zsh | fish}

  bash: midge completions bash > ~/.local/share/bash-completion/completions/midge
  zsh:  midge completions zsh > a folder of $fpath, as _midge
  fish: midge completions fish > ~/.config/fish/completions/midge.fish
";

const MANUAL_HELP: &str = "\
Prints a page of the manual, in the form that man reads.

Usage: midge manual [COMMAND] | man -l -
       midge manual --into FOLDER    writes all pages
";

#[cfg(test)]
mod tests;
