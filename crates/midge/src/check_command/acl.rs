//! `midge check acl`: what an access file decides.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use midge_access::acl::Rules;
use midge_access::{Action, Client};
use midge_codec::topic;

use crate::failure::plain;
use crate::options::{Command, Id, Opt, UsageError, flag, valued};
use crate::terminal;

use super::{EXIT_FAULT, misused};

pub(crate) const ACL: Command = Command {
    name: "midge check acl",
    about: "Says whether a client may do something by an access file, and names the line that decides. \
            Without a topic, the file alone is checked. Ends with status 0 when everything that was asked \
            is allowed, 1 when something is denied, and 3 when the file or the command line is wrong.",
    usage: "--acl-file FILE [--user NAME] [--client ID] --topic TOPIC [--publish] [--deliver] \
            [--subscribe] [--unsubscribe]",
    options: &[OPTIONS],
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
    file: PathBuf,
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
    if question.file == Path::new("") {
        return Err("No access file specified: use --acl-file.".into());
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

fn answer(question: &Question) -> ExitCode {
    let name = question.file.display().to_string();
    let text = match fs::read(&question.file) {
        Ok(text) => text,
        Err(error) => {
            let text = format!(
                "Error: Unable to open acl_file \"{name}\". {}.",
                plain(&error)
            );
            return terminal::fail(&text, EXIT_FAULT);
        }
    };
    let (rules, warnings) = match Rules::parse(&name, &text) {
        Ok(parsed) => parsed,
        Err(error) => return terminal::fail(&format!("Error: {error}"), EXIT_FAULT),
    };
    for warning in &warnings.list {
        terminal::complain(&format!(
            "Warning: {name}:{}: {}",
            warning.line, warning.text
        ));
    }
    let client = rules.for_client(Client {
        id: &question.client_id,
        user_name: question.user_name.as_deref(),
    });
    let mut is_denied = false;
    let mut answers = String::new();
    for topic in &question.topics {
        for action in actions(topic, &question.actions) {
            let decision = client.explain(action, topic);
            is_denied |= !decision.allowed;
            let verdict = if decision.allowed {
                "allowed"
            } else {
                "denied"
            };
            let doing = doing(action);
            answers.push_str(&format!("{verdict}: {doing} {topic}: {}\n", decision.rule));
            if let (Action::Publish, Some(note)) = (action, reserved(topic)) {
                answers.push_str(&format!("note: {note}\n"));
            }
        }
    }
    if question.topics.is_empty() {
        answers = format!("{name} is sound; rules: {}\n", rules.len());
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
