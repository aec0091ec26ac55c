//! Connects, publishes with QoS 0 and 1, subscribes, receives, pings: what a small device does, and nothing
//! else. It is there to be measured, not to be run: its transport is two volatile places.

#![no_std]
#![no_main]

use core::convert::Infallible;
use core::future::Future;
use core::pin::pin;
use core::ptr::{addr_of, addr_of_mut};
use core::task::{Context, Poll, Waker};

use midge_embedded::embedded_io_async::{ErrorType, Read, Write};
use midge_embedded::{Buffers, Client, Error, Event, Options, Session, Time, Version, With};

// What the documentation says of memory, besides the buffers.
#[cfg(target_pointer_width = "32")]
const _: () = assert!(size_of::<Client<'_, '_, (), ()>>() <= 168);

/// Where a driver's registers would be.
static mut REGISTER: u8 = 0;
static mut CLOCK: u32 = 0;

struct Port;

impl ErrorType for Port {
    type Error = Infallible;
}

impl Read for Port {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Infallible> {
        let mut count = 0;
        for byte in buffer {
            // SAFETY: one thread, and the place is there.
            *byte = unsafe { addr_of!(REGISTER).read_volatile() };
            count += 1;
        }
        Ok(count)
    }
}

impl Write for Port {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        for byte in bytes {
            // SAFETY: as in `read`.
            unsafe { addr_of_mut!(REGISTER).write_volatile(*byte) };
        }
        Ok(bytes.len())
    }

    async fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

fn clock() -> Time {
    // SAFETY: as in `read`.
    Time(u64::from(unsafe { addr_of!(CLOCK).read_volatile() }))
}

async fn run() -> Result<(), Error<Infallible>> {
    let (mut unacknowledged, mut received) = ([0; 256], [0; 4]);
    #[cfg(not(feature = "saved"))]
    let mut session = Session::new(Version::V5, &mut unacknowledged, &mut received);
    #[cfg(feature = "saved")]
    let mut session = {
        let mut saved = [0; Session::saved_length_max(256, 4)];
        // SAFETY: as in `read`.
        saved.fill_with(|| unsafe { addr_of!(REGISTER).read_volatile() });
        match Session::restore(&saved, &mut unacknowledged, &mut received) {
            Ok(session) => session,
            Err(_) => Session::new(Version::V5, &mut unacknowledged, &mut received),
        }
    };
    let (mut receive, mut send) = ([0; 256], [0; 128]);
    let buffers = Buffers {
        receive: &mut receive,
        send: &mut send,
    };
    let with = With::new();
    #[cfg(feature = "saved")]
    let with = with.session_saved();
    #[cfg(feature = "aliases")]
    let mut topics = [0; 64];
    #[cfg(feature = "aliases")]
    let with = with.topic_aliases(
        midge_embedded::TopicAliases::new()
            .outgoing(&["device/state"])
            .incoming(2, &mut topics),
    );
    #[cfg(feature = "authenticator")]
    let with = with.authenticator(Silent);
    let options = Options::new("device").keep_alive_secs(60);
    let (mut client, _accepted) =
        Client::connect_with(Port, clock, &mut session, buffers, &options, with).await?;
    #[cfg(feature = "subscribe")]
    {
        use midge_embedded::{QoS, Subscription};
        let subscription = Subscription {
            filter: "device/set",
            options: QoS::AtLeastOnce.into(),
        };
        client.subscribe(&[subscription]).await?;
    }
    loop {
        let value = match client.next().await? {
            Event::Message(message) => message.payload.first().copied().unwrap_or_default(),
            #[cfg(feature = "saved")]
            Event::SessionChanged => {
                for byte in client.session().saved() {
                    // SAFETY: as in `read`.
                    unsafe { addr_of_mut!(REGISTER).write_volatile(byte) };
                }
                0
            }
            _ => 0,
        };
        // SAFETY: as in `read`.
        unsafe { addr_of_mut!(REGISTER).write_volatile(value) };
        #[cfg(feature = "publish")]
        {
            use midge_embedded::{Message, QoS};
            let payload = [value];
            let message = Message::new("device/state", &payload);
            client.publish(&message).await?;
            client.publish(&message.qos(QoS::AtLeastOnce)).await?;
        }
    }
}

/// A method that says nothing.
#[cfg(feature = "authenticator")]
struct Silent;

#[cfg(feature = "authenticator")]
impl midge_embedded::Authenticator for Silent {
    fn method(&self) -> &'static str {
        "SILENT"
    }

    fn begin(&mut self) -> Option<&[u8]> {
        None
    }

    fn answer(&mut self, _: Option<&[u8]>) -> Result<Option<&[u8]>, midge_embedded::Unconvinced> {
        Ok(None)
    }

    fn finish(&mut self, _: Option<&[u8]>) -> Result<(), midge_embedded::Unconvinced> {
        Ok(())
    }
}

fn main() -> ! {
    loop {
        let mut future = pin!(run());
        let mut context = Context::from_waker(Waker::noop());
        while let Poll::Pending = future.as_mut().poll(&mut context) {}
    }
}

/// Where the program begins, without a C library.
#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    main()
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// What targets without an operating system get from the compiler's own library, and others from their C
/// library.
#[cfg(not(target_os = "none"))]
mod memory {
    // Byte for byte and volatile, or the compiler would make calls of themselves out of the loops.
    // SAFETY, for all: the callers keep the contracts of the C functions, and `at < count`.

    #[unsafe(no_mangle)]
    unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
        for at in 0..count {
            unsafe { to.add(at).write_volatile(from.add(at).read_volatile()) };
        }
        to
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
        for step in 0..count {
            let at = if (to as usize) < (from as usize) {
                step
            } else {
                count - 1 - step
            };
            unsafe { to.add(at).write_volatile(from.add(at).read_volatile()) };
        }
        to
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn memset(to: *mut u8, value: i32, count: usize) -> *mut u8 {
        for at in 0..count {
            unsafe { to.add(at).write_volatile(value as u8) };
        }
        to
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn bcmp(one: *const u8, other: *const u8, count: usize) -> i32 {
        for at in 0..count {
            let differ = unsafe { one.add(at).read_volatile() != other.add(at).read_volatile() };
            if differ {
                return 1;
            }
        }
        0
    }
}
