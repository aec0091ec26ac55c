//! The formats of `-F`.

use std::fmt::Write as _;
use std::io::Write as _;

use chrono::{DateTime, Local};
use midge_codec::{Property, Publish};

use super::{json, property, zone};
use crate::options::UsageError;

/// A format, read.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Format(Vec<Piece>);

#[derive(Clone, Debug, PartialEq)]
enum Piece {
    Literal(Vec<u8>),
    Field(Field),
    /// Nanoseconds.
    Nanos,
    /// A conversion of strftime.
    Time(u8),
}

/// What stands for a part of a message.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Field {
    code: u8,
    layout: Layout,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Layout {
    left: bool,
    zeros: bool,
    width: usize,
    /// `None`: all of it.
    precision: Option<usize>,
    /// Between the digits of `%x`, every `precision` digits.
    separator: u8,
}

/// More is a slip of the keyboard.
const WIDTH_MAX: usize = 65_535;
const CODES: &[u8] = b"%ACDEFIjJlmPpqRrStUxXfd";
/// Conversions that strftime and chrono both know, for the same things.
const TIME_CODES: &[u8] = b"aAbBcCdDeFgGhHIjklmMnpPrRsStTuUVwWxXyYzZ%";
const SEPARATORS: &[u8] = b"!\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~ ";

/// The time of one message.
pub(super) struct Clock(DateTime<Local>);

impl Clock {
    pub(super) fn now() -> Self {
        Self(Local::now())
    }

    /// By a pattern of strftime; empty for one that is none.
    fn text(&self, pattern: &str) -> String {
        let mut text = String::new();
        if write!(text, "{}", self.0.format(pattern)).is_err() {
            text.clear();
        }
        text
    }

    /// What one code of strftime stands for.
    fn conversion(&self, code: u8) -> String {
        let name = (code == b'Z')
            .then(|| zone::name(self.0.offset().local_minus_utc()))
            .flatten();
        name.map_or_else(
            || self.text(&format!("%{}", char::from(code))),
            str::to_owned,
        )
    }

    /// ISO 8601 with microseconds, as JSON has it.
    pub(super) fn precise(&self) -> String {
        self.text("%Y-%m-%dT%H:%M:%S%.6f%z")
    }

    fn nanos(&self) -> u32 {
        // A leap second has more than a second's.
        self.0.timestamp_subsec_nanos() % 1_000_000_000
    }
}

impl Format {
    /// Reads a format in the language of mosquitto_sub.
    pub(super) fn parse(text: &[u8]) -> Result<Self, UsageError> {
        let incomplete = || UsageError::from("Incomplete format specifier.");
        let mut pieces = Vec::new();
        let mut literal = Vec::new();
        let mut rest = text.iter().copied().peekable();
        while let Some(byte) = rest.next() {
            let piece = match byte {
                b'%' => {
                    let layout = Layout::parse(&mut rest);
                    let code = rest.next().ok_or_else(incomplete)?;
                    if !CODES.contains(&code) {
                        let code = char::from(code);
                        return Err(UsageError(format!("Invalid format specifier '{code}'.")));
                    }
                    Piece::Field(Field { code, layout })
                }
                b'@' => match rest.next().ok_or_else(incomplete)? {
                    b'@' => {
                        literal.push(b'@');
                        continue;
                    }
                    b'N' => Piece::Nanos,
                    code => Piece::Time(code),
                },
                b'\\' => {
                    literal.push(escape(rest.next())?);
                    continue;
                }
                byte => {
                    literal.push(byte);
                    continue;
                }
            };
            if !literal.is_empty() {
                pieces.push(Piece::Literal(std::mem::take(&mut literal)));
            }
            pieces.push(piece);
        }
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        Ok(Self(pieces))
    }

    /// Appends a message; what could not be shown, in words.
    pub(super) fn write(
        &self,
        message: &Publish<'_>,
        pretty: bool,
        out: &mut Vec<u8>,
    ) -> Vec<String> {
        let mut complaints = Vec::new();
        let mut now = None;
        for piece in &self.0 {
            match piece {
                Piece::Literal(bytes) => out.extend_from_slice(bytes),
                Piece::Nanos => {
                    let nanos = now.get_or_insert_with(Clock::now).nanos();
                    put(out, format_args!("{nanos:09}"));
                }
                // As strftime of the C library has it.
                Piece::Time(code) if !TIME_CODES.contains(code) => out.extend([b'%', *code]),
                Piece::Time(code) => {
                    let text = now.get_or_insert_with(Clock::now).conversion(*code);
                    out.extend_from_slice(text.as_bytes());
                }
                Piece::Field(field) => {
                    if let Err(text) = field.write(message, &mut now, pretty, out) {
                        complaints.push(text);
                    }
                }
            }
        }
        complaints
    }
}

