//! A meter on a serial line, as firmware for a Cortex-M4: it publishes readings that are numbered, and adds up
//! what it is told to add, each exactly once, wherever the power ends and the line breaks. See README.md.

#![no_std]
#![no_main]

mod board;

use core::convert::Infallible;
use core::fmt::Write as _;

use board::{Line, PLACES, now, until};
use cortex_m_rt::entry;
use cortex_m_semihosting::hprintln;
use embassy_futures::select::{Either, select};
use midge_embedded::{
    Buffers, Client, Error, Event, Message, Options, QoS, Session, Subscription, Time, Version,
    With,
};

const VERSION: Version = if cfg!(feature = "v3") {
    Version::V3_1_1
} else {
    Version::V5
};

/// Milliseconds between two readings, for the broker's answer to CONNECT, and before the next attempt.
const READING_MS: u64 = 20;
const ANSWER_MS: u64 = 1_000;
const PAUSE_MS: u64 = 300;

/// Readings on their way at the same time.
const UNFINISHED_MAX: usize = 4;

const UNACKNOWLEDGED: usize = 512;
/// A broker of 3.1.1 is not told how many; Midge and Mosquitto send 20.
const RECEIVED: usize = 20;
/// What is saved before the session: which saving it is, the last reading, the sum.
const HEAD: usize = 12;
const SAVED: usize = HEAD + Session::saved_length_max(UNACKNOWLEDGED, RECEIVED);

/// What the meter knows, and keeps with its session.
#[derive(Clone, Copy, Default)]
struct Meter {
    saving: u32,
    reading: u32,
    sum: u32,
}

impl Meter {
    /// Saves everything at once: to the two places in turn, so that one of them is whole at any time. The
    /// session comes last, and its checksum is its end: if it can be restored, what is before it is whole.
    fn save(&mut self, session: &Session<'_>) {
        self.saving = self.saving.wrapping_add(1);
        let mut bytes = [0; SAVED];
        let (head, rest) = bytes.split_at_mut(HEAD);
        let numbers = [self.saving, self.reading, self.sum];
        for (place, number) in head.chunks_exact_mut(4).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        if let Some(length) = session.save(rest)
            && let Some(bytes) = bytes.get(..HEAD + length)
        {
            board::store(self.place(), bytes);
        }
    }

    fn place(&self) -> &'static core::ffi::CStr {
        let [even, odd] = PLACES;
        if self.saving.is_multiple_of(2) {
            even
        } else {
            odd
        }
    }

    /// Reads `place` into `saved`; `None` if no session can be restored out of it.
    fn load(place: &core::ffi::CStr, saved: &mut [u8; SAVED]) -> Option<Self> {
        board::load(place, saved);
        let (mut unacknowledged, mut received) = ([0; UNACKNOWLEDGED], [0; RECEIVED]);
        Session::restore(saved.get(HEAD..)?, &mut unacknowledged, &mut received).ok()?;
        let mut numbers = saved.chunks_exact(4).map(|bytes| {
            bytes
                .iter()
                .rev()
                .fold(0, |all, byte| all << 8 | u32::from(*byte))
        });
        Some(Self {
            saving: numbers.next()?,
            reading: numbers.next()?,
            sum: numbers.next()?,
        })
    }
}

/// A number as text.
#[derive(Default)]
struct Digits {
    text: [u8; 10],
    length: usize,
}

impl Digits {
    fn new(number: u32) -> Self {
        let mut digits = Self::default();
        // Ten bytes hold every number of 32 bits.
        let _ = write!(digits, "{number}");
        digits
    }

    fn bytes(&self) -> &[u8] {
        self.text.get(..self.length).unwrap_or_default()
    }
}

