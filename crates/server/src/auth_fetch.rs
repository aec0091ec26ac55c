//! Requests over HTTP that logins wait for: keys of identity providers, introspection, the HTTP back end.
//!
//! They are few, they may be slow, and nothing else may wait for them: a few threads take them from a
//! bounded queue and hand each answer to a callback. What an answer means is decided in
//! [`midge_access::tokens`].

use core::fmt;
use core::time::Duration;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use midge_access::tokens::Post;
use midge_access::tokens::keys::{Fetch, max_age};

mod address;
mod agent;

pub use address::{AddressFault, PlainHttp, check_address};
pub use agent::Roots;

/// How requests are made.
#[derive(Clone, Debug)]
pub struct FetchSettings {
    /// Requests that are under way at once. A slow provider occupies at most all of them for
    /// `total_timeout`.
    pub threads: usize,
    /// Requests that wait; further ones are refused.
    pub queue_max: usize,
    /// For the connection: name, TCP and TLS.
    pub connect_timeout: Duration,
    /// From the call to the last byte of the answer, the time in the queue included.
    pub total_timeout: Duration,
    /// Bytes of an answer's body.
    pub body_bytes_max: usize,
    /// Where requests may go without TLS.
    pub plain_http: PlainHttp,
    /// Whose certificates are believed.
    pub roots: Roots,
}

impl Default for FetchSettings {
    /// Two threads, 1,000 waiting, 3 and 5 seconds, 512 KiB, TLS except on this machine, and the certificate
    /// authorities of the system.
    fn default() -> Self {
        Self {
            threads: 2,
            queue_max: 1000,
            connect_timeout: Duration::from_secs(3),
            total_timeout: Duration::from_secs(5),
            body_bytes_max: 512 * 1024,
            plain_http: PlainHttp::LoopbackOnly,
            roots: Roots::System,
        }
    }
}

/// What is to be sent.
#[derive(Clone, PartialEq, Eq)]
pub enum Request {
    /// A GET.
    Get {
        /// Where from.
        url: String,
    },
    /// A POST.
    Post(Post),
}

impl From<Fetch> for Request {
    fn from(fetch: Fetch) -> Self {
        Self::Get { url: fetch.url }
    }
}

impl From<Post> for Request {
    fn from(post: Post) -> Self {
        Self::Post(post)
    }
}

impl Request {
    fn url(&self) -> &str {
        match self {
            Self::Get { url } => url,
            Self::Post(post) => &post.url,
        }
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Request").field(&self.url()).finish()
    }
}

/// A whole answer, whatever its status; redirects alone are errors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// How long the answer may be kept; `None` if it does not say.
    pub max_age: Option<Duration>,
    /// The body.
    pub body: Vec<u8>,
}

/// Why there is no answer. The text is for the log.
#[derive(Debug)]
#[non_exhaustive]
pub enum FetchError {
    /// The queue is full.
    Busy,
    /// The broker ends.
    Stopped,
    /// The address may not be asked.
    Address(AddressFault),
    /// No whole answer in time; what was waited for.
    TimedOut(&'static str),
    /// The answer is longer than [`FetchSettings::body_bytes_max`].
    TooLarge,
    /// The server wants to be asked elsewhere, which is not done: where to.
    Redirect(String),
    /// The server's certificate is not believed.
    Certificate(String),
    /// No connection, or not HTTP.
    Failed(String),
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy => f.write_str("too many requests wait"),
            Self::Stopped => f.write_str("the broker ends"),
            Self::Address(fault) => fault.fmt(f),
            Self::TimedOut(what) => write!(f, "no answer in time ({what})"),
            Self::TooLarge => f.write_str("the answer is too long"),
            Self::Redirect(to) => write!(
                f,
                "the server points to {to:?}; redirects are not followed, so set that address"
            ),
            Self::Certificate(why) => write!(f, "the server's certificate: {why}"),
            Self::Failed(why) => f.write_str(why),
        }
    }
}

impl core::error::Error for FetchError {}

/// What is done with an answer.
type Done = Box<dyn FnOnce(Result<Answer, FetchError>) + Send>;

struct Job {
    request: Request,
    asked_at: Instant,
    done: Done,
}

