//! What the meter needs of its board: a serial line, a clock, and a memory that outlives the power.

use core::convert::Infallible;
use core::future::poll_fn;
use core::pin::pin;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use core::task::{Context, Poll, Waker};

use cortex_m::interrupt::InterruptNumber;
use cortex_m::peripheral::NVIC;
use cortex_m::peripheral::syst::SystClkSource;
use cortex_m_rt::exception;
use cortex_m_semihosting::{nr, syscall};
use midge_embedded::Time;
use midge_embedded::embedded_io_async::{ErrorType, Read, Write};

/// The first UART, as Arm's Cortex-M System Design Kit describes it.
const UART: *mut u32 = 0x4000_4000 as *mut u32;
/// Registers, in words from `UART`.
const DATA: usize = 0;
const STATE: usize = 1;
const CONTROL: usize = 2;
const INTERRUPTS: usize = 3;
const DIVIDER: usize = 4;
/// Bits of `STATE`.
const TRANSMITTER_FULL: u32 = 1;
const RECEIVER_FULL: u32 = 2;
/// Bits of `CONTROL`: both directions, and an interrupt of each.
const ENABLE: u32 = 0b1111;
/// Bits of `INTERRUPTS`.
const BOTH: u32 = 0b11;

const CLOCK_HZ: u32 = 25_000_000;

/// Milliseconds since the start; after 49 days it begins again.
static MILLISECONDS: AtomicU32 = AtomicU32::new(0);

/// Whether something has happened since the program looked.
static HAPPENED: AtomicBool = AtomicBool::new(true);

#[exception]
fn SysTick() {
    MILLISECONDS.fetch_add(1, Ordering::Relaxed);
    HAPPENED.store(true, Ordering::Release);
}

/// The interrupts of the UART, the only ones that are let through.
#[exception]
unsafe fn DefaultHandler(_number: i16) {
    // SAFETY: as in `Line::write_register`.
    unsafe { UART.add(INTERRUPTS).write_volatile(BOTH) };
    HAPPENED.store(true, Ordering::Release);
}

/// An interrupt of the UART.
#[derive(Clone, Copy)]
struct UartInterrupt(u16);

// SAFETY: the board has these numbers, 0 for what is received and 1 for what is sent.
unsafe impl InterruptNumber for UartInterrupt {
    fn number(self) -> u16 {
        self.0
    }
}

/// Starts the clock, and lets the UART interrupt.
pub(crate) fn start(board: cortex_m::Peripherals) {
    let mut timer = board.SYST;
    timer.set_clock_source(SystClkSource::Core);
    timer.set_reload(CLOCK_HZ / 1000 - 1);
    timer.clear_current();
    timer.enable_counter();
    timer.enable_interrupt();
    for number in 0..2 {
        // SAFETY: the handler is there, and no critical section is open.
        unsafe { NVIC::unmask(UartInterrupt(number)) };
    }
}

/// Runs the program; the processor sleeps while there is nothing to do.
pub(crate) fn run<T>(program: impl Future<Output = T>) -> T {
    let mut program = pin!(program);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(value) = program.as_mut().poll(&mut context) {
            return value;
        }
        while !HAPPENED.swap(false, Ordering::Acquire) {
            // With interrupts held back, none can come between the look and the sleep; one that waits ends it.
            cortex_m::interrupt::free(|_| {
                if !HAPPENED.load(Ordering::Relaxed) {
                    cortex_m::asm::wfi();
                }
            });
        }
    }
}

/// What time it is.
pub(crate) fn now() -> Time {
    Time(MILLISECONDS.load(Ordering::Relaxed).into())
}

/// Waits for a time.
pub(crate) async fn until(time: Time) {
    poll_fn(|_| {
        if now() >= time {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}

/// The serial line. There is one, so it can be opened as often as is wished.
pub(crate) struct Line(());

impl Line {
    /// Opens the line, and forgets what came before.
    pub(crate) fn open() -> Self {
        let line = Self(());
        line.write_register(DIVIDER, 16);
        line.write_register(CONTROL, ENABLE);
        while line.register(STATE) & RECEIVER_FULL != 0 {
            line.register(DATA);
        }
        line
    }

    fn register(&self, at: usize) -> u32 {
        // SAFETY: the UART has these registers, and any of them may be read at any time.
        unsafe { UART.add(at).read_volatile() }
    }

    fn write_register(&self, at: usize, value: u32) {
        // SAFETY: as in `register`; nothing but the line changes by it.
        unsafe { UART.add(at).write_volatile(value) };
    }

    /// Waits until `STATE` has none of these bits set, or one of them.
    async fn state(&self, bits: u32, set: bool) {
        poll_fn(|_| {
            if (self.register(STATE) & bits != 0) == set {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }
}

impl ErrorType for Line {
    type Error = Infallible;
}

impl Read for Line {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Infallible> {
        let Some(first) = buffer.first_mut() else {
            return Ok(0);
        };
        self.state(RECEIVER_FULL, true).await;
        *first = self.register(DATA).to_le_bytes()[0];
        Ok(1)
    }
}

impl Write for Line {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        let Some(first) = bytes.first() else {
            return Ok(0);
        };
        self.state(TRANSMITTER_FULL, false).await;
        self.write_register(DATA, (*first).into());
        Ok(1)
    }

    async fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

/// Two places that keep their bytes without power: files of the machine that the debugger runs on.
pub(crate) const PLACES: [&core::ffi::CStr; 2] = [c"place-0", c"place-1"];

/// Asks the debugger for something; `nr` names it.
///
/// # Safety
/// The arguments are what the request takes.
unsafe fn ask<const N: usize>(request: usize, arguments: &[usize; N]) -> usize {
    // SAFETY: the caller's.
    unsafe { syscall(request, arguments) }
}

fn open(place: &core::ffi::CStr, mode: usize) -> Option<usize> {
    let name = place.to_bytes();
    // SAFETY: a name that ends with a zero, its mode and its length.
    let handle = unsafe { ask(nr::OPEN, &[name.as_ptr() as usize, mode, name.len()]) };
    (handle != usize::MAX).then_some(handle)
}

/// Reads a place into `to`; how many bytes there were.
pub(crate) fn load(place: &core::ffi::CStr, to: &mut [u8]) -> usize {
    let Some(handle) = open(place, nr::open::R_BINARY) else {
        return 0;
    };
    // SAFETY: a handle, memory and its length. The answer is how much was not filled.
    let left = unsafe { ask(nr::READ, &[handle, to.as_mut_ptr() as usize, to.len()]) };
    // SAFETY: a handle.
    unsafe { ask(nr::CLOSE, &[handle]) };
    to.len().saturating_sub(left)
}

/// Writes a place anew. The power may end before, after, and in between.
pub(crate) fn store(place: &core::ffi::CStr, bytes: &[u8]) {
    let Some(handle) = open(place, nr::open::W_TRUNC_BINARY) else {
        return;
    };
    // SAFETY: a handle, memory and its length.
    unsafe { ask(nr::WRITE, &[handle, bytes.as_ptr() as usize, bytes.len()]) };
    // SAFETY: a handle.
    unsafe { ask(nr::CLOSE, &[handle]) };
}
