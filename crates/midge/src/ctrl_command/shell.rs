//! The shell: commands one after the other, over one connection.

use std::io::{self, Write as _};
use std::process::ExitCode;

use super::answer::{self, Answer};
use super::link::Link;
use super::prompt::{self, NewPassword};
use super::request::{self, Fault, Module, Prepared, Style};
use super::{Settings, ask_password};
use crate::failure::{Failure, plain};
use crate::prompt::read_hidden;
use crate::terminal;

/// Asks for commands until there are no more.
pub(super) fn run(settings: Settings) -> ExitCode {
    let mut shell = Shell {
        settings,
        link: None,
        module: None,
        ended: false,
    };
    println(&format!("midge ctrl shell v{}", env!("CARGO_PKG_VERSION")));
    if shell.settings.host_was_given {
        shell.connect();
        if shell.link.is_none() {
            return ExitCode::FAILURE;
        }
    }
    while !shell.ended {
        print(&shell.prompt());
        match prompt::read_line() {
            Ok(Some(line)) => shell.line(&line),
            Ok(None) => break,
            Err(error) => {
                terminal::complain(&format!("Error: {}.", plain(&error)));
                return ExitCode::FAILURE;
            }
        }
    }
    println("");
    shell.disconnect();
    ExitCode::SUCCESS
}

struct Shell {
    settings: Settings,
    link: Option<Link>,
    module: Option<Module>,
    ended: bool,
}

fn print(text: &str) {
    // When nobody reads any more, the next line of input will not come either.
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn println(text: &str) {
    print(&format!("{text}\n"));
}

const HELP: &str = "\
auth [username]                    sets user name and password for the next connection
connect [mqtt://host[:port]]       connects to a broker
dynsec                             begins to administer clients, groups and roles
broker                             begins to ask the broker about itself
help                               shows the commands of where you are
return                             leaves dynsec or broker
disconnect                         ends the connection
exit                               ends the program";

impl Shell {
    fn prompt(&self) -> String {
        let connect = &self.settings.connect;
        match (&self.link, self.module) {
            (None, _) => "> ".to_owned(),
            (Some(_), None) => format!("mqtt://{}:{}> ", connect.host, connect.port()),
            (Some(_), Some(module)) => {
                format!(
                    "mqtt://{}:{}|{}> ",
                    connect.host,
                    connect.port(),
                    module.name()
                )
            }
        }
    }

    fn line(&mut self, line: &str) {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let Some((command, args)) = words.split_first() else {
            return;
        };
        let is = |name: &str| command.eq_ignore_ascii_case(name);
        match (&self.link, self.module) {
            _ if is("exit") => self.ended = true,
            (_, Some(module)) if is("help") => print(&module.help()),
            _ if is("help") => println(HELP),
            (None, _) if is("auth") => self.auth(args),
            (None, _) if is("connect") => self.connect_to(args),
            (Some(_), _) if is("disconnect") => self.disconnect(),
            (Some(_), Some(_)) if is("return") => self.module = None,
            (Some(_), Some(module)) => self.command(module, command, args),
            (Some(_), None) if Module::from_name(command).is_some() => {
                self.module = Module::from_name(command);
            }
            _ => println(&format!("Unknown command '{command}'")),
        }
    }

    fn auth(&mut self, args: &[String]) {
        let name = match args.first() {
            Some(name) => Some(name.clone()),
            None => {
                print("username: ");
                prompt::read_line().unwrap_or_default()
            }
        };
        let password = read_hidden("password:");
        let (Some(name), Ok(password)) = (name, password) else {
            println("No password.");
            return;
        };
        self.settings.connect.user_name = Some(name);
        self.settings.connect.password = Some(password);
    }

    fn connect_to(&mut self, args: &[String]) {
        if let Some(url) = args.first() {
            let address = url.strip_prefix("mqtt://").unwrap_or(url);
            if address.contains("://") {
                println("Only mqtt:// is supported.");
                return;
            }
            let (host, port) = match address.rsplit_once(':') {
                Some((host, port)) if !host.ends_with(':') => match port.parse() {
                    Ok(port) => (host, port),
                    Err(_) => {
                        println("connect [mqtt://<hostname>[:port]]");
                        return;
                    }
                },
                _ => (address, 1883),
            };
            if host.is_empty() {
                println("connect [mqtt://<hostname>[:port]]");
                return;
            }
            host.clone_into(&mut self.settings.connect.host);
            self.settings.connect.port = Some(port);
        }
        self.connect();
    }

    fn connect(&mut self) {
        if let Err(failure) = ask_password(&mut self.settings.connect) {
            println(&failure.to_string());
            return;
        }
        match Link::connect(&self.settings.connect, self.settings.qos) {
            Ok(link) => self.link = Some(link),
            Err(failure) => println(&format!("Unable to connect: {failure}")),
        }
    }

    fn disconnect(&mut self) {
        if let Some(link) = self.link.take() {
            link.close();
        }
        self.module = None;
    }

    fn command(&mut self, module: Module, name: &str, args: &[String]) {
        let prepared = match request::prepare(module, Style::Shell, name, args) {
            Ok(prepared) => prepared,
            Err(Fault::Unknown) => {
                println(&format!("Unknown command '{name}'"));
                return;
            }
            Err(Fault::Arguments { usage, why }) => {
                println(&usage);
                if let Some(why) = why {
                    println(&why);
                }
                return;
            }
        };
        let request = match prepared {
            Prepared::Request(request) => request,
            Prepared::Password {
                mut command,
                user_name,
                optional,
            } => match prompt::read_new_password(&user_name) {
                Ok(NewPassword::Given(password)) => {
                    command.insert("password".into(), password.into());
                    request::envelope(command)
                }
                Ok(NewPassword::Empty) if optional => request::envelope(command),
                Ok(NewPassword::Different) => {
                    println("Passwords do not match.");
                    return;
                }
                Ok(NewPassword::Empty) | Err(_) => {
                    println("No password.");
                    return;
                }
            },
        };
        let Some(link) = &mut self.link else {
            return;
        };
        match link.ask(module.topic(), &request) {
            Ok(payload) => match answer::read(&payload) {
                Answer::Done(text) if text.is_empty() => println("OK"),
                Answer::Done(text) => print(&text),
                Answer::Error(text) => println(&text),
                Answer::Invalid(text) => println(text),
            },
            Err(failure) if failure.is_lost_connection() => {
                println(
                    "The connection was lost. Whether the command was carried out is not known.",
                );
                self.disconnect();
                self.connect();
            }
            Err(Failure::Other(text)) => println(&text),
            Err(failure) => println(&failure.to_string()),
        }
    }
}
