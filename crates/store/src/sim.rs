//! A disk in memory that fails as disks do, by a seed.
//!
//! What was not synced is, at a [`SimDisk::crash`], lost or kept for each sector of 512 bytes by
//! itself, in any version that it had since the last sync; the same goes for each change of a name.
//! A failed sync leaves each sector on the disk or not, while reading still shows it, as the page
//! cache of a real system does.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::disk::{Disk, DiskFile};

const SECTOR: usize = 512;
/// Versions of an unsynced sector that are remembered.
const VERSIONS_MAX: usize = 4;

/// What goes wrong, in times out of 10,000.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// A write fails with EIO, before or after a part of it.
    pub write_error: u32,
    /// A write takes only a part.
    pub short_write: u32,
    /// A read fails with EIO.
    pub read_error: u32,
    /// A sync fails with EIO.
    pub sync_error: u32,
    /// All bytes that the files may have together.
    pub capacity: Option<u64>,
    /// Time that a sync takes on the disk's own clock.
    pub sync_time: Duration,
}

/// The disk. Clones are the same disk.
#[derive(Clone, Debug)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

/// A file of a [`SimDisk`].
#[derive(Debug)]
pub struct SimFile {
    state: Arc<Mutex<State>>,
    inode: usize,
}

#[derive(Debug)]
struct State {
    inodes: Vec<Inode>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    name_changes: Vec<NameChange>,
    random: Random,
    faults: Faults,
    /// Changes and syncs so far.
    operations: u64,
    dies_at: Option<u64>,
    elapsed: Duration,
}

#[derive(Clone, Debug)]
enum NameChange {
    Set(String, usize),
    Removed(String),
}

#[derive(Clone, Debug, Default)]
struct Inode {
    current: Vec<u8>,
    durable: Vec<u8>,
    /// Versions of sectors since the last sync.
    pending: BTreeMap<usize, Vec<Vec<u8>>>,
}

/// SplitMix64, for faults and for the workloads of tests.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Begins the sequence of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; 0 for a bound of 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next_u64().checked_rem(bound).unwrap_or(0)
    }

    /// True so many times out of 10,000.
    pub fn chance(&mut self, times: u32) -> bool {
        times > 0 && self.below(10_000) < u64::from(times)
    }
}

impl SimDisk {
    /// Makes an empty disk without faults.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::with(Vec::new(), BTreeMap::new(), Random::new(seed))
    }

    fn with(inodes: Vec<Inode>, names: BTreeMap<String, usize>, random: Random) -> Self {
        let state = State {
            inodes,
            durable_names: names.clone(),
            names,
            name_changes: Vec::new(),
            random,
            faults: Faults::default(),
            operations: 0,
            dies_at: None,
            elapsed: Duration::ZERO,
        };
        Self {
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Changes what goes wrong from here on.
    pub fn set_faults(&self, faults: Faults) {
        lock(&self.state).faults = faults;
    }

    /// Lets everything fail after this many more changes and syncs, the last of them perhaps half
    /// done: the machine is off.
    pub fn die_after(&self, operations: u64) {
        let mut state = lock(&self.state);
        state.dies_at = Some(state.operations + operations);
    }

    /// Whether the moment of [`Self::die_after`] has come.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        lock(&self.state).alive().is_err()
    }

    /// Changes and syncs so far.
    #[must_use]
    pub fn operations(&self) -> u64 {
        lock(&self.state).operations
    }

    /// Time that syncs have taken.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        lock(&self.state).elapsed
    }

    /// Bytes of all files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        lock(&self.state).bytes()
    }

    /// The disk as it is found after the power was lost at this moment, without faults.
    #[must_use]
    pub fn crash(&self) -> Self {
        let mut state = lock(&self.state);
        let mut names = state.durable_names.clone();
        for change in state.name_changes.clone() {
            if state.random.chance(5000) {
                change.apply(&mut names);
            }
        }
        let mut random = Random::new(state.random.next_u64());
        let mut inodes = Vec::new();
        for inode in names.values_mut() {
            let found = state
                .inodes
                .get(*inode)
                .map(|inode| inode.found(&mut random))
                .unwrap_or_default();
            *inode = inodes.len();
            inodes.push(found);
        }
        Self::with(inodes, names, random)
    }

    /// The disk as another process finds it after this one was killed: nothing written is lost, and
    /// what was not synced is not synced still.
    #[must_use]
    pub fn kill(&self) -> Self {
        let mut state = lock(&self.state);
        let random = Random::new(state.random.next_u64());
        let found = Self::with(state.inodes.clone(), state.names.clone(), random);
        let mut next = lock(&found.state);
        next.durable_names.clone_from(&state.durable_names);
        next.name_changes.clone_from(&state.name_changes);
        drop(next);
        found
    }

    /// Changes a file's bytes behind everybody's back; makes it where there is none.
    pub fn damage(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = lock(&self.state);
        let index = match state.names.get(name) {
            Some(&index) => index,
            None => {
                let index = state.inodes.len();
                state.inodes.push(Inode::default());
                state.names.insert(name.to_owned(), index);
                state.durable_names.insert(name.to_owned(), index);
                index
            }
        };
        if let Some(inode) = state.inodes.get_mut(index) {
            change(&mut inode.current);
            inode.durable.clone_from(&inode.current);
            inode.pending.clear();
        }
    }

    /// A file's bytes; none when there is no such file.
    #[must_use]
    pub fn contents(&self, name: &str) -> Option<Vec<u8>> {
        let state = lock(&self.state);
        let index = state.names.get(name)?;
        state.inodes.get(*index).map(|inode| inode.current.clone())
    }

    fn file(&self, inode: usize) -> SimFile {
        SimFile {
            state: Arc::clone(&self.state),
            inode,
        }
    }
}

