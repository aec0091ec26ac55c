//! The seeds of TLS tickets: changed now and then, and kept where the state is kept, so that clients
//! resume their sessions after a restart.

use std::path::{Path, PathBuf};

use midge_transport::tls::TicketKeys;

use crate::access::files;

/// The name of the file in the persistence location.
const FILE: &str = "midge-tls-tickets";

/// Seconds after which a new seed is made. The one before it opens tickets for as long again.
const SEED_SECS: u64 = 12 * 60 * 60;

/// The seeds that are in use.
const SEEDS: usize = 2;

type Seed = [u8; 32];

/// The seeds, the newest first, each with the second since 1970 at which it was made.
pub(crate) struct Tickets {
    seeds: Vec<(u64, Seed)>,
    file: Option<PathBuf>,
    /// Nobody has been given those that were read.
    is_new: bool,
}

impl Tickets {
    /// How long clients are told to keep a ticket: as long as it is good in any case.
    pub(crate) const LIFETIME_SECS: u32 = 12 * 60 * 60;

    /// Those of an earlier life in `location`, if they are kept.
    pub(crate) fn open(location: Option<&Path>) -> Self {
        let file = location.map(|location| location.join(FILE));
        let text = file
            .as_ref()
            .and_then(|file| files::read("tickets", file).ok());
        let seeds = text.map_or_else(Vec::new, |(bytes, _)| read(&bytes));
        Self {
            seeds,
            file,
            is_new: true,
        }
    }

    /// Makes a new seed if it is time, and lets `keys` have them.
    ///
    /// # Errors
    /// What is to be told the operator about the file; the new seed is in use, but not kept.
    pub(crate) fn renew(
        &mut self,
        now: u64,
        seed: impl FnOnce() -> Seed,
        keys: &TicketKeys,
    ) -> Result<(), String> {
        // A clock that was set back is no reason to keep a seed for ever.
        let is_fresh = |made: u64| made <= now && now - made < SEED_SECS;
        let is_usable = |made: u64| made <= now && now - made < SEED_SECS * SEEDS as u64;
        self.seeds.retain(|(made, _)| is_usable(*made));
        let is_new = !self.seeds.first().is_some_and(|(made, _)| is_fresh(*made));
        if is_new {
            self.seeds.insert(0, (now, seed()));
            self.seeds.truncate(SEEDS);
        }
        self.is_new = false;
        let seeds: Vec<Seed> = self.seeds.iter().map(|(_, seed)| *seed).collect();
        keys.replace(&seeds);
        match &self.file {
            Some(file) if is_new => {
                files::replace(file, write(&self.seeds).as_bytes()).map_err(|error| {
                    format!(
                        "Warning: Unable to write {}: {error}. After a restart TLS clients cannot \
                         resume their sessions.",
                        file.display()
                    )
                })
            }
            _ => Ok(()),
        }
    }

    /// When to renew them, in seconds since 1970.
    pub(crate) fn due(&self) -> u64 {
        let newest = self.seeds.first().filter(|_| !self.is_new);
        newest.map_or(0, |(made, _)| made.saturating_add(SEED_SECS))
    }
}

fn write(seeds: &[(u64, Seed)]) -> String {
    use std::fmt::Write;
    let mut text = String::from("# Secret: whoever has this can read recorded TLS sessions.\n");
    for (made, seed) in seeds {
        // A String takes everything.
        let _ = write!(text, "{made} ");
        for byte in seed {
            let _ = write!(text, "{byte:02x}");
        }
        text.push('\n');
    }
    text
}

/// Whatever is no seed is passed over: then there is a new one.
fn read(bytes: &[u8]) -> Vec<(u64, Seed)> {
    let text = str::from_utf8(bytes).unwrap_or_default();
    let seed = |line: &str| {
        let (made, digits) = line.split_once(' ')?;
        let mut seed = [0; 32];
        if digits.len() != 2 * seed.len() {
            return None;
        }
        for (place, byte) in seed.iter_mut().enumerate() {
            let digits = digits.get(2 * place..2 * place + 2)?;
            *byte = u8::from_str_radix(digits, 16).ok()?;
        }
        Some((made.parse().ok()?, seed))
    };
    text.lines().filter_map(seed).take(SEEDS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_seed_outlives_a_restart_and_has_a_successor_in_time() {
        let folder = tempfile::tempdir().unwrap();
        let keys = TicketKeys::new(&[], 1);
        let mut first = Tickets::open(Some(folder.path()));
        first.renew(1_000, || [1; 32], &keys).unwrap();
        let mode = std::fs::metadata(folder.path().join(FILE)).unwrap();
        assert_eq!(mode.permissions().mode() & 0o777, 0o600);
        let mut second = Tickets::open(Some(folder.path()));
        assert_eq!(second.due(), 0, "nobody has the seed yet");
        second
            .renew(1_000 + SEED_SECS - 1, || panic!("not yet"), &keys)
            .unwrap();
        assert_eq!(second.due(), 1_000 + SEED_SECS);
        second.renew(1_000 + SEED_SECS, || [2; 32], &keys).unwrap();
        assert_eq!(
            second.seeds,
            [(1_000 + SEED_SECS, [2; 32]), (1_000, [1; 32])]
        );
        second
            .renew(1_000 + 2 * SEED_SECS, || [3; 32], &keys)
            .unwrap();
        assert_eq!(second.seeds.len(), SEEDS);
        assert_eq!(second.seeds[0].1, [3; 32]);
        assert_eq!(read(write(&second.seeds).as_bytes()), second.seeds);
    }

    #[test]
    fn a_damaged_file_or_a_clock_set_back_leads_to_a_new_seed() {
        let folder = tempfile::tempdir().unwrap();
        let keys = TicketKeys::new(&[], 1);
        std::fs::write(folder.path().join(FILE), "7 ab\nx\n9 \u{e9}").unwrap();
        let mut tickets = Tickets::open(Some(folder.path()));
        assert!(tickets.seeds.is_empty());
        tickets.renew(1_000, || [1; 32], &keys).unwrap();
        tickets.renew(10, || [2; 32], &keys).unwrap();
        assert_eq!(tickets.seeds, [(10, [2; 32])]);
    }
}
