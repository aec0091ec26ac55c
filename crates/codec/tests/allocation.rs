//! Decoding allocates nothing, whatever arrives.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use midge_codec::{Connect, Header, LengthCounter, Packet, Sink, SliceSink, Version};

/// The system's allocator, counting the calls of each thread.
struct Counting;

thread_local! {
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    // A thread that is ending has no counter any more, and nothing to count.
    let _ = CALLS.try_with(|calls| calls.set(calls.get() + 1));
}

#[expect(unsafe_code, reason = "an allocator cannot be written without")]
// SAFETY: every call is handed to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `alloc`, which is the same here.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above; the pointer came from `System`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as above; the pointer came from `System`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The number of allocations of this thread during `work`.
fn allocations(work: impl FnOnce()) -> u64 {
    let before = CALLS.get();
    work();
    CALLS.get() - before
}

/// A small generator of pseudo-random bytes (xorshift), so that the buffers are the same each time.
struct Bytes(u64);

impl Bytes {
    fn next(&mut self) -> u8 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.to_le_bytes()[3]
    }
}

const BUFFERS: usize = 10_000;

/// Most of the buffers claim to be whole packets, so that bodies are read and not only awaited.
fn fill(bytes: &mut Bytes, buffer: &mut [u8; 64]) -> usize {
    let length = usize::from(bytes.next() % 48) + 2;
    for byte in buffer.iter_mut() {
        // Small numbers are more often lengths and flags that make sense.
        *byte = match bytes.next() % 8 {
            0 => bytes.next(),
            1 => bytes.next() % 8,
            2 => b'a',
            _ => 0,
        };
    }
    if bytes.next() > 31 {
        let kind = bytes.next() % 15 + 1;
        buffer[0] = kind << 4 | if matches!(kind, 6 | 8 | 10) { 2 } else { 0 };
        buffer[1] = (length - 2).to_le_bytes()[0];
        // Not a packet identifier of zero.
        buffer[3] = 1;
    }
    length
}

/// Everything that can be done with received bytes, short of writing to a vector.
fn use_everything(bytes: &[u8], version: Version) -> usize {
    let mut seen = 0;
    if let Ok(Some(header)) = Header::peek(bytes)
        && let Some(body) = header.body(bytes)
    {
        seen += usize::from(Connect::decode(header.first, body).is_ok());
    }
    let Ok(Some((packet, _))) = Packet::read(bytes, version) else {
        return seen;
    };
    match packet {
        Packet::Publish(publish) => seen += publish.properties.items().count(),
        Packet::Subscribe(subscribe) => seen += subscribe.subscriptions.iter().count(),
        Packet::Unsubscribe(unsubscribe) => seen += unsubscribe.filters.iter().count(),
        _ => {}
    }
    let mut space = [0; 128];
    let mut sink = SliceSink::new(&mut space);
    seen += usize::from(packet.encode(version, &mut sink).is_ok());
    let mut counter = LengthCounter::default();
    counter.put(bytes);
    seen + 1
}

#[test]
fn ten_thousand_arbitrary_buffers_are_read_without_an_allocation() {
    let mut random = Bytes(0x9E37_79B9_7F4A_7C15);
    let mut read = 0;
    let count = allocations(|| {
        let mut buffer = [0; 64];
        for _ in 0..BUFFERS {
            let length = fill(&mut random, &mut buffer);
            for version in Version::ALL {
                read += usize::from(use_everything(&buffer[..length], version) > 0);
            }
        }
    });
    assert_eq!(count, 0);
    assert!(read > 500, "only {read} of the buffers were packets");
}

#[test]
fn the_largest_claimed_length_reserves_nothing() {
    let bytes = [0x30, 0xFF, 0xFF, 0xFF, 0x7F, 0xFF, 0xFF];
    let count = allocations(|| {
        for version in Version::ALL {
            assert_eq!(Packet::read(&bytes, version), Ok(None));
        }
    });
    assert_eq!(count, 0);
}

#[test]
fn the_counter_counts() {
    let count = allocations(|| {
        std::hint::black_box(vec![0_u8; 100]);
    });
    assert!(count > 0);
}
