//! How `sub` and `rr` print messages.

use std::collections::HashMap;
use std::io::{self, IsTerminal as _, Write};

use midge_codec::{Property, Publish};

use crate::connect_options::random;
use crate::options::{Id, UsageError, Value};
use decode::Decode;
use format::{Clock, Format};

mod decode;
mod format;
mod json;
mod zone;

/// What the options say about printing.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PrintOptions {
    pub(crate) show_topic: bool,
    pub(crate) newline: bool,
    format: Option<Format>,
    json_lines: bool,
    pretty: bool,
    decode: Decode,
    colour: Colour,
    /// Tenths of a percent that are printed.
    random_filter: u16,
    watch: bool,
}

/// When to use colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Colour {
    OnTerminal,
    Always,
    Never,
}

/// All messages, in tenths of a percent.
const ALL: u16 = 1000;
/// Topics that `--watch` gives a line; further ones share the last.
const WATCHED_MAX: usize = 10_000;

impl Default for PrintOptions {
    fn default() -> Self {
        Self {
            show_topic: false,
            newline: true,
            format: None,
            json_lines: false,
            pretty: false,
            decode: Decode::None,
            colour: Colour::OnTerminal,
            random_filter: ALL,
            watch: false,
        }
    }
}

impl PrintOptions {
    /// Takes an option about printing; hands any other back.
    pub(crate) fn take(&mut self, id: Id, value: Value) -> Result<Option<Value>, UsageError> {
        match id {
            Id::Verbose => self.show_topic = true,
            Id::NoNewline => self.newline = false,
            Id::Format => self.format = Some(Format::parse(&value.into_bytes())?),
            Id::JsonLines => self.json_lines = true,
            Id::Pretty => self.pretty = true,
            Id::Decode => {
                self.decode = match value.lossy().as_str() {
                    "none" => Decode::None,
                    "auto" => Decode::Auto,
                    "cbor" => Decode::Cbor,
                    "msgpack" => Decode::MessagePack,
                    form => {
                        return Err(UsageError(format!(
                            "Unknown value '{form}' for --decode. It has to be auto, cbor, msgpack or \
                             none."
                        )));
                    }
                };
            }
            Id::Colour => {
                self.colour = match value.lossy().as_str() {
                    "auto" => Colour::OnTerminal,
                    "always" => Colour::Always,
                    "never" => Colour::Never,
                    when => {
                        return Err(UsageError(format!(
                            "Unknown value '{when}' for --colour. It has to be auto, always or never."
                        )));
                    }
                };
            }
            Id::RandomFilter => {
                let fault = "--random-filter chance must be between 0.1-100.0";
                let percent: f64 = value.number(0.1, 100.0, fault)?;
                // Within 1 and 1000, as was checked.
                self.random_filter = (percent * 10.0) as u16;
            }
            Id::Watch => self.watch = true,
            _ => return Ok(Some(value)),
        }
        Ok(None)
    }
}

/// Prints messages to `output`.
pub(crate) struct Printer<'a, W> {
    options: &'a PrintOptions,
    pub(crate) output: W,
    coloured: bool,
    /// What would steer the terminal is shown by its number.
    hides_controls: bool,
    /// The lines of `--watch`.
    lines: HashMap<String, usize>,
    /// A state of random numbers that are for no secrets.
    dice: u64,
    /// What a message was made into before it is written.
    scratch: Vec<u8>,
}

impl<'a, W: Write> Printer<'a, W> {
    pub(crate) fn new(options: &'a PrintOptions, output: W) -> Self {
        let coloured = match options.colour {
            Colour::Always => true,
            Colour::Never => false,
            Colour::OnTerminal => {
                let is_set =
                    |name: &str| std::env::var_os(name).is_some_and(|text| !text.is_empty());
                !is_set("NO_COLOR")
                    && io::stdout().is_terminal()
                    && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
            }
        };
        Self {
            options,
            output,
            coloured,
            hides_controls: io::stdout().is_terminal(),
            lines: HashMap::new(),
            dice: random() | 1,
            scratch: Vec::new(),
        }
    }