impl State {
    fn bytes(&self) -> u64 {
        self.names
            .values()
            .filter_map(|&index| self.inodes.get(index))
            .map(|inode| inode.current.len() as u64)
            .sum()
    }

    fn alive(&self) -> io::Result<()> {
        match self.dies_at {
            Some(at) if self.operations >= at => Err(dead()),
            _ => Ok(()),
        }
    }

    /// Counts a change; true when it is the one at which the machine goes off.
    fn count(&mut self) -> io::Result<bool> {
        self.alive()?;
        self.operations += 1;
        Ok(self.dies_at == Some(self.operations))
    }

    fn change_name(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.name_changes.push(change);
    }

    fn write(&mut self, index: usize, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        let dies = self.count()?;
        let mut part = bytes.len();
        let fails = self.random.chance(self.faults.write_error);
        if dies || fails || self.random.chance(self.faults.short_write) {
            part = usize::try_from(self.random.below(bytes.len() as u64 + 1)).unwrap_or(part);
        }
        let offset = usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let used = self.bytes();
        let capacity = self.faults.capacity;
        let Some(inode) = self.inodes.get_mut(index) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        if let Some(capacity) = capacity {
            let free = usize::try_from(capacity.saturating_sub(used)).unwrap_or(usize::MAX);
            let limit = inode.current.len().saturating_add(free);
            part = part.min(limit.saturating_sub(offset));
            if part == 0 && !bytes.is_empty() && !fails {
                return Err(io::ErrorKind::StorageFull.into());
            }
        }
        inode.write(offset, bytes.get(..part).unwrap_or_default());
        if dies {
            return Err(dead());
        }
        if fails {
            return Err(io::Error::other("simulated EIO"));
        }
        Ok(part)
    }

    fn sync(&mut self, index: usize) -> io::Result<()> {
        let dies = self.count()?;
        self.elapsed += self.faults.sync_time;
        let fails = self.random.chance(self.faults.sync_error);
        let Some(inode) = self.inodes.get_mut(index) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        if dies {
            return Err(dead());
        }
        let length = inode.current.len();
        if length > inode.durable.len() {
            inode.durable.resize(length, 0);
        }
        for (sector, versions) in std::mem::take(&mut inode.pending) {
            let kept = !fails || self.random.chance(5000);
            if let Some(newest) = versions.last().filter(|_| kept) {
                put(&mut inode.durable, sector * SECTOR, newest);
            }
        }
        if fails {
            return Err(io::Error::other("simulated EIO of a sync"));
        }
        Ok(())
    }
}

