//! Prints a store for people and programs, in the manner of `mosquitto_db_dump`.
//!
//! Nothing is changed, and a broker may run on the store meanwhile: what is printed is its state at a
//! moment after the beginning. Messages are read one by one, in the order in which they lie on the disk.
//! [`crate::mosquitto_db::dump`] prints Mosquitto's database.

mod json;

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use midge_broker::persist::{ContentsView, CopyView, Image, SessionView, StoredView};
use midge_codec::QoS;
use midge_store::{Event, FileDisk, OpenError, Options, Position, Reader};

use crate::mosquitto_db::dump::{list_properties, short_text};
use crate::mosquitto_db::{Direction, MessageState};
use crate::recover::{Recovered, recover};

pub use crate::mosquitto_db::dump::Payloads;
pub use json::json;

/// What a path leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A store's directory.
    Store(PathBuf),
    /// Mosquitto's database, or some other file.
    File(PathBuf),
}

/// Looks for what can be printed: a file, a store's directory, or a `persistence_location` with a store
/// or `mosquitto.db` in it. Where it has both, the store counts.
///
/// # Errors
/// Whatever the system says; [`io::ErrorKind::NotFound`] for a directory that has neither.
pub fn find(path: &Path) -> io::Result<Found> {
    if !path.metadata()?.is_dir() {
        return Ok(Found::File(path.to_owned()));
    }
    if has_segments(path)? {
        return Ok(Found::Store(path.to_owned()));
    }
    let (store, file) = (path.join("midge"), path.join("mosquitto.db"));
    if store.is_dir() && (!file.is_file() || has_segments(&store)?) {
        return Ok(Found::Store(store));
    }
    if file.is_file() {
        return Ok(Found::File(file));
    }
    if path.join("lock").is_file() {
        return Ok(Found::Store(path.to_owned()));
    }
    let text = "neither a store of Midge nor a mosquitto.db is there";
    Err(io::Error::new(io::ErrorKind::NotFound, text))
}

fn has_segments(directory: &Path) -> io::Result<bool> {
    for entry in directory.read_dir()? {
        let name = entry?.file_name();
        if name.to_str().is_some_and(|name| name.ends_with(".seg")) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A store that is looked at.
#[derive(Debug)]
pub struct Store {
    image: Image,
    reader: Reader<FileDisk>,
    /// What is wrong with it.
    pub events: Vec<Event>,
    /// Records of kinds that this version does not know.
    pub unknown: u64,
    scratch: RefCell<Vec<u8>>,
}

/// How often a store is read again that a broker changed meanwhile.
const READS_MAX: usize = 20;

/// A message that the state speaks of and that cannot be read.
#[derive(Debug)]
pub struct Unreadable {
    /// Its name.
    pub message: u64,
    /// Where it should be.
    pub position: Position,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { message, position } = self;
        write!(
            f,
            "message {message} left out: it cannot be read at byte {} of segment {}",
            position.offset, position.segment
        )
    }
}

impl Store {
    /// Reads the store in a directory.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(directory: &Path) -> Result<Self, OpenError> {
        let mut reads = 1;
        loop {
            // Nothing is written, so nothing needs a seed.
            match recover(FileDisk::read_only(directory), Options::new(0)) {
                Ok(recovered) => return Ok(Self::of(recovered)),
                Err(OpenError::Changed) if reads < READS_MAX => reads += 1,
                Err(error) => return Err(error),
            }
        }
    }

    fn of(recovered: Recovered<FileDisk>) -> Self {
        Self {
            image: recovered.image,
            reader: recovered.recovery.reader(),
            // Where a running broker is writing, or where one was killed: nothing is wrong.
            events: recovered
                .events
                .into_iter()
                .filter(|event| !matches!(event, Event::TornTail { .. }))
                .collect(),
            unknown: recovered.unknown,
            scratch: RefCell::default(),
        }
    }

    /// The messages as they lie on the disk.
    fn messages(&self) -> Vec<StoredView> {
        let mut messages: Vec<_> = self.image.show_messages().collect();
        messages.sort_unstable_by_key(|message| Position::from_bytes(message.place));
        messages
    }

    /// Calls `each` with the contents of every message that can be read.
    fn for_each_message(
        &self,
        complain: &mut dyn FnMut(&Unreadable),
        mut each: impl FnMut(StoredView, &ContentsView<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        let scratch = &mut *self.scratch.borrow_mut();
        for message in self.messages() {
            let position = Position::from_bytes(message.place);
            let record = self.reader.read(position, scratch);
            let contents = record
                .ok()
                .and_then(|record| ContentsView::read(record.payload))
                .filter(|contents| contents.id == message.id);
            match contents {
                Some(contents) => each(message, &contents)?,
                None => complain(&Unreadable {
                    message: message.id,
                    position,
                }),
            }
        }
        Ok(())
    }
}

/// Something that a client gets or gives, with the numbers that Mosquitto's database has for it.
struct ClientMessage<'a> {
    message: u64,
    packet_id: u16,
    qos: QoS,
    retain: bool,
    was_sent: bool,
    direction: Direction,
    state: MessageState,
    ids: &'a [u32],
}

