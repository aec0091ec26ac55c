//! `midge check acl`: what an access file decides, or all rules that a configuration names.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use midge_access::acl::{ClientRules, Rules};
use midge_access::dynsec::{self, State};
use midge_access::{Action, Client};
use midge_codec::topic;
use midge_server::config::{CommandLine, Config, Endpoint, ListenerConfig, ListenerSettings};

use crate::failure::plain;
use crate::options::{Command, Id, Opt, UsageError, flag, own, valued};
use crate::terminal;

use super::{EXIT_FAULT, misused};

pub(crate) const ACL: Command = Command {
    name: "midge check acl",
    about: "Says whether a client may do something by an access file, or by all rules of a broker's \
            configuration, and names the line or role that decides. Without a topic, the files alone are \
            checked. Ends with status 0 when everything that was asked \
            is allowed, 1 when something is denied, and 3 when the file or the command line is wrong.",
    usage: "--acl-file FILE | --config FILE [--port PORT] [--user NAME] [--client ID] --topic TOPIC [--publish] [--deliver] \
            [--subscribe] [--unsubscribe]",
    options: &[own(OPTIONS)],
    examples: &[],
};

const OPTIONS: &[Opt] = &[
    valued(
        Id::AclFile,
        &["--acl-file"],
        "file",
        "--acl-file argument given but no file specified.",
        "The access file, as the acl_file option of the broker names it.",
    ),
    valued(
        Id::ConfigFile,
        &["-c", "--config"],
        "file",
        "--config argument given but no file specified.",
        "The configuration of a broker: its access files and its dynamic security are asked, of all \
         listeners or of one. What tokens and the HTTP back end add at a login is not known here.",
    ),
    valued(
        Id::Port,
        &["-p", "--port"],
        "port",
        "--port argument given but no port specified.",
        "The port of the listener that the client connects to.",
    ),
    valued(
        Id::SessionName,
        &["-i", "--client"],
        "id",
        "--client argument given but no client id specified.",
        "The client id. Defaults to an empty one, which patterns with %c do not mean.",
    ),
    flag(
        Id::Deliver,
        &["--deliver"],
        "Whether a message of the topic is delivered to the client: read access.",
    ),
    flag(Id::Help, &["--help"], "Prints this text."),
    flag(
        Id::Publish,
        &["--publish"],
        "Whether the client may publish to the topic: write access. Without any of these options, \
         --publish, --deliver and --subscribe are answered.",
    ),
    flag(
        Id::Subscribe,
        &["--subscribe"],
        "Whether the client may subscribe to the topic as a filter.",
    ),
    valued(
        Id::Topic,
        &["-t", "--topic"],
        "topic",
        "--topic argument given but no topic specified.",
        "The topic, or the topic filter. Can be given several times.",
    ),
    flag(
        Id::Unsubscribe,
        &["--unsubscribe"],
        "Whether the client may unsubscribe from the topic as a filter.",
    ),
    valued(
        Id::UserName,
        &["-u", "--user"],
        "name",
        "--user argument given but no user name specified.",
        "The user name. Without it, a client that gives none.",
    ),
];

#[derive(Debug, Default, PartialEq, Eq)]
struct Question {
    /// The access file; empty where a configuration names it.
    file: PathBuf,
    config: Option<PathBuf>,
    port: Option<u16>,
    client_id: String,
    user_name: Option<String>,
    topics: Vec<String>,
    actions: Vec<Action>,
}

#[derive(Debug, PartialEq, Eq)]
enum Request {
    Help,
    Ask(Question),
}

/// Runs the command and gives its exit code.
pub(super) fn run(args: Vec<OsString>) -> ExitCode {
    match parse(args) {
        Ok(Request::Help) => terminal::print(&ACL.help()),
        Ok(Request::Ask(question)) => answer(&question),
        Err(error) => misused(&ACL, &error),
    }
}

