//! The name of the local time zone, which `@Z` prints: `CET` and not `+01:00`.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::sync::OnceLock;

/// The zones of the largest region have a few kilobytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Names, each with its seconds east of Greenwich: of the standard time, and of the summer time if there is one.
type Names = Vec<(String, i32)>;

/// What the local zone is called while it is this many seconds east of Greenwich, as far as known.
pub(super) fn name(offset_secs: i32) -> Option<&'static str> {
    static NAMES: OnceLock<Names> = OnceLock::new();
    let names = NAMES.get_or_init(|| names(&rule()).unwrap_or_default());
    let (name, _) = names.iter().find(|(_, offset)| *offset == offset_secs)?;
    Some(name)
}

/// The rule of the environment's TZ or of this machine, in the form of POSIX: `CET-1CEST,M3.5.0,M10.5.0/3`.
fn rule() -> String {
    let set = std::env::var("TZ").ok();
    let zone = set.as_deref().map(|zone| zone.trim_start_matches(':'));
    let of_file = match zone {
        None => last_line(Path::new("/etc/localtime")),
        Some(zone) => last_line(&Path::new("/usr/share/zoneinfo").join(zone)),
    };
    of_file
        .or_else(|| zone.filter(|zone| !zone.is_empty()).map(str::to_owned))
        .unwrap_or_else(|| "UTC0".to_owned())
}

/// The rule at the end of a compiled zone (RFC 9636).
fn last_line(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    let file = fs::File::open(path).ok()?;
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    if !bytes.starts_with(b"TZif") {
        return None;
    }
    let text = bytes.strip_suffix(b"\n")?;
    let start = text.iter().rposition(|byte| *byte == b'\n')?;
    String::from_utf8(text.get(start + 1..)?.to_vec()).ok()
}

/// The names in a rule.
fn names(rule: &str) -> Option<Names> {
    let (standard, rest) = word(rule)?;
    let (offset, rest) = offset(rest)?;
    let mut names = vec![(standard.to_owned(), offset)];
    if let Some((summer, rest)) = word(rest) {
        let summer_offset = self::offset(rest).map_or(offset + 3600, |(offset, _)| offset);
        names.push((summer.to_owned(), summer_offset));
    }
    Some(names)
}

/// A name: letters, or anything between angle brackets.
fn word(text: &str) -> Option<(&str, &str)> {
    if let Some(quoted) = text.strip_prefix('<') {
        return quoted.split_once('>');
    }
    let end = text.find(|letter: char| !letter.is_ascii_alphabetic());
    let (word, rest) = text.split_at(end.unwrap_or(text.len()));
    (word.len() >= 3).then_some((word, rest))
}

/// Hours, minutes and seconds west of Greenwich, as seconds east of it.
fn offset(text: &str) -> Option<(i32, &str)> {
    let is_of_it = |letter: char| letter.is_ascii_digit() || "+-:".contains(letter);
    let end = text.find(|letter| !is_of_it(letter)).unwrap_or(text.len());
    let (time, rest) = text.split_at(end);
    let (sign, time) = match time.strip_prefix('-') {
        Some(time) => (1, time),
        None => (-1, time.trim_start_matches('+')),
    };
    let mut seconds = 0;
    for (part, unit) in time.split(':').zip([3600, 60, 1]) {
        let number: i32 = part.parse().ok().filter(|number| *number < 168)?;
        seconds += number * unit;
    }
    Some((sign * seconds, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(rule: &str, expected: &[(&str, i32)]) {
        let found = names(rule).unwrap_or_default();
        let found: Vec<_> = found
            .iter()
            .map(|(name, offset)| (name.as_str(), *offset))
            .collect();
        assert_eq!(found, expected, "{rule}");
    }

    #[test]
    fn a_rule_names_one_time_or_two() {
        check("UTC0", &[("UTC", 0)]);
        check(
            "CET-1CEST,M3.5.0,M10.5.0/3",
            &[("CET", 3600), ("CEST", 7200)],
        );
        check(
            "EST5EDT,M3.2.0,M11.1.0",
            &[("EST", -18000), ("EDT", -14400)],
        );
        check("<+0530>-5:30", &[("+0530", 19800)]);
        check(
            "<+1030>-10:30<+11>-11,M10.1.0,M4.1.0",
            &[("+1030", 37800), ("+11", 39600)],
        );
        check(
            "IST-2IDT,M3.4.4/26,M10.5.0",
            &[("IST", 7200), ("IDT", 10800)],
        );
    }

    #[test]
    fn what_is_no_rule_names_nothing() {
        for rule in [
            "",
            "CE",
            "CET",
            "CET-",
            "<CET",
            "CET99999999999",
            "CET-x",
            "é-1",
            "CET200",
        ] {
            check(rule, &[]);
        }
    }
}
