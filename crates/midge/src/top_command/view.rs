//! What is shown, as lines of text.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use super::stats::{Figure, Load, Stats};

/// How the connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Live,
    Paused,
    Lost,
}

/// Lines between two headers of the plain form.
pub(super) const HEADER_EVERY: u64 = 20;

/// A number for people: three digits and a unit.
fn short(value: f64) -> String {
    const UNITS: [&str; 5] = ["", "k", "M", "G", "T"];
    let mut value = value;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let unit_text = UNITS.get(unit).copied().unwrap_or_default();
    if value == 0.0 {
        "0".to_owned()
    } else if unit == 0 && value.fract() == 0.0 {
        format!("{value:.0}")
    } else if value < 9.995 {
        format!("{value:.2}{unit_text}")
    } else if value < 99.95 {
        format!("{value:.1}{unit_text}")
    } else {
        format!("{value:.0}{unit_text}")
    }
}

/// A size in bytes for people.
fn size(bytes: f64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes;
    let mut unit = 0;
    while value >= 1023.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let unit_text = UNITS.get(unit).copied().unwrap_or_default();
    let digits = usize::from(unit > 0 && value < 99.95);
    format!("{value:.digits$} {unit_text}")
}

fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".to_owned())
}

fn duration(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let clock = format!(
        "{:02}:{:02}:{:02}",
        rest / 3600,
        rest % 3600 / 60,
        rest % 60
    );
    if days > 0 {
        format!("{days}d {clock}")
    } else {
        clock
    }
}

/// The live view for a terminal of `width` and `height`.
pub(super) fn lines(
    stats: &Stats,
    place: &str,
    state: State,
    counts_topics: bool,
    (width, height): (usize, usize),
) -> Vec<String> {
    let now = Instant::now();
    let mut lines = vec![heading(stats, place, state), String::new()];
    if stats.is_silent(now) {
        lines.push(
            "No $SYS topic has come. Does the broker publish them (sys_interval), and may this"
                .into(),
        );
        lines.push("user read $SYS/#?".into());
    }
    lines.extend(holdings(stats));
    lines.push(String::new());
    lines.extend(rates(stats));
    // Lines for the curve and its heading, and for the keys.
    let left = height.saturating_sub(lines.len() + 2);
    if counts_topics {
        lines.extend(topics(stats, left, now));
    } else if left >= 3 && stats.history.len() > 1 {
        lines.push(String::new());
        lines.extend(curve(stats, width));
    }
    let end = height.saturating_sub(1);
    lines.truncate(end);
    lines.resize(end, String::new());
    lines.push("q quit   p pause   l draw anew".to_owned());
    lines.into_iter().map(|line| fit(&line, width)).collect()
}

/// A line that fits the width and has nothing in it that would steer the terminal.
fn fit(line: &str, width: usize) -> String {
    line.chars()
        .map(|letter| {
            if letter.is_control() {
                '\u{fffd}'
            } else {
                letter
            }
        })
        .take(width)
        .collect()
}

fn heading(stats: &Stats, place: &str, state: State) -> String {
    let mut line = format!("midge top   {place}   ");
    match state {
        State::Lost => line.push_str("CONNECTION LOST, trying again"),
        State::Paused => line.push_str("PAUSED"),
        State::Live => {}
    }
    if state == State::Live {
        let _ = write!(line, "{}", stats.version().unwrap_or("waiting for $SYS"));
        if let Some(seconds) = stats.uptime_secs() {
            let _ = write!(line, "   up {}", duration(seconds));
        }
    }
    line
}

fn holdings(stats: &Stats) -> Vec<String> {
    let number = |figure| or_dash(stats.figure(figure).map(short));
    let bytes = |figure| or_dash(stats.figure(figure).map(size));
    let mut lines = vec![
        format!(
            "clients     {} connected, {} away, {} at most, {} expired",
            number(Figure::Connected),
            number(Figure::Disconnected),
            number(Figure::ClientsMaximum),
            number(Figure::Expired)
        ),
        format!(
            "topics      {} subscriptions, {} shared, {} retained messages",
            number(Figure::Subscriptions),
            number(Figure::SharedSubscriptions),
            number(Figure::Retained)
        ),
        format!(
            "waiting     {} messages ({}), {} packets on their way out ({})",
            number(Figure::Queued),
            bytes(Figure::QueuedBytes),
            number(Figure::OutgoingPackets),
            bytes(Figure::OutgoingBytes)
        ),
    ];
    if stats.figure(Figure::HeapCurrent).is_some() {
        lines.push(format!(
            "memory      {}, {} at most",
            bytes(Figure::HeapCurrent),
            bytes(Figure::HeapMaximum)
        ));
    }
    lines
}

