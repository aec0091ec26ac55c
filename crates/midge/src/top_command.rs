//! `midge top`: what a broker is doing, from its `$SYS` topics, as a live view or as lines.

use std::ffi::OsString;
use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use midge_codec::{SubscriptionOptions, Version};

use crate::client::Client;
use crate::client::flows::Event;
use crate::command_line::{self, CommandLine};
use crate::connect_options::ConnectOptions;
use crate::failure::Failure;
use crate::options::{self, Command, Id, UsageError, Value};
use crate::sub_command::filter;
use screen::{Key, Screen};
use stats::Stats;

mod screen;
mod stats;
mod view;

/// The command line, read.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Job {
    connect: ConnectOptions,
    /// Topics whose messages are counted.
    filters: Vec<String>,
    interval: Duration,
    /// Lines, and not a live view.
    plain: bool,
    count: Option<u64>,
}

const RECONNECT_DELAY: Duration = Duration::from_secs(1);
const LINGER: Duration = Duration::from_secs(1);

/// Runs the command and gives its exit code.
pub(crate) fn run(args: Vec<OsString>) -> ExitCode {
    let perform = |job: &Job| match watch(job) {
        Err(Failure::Signal) => Ok(()),
        result => result,
    };
    command_line::run::<Job>(args, perform, |job| &job.connect)
}

impl Default for Job {
    fn default() -> Self {
        Self {
            connect: ConnectOptions {
                version: Version::V5,
                ..ConnectOptions::default()
            },
            filters: Vec::new(),
            interval: Duration::from_secs(1),
            plain: !io::stdout().is_terminal(),
            count: None,
        }
    }
}

impl CommandLine for Job {
    type Job = Self;

    const COMMAND: &'static Command = &options::TOP;
    const OPTIONS_FILE: &'static str = "";

    fn connect(&mut self) -> &mut ConnectOptions {
        &mut self.connect
    }

    fn take(&mut self, id: Id, value: Value) -> Result<(), UsageError> {
        match id {
            Id::Url => {
                self.connect.take_url(value)?;
            }
            Id::Topic => self
                .filters
                .push(filter(value.into_text("-t")?, "subscription")?),
            Id::Seconds => {
                let fault = "Invalid interval \"{}\", it must be between 0.1 and 3600 seconds.";
                self.interval = Duration::from_secs_f64(value.number(0.1, 3600.0, fault)?);
            }
            Id::Plain => self.plain = true,
            Id::Count => self.count = Some(value.number(1, u64::MAX, "Invalid count \"{}\".")?),
            _ => {}
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Self, UsageError> {
        self.connect = self.connect.finish()?;
        Ok(self)
    }
}

/// Does the job.
fn watch(job: &Job) -> Result<(), Failure> {
    let mut client = Client::connect(&job.connect, None)?;
    client.watch_signals()?;
    // What the broker refuses is told before the screen is taken.
    let mut top = Top {
        job,
        stats: Stats::new(Instant::now()),
        screen: None,
        next: Instant::now() + job.interval,
        printed: 0,
        is_connected: false,
        is_paused: false,
    };
    loop {
        match top.serve(&mut client) {
            Err(failure) if failure.is_lost_connection() && top.printed > 0 => {
                top.reconnect(&mut client)?;
            }
            result => {
                drop(top);
                if result.is_ok() {
                    let _ = client.disconnect(Instant::now() + LINGER);
                }
                return result;
            }
        }
    }
}

struct Top<'a> {
    job: &'a Job,
    stats: Stats,
    /// The terminal, once there is something to show; it is given back when this goes.
    screen: Option<Screen>,
    /// When the view is drawn, or a line printed.
    next: Instant,
    printed: u64,
    is_connected: bool,
    is_paused: bool,
}

impl Top<'_> {
    /// One connection; ends well when it is enough.
    fn serve(&mut self, client: &mut Client) -> Result<(), Failure> {
        loop {
            while let Some(event) = client.flows.next_event(&mut client.inbound)? {
                match event {
                    Event::Connected { reason } if reason.is_failure() => {
                        return Err(Failure::Refused(self.job.connect.version, reason));
                    }
                    Event::Connected { .. } => {
                        self.is_connected = true;
                        let mut filters = vec!["$SYS/#".to_owned()];
                        filters.extend(self.job.filters.iter().cloned());
                        let properties = &self.job.connect.properties.subscribe;
                        client.flows.subscribe(
                            &filters,
                            SubscriptionOptions::default(),
                            properties,
                        )?;
                    }
                    Event::Subscribed { codes, .. } => {
                        if codes.first().is_some_and(|code| *code >= 0x80) {
                            return Err(Failure::Other(
                                "The broker does not let this user read $SYS/#. -u and -P name another."
                                    .to_owned(),
                            ));
                        }
                        self.open_screen(client)?;
                        self.draw()?;
                    }
                    Event::Message(message) => self.stats.take(&message, Instant::now()),
                    Event::Unsubscribed | Event::Published { .. } => {}
                }
            }
            if self.take_keys()? {
                return Ok(());
            }
            let now = Instant::now();
            self.stats.tick(now);
            if now >= self.next || self.screen.as_mut().is_some_and(Screen::was_resized) {
                self.draw()?;
                if self.job.count.is_some_and(|count| self.printed >= count) {
                    return Ok(());
                }
                // A machine that slept does not catch up.
                self.next = (self.next + self.job.interval).max(now);
            }
            match client.wait(Some(self.next)) {
                Err(Failure::TimedOut) => {}
                result => result?,
            }
        }
    }

