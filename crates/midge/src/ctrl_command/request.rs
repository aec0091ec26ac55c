//! Commands as they are typed, and the requests that they become.

use serde_json::{Map, Value};

use commands::{Form, Spec};

mod commands;

/// A module of the broker that takes requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Module {
    Broker,
    Dynsec,
}

impl Module {
    pub(super) fn from_name(name: &str) -> Option<Self> {
        match name {
            _ if name.eq_ignore_ascii_case("broker") => Some(Self::Broker),
            _ if name.eq_ignore_ascii_case("dynsec") => Some(Self::Dynsec),
            _ => None,
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Broker => "broker",
            Self::Dynsec => "dynsec",
        }
    }

    /// Where requests go.
    pub(super) const fn topic(self) -> &'static str {
        match self {
            Self::Broker => "$CONTROL/broker/v1",
            Self::Dynsec => midge_access::dynsec::CONTROL_TOPIC,
        }
    }
}

/// What a command line comes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Prepared {
    /// A request is ready.
    Request(String),
    /// A password has to be asked for, and `password` added to the command.
    Password {
        command: Object,
        user_name: String,
        /// Whether none at all will do.
        optional: bool,
    },
}

pub(super) type Object = Map<String, Value>;

/// Why a command line is none.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// There is no such command.
    Unknown,
    /// Its arguments are wrong: what it says about itself, and perhaps what in particular is wrong.
    Arguments { usage: String, why: Option<String> },
}

/// The order of arguments: that of the command line, or that of the shell where it is another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    CommandLine,
    Shell,
}

/// Makes a request of a command and its arguments.
pub(super) fn prepare(
    module: Module,
    style: Style,
    name: &str,
    args: &[String],
) -> Result<Prepared, Fault> {
    let spec = module
        .specs()
        .iter()
        .find(|spec| spec.name.eq_ignore_ascii_case(name))
        .ok_or(Fault::Unknown)?;
    let mut command = Object::new();
    command.insert("command".into(), spec.name.into());
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let fill = spec.form.fill(&mut command, style, &args);
    match fill {
        Ok(Asked::Nothing) => Ok(Prepared::Request(envelope(command))),
        Ok(Asked::Password { optional }) => Ok(Prepared::Password {
            command,
            user_name: args.first().copied().unwrap_or_default().to_owned(),
            optional,
        }),
        Err(why) => Err(Fault::Arguments {
            usage: format!("{} {}", spec.name, usage(spec, style)),
            why,
        }),
    }
}

fn usage(spec: &Spec, style: Style) -> &'static str {
    match (style, spec.form) {
        (Style::Shell, Form::AddAcl) => "<rolename> <acltype> allow|deny [priority] <topicFilter>",
        (Style::Shell, Form::CreateClient) => "<username> [password [clientid]]",
        _ => spec.usage,
    }
}

/// A request with one command.
pub(super) fn envelope(command: Object) -> String {
    serde_json::json!({ "commands": [command] }).to_string()
}

enum Asked {
    Nothing,
    Password { optional: bool },
}

/// A fault in arguments, with words for it if the usage does not say it all.
type Wrong = Option<String>;

impl Form {
    fn fill(self, command: &mut Object, style: Style, args: &[&str]) -> Result<Asked, Wrong> {
        match self {
            Self::Texts {
                needed,
                optional,
                priority,
            } => {
                let mut args = args.iter();
                for key in needed {
                    put(command, key, args.next().ok_or(None)?);
                }
                if let Some(key) = optional
                    && let Some(value) = args.next()
                {
                    put(command, key, value);
                }
                if priority && let Some(value) = args.next() {
                    command.insert("priority".into(), number("priority", value)?.into());
                }
                if args.next().is_some() {
                    return Err(None);
                }
                Ok(Asked::Nothing)
            }
            Self::List => list(command, args),
            Self::CreateClient => create_client(command, style, args),
            Self::SetPassword => match args {
                [name] => {
                    put(command, "username", name);
                    Ok(Asked::Password { optional: false })
                }
                [name, password] => {
                    put(command, "username", name);
                    put(command, "password", password);
                    Ok(Asked::Nothing)
                }
                _ => Err(None),
            },
            Self::DefaultAccess => {
                let [kind, access] = args else {
                    return Err(None);
                };
                let known = [
                    "publishClientSend",
                    "publishClientReceive",
                    "subscribe",
                    "unsubscribe",
                ];
                let kind = one_of("acltype", kind, &known)?;
                let acl = serde_json::json!([{"acltype": kind, "allow": allow(access)?}]);
                command.insert("acls".into(), acl);
                Ok(Asked::Nothing)
            }
            Self::AddAcl => {
                let (role, kind, topic, access, priority) = match (style, args) {
                    (Style::CommandLine, [role, kind, topic, access]) => {
                        (role, kind, topic, access, None)
                    }
                    (Style::CommandLine, [role, kind, topic, access, priority]) => {
                        (role, kind, topic, access, Some(priority))
                    }
                    (Style::Shell, [role, kind, access, topic]) => {
                        (role, kind, topic, access, None)
                    }
                    (Style::Shell, [role, kind, access, priority, topic]) => {
                        (role, kind, topic, access, Some(priority))
                    }
                    _ => return Err(None),
                };
                put(command, "rolename", role);
                put(command, "acltype", acl_type(kind)?);
                put(command, "topic", topic);
                command.insert("allow".into(), allow(access)?.into());
                if let Some(priority) = priority {
                    command.insert("priority".into(), number("priority", priority)?.into());
                }
                Ok(Asked::Nothing)
            }
            Self::RemoveAcl => {
                let [role, kind, topic] = args else {
                    return Err(None);
                };
                put(command, "rolename", role);
                put(command, "acltype", acl_type(kind)?);
                put(command, "topic", topic);
                Ok(Asked::Nothing)
            }
            Self::Modify(key) => modify(command, key, args),
        }
    }
}

