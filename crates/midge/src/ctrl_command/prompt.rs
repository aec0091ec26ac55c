//! Questions whose answer is not shown.

use std::io::{self, BufRead as _, Write as _};

use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};

/// Asks on the standard error and reads a line of the standard input, without its end. Where that is a
/// terminal, nothing is shown of what is typed. `None` at the end of the input.
pub(super) fn read_hidden(prompt: &str) -> io::Result<Option<String>> {
    let mut out = io::stderr();
    out.write_all(prompt.as_bytes())?;
    out.flush()?;
    let hidden = Hidden::new();
    let answer = read_line();
    drop(hidden);
    // The line end was not shown either.
    out.write_all(b"\n")?;
    answer
}

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

/// Asks for a new password, twice.
pub(super) fn read_new_password(user_name: &str) -> io::Result<NewPassword> {
    let first = read_hidden(&format!("New password for {user_name}: "))?;
    let Some(first) = first.filter(|password| !password.is_empty()) else {
        return Ok(NewPassword::Empty);
    };
    let second = read_hidden(&format!("Reenter password for {user_name}: "))?;
    Ok(if second.as_ref() == Some(&first) {
        NewPassword::Given(first)
    } else {
        NewPassword::Different
    })
}

/// What somebody typed who was asked for a new password.
pub(super) enum NewPassword {
    Given(String),
    Empty,
    /// The second time something else.
    Different,
}

/// The terminal of the standard input with its echo off, for as long as this lives.
struct Hidden {
    before: Termios,
}

impl Hidden {
    /// `None` when the standard input is no terminal.
    fn new() -> Option<Self> {
        let before = tcgetattr(io::stdin()).ok()?;
        let mut quiet = before.clone();
        // A Ctrl-C would leave the terminal without echo: it is a character like another meanwhile.
        quiet.local_flags &= !(LocalFlags::ECHO | LocalFlags::ISIG);
        tcsetattr(io::stdin(), SetArg::TCSAFLUSH, &quiet).ok()?;
        Some(Self { before })
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, &self.before);
    }
}
