//! Rust text split into code, comments and literals: enough to look at each without the others.
//!
//! Not a parser. It knows where comments, strings and characters begin and end, so that braces can
//! be counted and words be sought where they mean something.

use std::ops::Range;

/// What a stretch of text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Anything that the compiler sees, except literals.
    Code,
    /// A comment of either form, with its marks.
    Comment,
    /// A string, byte string or character, with its quotes.
    Literal,
}

/// A Rust file, split.
pub(crate) struct Source<'a> {
    text: &'a str,
    spans: Vec<(Kind, Range<usize>)>,
}

/// A function with a body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Function<'a> {
    /// Its bare name.
    pub(crate) name: &'a str,
    /// Line of the `fn`, from 1.
    pub(crate) line: usize,
    /// Lines from the `fn` to its closing brace.
    pub(crate) lines: usize,
}

impl<'a> Source<'a> {
    /// Splits `text`; anything unfinished extends to the end.
    pub(crate) fn split(text: &'a str) -> Self {
        let mut spans: Vec<(Kind, Range<usize>)> = Vec::new();
        let mut at = 0;
        let mut code_from = 0;
        while at < text.len() {
            let Some((kind, length)) = special_at(text, at) else {
                at += text[at..].chars().next().map_or(1, char::len_utf8);
                continue;
            };
            if code_from < at {
                spans.push((Kind::Code, code_from..at));
            }
            spans.push((kind, at..at + length));
            at += length;
            code_from = at;
        }
        if code_from < text.len() {
            spans.push((Kind::Code, code_from..text.len()));
        }
        Self { text, spans }
    }

    /// The text with everything that is not `kind` blanked; offsets and lines stay the same.
    pub(crate) fn only(&self, kind: Kind) -> String {
        let mut kept = String::with_capacity(self.text.len());
        for (span_kind, range) in &self.spans {
            let part = &self.text[range.clone()];
            if *span_kind == kind {
                kept.push_str(part);
            } else {
                kept.extend(
                    part.bytes()
                        .map(|byte| if byte == b'\n' { '\n' } else { ' ' }),
                );
            }
        }
        kept
    }

    /// Each comment with its offset.
    pub(crate) fn comments(&self) -> impl Iterator<Item = (usize, &'a str)> {
        let text = self.text;
        self.spans
            .iter()
            .filter(|(kind, _)| *kind == Kind::Comment)
            .map(move |(_, range)| (range.start, &text[range.clone()]))
    }

    /// The bodies of modules and functions that only the tests compile.
    pub(crate) fn test_regions(&self) -> Vec<Range<usize>> {
        let code = self.only(Kind::Code);
        let mut regions: Vec<Range<usize>> = Vec::new();
        for (at, attribute) in code.match_indices("#[cfg(test)]") {
            if regions.last().is_some_and(|last| at < last.end) {
                continue;
            }
            if let Some(body) = body_after(&code, at + attribute.len()) {
                regions.push(at..body.end);
            }
        }
        regions
    }

    /// All functions with a body, nested ones too.
    pub(crate) fn functions(&self) -> Vec<Function<'a>> {
        let code = self.only(Kind::Code);
        let mut functions = Vec::new();
        for (at, mark) in code.match_indices("fn ") {
            let starts_word = !code[..at].ends_with(is_word);
            let name_at = at + mark.len();
            let rest = &self.text[name_at..];
            let name = rest.split(|c| !is_word(c)).next().unwrap_or_default();
            if !starts_word || name.is_empty() {
                continue;
            }
            if let Some(body) = body_after(&code, name_at) {
                functions.push(Function {
                    name,
                    line: line_of(&code, at),
                    lines: code[at..body.end].matches('\n').count() + 1,
                });
            }
        }
        functions
    }
}

/// The line, from 1, of the byte at `offset`.
pub(crate) fn line_of(text: &str, offset: usize) -> usize {
    let before = text.get(..offset).unwrap_or(text);
    before.matches('\n').count() + 1
}

/// Whether `c` may be part of a Rust name.
pub(crate) fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

/// The braces that follow `from`, unless a semicolon at the same level comes first.
fn body_after(code: &str, from: usize) -> Option<Range<usize>> {
    let mut brackets = 0_i32;
    let mut open = None;
    for (offset, byte) in code.bytes().enumerate().skip(from) {
        match (byte, open) {
            (b'(' | b'[', None) => brackets += 1,
            (b')' | b']', None) => brackets -= 1,
            (b';', None) if brackets == 0 => return None,
            (b'{', None) if brackets == 0 => open = Some((offset, 1)),
            (b'{', Some((start, depth))) => open = Some((start, depth + 1)),
            (b'}', Some((start, 1))) => return Some(start..offset + 1),
            (b'}', Some((start, depth))) => open = Some((start, depth - 1)),
            _ => {}
        }
    }
    open.map(|(start, _): (usize, i32)| start..code.len())
}

/// The comment or literal that begins at `at`, with its length in bytes.
fn special_at(text: &str, at: usize) -> Option<(Kind, usize)> {
    let rest = &text[at..];
    if rest.starts_with("//") {
        return Some((Kind::Comment, rest.find('\n').unwrap_or(rest.len())));
    }
    if rest.starts_with("/*") {
        return Some((Kind::Comment, block_comment(rest)));
    }
    if rest.starts_with('"') {
        return Some((Kind::Literal, quoted(rest, '"')));
    }
    if rest.starts_with('\'') {
        return is_character(rest).then(|| (Kind::Literal, quoted(rest, '\'')));
    }
    // A prefix only counts where a word begins: `or"` is not the raw string `r"`.
    if rest.starts_with(['r', 'b', 'c']) && !text[..at].ends_with(is_word) {
        return prefixed(rest).map(|length| (Kind::Literal, length));
    }
    None
}

fn block_comment(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    let mut depth = 0_usize;
    let mut at = 0;
    while at < bytes.len() {
        match &bytes[at..] {
            [b'/', b'*', ..] => {
                depth += 1;
                at += 2;
            }
            [b'*', b'/', ..] => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    rest.len()
}

/// Length of a literal that begins with `quote` and in which a backslash escapes.
fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (offset, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return offset + c.len_utf8(),
            _ => {}
        }
    }
    rest.len()
}

/// Tells the character `'a'` from the lifetime `'a`.
fn is_character(rest: &str) -> bool {
    let mut following = rest.chars().skip(1);
    match following.next() {
        Some('\\') => true,
        Some(_) => following.next() == Some('\''),
        None => false,
    }
}

/// Length of a literal with a prefix: `b"`, `b'`, `c"`, `r"`, `r#"`, `br#"` and so on.
fn prefixed(rest: &str) -> Option<usize> {
    let letters = rest.len() - rest.trim_start_matches(['r', 'b', 'c']).len();
    let (prefix, tail) = rest.split_at(letters);
    match prefix {
        "b" | "c" if tail.starts_with('"') => Some(letters + quoted(tail, '"')),
        "b" if tail.starts_with('\'') => Some(letters + quoted(tail, '\'')),
        "r" | "br" | "cr" => {
            let hashes = tail.len() - tail.trim_start_matches('#').len();
            let body = tail[hashes..].strip_prefix('"')?;
            let close = format!("\"{}", "#".repeat(hashes));
            let length = body
                .find(&close)
                .map_or(body.len(), |end| end + close.len());
            Some(letters + hashes + 1 + length)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
