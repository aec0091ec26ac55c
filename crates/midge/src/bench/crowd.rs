//! A scenario several times at once, each in a process of its own, as one run.
//!
//! A process connects its clients, says that it is ready, and begins when all are. Its findings come back
//! as one line of JSON, whole: counts can be added, and latencies are kept with their counts, since
//! percentiles cannot.

use std::ffi::OsString;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::load::{self, Cost, Outcome};
use super::plan::Plan;
use super::tally::Tally;
use crate::failure::Failure;

/// What makes a process one of several. Only this program says it.
pub(crate) const MEMBER: &str = "--member-of-a-crowd";

/// What is said and answered before a run begins.
const READY: &str = "ready\n";
const BEGIN: &str = "begin\n";

/// Runs one member; its findings go to the standard output.
pub(crate) fn member(plan: &Plan) -> Result<String, Failure> {
    let outcome = load::run(plan, || {
        let mut out = io::stdout().lock();
        out.write_all(READY.as_bytes())?;
        out.flush()?;
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer)?;
        if answer == BEGIN {
            end_with_the_first();
            Ok(())
        } else {
            Err(Failure::Signal)
        }
    })?;
    Ok(to_line(&outcome))
}

/// Ends this process when the one that began it is gone: nobody else would stop the load.
fn end_with_the_first() {
    std::thread::spawn(|| {
        // Nothing more is said, so that it returns when the other end is closed.
        let _ = io::stdin().lock().read(&mut [0]);
        std::process::exit(1);
    });
}

/// Runs `plan.processes` members with the arguments that this process was given.
pub(crate) fn run(plan: &Plan, scenario: &OsString, args: &[OsString]) -> Result<Outcome, Failure> {
    let program = std::env::current_exe()?;
    let mut members = Vec::new();
    for _ in 0..plan.processes {
        let mut child = Command::new(&program)
            .arg("bench")
            .arg(scenario)
            .args(args)
            .arg(MEMBER)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let Some(out) = child.stdout.take() else {
            return Err(broken());
        };
        members.push(Member {
            child,
            out: BufReader::new(out),
        });
    }
    for member in &mut members {
        let mut line = String::new();
        member.out.read_line(&mut line)?;
        if line != READY {
            return Err(broken());
        }
    }
    for member in &mut members {
        if let Some(input) = &mut member.child.stdin {
            input.write_all(BEGIN.as_bytes())?;
        }
    }
    let mut sum: Option<Outcome> = None;
    for member in &mut members {
        let mut text = String::new();
        member.out.read_to_string(&mut text)?;
        let outcome = from_line(&text).ok_or_else(broken)?;
        match &mut sum {
            None => sum = Some(outcome),
            Some(sum) => add(sum, &outcome)?,
        }
    }
    sum.ok_or_else(broken)
}