fn parse(args: Vec<OsString>) -> Result<Request, UsageError> {
    let mut question = Question::default();
    for option in ACL.parse(args) {
        let (id, value) = option?;
        match id {
            Id::AclFile => question.file = value.into_os_string().into(),
            Id::ConfigFile => question.config = Some(value.into_os_string().into()),
            Id::Port => {
                question.port =
                    Some(value.number(1, u16::MAX, "Invalid port given for --port.")?);
            }
            Id::SessionName => question.client_id = value.into_text("--client")?,
            Id::UserName => question.user_name = Some(value.into_text("--user")?),
            Id::Topic => question.topics.push(value.into_text("--topic")?),
            Id::Publish => question.actions.push(Action::Publish),
            Id::Deliver => question.actions.push(Action::Deliver),
            Id::Subscribe => question.actions.push(Action::Subscribe),
            Id::Unsubscribe => question.actions.push(Action::Unsubscribe),
            Id::Help => return Ok(Request::Help),
            other => unreachable!("{other:?} is not an option of check"),
        }
    }
    match (&*question.file == Path::new(""), &question.config) {
        (true, None) => {
            return Err("No access file specified: use --acl-file or --config.".into());
        }
        (false, Some(_)) => return Err("--acl-file and --config exclude each other.".into()),
        _ => {}
    }
    if question.port.is_some() && question.config.is_none() {
        return Err("--port is for --config.".into());
    }
    if question.topics.is_empty() && !question.actions.is_empty() {
        return Err("No topic specified: use --topic.".into());
    }
    for topic in &question.topics {
        check_topic(topic, &question.actions)?;
    }
    Ok(Request::Ask(question))
}

/// A topic has to be one for everything that is asked.
fn check_topic(topic: &str, actions: &[Action]) -> Result<(), UsageError> {
    let is_message = |action| matches!(action, Action::Publish | Action::Deliver);
    if !topic::is_filter(topic) {
        return Err(
            format!("Invalid topic '{topic}': + and # stand alone between slashes.").into(),
        );
    }
    if actions.iter().copied().any(is_message) && !topic::is_name(topic) {
        return Err(format!(
            "'{topic}' is a filter: it can be subscribed to, but messages have topics without + and #."
        )
        .into());
    }
    Ok(())
}

/// The rules of a listener, or of one file.
struct Rulebook {
    /// Which listener is meant, where there are several with different rules.
    heading: String,
    acl: Option<(String, Rules)>,
    dynsec: Option<(String, State)>,
    mount_point: String,
    /// The user name is the client id as well.
    name_is_id: bool,
    /// What these rules do not say.
    notes: Vec<&'static str>,
}

/// The rules of one client.
struct Asked {
    acl: Option<ClientRules>,
    dynsec: Option<dynsec::Rules>,
}

impl Rulebook {
    fn of_file(path: &Path) -> Result<Self, String> {
        Ok(Self {
            heading: String::new(),
            acl: Some(read_acl(path)?),
            dynsec: None,
            mount_point: String::new(),
            name_is_id: false,
            notes: Vec::new(),
        })
    }

    fn of_listener(listener: &ListenerConfig) -> Result<Self, String> {
        let settings = &listener.settings;
        let dynsec = settings.dynamic_security.as_ref();
        let mut notes = Vec::new();
        if settings.oauth.is_some() || settings.http_login.is_some() {
            notes.push(
                "tokens and the HTTP back end may bring further rules, which have to allow it too",
            );
        }
        Ok(Self {
            heading: format!("listener {}:\n", listener.endpoint),
            acl: settings.acl_file.as_deref().map(read_acl).transpose()?,
            dynsec: dynsec
                .map(|dynsec| read_dynsec(&dynsec.config_file))
                .transpose()?,
            mount_point: settings.mount_point.clone().unwrap_or_default(),
            name_is_id: settings.use_username_as_clientid,
            notes,
        })
    }

    fn asked(&self, question: &Question) -> Asked {
        let user_name = question.user_name.as_deref();
        let id = match user_name {
            Some(name) if self.name_is_id => name,
            _ => &question.client_id,
        };
        let client = Client { id, user_name };
        Asked {
            acl: self.acl.as_ref().map(|(_, rules)| rules.for_client(client)),
            dynsec: self.dynsec.as_ref().map(|(_, state)| state.rules(client)),
        }
    }

    /// A topic as rules see it.
    fn mounted(&self, topic: &str) -> String {
        let share = topic
            .strip_prefix("$share/")
            .and_then(|rest| rest.split_once('/'));
        match share {
            Some((group, filter)) => format!("$share/{group}/{}{filter}", self.mount_point),
            None => format!("{}{topic}", self.mount_point),
        }
    }