    fn open_screen(&mut self, client: &mut Client) -> Result<(), Failure> {
        if !self.job.plain && self.screen.is_none() {
            self.screen = Some(Screen::open()?);
            client.watch_input()?;
        }
        Ok(())
    }

    fn reconnect(&mut self, client: &mut Client) -> Result<(), Failure> {
        self.is_connected = false;
        loop {
            self.draw()?;
            client.pause(RECONNECT_DELAY)?;
            if self.take_keys()? {
                return Err(Failure::Signal);
            }
            self.stats = Stats::new(Instant::now());
            match client.reconnect(&self.job.connect, None) {
                Err(failure) if failure.is_lost_connection() => {}
                result => return result,
            }
        }
    }

    /// Handles what was typed; whether that was to quit.
    fn take_keys(&mut self) -> io::Result<bool> {
        let Some(screen) = &mut self.screen else {
            return Ok(false);
        };
        for key in screen.keys()? {
            match key {
                Key::Quit => return Ok(true),
                Key::Pause => self.is_paused = !self.is_paused,
                Key::Redraw => screen.clear()?,
            }
        }
        Ok(false)
    }

    fn draw(&mut self) -> io::Result<()> {
        let place = self.job.connect.place();
        if let Some(screen) = &mut self.screen {
            let state = match (self.is_connected, self.is_paused) {
                (false, _) => view::State::Lost,
                (true, true) => view::State::Paused,
                (true, false) => view::State::Live,
            };
            // What was last shown stays while it is paused.
            if state != view::State::Paused || screen.is_blank() {
                let counts_topics = !self.job.filters.is_empty();
                let lines = view::lines(&self.stats, &place, state, counts_topics, screen.size());
                screen.show(&lines)?;
            }
            self.printed += 1;
            return Ok(());
        }
        if !self.stats.is_complete() {
            return Ok(());
        }
        let mut out = io::stdout().lock();
        if self.printed.is_multiple_of(view::HEADER_EVERY) {
            out.write_all(view::plain_header().as_bytes())?;
        }
        out.write_all(view::plain_line(&self.stats).as_bytes())?;
        out.flush()?;
        self.printed += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command_line::{Request, parse};

    fn read(line: &str) -> Result<Request<Job>, UsageError> {
        parse::<Job>(line.split_whitespace().map(OsString::from).collect())
    }

    #[test]
    fn options_arrive_where_they_belong() {
        let Ok(Request::Run(job)) = read("-p 7 -t a/# --interval 0.5 --plain --count 3") else {
            panic!("no job");
        };
        assert_eq!(job.connect.port(), 7);
        assert_eq!(job.filters, ["a/#"]);
        assert_eq!(job.interval, Duration::from_millis(500));
        assert!(job.plain);
        assert_eq!(job.count, Some(3));
    }

    #[test]
    fn faults_say_what_to_do() {
        let interval = "Invalid interval \"0\", it must be between 0.1 and 3600 seconds.";
        assert_eq!(read("--interval 0"), Err(interval.into()));
        assert_eq!(read("--count 0"), Err("Invalid count \"0\".".into()));
    }
}