impl<'a> ClientMessage<'a> {
    fn waiting(copy: CopyView<'a>) -> Self {
        Self {
            message: copy.message,
            packet_id: 0,
            qos: copy.qos,
            retain: copy.retain,
            was_sent: false,
            direction: Direction::Outgoing,
            state: MessageState::Queued,
            ids: copy.ids,
        }
    }

    /// All of a session: what is under way either way, then what waits.
    fn of(session: SessionView<'a>) -> impl Iterator<Item = Self> {
        let incoming = session.incoming().map(|(packet_id, message)| Self {
            message,
            packet_id: packet_id.get(),
            qos: QoS::ExactlyOnce,
            retain: false,
            was_sent: false,
            direction: Direction::Incoming,
            state: MessageState::WaitForPubrel,
            ids: &[],
        });
        let sent = session.sent().into_iter().map(|sent| Self {
            packet_id: sent.packet_id.get(),
            was_sent: true,
            state: match (sent.received, sent.copy.qos) {
                (true, _) => MessageState::WaitForPubcomp,
                (false, QoS::ExactlyOnce) => MessageState::WaitForPubrec,
                (false, QoS::AtMostOnce | QoS::AtLeastOnce) => MessageState::WaitForPuback,
            },
            ..Self::waiting(sent.copy)
        });
        incoming
            .chain(sent)
            .chain(session.waiting().map(Self::waiting))
    }
}

/// Options of a subscription as they stand in SUBSCRIBE, without the QoS.
fn option_bits(options: midge_broker::route::SubscriptionOptions) -> u8 {
    u8::from(options.no_local()) << 2 | u8::from(options.retain_as_published()) << 3
}

/// Seconds since 1970; 0 for never.
const fn seconds(millis: Option<u64>) -> u64 {
    match millis {
        Some(millis) => millis / 1000,
        None => 0,
    }
}

/// Session expiry interval as MQTT 5.0 has it.
fn expiry_interval(session: SessionView<'_>) -> u32 {
    session
        .expiry_secs()
        .map_or(u32::MAX, |secs| u32::try_from(secs).unwrap_or(u32::MAX))
}

const fn state_name(state: MessageState) -> &'static str {
    match state {
        MessageState::Queued => "waits",
        MessageState::WaitForPuback => "sent, PUBACK is to come",
        MessageState::WaitForPubrec => "sent, PUBREC is to come",
        MessageState::WaitForPubcomp => "PUBREC came, PUBCOMP is to come",
        MessageState::WaitForPubrel => "from the client, PUBREL is to come",
        _ => "",
    }
}

/// Prints everything, a field a line.
///
/// # Errors
/// When `out` cannot be written.
pub fn listing(
    store: &Store,
    out: &mut impl Write,
    complain: &mut dyn FnMut(&Unreadable),
) -> io::Result<()> {
    writeln!(out, "Midge store dump")?;
    store.for_each_message(complain, |_, message| list_message(message, out))?;
    for session in store.image.show_sessions() {
        list_session(session, out)?;
    }
    for retained in store.image.show_retained() {
        writeln!(out, "Retained message:")?;
        writeln!(out, "\tStore ID: {}", retained.message)?;
        writeln!(out, "\tTopic: {}", Safe(retained.topic))?;
    }
    for group in store.image.show_groups() {
        for message in group.messages {
            writeln!(out, "Message of a shared group:")?;
            writeln!(out, "\tStore ID: {message}")?;
            if let Some((name, filter)) = &group.name {
                writeln!(out, "\tShare name: {}", Safe(name))?;
                writeln!(out, "\tTopic: {}", Safe(filter))?;
            }
        }
    }
    Ok(())
}

fn list_message(message: &ContentsView<'_>, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "Message:")?;
    writeln!(out, "\tStore ID: {}", message.id)?;
    writeln!(out, "\tTopic: {}", Safe(message.topic))?;
    writeln!(out, "\tQoS: {}", message.qos.bits())?;
    writeln!(out, "\tRetain: {}", u8::from(message.retain))?;
    writeln!(out, "\tPayload Length: {}", message.payload.len())?;
    writeln!(out, "\tExpiry Time: {}", seconds(message.expires))?;
    if let Some(text) = short_text(message.payload) {
        writeln!(out, "\tPayload: {}", Safe(&text))?;
    }
    list_properties(message.properties, out)
}