impl Inode {
    fn write(&mut self, offset: usize, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let end = offset + bytes.len();
        if end > self.current.len() {
            self.current.resize(end, 0);
        }
        put(&mut self.current, offset, bytes);
        for sector in offset / SECTOR..=(end - 1) / SECTOR {
            let start = sector * SECTOR;
            let stop = self.current.len().min(start + SECTOR);
            let versions = self.pending.entry(sector).or_default();
            if versions.len() == VERSIONS_MAX {
                versions.remove(0);
            }
            versions.push(self.current.get(start..stop).unwrap_or_default().to_vec());
        }
    }

    fn found(&self, random: &mut Random) -> Self {
        let mut bytes = self.durable.clone();
        if self.current.len() > bytes.len() && random.chance(5000) {
            bytes.resize(self.current.len(), 0);
        }
        for (sector, versions) in &self.pending {
            let choice = usize::try_from(random.below(versions.len() as u64 + 1));
            // One more than there are: the sector as it was at the last sync.
            if let Some(version) = choice.ok().and_then(|choice| versions.get(choice)) {
                put(&mut bytes, sector * SECTOR, version);
            }
        }
        Self {
            durable: bytes.clone(),
            current: bytes,
            ..Self::default()
        }
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Set(name, inode) => names.insert(name.clone(), *inode),
            Self::Removed(name) => names.remove(name),
        };
    }
}

impl Disk for SimDisk {
    type File = SimFile;

    fn list(&self) -> io::Result<Vec<String>> {
        let state = lock(&self.state);
        state.alive()?;
        Ok(state.names.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<SimFile> {
        let mut state = lock(&self.state);
        state.count()?;
        if state.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let inode = state.inodes.len();
        state.inodes.push(Inode::default());
        state.change_name(NameChange::Set(name.to_owned(), inode));
        drop(state);
        Ok(self.file(inode))
    }

    fn open(&self, name: &str) -> io::Result<SimFile> {
        let state = lock(&self.state);
        state.alive()?;
        let inode = *state.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        drop(state);
        Ok(self.file(inode))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = lock(&self.state);
        state.count()?;
        let inode = *state.names.get(from).ok_or(io::ErrorKind::NotFound)?;
        state.change_name(NameChange::Set(to.to_owned(), inode));
        state.change_name(NameChange::Removed(from.to_owned()));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = lock(&self.state);
        state.count()?;
        if !state.names.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.change_name(NameChange::Removed(name.to_owned()));
        Ok(())
    }

    fn sync_directory(&self) -> io::Result<()> {
        let mut state = lock(&self.state);
        if state.count()? {
            return Err(dead());
        }
        state.durable_names = state.names.clone();
        state.name_changes.clear();
        Ok(())
    }

    fn free_bytes(&self) -> Option<u64> {
        let state = lock(&self.state);
        Some(state.faults.capacity?.saturating_sub(state.bytes()))
    }
}

impl DiskFile for SimFile {
    fn size(&self) -> io::Result<u64> {
        let state = lock(&self.state);
        state.alive()?;
        let inode = state.inodes.get(self.inode);
        Ok(inode.map_or(0, |inode| inode.current.len() as u64))
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let mut state = lock(&self.state);
        state.alive()?;
        let times = state.faults.read_error;
        if state.random.chance(times) {
            return Err(io::Error::other("simulated EIO of a read"));
        }
        let inode = state.inodes.get(self.inode);
        let rest = usize::try_from(offset)
            .ok()
            .and_then(|at| inode?.current.get(at..))
            .unwrap_or_default();
        let read = rest.len().min(into.len());
        put(into, 0, rest.get(..read).unwrap_or_default());
        Ok(read)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        lock(&self.state).write(self.inode, offset, bytes)
    }

    fn sync(&self) -> io::Result<()> {
        lock(&self.state).sync(self.inode)
    }
}

fn put(into: &mut [u8], at: usize, bytes: &[u8]) {
    let end = into.len().min(at + bytes.len());
    if let Some(place) = into.get_mut(at..end) {
        let part = place.len();
        place.copy_from_slice(bytes.get(..part).unwrap_or_default());
    }
}

fn dead() -> io::Error {
    io::Error::other("the simulated machine is off")
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