    /// What the files are, when nothing is asked of them.
    fn sound(&self) -> String {
        let mut text = String::new();
        if let Some((name, rules)) = &self.acl {
            text.push_str(&format!("{name} is sound; rules: {}\n", rules.len()));
        }
        if let Some((name, _)) = &self.dynsec {
            text.push_str(&format!("{name} is sound\n"));
        }
        if text.is_empty() {
            text.push_str("there are no rules: everything is allowed\n");
        }
        text
    }
}

impl Asked {
    /// Whether it is allowed, which takes all rules that there are, and what decides.
    fn decide(&self, action: Action, topic: &str) -> (bool, String) {
        let acl = self.acl.as_ref().map(|rules| rules.explain(action, topic));
        let dynsec = self.dynsec.as_ref();
        let dynsec = dynsec.map(|rules| {
            let mut decision = rules.explain(action, topic);
            decision.rule = format!("dynamic security, {}", decision.rule);
            decision
        });
        let decisions = [acl, dynsec];
        let decisions = || decisions.iter().flatten();
        if let Some(denial) = decisions().find(|decision| !decision.allowed) {
            return (false, denial.rule.clone());
        }
        let rules: Vec<&str> = decisions().map(|decision| &*decision.rule).collect();
        let why = if rules.is_empty() {
            "there are no rules".to_owned()
        } else {
            rules.join("; ")
        };
        (true, why)
    }
}

fn read_acl(path: &Path) -> Result<(String, Rules), String> {
    let name = path.display().to_string();
    let text = fs::read(path)
        .map_err(|error| format!("Unable to open acl_file \"{name}\". {}.", plain(&error)))?;
    let (rules, warnings) = Rules::parse(&name, &text).map_err(|error| error.to_string())?;
    for warning in &warnings.list {
        terminal::complain(&format!(
            "Warning: {name}:{}: {}",
            warning.line, warning.text
        ));
    }
    Ok((name, rules))
}

fn read_dynsec(path: &Path) -> Result<(String, State), String> {
    let name = path.display().to_string();
    let text = fs::read(path).map_err(|error| {
        let error = plain(&error);
        format!("Unable to open dynamic security file \"{name}\". {error}.")
    })?;
    let loaded = State::parse(&text).map_err(|error| format!("{name}: {error}."))?;
    for warning in loaded.warnings {
        terminal::complain(&format!("Warning: {name}: {warning}"));
    }
    Ok((name, loaded.state))
}

/// The rules of each listener that is meant; one alone for listeners with the same.
fn rulebooks(path: &Path, port: Option<u16>) -> Result<Vec<Rulebook>, String> {
    let config = Config::load(path, &CommandLine::default()).map_err(|errors| {
        let lines: Vec<String> = errors.lines().collect();
        let text = lines.join("\n");
        text.strip_prefix("Error: ").unwrap_or(&text).to_owned()
    })?;
    let is_meant = |listener: &&ListenerConfig| match (port, &listener.endpoint) {
        (None, _) => true,
        (Some(port), Endpoint::Tcp { port: own, .. }) => *own == port,
        (Some(_), Endpoint::Unix { .. }) => false,
    };
    let mut listeners: Vec<&ListenerConfig> = Vec::new();
    for listener in config.listeners.iter().filter(is_meant) {
        if !listeners
            .iter()
            .any(|known| have_same_rules(&known.settings, &listener.settings))
        {
            listeners.push(listener);
        }
    }
    if let (true, Some(port)) = (listeners.is_empty(), port) {
        let name = path.display();
        return Err(format!("{name} has no listener on port {port}."));
    }
    let is_alone = listeners.len() == 1;
    let mut books = Vec::new();
    for listener in listeners {
        let mut book = Rulebook::of_listener(listener)?;
        if is_alone {
            book.heading.clear();
        }
        books.push(book);
    }
    Ok(books)
}

fn have_same_rules(one: &ListenerSettings, other: &ListenerSettings) -> bool {
    one.acl_file == other.acl_file
        && one.dynamic_security == other.dynamic_security
        && one.mount_point == other.mount_point
        && one.use_username_as_clientid == other.use_username_as_clientid
        && one.oauth.is_some() == other.oauth.is_some()
        && one.http_login.is_some() == other.http_login.is_some()
}

