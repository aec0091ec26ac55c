//! Command lines: options as data, and the parser that reads them.
//!
//! Every tool has a table of [`Opt`]; parsing, `--help` and whatever else describes the command line
//! are made from it. The forms are those of the Mosquitto tools: an option and its value are two
//! arguments, short options are not joined, and the first fault ends the parsing.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::str::FromStr;

mod tables;

pub(crate) use tables::{
    BENCH, CONN, CTRL, FAN_IN, FAN_OUT, IDLE, OFFLINE, P2P, PUB, RETAINED, RR, SUB, TOP, WILDCARD,
    file, flag, own, valued,
};

/// What an option is about, whichever way it was spelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Id {
    AclFile,
    Batch,
    BindAddress,
    CaFile,
    CaPath,
    Certificate,
    Ciphers,
    CleanSessionOff,
    ClientStats,
    Clients,
    Colour,
    ConfigFile,
    Count,
    Create,
    Daemon,
    Debug,
    Decode,
    Delete,
    Deliver,
    DnsServer,
    ExitAfterSubscribe,
    File,
    FilterOut,
    Filters,
    Format,
    Hash,
    Help,
    Host,
    Insecure,
    Iterations,
    Json,
    JsonLines,
    KeepAlive,
    Key,
    KeyForm,
    Latency,
    Lines,
    MaxInflight,
    Message,
    MessageRate,
    Messages,
    NoDelay,
    NoNewline,
    NoTls,
    NullMessage,
    OauthAudience,
    OauthClient,
    OauthDeviceUrl,
    OauthResource,
    OauthScope,
    OauthSecretFile,
    OauthTokenFile,
    OauthTokenUrl,
    OptionsFile,
    Pairs,
    Password,
    PasswordFile,
    Payload,
    Pid,
    Port,
    Plain,
    Pretty,
    Processes,
    Property,
    ProtocolVersion,
    Proxy,
    Psk,
    PskIdentity,
    Publish,
    Publishers,
    QoS,
    QosReport,
    Quiet,
    RandomFilter,
    Rate,
    RemoveRetained,
    Repeat,
    RepeatDelay,
    ResponseTopic,
    Retain,
    RetainAsPublished,
    RetainHandling,
    RetainedOff,
    RetainedOnly,
    RoundMicros,
    Seconds,
    SessionExpiry,
    SessionName,
    SessionNamePrefix,
    Srv,
    Stats,
    StdinFile,
    Subscribe,
    Subscribers,
    SystemCas,
    TestConfig,
    Threads,
    Timeout,
    TlsAlpn,
    TlsEngine,
    TlsEnginePassword,
    TlsKeylog,
    TlsVersion,
    Topic,
    Unix,
    Unsubscribe,
    Update,
    Url,
    UserName,
    Verbose,
    Version,
    WarmUp,
    Watch,
    WebSocket,
    WebSocketPath,
    Wildcard,
    WillPayload,
    WillQoS,
    WillRetain,
    WillTopic,
    Window,
}

/// A value that an option takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operand {
    /// How `--help` calls it.
    pub(crate) name: &'static str,
    /// What is said when it is missing.
    pub(crate) missing: &'static str,
    pub(crate) values: Values,
}

/// What a shell may propose for an operand.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Values {
    Any,
    /// Paths of files.
    Files,
    /// One of these.
    Of(&'static [&'static str]),
}

/// One option.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opt {
    pub(crate) id: Id,
    /// The spellings, shortest first.
    pub(crate) names: &'static [&'static str],
    pub(crate) operand: Option<Operand>,
    /// One or more sentences for people.
    pub(crate) help: &'static str,
}

/// A tool's command line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Command {
    /// The words that start it, such as `midge pub`.
    pub(crate) name: &'static str,
    /// What it does, in a sentence.
    pub(crate) about: &'static str,
    /// The usage line behind the name.
    pub(crate) usage: &'static str,
    pub(crate) options: &'static [Group],
    /// Command lines without the name, each with what it does.
    pub(crate) examples: &'static [(&'static str, &'static str)],
}

/// Options that belong together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Group {
    /// The heading in `--help`; empty for what a command has for itself.
    pub(crate) title: &'static str,
    pub(crate) options: &'static [Opt],
}

/// A fault in a command line, without `Error: ` before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UsageError(pub(crate) String);

impl<T: Into<String>> From<T> for UsageError {
    fn from(text: T) -> Self {
        Self(text.into())
    }
}

/// The operand of an option; empty for an option without one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Value {
    text: OsString,
    /// What follows, with the one option that has several operands: `-D`.
    more: Vec<OsString>,
}

impl Value {
    /// The operand as the platform gave it.
    pub(crate) fn into_os_string(self) -> OsString {
        self.text
    }

    /// The operand's bytes.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.text.into_encoded_bytes()
    }

    /// The operand as text; `what` names it in the message.
    pub(crate) fn into_text(self, what: &str) -> Result<String, UsageError> {
        utf8(self.text, what)
    }

    /// All operands as the platform gave them.
    pub(crate) fn into_all(self) -> impl Iterator<Item = OsString> {
        std::iter::once(self.text).chain(self.more)
    }

    /// A number from `min` up; the message is `fault` with the operand in the place of `{}`.
    pub(crate) fn number<T>(&self, min: T, max: T, fault: &str) -> Result<T, UsageError>
    where
        T: FromStr + PartialOrd,
    {
        let text = self.text.to_string_lossy();
        text.parse()
            .ok()
            .filter(|number| (min..=max).contains(number))
            .ok_or_else(|| UsageError(fault.replace("{}", &text)))
    }

    /// The operand for a message.
    pub(crate) fn lossy(&self) -> String {
        self.text.to_string_lossy().into_owned()
    }
}