/// Threads that make requests. Dropping it refuses what waits and lets the threads end by themselves.
#[derive(Debug)]
pub struct Fetcher {
    queue: Sender<Job>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    settings: FetchSettings,
    /// Made by the first request, since the system's certificates take a while to read.
    agent: OnceLock<ureq::Agent>,
    stopped: AtomicBool,
}

impl Fetcher {
    /// Starts the threads.
    ///
    /// # Errors
    /// The system's, if it gives no thread.
    pub fn start(settings: FetchSettings) -> io::Result<Self> {
        let (queue, jobs) = bounded(settings.queue_max);
        let shared = Arc::new(Shared {
            agent: OnceLock::new(),
            stopped: AtomicBool::new(false),
            settings,
        });
        // From here on a failure to start a thread ends those that run.
        let fetcher = Self { queue, shared };
        for _ in 0..fetcher.shared.settings.threads.max(1) {
            let shared = Arc::clone(&fetcher.shared);
            let jobs = jobs.clone();
            thread::Builder::new()
                .name("auth-fetch".to_owned())
                .spawn(move || shared.work(&jobs))?;
        }
        Ok(fetcher)
    }

    /// Queues a request. `done` is called once, on a thread of the fetcher, and should only pass the answer
    /// on.
    ///
    /// # Errors
    /// [`FetchError::Busy`] if the queue is full, [`FetchError::Address`] if the address may not be asked;
    /// `done` is then not called.
    pub fn fetch(
        &self,
        request: impl Into<Request>,
        done: impl FnOnce(Result<Answer, FetchError>) + Send + 'static,
    ) -> Result<(), FetchError> {
        let request = request.into();
        check_address(request.url(), self.shared.settings.plain_http)
            .map_err(FetchError::Address)?;
        let job = Job {
            request,
            asked_at: Instant::now(),
            done: Box::new(done),
        };
        self.queue.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => FetchError::Busy,
            TrySendError::Disconnected(_) => FetchError::Stopped,
        })
    }
}

impl Drop for Fetcher {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    fn work(&self, jobs: &Receiver<Job>) {
        for job in jobs {
            let answer = self.answer(&job);
            (job.done)(answer);
        }
    }

    fn answer(&self, job: &Job) -> Result<Answer, FetchError> {
        if self.stopped.load(Ordering::Relaxed) {
            return Err(FetchError::Stopped);
        }
        let time_left = self
            .settings
            .total_timeout
            .checked_sub(job.asked_at.elapsed())
            .filter(|left| !left.is_zero())
            .ok_or(FetchError::TimedOut("in the queue"))?;
        let agent = self.agent()?;
        let response = match &job.request {
            Request::Get { url } => agent
                .get(url)
                .config()
                .timeout_global(Some(time_left))
                .build()
                .call(),
            Request::Post(post) => {
                let mut request = agent.post(&post.url).content_type(post.content_type);
                if let Some(authorization) = &post.authorization {
                    request = request.header("Authorization", authorization);
                }
                request
                    .config()
                    .timeout_global(Some(time_left))
                    .build()
                    .send(&post.body[..])
            }
        };
        self.read(response.map_err(agent::describe)?)
    }

    fn read(&self, mut response: ureq::http::Response<ureq::Body>) -> Result<Answer, FetchError> {
        let header = |name: &str| {
            let value = response.headers().get(name)?;
            value.to_str().ok()
        };
        let status = response.status();
        if status.is_redirection() {
            let to = header("Location").unwrap_or("nowhere");
            return Err(FetchError::Redirect(to.chars().take(200).collect()));
        }
        let age = header("Age").and_then(|secs| secs.trim().parse().ok());
        let age = Duration::from_secs(age.unwrap_or(0));
        let max_age = header("Cache-Control")
            .and_then(max_age)
            .map(|max_age| max_age.saturating_sub(age));
        let body = response
            .body_mut()
            .with_config()
            .limit(self.settings.body_bytes_max as u64)
            .read_to_vec()
            .map_err(agent::describe)?;
        Ok(Answer {
            status: status.as_u16(),
            max_age,
            body,
        })
    }

    fn agent(&self) -> Result<&ureq::Agent, FetchError> {
        if let Some(agent) = self.agent.get() {
            return Ok(agent);
        }
        // Two threads may make one at the same time; the first stays.
        let agent = agent::make(&self.settings)?;
        Ok(self.agent.get_or_init(|| agent))
    }
}

#[cfg(test)]
mod tests;
