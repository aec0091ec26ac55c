//! Text of strangers in reasons for the log.

use core::fmt::{self, Write};

/// Shows text in quotes, short and on one line, whatever is in it.
pub(crate) struct Quoted<'a>(pub(crate) &'a str);

/// Characters that are shown.
const SHOWN_MAX: usize = 80;

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        let mut rest = self.0.chars();
        for c in rest.by_ref().take(SHOWN_MAX) {
            if c == '\'' {
                f.write_char(c)?;
            } else {
                write!(f, "{}", c.escape_debug())?;
            }
        }
        f.write_str(if rest.next().is_some() { "…\"" } else { "\"" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_strangers_cannot_write_lines_of_its_own_or_long_ones() {
        assert_eq!(Quoted("a'\n\"b\u{1b}").to_string(), r#""a'\n\"b\u{1b}""#);
        let long = "é".repeat(5000);
        assert_eq!(Quoted(&long).to_string().chars().count(), SHOWN_MAX + 3);
    }
}