fn answer(question: &Question) -> ExitCode {
    let books = match &question.config {
        Some(config) => rulebooks(config, question.port),
        None => Rulebook::of_file(&question.file).map(|book| vec![book]),
    };
    let books = match books {
        Ok(books) => books,
        Err(text) => return terminal::fail(&format!("Error: {text}"), EXIT_FAULT),
    };
    let mut is_denied = false;
    let mut answers = String::new();
    for book in &books {
        answers.push_str(&book.heading);
        if question.topics.is_empty() {
            answers.push_str(&book.sound());
            continue;
        }
        let client = book.asked(question);
        for topic in &question.topics {
            for action in actions(topic, &question.actions) {
                let (is_allowed, why) = client.decide(action, &book.mounted(topic));
                is_denied |= !is_allowed;
                let verdict = if is_allowed { "allowed" } else { "denied" };
                let doing = doing(action);
                answers.push_str(&format!("{verdict}: {doing} {topic}: {why}\n"));
                if let (Action::Publish, Some(note)) = (action, reserved(topic)) {
                    answers.push_str(&format!("note: {note}\n"));
                }
            }
        }
        for note in &book.notes {
            answers.push_str(&format!("note: {note}\n"));
        }
    }
    let printed = terminal::print(&answers);
    if is_denied {
        ExitCode::FAILURE
    } else {
        printed
    }
}

/// What is asked, or what can be asked about a topic when nothing is.
fn actions(topic: &str, asked: &[Action]) -> Vec<Action> {
    if !asked.is_empty() {
        return asked.to_vec();
    }
    if topic::is_name(topic) {
        vec![Action::Publish, Action::Deliver, Action::Subscribe]
    } else {
        vec![Action::Subscribe]
    }
}

const fn doing(action: Action) -> &'static str {
    match action {
        Action::Publish => "publish to",
        Action::Deliver => "deliver",
        Action::Subscribe => "subscribe to",
        Action::Unsubscribe => "unsubscribe from",
    }
}

/// What holds whatever an access file says.
fn reserved(topic: &str) -> Option<&'static str> {
    let is_below = |root: &str| {
        topic
            .strip_prefix(root)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    if is_below("$SYS") {
        Some("the broker alone publishes below $SYS; bridges may tell their state there")
    } else if is_below("$share") {
        Some("$share belongs to subscriptions; nobody publishes there")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Result<Request, String> {
        let args = line.split_whitespace().map(OsString::from).collect();
        parse(args).map_err(|UsageError(text)| text)
    }

    #[test]
    fn a_question_names_file_client_topics_and_actions() {
        let question = Question {
            file: "f".into(),
            config: None,
            port: None,
            client_id: "c".into(),
            user_name: Some("u".into()),
            topics: vec!["a/b".into(), "c".into()],
            actions: vec![Action::Publish, Action::Deliver],
        };
        let line = "--acl-file f -i c -u u -t a/b --topic c --publish --deliver";
        assert_eq!(of(line), Ok(Request::Ask(question)));
        assert_eq!(of("--help"), Ok(Request::Help));
    }

    #[test]
    fn what_cannot_be_asked_says_why() {
        let check = |line: &str, part: &str| {
            let said = of(line).unwrap_err();
            assert!(said.contains(part), "{line}: {said}");
        };
        check("-t a", "No access file");
        check("--acl-file f --config c -t a", "exclude each other");
        check("--acl-file f --port 1883 -t a", "--port is for --config");
        check("--config c --port x -t a", "--port");
        check("--acl-file f --publish", "No topic");
        check("--acl-file f -t a# --subscribe", "Invalid topic 'a#'");
        check("--acl-file f -t a/# --publish", "'a/#' is a filter");
        check("--acl-file f -x", "Unknown option '-x'");
        assert!(of("--acl-file f -t a/# --subscribe").is_ok());
        assert!(of("--acl-file f -t a/#").is_ok());
    }

    #[test]
    fn topics_of_the_broker_are_noted() {
        for topic in ["$SYS", "$SYS/a", "$share/a"] {
            assert!(reserved(topic).is_some(), "{topic}");
        }
        for topic in ["a", "$SYSTEM", "$CONTROL/a"] {
            assert!(reserved(topic).is_none(), "{topic}");
        }
    }
}
