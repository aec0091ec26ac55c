//! What this process uses: memory as the allocator and as the system sees it, and processor time.
#![expect(unsafe_code, reason = "a global allocator is an unsafe trait")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fs;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

/// The system's allocator, which counts.
struct Counting;

/// Counters of some threads: each thread keeps to one, so that counting makes no two of them wait.
#[repr(align(128))]
struct Slot {
    /// Bytes that the blocks in use take, with what the C library adds to each.
    live: AtomicI64,
    /// The most that there was of those since it was last reset.
    peak: AtomicI64,
    blocks: AtomicI64,
    allocations: AtomicU64,
    /// Blocks in use by size in steps of 16 bytes, the larger ones last.
    classes: [AtomicI64; CLASSES],
}

/// Up to 512 bytes in steps of 16; then up to 2 KiB; then all that are larger.
const CLASSES: usize = 35;
const STEP: usize = 16;

static SLOTS: [Slot; 32] = [const {
    Slot {
        live: AtomicI64::new(0),
        peak: AtomicI64::new(0),
        blocks: AtomicI64::new(0),
        allocations: AtomicU64::new(0),
        classes: [const { AtomicI64::new(0) }; CLASSES],
    }
}; 32];

static NEXT_SLOT: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static SLOT: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// The slot of this thread; the first for one that is about to end.
fn slot() -> &'static Slot {
    let number = SLOT.try_with(|slot| {
        if slot.get() == usize::MAX {
            slot.set(NEXT_SLOT.fetch_add(1, Relaxed) % SLOTS.len());
        }
        slot.get()
    });
    #[expect(clippy::indexing_slicing, reason = "the number is below the length")]
    &SLOTS[number.unwrap_or(0)]
}

/// What a block of `size` bytes takes in the GNU C library: a word in front, 16 bytes as the unit, 32 at
/// the least.
const fn taken(size: usize) -> usize {
    let with_head = (size + 8).next_multiple_of(STEP);
    if with_head < 32 { 32 } else { with_head }
}

/// The class of a block by what it takes.
const fn class_of(taken: usize) -> usize {
    match taken {
        0..=512 => taken / STEP,
        513..=2048 => CLASSES - 2,
        _ => CLASSES - 1,
    }
}

#[expect(clippy::cast_possible_wrap, reason = "no block has 2^63 bytes")]
fn note(size: usize, sign: i64) {
    let slot = slot();
    let taken = taken(size);
    let live = slot.live.fetch_add(sign * taken as i64, Relaxed) + sign * taken as i64;
    slot.blocks.fetch_add(sign, Relaxed);
    if let Some(class) = slot.classes.get(class_of(taken)) {
        class.fetch_add(sign, Relaxed);
    }
    if sign > 0 {
        slot.allocations.fetch_add(1, Relaxed);
        if live > slot.peak.load(Relaxed) {
            slot.peak.store(live, Relaxed);
        }
    }
}

// SAFETY: every call goes to the system's allocator as it came; counting touches no memory of the heap.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size(), 1);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size(), 1);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(layout.size(), -1);
        note(size, 1);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        note(layout.size(), -1);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Memory in use at a moment.
#[derive(Clone, Debug)]
pub(crate) struct Memory {
    /// Bytes of all blocks, with the allocator's own.
    pub(crate) allocated: i64,
    pub(crate) blocks: i64,
    /// Resident bytes of the process; 0 where the system does not say.
    pub(crate) resident: i64,
    classes: [i64; CLASSES],
}

impl Memory {
    /// Now.
    pub(crate) fn now() -> Self {
        let sum =
            |of: fn(&Slot) -> &AtomicI64| SLOTS.iter().map(|slot| of(slot).load(Relaxed)).sum();
        let mut classes = [0; CLASSES];
        for slot in &SLOTS {
            for (sum, class) in classes.iter_mut().zip(&slot.classes) {
                *sum += class.load(Relaxed);
            }
        }
        Self {
            allocated: sum(|slot| &slot.live),
            blocks: sum(|slot| &slot.blocks),
            resident: resident().unwrap_or(0),
            classes,
        }
    }

    /// Blocks that there are more than there were, by what each takes: a word for the size, and how many.
    pub(crate) fn blocks_since(&self, before: &Self) -> Vec<(String, i64)> {
        let more = self.classes.iter().zip(&before.classes);
        more.map(|(now, before)| now - before)
            .enumerate()
            .filter(|(_, more)| *more > 0)
            .map(|(class, more)| (class_name(class), more))
            .collect()
    }
}

fn class_name(class: usize) -> String {
    match class {
        _ if class == CLASSES - 1 => "blocks above 2 KiB".to_owned(),
        _ if class == class_of(513) => "blocks of 512 bytes to 2 KiB".to_owned(),
        _ => format!("blocks of {} bytes", class * STEP),
    }
}

/// Begins to look for the most memory that is in use at once, by this thread alone.
pub(crate) fn reset_peak() {
    let slot = slot();
    slot.peak.store(slot.live.load(Relaxed), Relaxed);
}

/// How much more there was at once than at [`reset_peak`] and than is now, at the most.
pub(crate) fn peak_above(before: &Memory) -> i64 {
    let others: i64 = SLOTS.iter().map(|slot| slot.live.load(Relaxed)).sum();
    let slot = slot();
    let others = others - slot.live.load(Relaxed);
    slot.peak.load(Relaxed) + others - before.allocated
}

/// Allocations so far, of all threads.
pub(crate) fn allocations() -> u64 {
    SLOTS
        .iter()
        .map(|slot| slot.allocations.load(Relaxed))
        .sum()
}

/// Asks the C library to return what it has free, whether at the end of its heap or not.
pub(crate) fn trim() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        unsafe extern "C" {
            fn malloc_trim(pad: usize) -> i32;
        }
        // SAFETY: it may be called at any time, and has no conditions.
        unsafe { malloc_trim(0) };
    }
}

fn resident() -> Option<i64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: i64 = line.split_ascii_whitespace().next()?.parse().ok()?;
    kib.checked_mul(1024)
}

/// Processor time of this thread; zero where the system does not say.
pub(crate) fn thread_cpu() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = text
        .split_ascii_whitespace()
        .next()
        .and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_takes_what_the_c_library_makes_of_it() {
        assert_eq!(taken(1), 32);
        assert_eq!(taken(24), 32);
        assert_eq!(taken(25), 48);
        assert_eq!(taken(40), 48);
        assert_eq!(taken(1000), 1008);
    }

    #[test]
    fn every_size_has_a_class_of_its_name() {
        assert_eq!(class_name(class_of(taken(30))), "blocks of 48 bytes");
        assert_eq!(class_name(class_of(512)), "blocks of 512 bytes");
        assert_eq!(
            class_name(class_of(taken(1000))),
            "blocks of 512 bytes to 2 KiB"
        );
        assert_eq!(class_name(class_of(taken(5000))), "blocks above 2 KiB");
        assert!(class_of(usize::MAX / 2) < CLASSES);
    }
}