fn list_session(session: SessionView<'_>, out: &mut impl Write) -> io::Result<()> {
    let client_id = Safe(session.client_id());
    writeln!(out, "Session:")?;
    writeln!(out, "\tClient ID: {client_id}")?;
    if let Some(user_name) = session.user_name() {
        writeln!(out, "\tUsername: {}", Safe(user_name))?;
    }
    if let Some(mount_point) = session.mount_point() {
        writeln!(out, "\tMount point: {}", Safe(mount_point))?;
    }
    writeln!(out, "\tConnected: {}", u8::from(session.is_connected()))?;
    writeln!(out, "\tSession expiry time: {}", seconds(session.ends_at()))?;
    writeln!(
        out,
        "\tSession expiry interval: {}",
        expiry_interval(session)
    )?;
    if let Some(will) = session.will() {
        writeln!(out, "\tWill topic: {}", Safe(will.topic))?;
        writeln!(out, "\tWill QoS: {}", will.qos.bits())?;
        writeln!(out, "\tWill retain: {}", u8::from(will.retain))?;
        writeln!(out, "\tWill payload length: {}", will.payload.len())?;
        writeln!(out, "\tWill delay interval: {}", will.delay_secs)?;
        if will.due.is_some() {
            writeln!(out, "\tWill due: {}", seconds(will.due))?;
        }
    }
    for subscription in session.subscriptions() {
        writeln!(out, "Subscription:")?;
        writeln!(out, "\tClient ID: {client_id}")?;
        writeln!(out, "\tTopic: {}", Safe(subscription.filter))?;
        writeln!(out, "\tQoS: {}", subscription.options.qos())?;
        let identifier = subscription.identifier.unwrap_or(0);
        writeln!(out, "\tSubscription ID: {identifier}")?;
        writeln!(
            out,
            "\tOptions: 0x{:02X}",
            option_bits(subscription.options)
        )?;
    }
    for message in ClientMessage::of(session) {
        writeln!(out, "Client message:")?;
        writeln!(out, "\tClient ID: {client_id}")?;
        writeln!(out, "\tStore ID: {}", message.message)?;
        writeln!(out, "\tMID: {}", message.packet_id)?;
        writeln!(out, "\tQoS: {}", message.qos.bits())?;
        writeln!(out, "\tRetain: {}", u8::from(message.retain))?;
        writeln!(out, "\tDirection: {}", message.direction as u8)?;
        let (state, name) = (message.state as u8, state_name(message.state));
        writeln!(out, "\tState: {state} ({name})")?;
        for identifier in message.ids {
            writeln!(out, "\tSubscription identifier: {identifier}")?;
        }
    }
    Ok(())
}

/// Prints how much of each kind there is.
///
/// # Errors
/// When `out` cannot be written.
pub fn stats(store: &Store, out: &mut impl Write) -> io::Result<()> {
    let image = &store.image;
    let counts = image.counts();
    let sessions = image.show_sessions();
    let connected = sessions.iter().filter(|session| session.is_connected());
    let incoming: usize = sessions
        .iter()
        .map(|session| session.incoming().len())
        .sum();
    let groups = image.show_groups();
    let in_groups: usize = groups.iter().map(|group| group.messages.len()).sum();
    let bytes: u64 = image.show_messages().map(|m| u64::from(m.size)).sum();
    for (title, count) in [
        ("Sessions:", counts.sessions as u64),
        ("Connected:", connected.count() as u64),
        ("Subscriptions:", counts.subscriptions as u64),
        ("Messages:", counts.messages as u64),
        ("Message bytes:", bytes),
        ("Client messages:", (counts.copies + incoming) as u64),
        ("Group messages:", in_groups as u64),
        ("Retained messages:", counts.retained as u64),
    ] {
        writeln!(out, "{title:21}{count}")?;
    }
    Ok(())
}

/// Prints for each session its number of subscriptions (`SC`) and the bytes of their filters (`SS`), its
/// number of messages (`MC`) and the bytes that they take in the store (`MS`), each counted for everybody
/// who gets it.
///
/// # Errors
/// When `out` cannot be written.
pub fn client_stats(store: &Store, out: &mut impl Write) -> io::Result<()> {
    let sizes: HashMap<u64, u32> = store
        .image
        .show_messages()
        .map(|message| (message.id, message.size))
        .collect();
    for session in store.image.show_sessions() {
        let subscriptions = session.subscriptions();
        let filters: usize = subscriptions.iter().map(|s| s.filter.len()).sum();
        let (mut count, mut bytes) = (0_u64, 0_u64);
        for message in ClientMessage::of(session) {
            count += 1;
            bytes += u64::from(sizes.get(&message.message).copied().unwrap_or(0));
        }
        writeln!(
            out,
            "SC: {} SS: {filters} MC: {count} MS: {bytes}   {}",
            subscriptions.len(),
            Safe(session.client_id())
        )?;
    }
    Ok(())
}

/// Text for a terminal: control characters, which a client may put into a topic, are escaped.
#[derive(Clone, Copy)]
struct Safe<'a>(&'a str);

impl fmt::Display for Safe<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            if character.is_control() {
                write!(f, "{}", character.escape_default())?;
            } else {
                write!(f, "{character}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