fn rates(stats: &Stats) -> Vec<String> {
    const ROWS: [(&str, Option<Figure>, Load, bool); 9] = [
        (
            "published in",
            Some(Figure::PublishIn),
            Load::PublishIn,
            false,
        ),
        (
            "published out",
            Some(Figure::PublishOut),
            Load::PublishOut,
            false,
        ),
        ("dropped", Some(Figure::Dropped), Load::Dropped, false),
        (
            "packets in",
            Some(Figure::MessagesIn),
            Load::MessagesIn,
            false,
        ),
        (
            "packets out",
            Some(Figure::MessagesOut),
            Load::MessagesOut,
            false,
        ),
        ("bytes in", Some(Figure::BytesIn), Load::BytesIn, true),
        ("bytes out", Some(Figure::BytesOut), Load::BytesOut, true),
        ("connections", None, Load::Connections, false),
        ("sockets", None, Load::Sockets, false),
    ];
    let mut lines = vec![format!(
        "{:<14}{:>11}{:>11}{:>11}{:>11}{:>11}",
        "each second", "now", "1 min", "5 min", "15 min", "in all"
    )];
    for (name, figure, load, is_bytes) in ROWS {
        let shown = |value: Option<f64>| or_dash(value.map(if is_bytes { size } else { short }));
        let now = figure.and_then(|figure| stats.rate(figure));
        let total = figure.and_then(|figure| stats.figure(figure));
        lines.push(format!(
            "{name:<14}{:>11}{:>11}{:>11}{:>11}{:>11}",
            shown(now),
            shown(stats.load(load, 0)),
            shown(stats.load(load, 1)),
            shown(stats.load(load, 2)),
            shown(total)
        ));
    }
    lines
}

/// The last rates as bars.
fn curve(stats: &Stats, width: usize) -> Vec<String> {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    const NAME: usize = 14;
    let room = width.saturating_sub(NAME);
    let skip = stats.history.len().saturating_sub(room);
    let draw = |name: &str, pick: fn(&(f64, f64)) -> f64| {
        let values: Vec<f64> = stats.history.iter().skip(skip).map(pick).collect();
        let most = values.iter().copied().fold(0.0, f64::max);
        let mut line = format!("{name:<NAME$}");
        for value in values {
            let share = if most > 0.0 { value / most } else { 0.0 };
            // Within the list, since the share is between 0 and 1.
            let bar = (share * 7.0).round() as usize;
            line.push(BARS.get(bar).copied().unwrap_or(' '));
        }
        line
    };
    vec![draw("in", |pair| pair.0), draw("out", |pair| pair.1)]
}

fn topics(stats: &Stats, room: usize, now: Instant) -> Vec<String> {
    let mut lines = vec![String::new()];
    let (topics, time) = stats.busiest(room.saturating_sub(3), now);
    let seconds = time.max(Duration::from_secs(1)).as_secs_f64();
    lines.push(format!(
        "{:>11}{:>11}{:>11}   topic",
        "messages", "a second", "bytes"
    ));
    for (name, topic) in topics {
        lines.push(format!(
            "{:>11}{:>11}{:>11}   {name}",
            short(topic.messages as f64),
            short(topic.messages as f64 / seconds),
            size(topic.bytes as f64)
        ));
    }
    if stats.uncounted() > 0 {
        let more = short(stats.uncounted() as f64);
        lines.push(format!("{more:>11} messages of other topics"));
    }
    lines
}

/// The names of the plain form's columns.
pub(super) fn plain_header() -> String {
    format!(
        "{:>9} {:>9} {:>10} {:>10} {:>9} {:>10} {:>10} {:>9} {:>9} {:>9}\n",
        "clients",
        "away",
        "in/s",
        "out/s",
        "dropped/s",
        "bytes-in/s",
        "bytes-out/s",
        "waiting",
        "retained",
        "subscr."
    )
}

/// A line of the plain form: figures as they are, for programs too. What is not known is a dash.
pub(super) fn plain_line(stats: &Stats) -> String {
    let number =
        |value: Option<f64>, digits: usize| or_dash(value.map(|value| format!("{value:.digits$}")));
    let rate = |figure, load| {
        let value = stats.rate(figure).or_else(|| stats.load(load, 0));
        number(value, 1)
    };
    let figure = |figure| number(stats.figure(figure), 0);
    format!(
        "{:>9} {:>9} {:>10} {:>10} {:>9} {:>10} {:>10} {:>9} {:>9} {:>9}\n",
        figure(Figure::Connected),
        figure(Figure::Disconnected),
        rate(Figure::PublishIn, Load::PublishIn),
        rate(Figure::PublishOut, Load::PublishOut),
        rate(Figure::Dropped, Load::Dropped),
        rate(Figure::BytesIn, Load::BytesIn),
        rate(Figure::BytesOut, Load::BytesOut),
        figure(Figure::Queued),
        figure(Figure::Retained),
        figure(Figure::Subscriptions)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (value, expected) in [
            (0.0, "0"),
            (7.0, "7"),
            (0.25, "0.25"),
            (12.34, "12.3"),
            (999.0, "999"),
            (1000.0, "1.00k"),
            (45_678.0, "45.7k"),
            (1_234_567.0, "1.23M"),
        ] {
            assert_eq!(short(value), expected);
        }
        for (value, expected) in [
            (0.0, "0 B"),
            (1023.0, "1023 B"),
            (1536.0, "1.5 KiB"),
            (1_073_741_824.0, "1.0 GiB"),
        ] {
            assert_eq!(size(value), expected);
        }
        assert_eq!(duration(90_061), "1d 01:01:01");
    }

    #[test]
    fn a_view_fits_its_terminal() {
        let stats = Stats::new(Instant::now());
        for size in [(80, 24), (20, 5), (1, 1), (200, 60)] {
            let lines = lines(
                &stats,
                "a place with \x1b[2J in it",
                State::Live,
                true,
                size,
            );
            assert_eq!(lines.len(), size.1.max(1), "{size:?}");
            assert!(lines.iter().all(|line| line.chars().count() <= size.0));
            assert!(!lines.concat().contains('\x1b'));
        }
    }
}
