//! What `--qos-report` says at the end.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::time::Instant;

use hdrhistogram::Histogram;
use midge_codec::{Publish, QoS, ReasonCode};

use crate::terminal;

/// Messages counted by what became of them.
pub(crate) struct QosReport {
    began: Instant,
    sent: u64,
    /// When each message left that is not acknowledged yet. No more than are in flight.
    waiting: HashMap<u16, Instant>,
    acknowledged: BTreeMap<u8, u64>,
    /// Microseconds from a message to its last acknowledgement.
    latency: Option<Histogram<u64>>,
    /// By QoS.
    received: [u64; 3],
    retained: u64,
    repeated: u64,
    reconnects: u64,
}

impl QosReport {
    /// A report, if it is wanted.
    pub(crate) fn new(wanted: bool) -> Option<Box<Self>> {
        wanted.then(|| {
            Box::new(Self {
                began: Instant::now(),
                sent: 0,
                waiting: HashMap::new(),
                acknowledged: BTreeMap::new(),
                latency: Histogram::new(3).ok(),
                received: [0; 3],
                retained: 0,
                repeated: 0,
                reconnects: 0,
            })
        })
    }

    pub(crate) fn sent(&mut self, qos: QoS, number: u16) {
        self.sent += 1;
        if qos != QoS::AtMostOnce {
            self.waiting.insert(number, Instant::now());
        }
    }

    pub(crate) fn acknowledged(&mut self, number: u16, reason: ReasonCode) {
        *self.acknowledged.entry(reason.0).or_default() += 1;
        if let Some(sent) = self.waiting.remove(&number)
            && let Some(latency) = &mut self.latency
        {
            let micros = u64::try_from(sent.elapsed().as_micros()).unwrap_or(u64::MAX);
            latency.saturating_record(micros);
        }
    }

    pub(crate) fn received(&mut self, message: &Publish<'_>) {
        if let Some(count) = self.received.get_mut(usize::from(message.qos.bits())) {
            *count += 1;
        }
        self.retained += u64::from(message.retain);
        self.repeated += u64::from(message.dup);
    }

    pub(crate) const fn reconnected(&mut self) {
        self.reconnects += 1;
    }

    /// Prints it on the standard error.
    pub(crate) fn print(&self) {
        terminal::complain(self.text().trim_end());
    }

    fn text(&self) -> String {
        let seconds = self.began.elapsed().as_secs_f64();
        let mut text = format!("QoS report after {seconds:.3} s\n");
        let received: u64 = self.received.iter().sum();
        if self.sent > 0 || received == 0 {
            let _ = writeln!(text, "  sent          {}", self.sent);
            for (reason, count) in &self.acknowledged {
                let reason = ReasonCode(*reason);
                let _ = writeln!(text, "  acknowledged  {count} ({reason})");
            }
            if !self.waiting.is_empty() {
                let _ = writeln!(text, "  unanswered    {}", self.waiting.len());
            }
        }
        if let Some(latency) = self.latency.as_ref().filter(|latency| !latency.is_empty()) {
            let _ = writeln!(
                text,
                "  took          {} us at least, {} half of them, {} all but 1 %, {} at most",
                latency.min(),
                latency.value_at_quantile(0.5),
                latency.value_at_quantile(0.99),
                latency.max()
            );
        }
        if received > 0 {
            let [zero, one, two] = self.received;
            let _ = writeln!(
                text,
                "  received      {received}: {zero} with QoS 0, {one} with QoS 1, {two} with QoS 2\n  \
                 retained      {}\n  repeated      {} (marked as such by the broker)",
                self.retained, self.repeated
            );
        }
        if self.reconnects > 0 {
            let _ = writeln!(text, "  reconnected   {}", self.reconnects);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_is_accounted_for() {
        let mut report = QosReport::new(true).unwrap();
        for number in 1..=4 {
            report.sent(QoS::AtLeastOnce, number);
        }
        report.acknowledged(1, ReasonCode::SUCCESS);
        report.acknowledged(2, ReasonCode::SUCCESS);
        report.acknowledged(3, ReasonCode(0x87));
        let text = report.text();
        for part in [
            "sent          4\n",
            "acknowledged  2 (",
            "acknowledged  1 (not authorized (0x87))",
            "unanswered    1\n",
            "took ",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
