//! What is asked for while the program runs.

use std::io::{self, BufRead as _};

use crate::prompt::Questions;

/// Reads a line of the standard input, without its end; `None` at the end of the input.
pub(super) fn read_line() -> io::Result<Option<String>> {
    let mut line = String::new();
    if io::stdin().lock().read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let end = line.trim_end_matches(['\n', '\r']).len();
    line.truncate(end);
    Ok(Some(line))
}

/// What somebody typed who was asked for a new password.
pub(super) enum NewPassword {
    Given(String),
    Empty,
    /// The second time something else.
    Different,
}

/// Asks for a new password, twice.
pub(super) fn read_new_password(user_name: &str) -> io::Result<NewPassword> {
    let questions = Questions::new();
    let first = questions.ask(&format!("New password for {user_name}: "))?;
    if first.is_empty() {
        return Ok(NewPassword::Empty);
    }
    let second = questions.ask(&format!("Reenter password for {user_name}: "))?;
    if second != first {
        return Ok(NewPassword::Different);
    }
    let text = String::from_utf8(first)
        .map_err(|_| io::Error::other("The password is not valid UTF-8"))?;
    Ok(NewPassword::Given(text))
}
