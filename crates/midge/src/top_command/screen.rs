//! The terminal while it shows the live view, and as it was afterwards.

use std::io::{self, Read as _, Write as _};

use nix::sys::termios::{
    LocalFlags, SetArg, SpecialCharacterIndices, Termios, tcgetattr, tcsetattr,
};

/// A key that means something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Quit,
    Pause,
    Redraw,
}

/// Another page of the terminal, without the cursor.
const ENTER: &[u8] = b"\x1b[?1049h\x1b[?25l\x1b[2J";
/// The page before, with its cursor.
const LEAVE: &[u8] = b"\x1b[?25h\x1b[?1049l";

/// The size of a terminal that does not tell.
const USUAL_SIZE: (usize, usize) = (80, 24);

/// The terminal, which gets back what it was when this goes, also by a panic.
pub(super) struct Screen {
    /// `None` when the standard input is no terminal; then there are no keys.
    before: Option<Termios>,
    shown_size: Option<(usize, usize)>,
}

impl Screen {
    pub(super) fn open() -> io::Result<Self> {
        let before = tcgetattr(io::stdin()).ok();
        if let Some(before) = &before {
            let mut raw = before.clone();
            // Keys come at once and are not shown. Ctrl-C still ends the program, by its signal;
            // Ctrl-Z would leave the terminal as it is now to the shell.
            raw.local_flags &= !(LocalFlags::ECHO | LocalFlags::ICANON);
            for (character, value) in [
                (SpecialCharacterIndices::VMIN, 0),
                (SpecialCharacterIndices::VTIME, 0),
                (SpecialCharacterIndices::VSUSP, 0),
            ] {
                if let Some(place) = raw.control_chars.get_mut(character as usize) {
                    *place = value;
                }
            }
            tcsetattr(io::stdin(), SetArg::TCSADRAIN, &raw)?;
        }
        let screen = Self {
            before,
            shown_size: None,
        };
        write(ENTER)?;
        Ok(screen)
    }

    /// Columns and lines.
    pub(super) fn size(&self) -> (usize, usize) {
        let Ok(size) = rustix::termios::tcgetwinsize(io::stdout()) else {
            return USUAL_SIZE;
        };
        match (size.ws_col, size.ws_row) {
            (0, _) | (_, 0) => USUAL_SIZE,
            (columns, lines) => (usize::from(columns), usize::from(lines)),
        }
    }

    /// Whether the terminal has another size than what was last shown.
    pub(super) fn was_resized(&mut self) -> bool {
        self.shown_size.is_some_and(|shown| shown != self.size())
    }

    /// Whether nothing was shown yet.
    pub(super) const fn is_blank(&self) -> bool {
        self.shown_size.is_none()
    }

    /// Begins with an empty page, for one that something else has written to.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        self.shown_size = None;
        write(b"\x1b[2J")
    }

    /// Shows lines, which have to fit, in one write, so that nothing flickers over a slow line.
    pub(super) fn show(&mut self, lines: &[String]) -> io::Result<()> {
        let size = self.size();
        let mut text = String::new();
        if self.shown_size.is_some_and(|shown| shown != size) {
            text.push_str("\x1b[2J");
        }
        self.shown_size = Some(size);
        text.push_str("\x1b[H");
        for (number, line) in lines.iter().enumerate() {
            if number > 0 {
                text.push_str("\r\n");
            }
            text.push_str(line);
            text.push_str("\x1b[K");
        }
        text.push_str("\x1b[J");
        write(text.as_bytes())
    }

    /// The keys that were typed.
    pub(super) fn keys(&mut self) -> io::Result<Vec<Key>> {
        let mut keys = Vec::new();
        if self.before.is_none() {
            return Ok(keys);
        }
        let mut buffer = [0; 64];
        loop {
            let count = match io::stdin().read(&mut buffer) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                Err(error) => return Err(error),
            };
            for byte in buffer.get(..count).unwrap_or_default() {
                keys.extend(match byte {
                    b'q' | b'Q' => Some(Key::Quit),
                    b'p' | b'P' | b' ' => Some(Key::Pause),
                    b'l' | 0x0C => Some(Key::Redraw),
                    _ => None,
                });
            }
            if count < buffer.len() {
                return Ok(keys);
            }
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = write(LEAVE);
        if let Some(before) = &self.before {
            let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, before);
        }
    }
}

fn write(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}
