//! Questions whose answer is not shown.

use std::io::{self, Read as _, Write as _};

use nix::sys::termios::{
    LocalFlags, SetArg, SpecialCharacterIndices, Termios, tcgetattr, tcsetattr,
};

/// What Ctrl-C types.
const INTERRUPT: u8 = 3;

/// Longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: u64 = 66_000;

/// Asks on the standard error and reads from the standard input. Where that is a terminal, nothing is shown of
/// what is typed while this lives, and Ctrl-C ends the question with the terminal as it was.
pub(crate) struct Questions {
    hidden: Option<Hidden>,
}

impl Questions {
    /// Before the first question, so that a quick answer is neither shown nor lost.
    pub(crate) fn new() -> Self {
        Self {
            hidden: Hidden::new(),
        }
    }

    /// Asks and reads a line, without its end.
    pub(crate) fn ask(&self, prompt: &str) -> io::Result<Vec<u8>> {
        let mut out = io::stderr();
        out.write_all(prompt.as_bytes())?;
        out.flush()?;
        let answer = read_line();
        // The line end was not shown either.
        out.write_all(b"\n")?;
        let mut answer = answer?;
        if self.hidden.is_some() && answer.last() == Some(&INTERRUPT) {
            return Err(io::Error::other("Interrupted."));
        }
        for end in [b'\n', b'\r'] {
            if answer.last() == Some(&end) {
                answer.pop();
            }
        }
        Ok(answer)
    }
}

/// Asks one question.
pub(crate) fn read_hidden(prompt: &str) -> io::Result<Vec<u8>> {
    Questions::new().ask(prompt)
}

/// Byte by byte, since what follows the line belongs to the next question.
fn read_line() -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    for byte in io::stdin().lock().take(ANSWER_BYTES_MAX).bytes() {
        let byte = byte?;
        line.push(byte);
        if byte == b'\n' || byte == INTERRUPT {
            break;
        }
    }
    Ok(line)
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
        // Ctrl-C must not end the program while the echo is off, so it ends the line instead.
        quiet.local_flags &= !(LocalFlags::ECHO | LocalFlags::ISIG);
        let line_end = SpecialCharacterIndices::VEOL as usize;
        if let Some(character) = quiet.control_chars.get_mut(line_end) {
            *character = INTERRUPT;
        }
        tcsetattr(io::stdin(), SetArg::TCSADRAIN, &quiet).ok()?;
        Some(Self { before })
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, &self.before);
    }
}