impl core::fmt::Write for Digits {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        let end = self.length + text.len();
        let place = self
            .text
            .get_mut(self.length..end)
            .ok_or(core::fmt::Error)?;
        place.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

/// Meters for ever.
async fn run() -> ! {
    let mut saved = [[0; SAVED]; 2];
    let [one, other] = &mut saved;
    let found = [
        Meter::load(PLACES[0], one).map(|meter| (meter, &*one)),
        Meter::load(PLACES[1], other).map(|meter| (meter, &*other)),
    ];
    let newest = found
        .into_iter()
        .flatten()
        .max_by_key(|(meter, _)| meter.saving);
    let (mut unacknowledged, mut received) = ([0; UNACKNOWLEDGED], [0; RECEIVED]);
    let mut meter = Meter::default();
    let restored = newest.and_then(|(found, bytes)| {
        meter = found;
        let session = bytes.get(HEAD..)?;
        Session::restore(session, &mut unacknowledged, &mut received).ok()
    });
    let mut session = match restored {
        Some(session) => session,
        None => Session::new(VERSION, &mut unacknowledged, &mut received),
    };
    loop {
        if let Err(error) = live(&mut session, &mut meter).await {
            hprintln!("{}", error);
        }
        until(Time(now().0 + PAUSE_MS)).await;
    }
}

/// One connection.
async fn live(session: &mut Session<'_>, meter: &mut Meter) -> Result<(), Error<Infallible>> {
    let (mut receive, mut send) = ([0; 256], [0; 128]);
    let buffers = Buffers {
        receive: &mut receive,
        send: &mut send,
    };
    let mut options = Options::new("meter-7")
        .keep_alive_secs(2)
        .session_expiry_secs(u32::MAX);
    // The first time; or all is lost. Then the broker must not go on with its half.
    let is_new = meter.saving == 0;
    if is_new {
        options = options.clean_start();
    }
    let with = With::new().session_saved();
    let connecting = Client::connect_with(Line::open(), now, session, buffers, &options, with);
    let patience = until(Time(now().0 + ANSWER_MS));
    let (mut client, accepted) = match select(connecting, patience).await {
        Either::First(connected) => connected?,
        Either::Second(()) => {
            hprintln!("nobody answers");
            return Ok(());
        }
    };
    if !accepted.session_present {
        meter.save(client.session());
    }
    if is_new {
        // What begins clean with 3.1.1 ends with its connection, so the session begins with the next.
        client.disconnect().await?;
        return Ok(());
    }
    // Again with every connection: the power may have ended between the session and its subscription.
    let subscription = Subscription {
        filter: "meter/7/add",
        options: QoS::ExactlyOnce.into(),
    };
    client.subscribe(&[subscription]).await?;
    let mut due = now();
    let mut sum_is_told = false;
    loop {
        if !sum_is_told {
            let digits = Digits::new(meter.sum);
            let sum = Message::new("meter/7/sum", digits.bytes()).retain();
            client.publish(&sum).await?;
            sum_is_told = true;
        }
        if now() >= due {
            due = Time(now().0 + READING_MS);
            if client.session().unfinished() < UNFINISHED_MAX {
                meter.reading += 1;
                let digits = Digits::new(meter.reading);
                let reading = Message::new("meter/7/reading", digits.bytes());
                client.try_publish(&reading.qos(QoS::ExactlyOnce))?;
                meter.save(client.session());
            }
        }
        // Either may be dropped: `next` goes on where it was.
        let wake = Time(due.0.min(client.deadline().0));
        match select(client.next(), until(wake)).await {
            Either::First(event) => match event? {
                Event::Message(message) => {
                    let number = core::str::from_utf8(message.payload).ok();
                    let number: Option<u32> = number.and_then(|text| text.parse().ok());
                    meter.sum = meter.sum.wrapping_add(number.unwrap_or_default());
                    meter.save(client.session());
                    sum_is_told = false;
                }
                Event::SessionChanged => meter.save(client.session()),
                _ => {}
            },
            Either::Second(()) => {}
        }
    }
}

#[entry]
fn main() -> ! {
    if let Some(peripherals) = cortex_m::Peripherals::take() {
        board::start(peripherals);
    }
    board::run(run())
}

/// Whoever watches the board sees that it fell, and where.
#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    hprintln!("{}", info);
    cortex_m::asm::udf()
}
