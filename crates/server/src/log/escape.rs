//! Lines that stay lines, whatever a client puts into its identifier.

use std::borrow::Cow;
use std::fmt::Write;

/// Replaces control characters by `\n`, `\r`, `\t` or `\xNN`, so that a text cannot end its line,
/// forge another one, or steer a terminal.
#[must_use]
pub fn escape(text: &str) -> Cow<'_, str> {
    let Some((first, _)) = text.char_indices().find(|(_, char)| char.is_control()) else {
        return Cow::Borrowed(text);
    };
    let (clean, rest) = text.split_at(first);
    let mut escaped = String::with_capacity(text.len() + 8);
    escaped.push_str(clean);
    for char in rest.chars() {
        match char {
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\t' => escaped.push_str("\\t"),
            // Writing to a String cannot fail. All control characters are below 0x100.
            control if control.is_control() => {
                let _ = write!(escaped, "\\x{:02x}", u32::from(control));
            }
            other => escaped.push(other),
        }
    }
    Cow::Owned(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        assert_eq!(escape(text), expected);
    }

    #[test]
    fn plain_text_is_borrowed() {
        assert!(matches!(escape("Käse 東京 \\n"), Cow::Borrowed(_)));
    }

    #[test]
    fn control_characters_become_visible() {
        check("", "");
        check("a\nb", "a\\nb");
        check("a\r\n1700000000: forged", "a\\r\\n1700000000: forged");
        check("\x1b[31mred\x7f", "\\x1b[31mred\\x7f");
        check("\0\u{1}\u{9b}\u{85}ä", "\\x00\\x01\\x9b\\x85ä");
        check("tab\there", "tab\\there");
    }
}