fn escape(code: Option<u8>) -> Result<u8, UsageError> {
    match code {
        None => Err("Incomplete escape specifier.".into()),
        Some(b'\\') => Ok(b'\\'),
        Some(b'0') => Ok(0),
        Some(b'a') => Ok(0x07),
        Some(b'e') => Ok(0x1B),
        Some(b'n') => Ok(b'\n'),
        Some(b'r') => Ok(b'\r'),
        Some(b't') => Ok(b'\t'),
        Some(b'v') => Ok(0x0B),
        Some(code) => {
            let code = char::from(code);
            Err(UsageError(format!("Invalid escape specifier '{code}'.")))
        }
    }
}

impl Layout {
    fn parse(rest: &mut std::iter::Peekable<impl Iterator<Item = u8>>) -> Self {
        let left = rest.next_if_eq(&b'-').is_some();
        let zeros = rest.next_if_eq(&b'0').is_some();
        let width = number(rest).unwrap_or_default();
        let precision = rest
            .next_if_eq(&b'.')
            .map(|_| number(rest).unwrap_or_default());
        let separator = rest.next_if(|byte| SEPARATORS.contains(byte));
        Self {
            left,
            zeros,
            width,
            precision,
            separator: separator.unwrap_or(b' '),
        }
    }

    fn fill(&self) -> u8 {
        if self.zeros { b'0' } else { b' ' }
    }

    fn blank(&self, out: &mut Vec<u8>) {
        out.resize(out.len() + self.width, self.fill());
    }

    fn number(&self, value: impl std::fmt::Display, out: &mut Vec<u8>) {
        let text = value.to_string();
        let padding = self.width.saturating_sub(text.len());
        match (self.left, self.zeros) {
            (true, _) => put(out, format_args!("{text:<0$}", self.width)),
            (false, true) => {
                // The sign stands before the zeros.
                let (sign, digits) = match text.strip_prefix('-') {
                    Some(digits) => ("-", digits),
                    None => ("", text.as_str()),
                };
                put(out, format_args!("{sign}{:0>padding$}{digits}", ""));
            }
            (false, false) => put(out, format_args!("{text:>0$}", self.width)),
        }
    }

    fn text(&self, value: &str, out: &mut Vec<u8>) {
        let shown = match self.precision {
            Some(most) => value.as_bytes().get(..most).unwrap_or(value.as_bytes()),
            None => value.as_bytes(),
        };
        let padding = self.width.saturating_sub(shown.len());
        if !self.left {
            out.resize(out.len() + padding, b' ');
        }
        out.extend_from_slice(shown);
        if self.left {
            out.resize(out.len() + padding, b' ');
        }
    }

    /// A payload, of which a width shows only the beginning.
    fn payload(&self, payload: &[u8], out: &mut Vec<u8>) {
        let shown = match self.width {
            0 => payload,
            width => payload.get(..width).unwrap_or(payload),
        };
        let padding = self.width.saturating_sub(shown.len());
        if !self.left {
            out.resize(out.len() + padding, self.fill());
        }
        out.extend_from_slice(shown);
        if self.left {
            out.resize(out.len() + padding, b' ');
        }
    }

    fn hex(&self, payload: &[u8], digits: &[u8; 16], out: &mut Vec<u8>) {
        let shown = match self.width {
            0 => payload,
            width => payload.get(..width).unwrap_or(payload),
        };
        let padding = self.width.saturating_sub(shown.len() * 2);
        let mut position = 0;
        let separate = |position: &mut usize, out: &mut Vec<u8>| {
            if let Some(every @ 1..) = self.precision
                && *position % every == every - 1
            {
                out.push(self.separator);
            }
            *position += 1;
        };
        if !self.left {
            for _ in 0..padding {
                out.push(self.fill());
                separate(&mut position, out);
            }
        }
        for (index, byte) in shown.iter().enumerate() {
            for (half, nibble) in [byte >> 4, byte & 0x0F].into_iter().enumerate() {
                out.push(digits.get(usize::from(nibble)).copied().unwrap_or_default());
                if half == 0 || index + 1 < shown.len() {
                    separate(&mut position, out);
                }
            }
        }
        if self.left {
            out.resize(out.len() + padding, b' ');
        }
    }

