//! Listening sockets, and what is accepted from them.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use midge_broker::{Limit, ListenerSettings, Origin, Time};
use midge_reactor::{
    AcceptGate, AcceptState, Accepted, BindAddress, Clock, DescriptorReserve, Endpoint, Family,
    Key, ListenError, Listener, PeerAddress, listen,
};

use super::shortage::Shortage;
use super::{Control, FIRST_LISTENER};
use crate::config::{self, General, ListenerConfig, SocketDomain};
use crate::log::{Kind, Logger};
use crate::mail::Arrival;
use crate::seats::{ListenerSeats, NoSeat, Seats};
use crate::settings::listener_settings;
use crate::wrapping::Loaded;

/// Connections accepted from one socket before the others have their turn.
const BATCH: usize = 256;

/// While several connections come at a time they are gathered for so long: to wake this thread, and a worker,
/// for each costs a third of all that a connection costs.
const GATHER: Duration = Duration::from_micros(500);

/// A listener of the configuration, with its open sockets.
pub(crate) struct OpenListener {
    pub(crate) endpoint: config::Endpoint,
    pub(crate) settings: Arc<ListenerSettings>,
    pub(crate) seats: Arc<ListenerSeats>,
    /// What its connections are wrapped in.
    pub(super) loaded: Loaded,
    gate: AcceptGate,
    sockets: Vec<Socket>,
}

struct Socket {
    listener: Listener,
    /// Its place among the keys.
    index: usize,
    /// Connections may wait that the poller will not report.
    ready: bool,
}

/// What opening listeners needs and tells.
pub(crate) struct Opening<'a> {
    pub(crate) general: &'a General,
    pub(crate) seats: &'a Arc<Seats>,
    pub(crate) clock: Clock,
    pub(crate) say: &'a mut dyn FnMut(Kind, String),
}

/// How accepting goes.
pub(crate) struct Accepting {
    reserve: DescriptorReserve,
    accepted: Vec<Accepted>,
    shortage: Shortage,
    /// The worker that is the first among equals.
    pub(super) turn: usize,
    /// When connections were accepted last.
    last_accepted: Option<Instant>,
    /// They come from several clients at a time.
    is_gathering: bool,
    /// Keys that listening sockets have.
    keys: Vec<bool>,
}

impl Accepting {
    pub(crate) fn new(reserve: DescriptorReserve) -> Self {
        Self {
            reserve,
            accepted: Vec::new(),
            shortage: Shortage::default(),
            turn: 0,
            last_accepted: None,
            is_gathering: false,
            keys: Vec::new(),
        }
    }

    /// How long to let connections gather before the next are accepted. Nobody waits who comes alone, or
    /// each time after the answer to the one before.
    pub(super) fn pause(&mut self) -> Option<Duration> {
        std::mem::take(&mut self.is_gathering).then_some(GATHER)
    }

    fn note_accepted(&mut self, count: usize) {
        let now = Instant::now();
        let Some(last) = self.last_accepted.replace(now) else {
            return;
        };
        // One client that connects again and again needs longer from one time to the next.
        let is_dense = now - last < GATHER / 4;
        self.is_gathering = is_dense || (count > 1 && now - last < 2 * GATHER);
    }

    fn take_key(&mut self) -> Option<(usize, Key)> {
        let index = match self.keys.iter().position(|taken| !taken) {
            Some(index) => index,
            None => {
                self.keys.push(false);
                self.keys.len() - 1
            }
        };
        let key = Key::reserved(FIRST_LISTENER + index)?;
        if let Some(taken) = self.keys.get_mut(index) {
            *taken = true;
        }
        Some((index, key))
    }

    fn free_key(&mut self, index: usize) {
        if let Some(taken) = self.keys.get_mut(index) {
            *taken = false;
        }
    }
}

/// Opens a listener of the configuration, which gets the name `number`.
///
/// # Errors
/// What the system says about its place.
pub(crate) fn open(
    config: &ListenerConfig,
    number: u64,
    loaded: Loaded,
    opening: &mut Opening<'_>,
) -> Result<OpenListener, ListenError> {
    let endpoint = endpoint(&config.endpoint);
    let say = &mut *opening.say;
    let listening = listen(&endpoint, opening.general.listen_backlog, |address| {
        say(Kind::Information, announcement(address));
    })?;
    for skipped in listening.skipped {
        let text = skipped.to_string();
        let text = text.strip_prefix("Error: ").unwrap_or(&text);
        (opening.say)(Kind::Warning, format!("Warning: {text}"));
    }
    let port = listening
        .listeners
        .first()
        .and_then(|listener| listener.address().port())
        .unwrap_or(0);
    let max = config.settings.max_connections;
    let seats = ListenerSeats::new(number, max.map(limit), Arc::clone(opening.seats));
    seats.rates.set(&config.settings);
    let rate = opening.general.max_connect_rate;
    let sockets = listening.listeners.into_iter().map(|listener| Socket {
        listener,
        index: usize::MAX,
        ready: true,
    });
    Ok(OpenListener {
        endpoint: config.endpoint.clone(),
        settings: Arc::new(listener_settings(&config.settings, number, port)),
        seats: Arc::new(seats),
        loaded,
        gate: AcceptGate::new(rate, opening.clock.now_ms()),
        sockets: sockets.collect(),
    })
}