fn put(command: &mut Object, key: &str, value: &str) {
    command.insert(key.into(), value.into());
}

fn list(command: &mut Object, args: &[&str]) -> Result<Asked, Wrong> {
    if args.len() > 2 {
        return Err(None);
    }
    for (key, value) in ["count", "offset"].into_iter().zip(args) {
        let value = number(key, value)?;
        // As mosquitto_ctrl: what is not positive asks for everything.
        if value > 0 {
            command.insert(key.into(), value.into());
        }
    }
    Ok(Asked::Nothing)
}

fn create_client(command: &mut Object, style: Style, args: &[&str]) -> Result<Asked, Wrong> {
    let (name, rest) = args.split_first().ok_or(None)?;
    put(command, "username", name);
    if style == Style::Shell && !rest.iter().any(|arg| matches!(*arg, "-i" | "-c" | "-p")) {
        let Some((password, rest)) = rest.split_first() else {
            return Ok(Asked::Password { optional: true });
        };
        put(command, "password", password);
        match rest {
            [] => {}
            [client_id] => put(command, "clientid", client_id),
            _ => return Err(None),
        }
        return Ok(Asked::Nothing);
    }
    let mut asked = Asked::Password { optional: true };
    let mut rest = rest.iter();
    while let Some(option) = rest.next() {
        let (key, missing) = match *option {
            "-c" | "-i" => ("clientid", "-i argument given, but no clientid provided."),
            "-p" => ("password", "-p argument given, but no password provided."),
            _ => return Err(Some(format!("Unknown argument: {option}"))),
        };
        let value = rest.next().ok_or_else(|| Some(missing.to_owned()))?;
        if key == "password" {
            asked = Asked::Nothing;
        }
        put(command, key, value);
    }
    Ok(asked)
}

fn modify(command: &mut Object, key: &str, args: &[&str]) -> Result<Asked, Wrong> {
    let [name, property, value @ ..] = args else {
        return Err(None);
    };
    if value.is_empty() {
        return Err(None);
    }
    put(command, key, name);
    let text = value.join(" ");
    if property.eq_ignore_ascii_case("allowWildcardSubs") && key == "rolename" {
        let allow = one_of("value", &text, &["true", "false"])? == "true";
        command.insert("allowwildcardsubs".into(), allow.into());
        return Ok(Asked::Nothing);
    }
    let property = match one_of("property", property, &["textName", "textDescription"])? {
        "textName" => "textname",
        _ => "textdescription",
    };
    put(command, property, &text);
    Ok(Asked::Nothing)
}

fn number(what: &str, text: &str) -> Result<i32, Wrong> {
    text.parse()
        .map_err(|_| Some(format!("'{text}' is no number for the {what}.")))
}

fn allow(text: &str) -> Result<bool, Wrong> {
    Ok(one_of("access", text, &["allow", "deny"])? == "allow")
}

fn acl_type(text: &str) -> Result<&'static str, Wrong> {
    let known = midge_access::dynsec::AclKind::from_name(text);
    known
        .map(midge_access::dynsec::AclKind::name)
        .ok_or_else(|| Some(format!("Invalid acltype '{text}'.")))
}

fn one_of<'a>(what: &str, text: &str, known: &[&'a str]) -> Result<&'a str, Wrong> {
    let found = known.iter().find(|word| word.eq_ignore_ascii_case(text));
    found.copied().ok_or_else(|| {
        Some(format!(
            "Invalid {what} '{text}', it must be one of: {}.",
            known.join(", ")
        ))
    })
}

#[cfg(test)]
mod tests;
