//! The lines of a configuration file: which ones carry an option, and where its value begins.
//!
//! As Mosquitto reads them: one option per line, a comment only where `#` is the first character,
//! any number of line ends of any kind cut off. A tab separates as a space does.

/// One line that carries an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// The line, from 1.
    pub(super) number: u32,
    /// The option as written.
    pub(super) name: &'a str,
    /// What follows the name, blanks at its end included: they matter to nobody but a word count.
    pub(super) rest: &'a str,
}

/// A line that is not text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotText {
    /// The line, from 1.
    pub(super) number: u32,
    /// What it contains.
    pub(super) fault: TextFault,
}

/// Why a line is not text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TextFault {
    /// A NUL byte, where Mosquitto would silently stop reading the line.
    Nul,
    /// Bytes that are not UTF-8.
    Utf8,
}

/// What separates words.
pub(super) const BLANKS: [char; 2] = [' ', '\t'];

/// Yields the lines of a file that carry an option or are not text.
pub(super) fn lines(bytes: &[u8]) -> impl Iterator<Item = Result<Line<'_>, NotText>> {
    // Editors on Windows put a byte order mark in front; it is no part of the first name.
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    bytes
        .split(|&byte| byte == b'\n')
        .zip(1u32..)
        .filter_map(|(bytes, number)| line(bytes, number).transpose())
}

fn line(bytes: &[u8], number: u32) -> Result<Option<Line<'_>>, NotText> {
    if bytes.first() == Some(&b'#') {
        return Ok(None);
    }
    if bytes.contains(&0) {
        let fault = TextFault::Nul;
        return Err(NotText { number, fault });
    }
    let Ok(text) = str::from_utf8(bytes) else {
        let fault = TextFault::Utf8;
        return Err(NotText { number, fault });
    };
    let text = text.trim_end_matches('\r').trim_start_matches(BLANKS);
    if text.is_empty() {
        return Ok(None);
    }
    let (name, rest) = text.split_once(BLANKS).unwrap_or((text, ""));
    Ok(Some(Line { number, name, rest }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], expected: &[(u32, &str, &str)]) {
        let found: Vec<_> = lines(bytes)
            .map(|line| line.expect("text"))
            .map(|line| (line.number, line.name, line.rest))
            .collect();
        assert_eq!(found, expected, "{:?}", String::from_utf8_lossy(bytes));
    }

    #[test]
    fn a_line_is_a_name_and_a_rest() {
        check(b"", &[]);
        check(b"port 1883", &[(1, "port", "1883")]);
        check(
            b"port 1883\nuser me\n",
            &[(1, "port", "1883"), (2, "user", "me")],
        );
        check(b"  port   1883  ", &[(1, "port", "  1883  ")]);
        check(b"\tport\t1883", &[(1, "port", "1883")]);
        check(
            b"log_dest file /a b/c.log",
            &[(1, "log_dest", "file /a b/c.log")],
        );
    }

    #[test]
    fn blank_lines_and_comments_count_but_say_nothing() {
        check(
            b"# c\n\n   \n\t\n#port 1\nport 1883",
            &[(6, "port", "1883")],
        );
    }

    #[test]
    fn a_comment_begins_in_the_first_column_only() {
        check(b" # c", &[(1, "#", "c")]);
        check(b" #c d", &[(1, "#c", "d")]);
    }

    #[test]
    fn windows_line_ends_and_a_byte_order_mark_are_no_part_of_the_text() {
        check(
            b"\xEF\xBB\xBFport 1883\r\n\r\nuser me\r\r\n",
            &[(1, "port", "1883"), (3, "user", "me")],
        );
    }

    #[test]
    fn what_is_not_text_is_told_with_its_line() {
        let found: Vec<_> = lines(b"port 1883\nuser \0\n\xFF\n# \xFF\0 is a comment\n").collect();
        assert_eq!(found.len(), 3);
        assert_eq!(
            found[1],
            Err(NotText {
                number: 2,
                fault: TextFault::Nul
            })
        );
        assert_eq!(
            found[2],
            Err(NotText {
                number: 3,
                fault: TextFault::Utf8
            })
        );
    }
}