/// A bound of the configuration as a number of sockets.
pub(crate) fn limit(max: std::num::NonZeroU32) -> usize {
    usize::try_from(max.get()).unwrap_or(usize::MAX)
}

fn endpoint(endpoint: &config::Endpoint) -> Endpoint {
    match endpoint {
        config::Endpoint::Unix { path } => Endpoint::Unix { path: path.clone() },
        config::Endpoint::Tcp {
            port,
            host,
            interface,
            domain,
        } => Endpoint::Tcp {
            host: host.clone(),
            port: *port,
            family: match domain {
                SocketDomain::Both => Family::Any,
                SocketDomain::Ipv4 => Family::V4,
                SocketDomain::Ipv6 => Family::V6,
            },
            interface: interface.clone(),
        },
    }
}

fn announcement(address: &BindAddress) -> String {
    match address {
        BindAddress::Ip(address) if address.is_ipv4() => {
            format!("Opening ipv4 listen socket on port {}.", address.port())
        }
        BindAddress::Ip(address) => {
            format!("Opening ipv6 listen socket on port {}.", address.port())
        }
        BindAddress::Unix(path) => {
            format!("Opening unix listen socket on path {}.", path.display())
        }
    }
}

impl OpenListener {
    pub(crate) fn addresses(&self) -> impl Iterator<Item = &BindAddress> {
        self.sockets.iter().map(|socket| socket.listener.address())
    }

    /// Whether it has certificates.
    pub(super) fn has_tls(&self) -> bool {
        let wrapping = self.loaded.wrapping.as_ref();
        wrapping.is_some_and(|wrapping| wrapping.layers.tls.is_some())
    }

    /// The port that it is open on; 0 for a unix socket.
    pub(super) fn port(&self) -> u16 {
        self.settings.port
    }

    /// Takes other settings, for those who connect from now on.
    pub(super) fn set(&mut self, settings: &config::ListenerSettings) {
        self.settings = Arc::new(listener_settings(
            settings,
            self.seats.listener,
            self.port(),
        ));
        self.seats.set_max(settings.max_connections.map(limit));
        self.seats.rates.set(settings);
    }
}

impl Control {
    /// Begins to accept from a listener.
    pub(super) fn add_listener(&mut self, mut listener: OpenListener) -> io::Result<()> {
        for socket in &mut listener.sockets {
            let Some((index, key)) = self.accepting.take_key() else {
                return Err(io::Error::other("there are too many listeners"));
            };
            socket.index = index;
            self.poller.register_readable(&mut socket.listener, key)?;
        }
        self.listeners.push(listener);
        Ok(())
    }

    /// Closes a listener; its connections stay.
    pub(super) fn remove_listener(&mut self, endpoint: &config::Endpoint) -> Option<String> {
        let place = self
            .listeners
            .iter()
            .position(|listener| listener.endpoint == *endpoint)?;
        let listener = self.listeners.remove(place);
        for socket in &listener.sockets {
            self.accepting.free_key(socket.index);
        }
        Some(listener.endpoint.to_string())
    }

    pub(super) fn tell_addresses(&self) {
        let addresses = self.listeners.iter().flat_map(OpenListener::addresses);
        self.addresses.set(addresses.cloned().collect());
    }

    pub(super) fn set_accept_rate(&mut self, rate: Option<std::num::NonZeroU32>) {
        let now = self.clock.now_ms();
        for listener in &mut self.listeners {
            listener.gate.set_rate(rate, now);
        }
    }

    pub(super) fn listener_is_ready(&mut self, index: usize) {
        let sockets = self
            .listeners
            .iter_mut()
            .flat_map(|listener| &mut listener.sockets);
        for socket in sockets.filter(|socket| socket.index == index) {
            socket.ready = true;
        }
    }

    /// When to accept again without being told, now for connections that are known to wait, or to tell that
    /// a shortage is over.
    pub(super) fn next_accept_ms(&self) -> Option<u64> {
        let waits = |listener: &&OpenListener| listener.sockets.iter().any(|socket| socket.ready);
        let shortage = &self.accepting.shortage;
        self.listeners
            .iter()
            .filter(waits)
            .map(|listener| {
                let gate = listener.gate.opens_at_ms().unwrap_or(0);
                gate.max(shortage.retry_ms())
            })
            .chain(shortage.ends_ms())
            .min()
    }