    /// Begins; `host` is the heading of `--watch`.
    pub(crate) fn begin(&mut self, host: &str) -> io::Result<()> {
        if self.options.watch {
            writeln!(self.output, "\x1b[2J\x1b[1;1HBroker: {host}")?;
        }
        Ok(())
    }

    /// Prints a message.
    ///
    /// # Errors
    /// Those of the output. What cannot be shown as asked is told on the standard error.
    pub(crate) fn print(&mut self, message: &Publish<'_>) -> io::Result<()> {
        if self.options.watch {
            self.go_to_line(message.topic)?;
        }
        if self.options.random_filter < ALL && self.roll() >= self.options.random_filter {
            return Ok(());
        }
        let mut message = *message;
        let decoded = self.options.decode.readable(&message);
        if let Some(text) = &decoded {
            message.payload = text.as_bytes();
        }
        let message = &message;
        if let Some(format) = &self.options.format {
            self.scratch.clear();
            let complaints = format.write(message, self.options.pretty, &mut self.scratch);
            self.output.write_all(&self.scratch)?;
            for text in complaints {
                crate::terminal::complain(&text);
            }
            self.end_line()?;
        } else if self.options.json_lines {
            let now = Clock::now();
            json::write_line(message, &now, self.options.pretty, &mut self.output)?;
            self.output.write_all(b"\n")?;
        } else if self.options.show_topic {
            self.print_with_topic(message)?;
        } else if !message.payload.is_empty() {
            // An empty message shows as `(null)` behind its topic and without topic not at all, as
            // scripts written for mosquitto_sub expect.
            self.write_of_others(message.payload)?;
            self.end_line()?;
        }
        if self.options.watch {
            writeln!(self.output, "\x1b[{};1H", self.lines.len() + 1)?;
        }
        Ok(())
    }

    fn print_with_topic(&mut self, message: &Publish<'_>) -> io::Result<()> {
        let shown = match message.payload {
            [] if !self.options.newline => return Ok(()),
            [] => b"(null)",
            payload => payload,
        };
        if self.coloured {
            self.output.write_all(b"\x1b[36m")?;
        }
        self.write_of_others(message.topic.as_bytes())?;
        if self.coloured {
            self.output.write_all(b"\x1b[0m")?;
        }
        self.output.write_all(b" ")?;
        self.write_of_others(shown)?;
        self.end_line()
    }

    /// Writes what somebody else has published.
    fn write_of_others(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.hides_controls {
            self.scratch.clear();
            harmless(bytes, &mut self.scratch);
            self.output.write_all(&self.scratch)
        } else {
            self.output.write_all(bytes)
        }
    }

    fn end_line(&mut self) -> io::Result<()> {
        if self.options.newline {
            self.output.write_all(b"\n")?;
        }
        Ok(())
    }

    /// Moves the cursor to the line of a topic, and clears it.
    fn go_to_line(&mut self, topic: &str) -> io::Result<()> {
        let next = self.lines.len() + 2;
        let line = match self.lines.get(topic) {
            Some(line) => *line,
            None if self.lines.len() >= WATCHED_MAX => next - 1,
            None => *self.lines.entry(topic.to_owned()).or_insert(next),
        };
        write!(self.output, "\x1b[{line};1H\x1b[K")
    }

    /// A number below 1000 (xorshift).
    fn roll(&mut self) -> u16 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        u16::try_from(self.dice % u64::from(ALL)).unwrap_or_default()
    }
}

/// Appends text, with control characters other than tabs and ends of lines, and bytes that are no text, by
/// their numbers: `\x1b`.
fn harmless(bytes: &[u8], out: &mut Vec<u8>) {
    for chunk in bytes.utf8_chunks() {
        for letter in chunk.valid().chars() {
            if letter.is_control() && !matches!(letter, '\t' | '\n') {
                out.extend_from_slice(format!("\\x{:02x}", u32::from(letter)).as_bytes());
            } else {
                out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
        for byte in chunk.invalid() {
            out.extend_from_slice(format!("\\x{byte:02x}").as_bytes());
        }
    }
}

/// The first property that `pick` makes something of.
fn property<'a, T>(message: &Publish<'a>, pick: impl Fn(Property<'a>) -> Option<T>) -> Option<T> {
    message.properties.iter().find_map(pick)
}

#[cfg(test)]
mod tests;