    fn float(&self, value: f64, out: &mut Vec<u8>) {
        let digits = self.precision.unwrap_or(6);
        if value.is_finite() {
            self.number(format_args!("{value:.digits$}"), out);
        } else {
            let text = value.to_string().to_ascii_lowercase();
            let plain = Self {
                precision: None,
                ..*self
            };
            plain.text(&text, out);
        }
    }
}

fn number(rest: &mut std::iter::Peekable<impl Iterator<Item = u8>>) -> Option<usize> {
    let mut value = None;
    while let Some(digit) = rest.next_if(u8::is_ascii_digit) {
        let so_far = value.unwrap_or(0_usize);
        value = Some((so_far * 10 + usize::from(digit - b'0')).min(WIDTH_MAX));
    }
    value
}

fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // A vector takes everything.
    let _ = out.write_fmt(text);
}

impl Field {
    fn write(
        &self,
        message: &Publish<'_>,
        now: &mut Option<Clock>,
        pretty: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), String> {
        let layout = &self.layout;
        let payload = message.payload;
        match self.code {
            b't' => layout.text(message.topic, out),
            b'p' => layout.payload(payload, out),
            b'q' => out.push(b'0' + message.qos.bits()),
            b'r' => out.push(b'0' + u8::from(message.retain)),
            b'l' => layout.number(payload.len(), out),
            b'm' => layout.number(message.packet_id.map_or(0, u16::from), out),
            b'x' => layout.hex(payload, b"0123456789abcdef", out),
            b'X' => layout.hex(payload, b"0123456789ABCDEF", out),
            b'f' => {
                let Ok(bytes) = payload.try_into() else {
                    return Err("requested float printing, but non-float data received".to_owned());
                };
                layout.float(f64::from(f32::from_ne_bytes(bytes)), out);
            }
            b'd' => {
                let Ok(bytes) = payload.try_into() else {
                    return Err(
                        "requested double printing, but non-double data received".to_owned()
                    );
                };
                layout.float(f64::from_ne_bytes(bytes), out);
            }
            b'j' | b'J' => {
                let now = now.get_or_insert_with(Clock::now);
                return json::write(message, now, self.code == b'J', pretty, out);
            }
            b'I' => {
                let text = now.get_or_insert_with(Clock::now).text("%FT%T%z");
                layout.text(&text, out);
            }
            b'U' => {
                let now = now.get_or_insert_with(Clock::now);
                put(
                    out,
                    format_args!("{}.{:09}", now.0.timestamp(), now.nanos()),
                );
            }
            b'%' => out.push(b'%'),
            _ => self.write_property(message, out),
        }
        Ok(())
    }

    fn write_property(&self, message: &Publish<'_>, out: &mut Vec<u8>) {
        let layout = &self.layout;
        let code = self.code;
        if code == b'P' {
            let mut space = "";
            for property in message.properties.iter() {
                if let Property::UserProperty(name, value) = property {
                    put(out, format_args!("{space}{name}:{value}"));
                    space = " ";
                }
            }
            return;
        }
        let found = property(message, |property| {
            let fits = match property {
                Property::TopicAlias(_) => code == b'A',
                Property::ContentType(_) => code == b'C',
                Property::CorrelationData(_) => code == b'D',
                Property::MessageExpiryInterval(_) => code == b'E',
                Property::PayloadFormatIndicator(_) => code == b'F',
                Property::ResponseTopic(_) => code == b'R',
                Property::SubscriptionIdentifier(_) => code == b'S',
                _ => false,
            };
            fits.then_some(property)
        });
        match found {
            Some(Property::TopicAlias(value)) => layout.number(value, out),
            Some(Property::PayloadFormatIndicator(value)) => layout.number(value, out),
            Some(
                Property::MessageExpiryInterval(value) | Property::SubscriptionIdentifier(value),
            ) => layout.number(value, out),
            Some(Property::ContentType(text) | Property::ResponseTopic(text)) => {
                layout.text(text, out);
            }
            Some(Property::CorrelationData(bytes)) => out.extend_from_slice(bytes),
            None if matches!(code, b'D' | b'R') => {}
            _ => layout.blank(out),
        }
    }
}