/// An operand as text; `what` names it in the message.
pub(crate) fn utf8(text: OsString, what: &str) -> Result<String, UsageError> {
    text.into_string()
        .map_err(|_| UsageError(format!("Malformed UTF-8 in {what} argument.")))
}

impl From<OsString> for Value {
    fn from(text: OsString) -> Self {
        Self {
            text,
            more: Vec::new(),
        }
    }
}

impl Command {
    /// Reads `args` option by option, as a tool does its own checks in between.
    pub(crate) fn parse<'a>(
        &'a self,
        args: impl IntoIterator<Item = OsString> + 'a,
    ) -> impl Iterator<Item = Result<(Id, Value), UsageError>> + 'a {
        let mut args = args.into_iter();
        std::iter::from_fn(move || Some(self.read(args.next()?, &mut args)))
    }

    /// Cuts a command line in two where the first argument stands that is neither an option nor an option's
    /// value. A lone `-` is no option.
    pub(crate) fn split_operands(&self, args: Vec<OsString>) -> (Vec<OsString>, Vec<OsString>) {
        let mut options = args;
        let mut at = 0;
        while let Some(arg) = options.get(at) {
            let bytes = arg.as_encoded_bytes();
            if bytes == b"-" || !bytes.starts_with(b"-") {
                break;
            }
            let has_value = self
                .find(arg)
                .is_some_and(|option| option.operand.is_some());
            at += 1 + usize::from(has_value);
        }
        let operands = options.split_off(at.min(options.len()));
        (options, operands)
    }

    fn read(
        &self,
        arg: OsString,
        rest: &mut impl Iterator<Item = OsString>,
    ) -> Result<(Id, Value), UsageError> {
        let Some(option) = self.find(&arg) else {
            let arg = arg.to_string_lossy();
            return Err(UsageError(format!("Unknown option '{arg}'.")));
        };
        let Some(operand) = option.operand else {
            return Ok((option.id, Value::default()));
        };
        let mut value = Value::from(rest.next().ok_or(operand.missing)?);
        if option.id == Id::Property {
            // The name of the property and its value; a user property has a name and a value.
            let mut next = || rest.next().ok_or(operand.missing);
            let name = next()?;
            let is_pair = name.eq_ignore_ascii_case("user-property");
            let values = if is_pair { 2 } else { 1 };
            value.more.push(name);
            for _ in 0..values {
                value.more.push(next()?);
            }
        }
        Ok((option.id, value))
    }

    /// Every option, group by group.
    pub(crate) fn all_options(&self) -> impl Iterator<Item = &'static Opt> + use<> {
        self.options.iter().flat_map(|group| group.options)
    }

    /// The text of `--help`.
    pub(crate) fn help(&self) -> String {
        self.help_as(self.name)
    }

    fn find(&self, arg: &OsString) -> Option<&Opt> {
        let arg = arg.to_str()?;
        self.all_options()
            .find(|option| option.names.contains(&arg))
    }

    /// The text of `--help`, for who called the command by `name`.
    pub(crate) fn help_as(&self, name: &str) -> String {
        let mut text = String::new();
        fold(self.about, "", &mut text);
        text.push('\n');
        for line in format!("Usage: {name} {}", self.usage.replace(self.name, name)).lines() {
            fold(line, USAGE_INDENT, &mut text);
        }
        if !self.examples.is_empty() {
            text.push_str("\nExamples:\n");
            for (line, what) in self.examples {
                let _ = writeln!(text, "  {name} {line}\n      {what}");
            }
        }
        for group in self.options {
            let title = if group.title.is_empty() {
                "Options"
            } else {
                group.title
            };
            let _ = writeln!(text, "\n{title}:");
            group
                .options
                .iter()
                .for_each(|option| option.help(&mut text));
        }
        text
    }
}

impl Opt {
    /// Appends the lines of `--help` about this option.
    fn help(&self, text: &mut String) {
        let mut left = self.names.join(", ");
        if let Some(operand) = self.operand {
            let _ = write!(left, " {}", operand.name);
        }
        if left.len() > LEFT_COLUMN {
            let _ = write!(text, "  {left}\n  {:LEFT_COLUMN$}", "");
        } else {
            let _ = write!(text, "  {left:LEFT_COLUMN$}");
        }
        wrap(self.help, text);
    }
}

/// The width of a screen that everybody has.
const LINE: usize = 100;
/// What stands before the second line of a usage.
const USAGE_INDENT: &str = "           ";
const LEFT_COLUMN: usize = 30;
const RIGHT_COLUMN: usize = 60;

/// Appends a line, cut at spaces where it is too long; `indent` stands before the further ones.
fn fold(line: &str, indent: &str, text: &mut String) {
    let mut rest = line;
    let mut room = LINE;
    while rest.len() > room {
        let fits = rest.char_indices().take_while(|(at, _)| *at <= room);
        let space = fits.filter(|(_, letter)| *letter == ' ').last();
        // Without a space it is longer than the screen.
        let Some((at, _)) = space.filter(|(at, _)| *at > 0) else {
            break;
        };
        let (line, more) = rest.split_at(at);
        let _ = writeln!(text, "{line}");
        text.push_str(indent);
        room = LINE - indent.len();
        rest = more.trim_start();
    }
    let _ = writeln!(text, "{rest}");
}

/// Appends `help` as a column.
fn wrap(help: &str, text: &mut String) {
    let mut used = 0;
    for word in help.split(' ') {
        if used > 0 && used + word.len() >= RIGHT_COLUMN {
            let _ = write!(text, "\n  {:LEFT_COLUMN$}", "");
            used = 0;
        }
        text.push(' ');
        text.push_str(word);
        used += word.len() + 1;
    }
    text.push('\n');
}

#[cfg(test)]
mod tests;