    /// Accepts a batch from each socket where connections wait.
    pub(super) fn accept_all(&mut self) {
        let now = self.clock.now_ms();
        if let Some(turned_away) = self.accepting.shortage.end(now) {
            let text = format!(
                "Connections are accepted again; {turned_away} were turned away meanwhile."
            );
            self.logger.log(Kind::Notice, text);
        }
        if now < self.accepting.shortage.retry_ms() {
            return;
        }
        let mut accepted = 0;
        let mut listeners = std::mem::take(&mut self.listeners);
        listeners.retain_mut(|listener| {
            for place in 0..listener.sockets.len() {
                accepted += self.accept_from(listener, place, now);
            }
            !listener.sockets.is_empty()
        });
        self.listeners = listeners;
        for worker in &mut self.workers {
            worker.flush();
        }
        if accepted > 0 {
            self.accepting.note_accepted(accepted);
        }
    }

    /// How many connections there were.
    fn accept_from(&mut self, listener: &mut OpenListener, place: usize, now: u64) -> usize {
        let Some(socket) = listener.sockets.get_mut(place) else {
            return 0;
        };
        let most = listener.gate.allows(now, BATCH);
        if !socket.ready {
            return 0;
        }
        if most == 0 {
            let who = format!("the listener on port {}", listener.settings.port);
            self.limit_reached(Limit::ConnectRate, &who);
            return 0;
        }
        let accepting = &mut self.accepting;
        let report = socket
            .listener
            .accept(most, &mut accepting.reserve, &mut accepting.accepted);
        match report {
            Ok(report) => {
                socket.ready = report.state != AcceptState::Drained;
                listener.gate.passed(accepting.accepted.len());
                let exhausted = report.state == AcceptState::Exhausted;
                if (exhausted || report.turned_away > 0)
                    && accepting.shortage.note(now, report.turned_away)
                {
                    self.logger.log(
                        Kind::Error,
                        "Error: Unable to accept new connection, system socket count has been \
                         exceeded. Try increasing \"ulimit -n\" or equivalent.",
                    );
                }
                if !exhausted && !accepting.accepted.is_empty() {
                    accepting.shortage.note_accepted();
                }
            }
            Err(error) => {
                // Nothing else can be done than to go on with the other sockets.
                let text = format!(
                    "Error: Accepting connections on {} failed: {error}. It is closed.",
                    socket.listener.address()
                );
                self.logger.log(Kind::Error, text);
                self.accepting.free_key(socket.index);
                listener.sockets.remove(place);
            }
        }
        let mut accepted = std::mem::take(&mut self.accepting.accepted);
        let count = accepted.len();
        for connection in accepted.drain(..) {
            self.admit(listener, connection);
        }
        self.accepting.accepted = accepted;
        count
    }

    /// Gives a connection its seat and its worker.
    fn admit(&mut self, listener: &OpenListener, connection: Accepted) {
        let Accepted { stream, peer } = connection;
        if let PeerAddress::Ip(address) = &peer
            // Behind a proxy it is not known yet.
            && !listener.loaded.is_proxied()
            && !self.shared.admits(address.ip(), self.clock.now_ms())
        {
            self.limit_reached(Limit::AddressConnectRate, &address.ip().to_string());
            return;
        }
        let seat = match listener.seats.take() {
            Ok(seat) => seat,
            Err(no_seat) => {
                let limit = match no_seat {
                    NoSeat::Listener => Limit::Connections,
                    NoSeat::Broker => Limit::GlobalConnections,
                };
                // Each has a line of its own.
                self.shared.limits.reached(limit, Time(self.clock.now_ms()));
                deny(&self.logger, &peer, limit);
                return;
            }
        };
        if self.config.general.connection_messages {
            let line = || new_connection(&peer, listener.port());
            self.logger.log_with(Kind::Notice, line);
        }
        if self.config.general.set_tcp_nodelay {
            // One that has been reset already is found out by its worker.
            let _ = stream.set_nodelay(true);
        }
        let address = match peer {
            PeerAddress::Ip(address) => Some(address),
            PeerAddress::Unix(_) => None,
        };
        let origin = Origin {
            listener: Arc::clone(&listener.settings),
            address,
        };
        self.place(Arrival {
            wrapping: listener.loaded.wrapping.clone(),
            ..Arrival::new(stream, origin, seat)
        });
    }
}

fn new_connection(peer: &PeerAddress, port: u16) -> String {
    match peer {
        PeerAddress::Ip(_) => format!("New connection from {peer} on port {port}."),
        PeerAddress::Unix(path) => new_unix_connection(path),
    }
}

fn new_unix_connection(path: &Path) -> String {
    format!(
        "New connection from unix-socket on path {}.",
        path.display()
    )
}

fn deny(logger: &Logger, peer: &PeerAddress, limit: Limit) {
    let option = limit.option();
    logger.log_with(Kind::Notice, || {
        let host = peer.host();
        format!("Client connection from {host} denied: {option} exceeded.")
    });
}
