//! A connection over which requests are answered.

use std::io::{self, Write as _};
use std::time::{Duration, Instant};

use midge_codec::{Properties, QoS, ReasonCode, SubscriptionOptions, Version};

use crate::client::Client;
use crate::client::flows::{Event, Outgoing};
use crate::connect_options::ConnectOptions;
use crate::failure::{Failure, sentence};
use crate::properties::Section;

/// How long a broker may take for an answer, as with mosquitto_ctrl.
const PATIENCE: Duration = Duration::from_secs(10);
const LINGER: Duration = Duration::from_secs(5);

/// A connection to a broker that is administered.
pub(super) struct Link {
    client: Client,
    version: Version,
    qos: QoS,
    /// The response topics that are subscribed to.
    subscribed: Vec<String>,
}

impl Link {
    pub(super) fn connect(options: &ConnectOptions, qos: QoS) -> Result<Self, Failure> {
        let mut options = options.clone();
        // Somebody may have to log in for it, which takes longer than the rest.
        options.use_token()?;
        let deadline = Instant::now() + PATIENCE;
        let mut client = Client::connect(&options, Some(deadline))?;
        let connected = client.wait_connected(deadline);
        print_trace(&mut client)?;
        connected?;
        Ok(Self {
            client,
            version: options.version,
            qos,
            subscribed: Vec::new(),
        })
    }

    /// Publishes a request and gives the payload of the answer.
    pub(super) fn ask(&mut self, topic: &str, request: &str) -> Result<Vec<u8>, Failure> {
        let answer = self.exchange(topic, request);
        print_trace(&mut self.client)?;
        match answer {
            Err(Failure::TimedOut) => Err(Failure::Other(format!(
                "No answer from the broker at {topic} within {} seconds. Is the module switched on, \
                 and may this user use it?",
                PATIENCE.as_secs()
            ))),
            answer => answer,
        }
    }

    fn exchange(&mut self, topic: &str, request: &str) -> Result<Vec<u8>, Failure> {
        let response_topic = format!("{topic}/response");
        self.subscribe(&response_topic)?;
        self.client.flows.publish(&Outgoing {
            topic,
            payload: request.as_bytes(),
            qos: self.qos,
            retain: false,
            properties: Properties::NONE,
        })?;
        let deadline = Instant::now() + PATIENCE;
        self.client.wait_for(deadline, |event| match event {
            Event::Message(message) if message.topic == response_topic && !message.retain => {
                Some(Ok(message.payload.to_vec()))
            }
            Event::Published { reason, .. } if reason.is_failure() => {
                let reason = sentence(reason.text());
                Some(Err(Failure::Other(format!("Publish error: {reason}."))))
            }
            _ => None,
        })?
    }

    fn subscribe(&mut self, response_topic: &str) -> Result<(), Failure> {
        if self.subscribed.iter().any(|topic| topic == response_topic) {
            return Ok(());
        }
        let filters = [response_topic.to_owned()];
        let options = SubscriptionOptions {
            qos: self.qos,
            ..SubscriptionOptions::default()
        };
        self.client
            .flows
            .subscribe(&filters, options, &Section::default())?;
        let deadline = Instant::now() + PATIENCE;
        let code = self.client.wait_for(deadline, |event| match event {
            Event::Subscribed { codes, .. } => codes.first().copied(),
            _ => None,
        })?;
        if code >= 0x80 {
            let why = if self.version == Version::V5 {
                sentence(ReasonCode(code).text())
            } else {
                "Subscription refused".to_owned()
            };
            return Err(Failure::Other(format!("Subscribe error: {why}.")));
        }
        self.subscribed.push(response_topic.to_owned());
        Ok(())
    }

    /// Says good-bye.
    pub(super) fn close(mut self) {
        // The answer is there; how the connection ends changes nothing.
        let _ = self.client.disconnect(Instant::now() + LINGER);
        let _ = print_trace(&mut self.client);
    }
}

fn print_trace(client: &mut Client) -> io::Result<()> {
    io::stdout()
        .lock()
        .write_all(client.flows.take_trace().as_bytes())
}