/// A process, which ends with this.
struct Member {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Drop for Member {
    fn drop(&mut self) {
        // It has mostly ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn broken() -> Failure {
    Failure::Other("One of the processes did not do its part; it says why above.".to_owned())
}

fn add(sum: &mut Outcome, other: &Outcome) -> Result<(), Failure> {
    sum.tally.add(&other.tally);
    sum.measured += other.measured;
    sum.span = sum.span.max(other.span);
    sum.latency
        .add(&other.latency)
        .map_err(|error| Failure::Other(error.to_string()))?;
    sum.connections += other.connections;
    sum.connecting = sum.connecting.max(other.connecting);
    if let (Some(sum), Some(other)) = (&mut sum.broker, &other.broker) {
        // All have watched the same broker at the same time.
        let [before, connected, end] = sum.resident;
        let [other_before, other_connected, other_end] = other.resident;
        sum.cpu = sum.cpu.max(other.cpu);
        sum.resident = [
            before.min(other_before),
            connected.max(other_connected),
            end.max(other_end),
        ];
    }
    if let (Some(sum), Some(other)) = (&mut sum.own, &other.own) {
        sum.cpu += other.cpu;
    }
    Ok(())
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn to_line(outcome: &Outcome) -> String {
    let tally = &outcome.tally;
    let cost = |cost: &Option<Cost>| {
        cost.as_ref().map(|cost| {
            let [before, connected, end] = cost.resident;
            json!([nanos(cost.cpu), before, connected, end])
        })
    };
    let latencies: Vec<_> = outcome
        .latency
        .iter_recorded()
        .map(|step| json!([step.value_iterated_to(), step.count_since_last_iteration()]))
        .collect();
    let line = json!({
        "tally": [
            tally.sent, tally.received, tally.lost, tally.duplicates, tally.disordered,
            tally.misrouted, tally.unacknowledged, tally.bad_acks,
        ],
        "measured": outcome.measured,
        "span": nanos(outcome.span),
        "latencies": latencies,
        "connections": outcome.connections,
        "connecting": nanos(outcome.connecting),
        "broker": cost(&outcome.broker),
        "own": cost(&outcome.own),
    });
    format!("{line}\n")
}

fn from_line(text: &str) -> Option<Outcome> {
    let line: Value = serde_json::from_str(text).ok()?;
    let number = |name: &str| line.get(name).and_then(Value::as_u64);
    let numbers = |value: &Value| -> Option<Vec<u64>> {
        value.as_array()?.iter().map(Value::as_u64).collect()
    };
    let [
        sent,
        received,
        lost,
        duplicates,
        disordered,
        misrouted,
        unacknowledged,
        bad_acks,
    ] = numbers(line.get("tally")?)?.try_into().ok()?;
    let mut latency = Histogram::new(3).ok()?;
    for step in line.get("latencies")?.as_array()? {
        let [value, count] = numbers(step)?.try_into().ok()?;
        latency.record_n(value, count).ok()?;
    }
    let cost = |name: &str| -> Option<Cost> {
        let [cpu, before, connected, end] = numbers(line.get(name)?)?.try_into().ok()?;
        Some(Cost {
            cpu: Duration::from_nanos(cpu),
            resident: [before, connected, end],
        })
    };
    Some(Outcome {
        tally: Tally {
            sent,
            received,
            lost,
            duplicates,
            disordered,
            misrouted,
            unacknowledged,
            bad_acks,
        },
        measured: number("measured")?,
        span: Duration::from_nanos(number("span")?),
        latency,
        connections: number("connections")?,
        connecting: Duration::from_nanos(number("connecting")?),
        broker: cost("broker"),
        own: cost("own"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(latencies: &[u64]) -> Outcome {
        let mut latency = Histogram::new(3).unwrap();
        for value in latencies {
            latency.record(*value).unwrap();
        }
        Outcome {
            tally: Tally {
                sent: 5,
                lost: 1,
                ..Tally::default()
            },
            measured: 4,
            span: Duration::from_secs(2),
            latency,
            connections: 2,
            connecting: Duration::from_millis(3),
            broker: Some(Cost {
                cpu: Duration::from_millis(7),
                resident: [1, 2, 3],
            }),
            own: None,
        }
    }

    #[test]
    fn findings_survive_their_way_between_processes() {
        let sent = outcome(&[1_000, 2_000_000, 2_000_000]);
        let got = from_line(&to_line(&sent)).unwrap();
        assert_eq!(got.tally, sent.tally);
        assert_eq!((got.measured, got.span), (4, sent.span));
        assert_eq!(got.latency.len(), 3);
        assert_eq!(
            got.latency.value_at_quantile(0.9),
            sent.latency.value_at_quantile(0.9)
        );
        assert_eq!(got.broker.unwrap().resident, [1, 2, 3]);
        assert!(got.own.is_none());
        assert!(from_line("{}").is_none());
    }

    #[test]
    fn processes_add_up_and_the_broker_is_counted_once() {
        let mut sum = outcome(&[1_000]);
        add(&mut sum, &outcome(&[9_000_000])).unwrap();
        assert_eq!((sum.tally.sent, sum.measured, sum.connections), (10, 8, 4));
        assert_eq!((sum.latency.len(), sum.span), (2, Duration::from_secs(2)));
        assert_eq!(sum.broker.unwrap().cpu, Duration::from_millis(7));
    }
}
