//! CPU per message of the client library beside rumqttc, its successor rumqttc-next, paho C and libmosquitto,
//! publishing and receiving, QoS 0 and 1.
//!
//! `midge-bench-client <midge> [rounds] [messages]` starts the broker `<midge>` on a free port, then runs each
//! case in a process of its own, in turn, and prints the medians of the processor time per message with
//! our part of theirs. All libraries speak MQTT 3.1.1, with up to 1,000 messages on their way; the Rust ones on
//! one thread, the C ones on those that they make. The C ones are compiled first, with `cc`; one whose headers
//! are missing (Debian: libpaho-mqtt-dev, libmosquitto-dev) is left out.
//!
//! `midge-bench-client <midge> clients [count]` says how much memory clients take, 10,000 of them in one
//! process, each connected and with a subscription, beside rumqttc's and
//! its successor's.

use std::env;
use std::error::Error;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use midge_client::{Client, Options, Version};

mod clients;
mod rumqtt;

type Outcome<T> = Result<T, Box<dyn Error>>;

const TOPIC: &str = "bench/client/measured";
const PAYLOAD: usize = 128;
const END: &str = "end";
const INFLIGHT: u16 = 1000;

#[derive(Clone, Copy, PartialEq)]
enum Direction {
    Publish,
    Receive,
}

#[derive(Clone, Copy)]
struct Case {
    direction: Direction,
    qos: u8,
}

const CASES: [(&str, Case); 4] = [
    (
        "publish-0",
        Case {
            direction: Direction::Publish,
            qos: 0,
        },
    ),
    (
        "publish-1",
        Case {
            direction: Direction::Publish,
            qos: 1,
        },
    ),
    (
        "receive-0",
        Case {
            direction: Direction::Receive,
            qos: 0,
        },
    ),
    (
        "receive-1",
        Case {
            direction: Direction::Receive,
            qos: 1,
        },
    ),
];

const LIBRARIES: [&str; 5] = ["midge", "rumqttc", "rumqttc-next", "paho", "mosquitto"];

/// The C programs, with the library that each is linked with.
const C_PROGRAMS: [(&str, &str); 2] = [("paho", "paho-mqtt3as"), ("mosquitto", "mosquitto")];

fn main() -> Outcome<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["worker", library, case, port, messages] => {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            let (port, messages) = (port.parse()?, messages.parse()?);
            runtime.block_on(worker(library, case, port, messages))
        }
        ["feed", case, port, messages] => {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            let (port, messages) = (port.parse()?, messages.parse()?);
            runtime.block_on(feed_until_killed(find(case)?, port, messages))
        }
        ["clients", library, port, count] => {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(clients::hold(library, port.parse()?, count.parse()?))
        }
        [midge, "clients", ref rest @ ..] => {
            let count = rest.first().map_or(Ok(10_000), |text| text.parse())?;
            let (_broker, port, state) = start(midge)?;
            clients::compare(port, count)?;
            fs::remove_dir_all(state)?;
            Ok(())
        }
        [midge, ref rest @ ..] => {
            let rounds = rest.first().map_or(Ok(5), |text| text.parse())?;
            let messages = rest.get(1).map_or(Ok(300_000), |text| text.parse())?;
            compare(midge, rounds, messages)
        }
        [] => Err("usage: midge-bench-client <midge binary> [rounds] [messages]".into()),
    }
}

fn find(name: &str) -> Outcome<Case> {
    let found = CASES.iter().find(|(known, _)| *known == name);
    found
        .map(|(_, case)| *case)
        .ok_or_else(|| "no such case".into())
}

/// Ends a process with the run.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts the broker on a free port; its process ends with the first of what is given.
fn start(midge: &str) -> Outcome<(Running, u16, PathBuf)> {
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let state = env::temp_dir().join(format!("midge-bench-client-{}", std::process::id()));
    fs::create_dir_all(&state)?;
    let config = state.join("m.conf");
    // Nothing may be dropped on the way to a subscriber that is measured.
    fs::write(
        &config,
        format!(
            "user root\nlistener {port} 127.0.0.1\nallow_anonymous true\nlog_dest none\n\
             max_queued_messages 0\nmax_inflight_messages 1000\n"
        ),
    )?;
    let broker = Running(
        Command::new(midge)
            .arg("-c")
            .arg(&config)
            .stdin(Stdio::null())
            .spawn()?,
    );
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        thread::sleep(Duration::from_millis(10));
    }
    Ok((broker, port, state))
}

fn compare(midge: &str, rounds: usize, messages: u64) -> Outcome<()> {
    let (_broker, port, state) = start(midge)?;
    let there: Vec<&str> = LIBRARIES
        .into_iter()
        .filter(|library| compile(library, &state))
        .collect();
    println!("{:<10} {}", "case", there.join(", "));
    for (name, _) in CASES {
        let mut costs = vec![Vec::new(); there.len()];
        for _ in 0..rounds {
            for (library, costs) in there.iter().zip(&mut costs) {
                costs.push(measure(library, name, port, messages, &state)?);
            }
        }
        let medians: Vec<f64> = costs
            .into_iter()
            .map(|mut costs| {
                costs.sort_by(f64::total_cmp);
                costs[costs.len() / 2]
            })
            .collect();
        print!("{name:<10}");
        for (library, cost) in there.iter().zip(&medians) {
            print!("  {library} {cost:.0} ns ({:.2})", medians[0] / cost);
        }
        println!();
    }
    fs::remove_dir_all(state)?;
    Ok(())
}

/// Whether there is such a library; the C ones are compiled for that.
fn compile(library: &str, state: &Path) -> bool {
    let Some((name, linked)) = C_PROGRAMS.iter().find(|(name, _)| *name == library) else {
        return true;
    };
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("c/{name}.c"));
    let status = Command::new("cc")
        .args(["-O2", "-pthread", "-o"])
        .arg(state.join(name))
        .arg(source)
        .arg(format!("-l{linked}"))
        .status();
    status.is_ok_and(|status| status.success())
}

/// The same for a program in C, which says when it has subscribed.
fn measure_c(program: &Path, case: &str, port: u16, messages: u64) -> Outcome<f64> {
    let mut child = Command::new(program)
        .args([case, &port.to_string(), &messages.to_string()])
        .stdout(Stdio::piped())
        .spawn()?;
    let output = child.stdout.take().ok_or("no output")?;
    let _running = Running(child);
    let mut lines = BufReader::new(output).lines();
    let mut line = lines.next().ok_or("no answer")??;
    let mut _feed = None;
    if line == "ready" {
        _feed = Some(feed(case, port, messages)?);
        line = lines.next().ok_or("no result")??;
    }
    Ok(line.parse::<f64>()? * 1e6)
}

/// Nanoseconds of processor time for each message.
fn measure(library: &str, case: &str, port: u16, messages: u64, state: &Path) -> Outcome<f64> {
    if C_PROGRAMS.iter().any(|(name, _)| *name == library) {
        return measure_c(&state.join(library), case, port, messages);
    }
    let output = Command::new(env::current_exe()?)
        .args([
            "worker",
            library,
            case,
            &port.to_string(),
            &messages.to_string(),
        ])
        .stderr(Stdio::inherit())
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    // Milliseconds for one message.
    let milliseconds: f64 = text
        .trim()
        .parse()
        .map_err(|_| format!("{library} {case} failed"))?;
    Ok(milliseconds * 1e6)
}

/// Processor time of this process in milliseconds. It has one thread, whose time the scheduler counts in
/// nanoseconds.
fn cpu_time() -> Outcome<f64> {
    let counts = fs::read_to_string("/proc/self/schedstat")?;
    let nanoseconds = counts.split_whitespace().next().ok_or("no count")?;
    Ok(nanoseconds.parse::<f64>()? / 1e6)
}

async fn worker(library: &str, case: &str, port: u16, messages: u64) -> Outcome<()> {
    let found = find(case)?;
    let cost = match found.direction {
        Direction::Publish => {
            let before = cpu_time()?;
            match library {
                "midge" => publish_midge(found, port, messages).await?,
                "rumqttc" => rumqtt::first::publish(found, port, messages).await?,
                _ => rumqtt::next::publish(found, port, messages).await?,
            }
            (cpu_time()? - before) / messages as f64
        }
        Direction::Receive => match library {
            "midge" => receive_midge(case, found, port, messages).await?,
            "rumqttc" => rumqtt::first::receive(case, found, port, messages).await?,
            _ => rumqtt::next::receive(case, found, port, messages).await?,
        },
    };
    println!("{cost}");
    Ok(())
}

/// Publishes to the measured subscriber from another process.
fn feed(case: &str, port: u16, messages: u64) -> Outcome<Running> {
    let child = Command::new(env::current_exe()?)
        .args(["feed", case, &port.to_string(), &messages.to_string()])
        .spawn()?;
    Ok(Running(child))
}

fn qos_midge(case: Case) -> midge_client::QoS {
    match case.qos {
        0 => midge_client::QoS::AtMostOnce,
        _ => midge_client::QoS::AtLeastOnce,
    }
}

fn options_midge(port: u16) -> Outcome<Options> {
    Ok(Options::new(&format!("mqtt://127.0.0.1:{port}"))?
        .version(Version::V3_1_1)
        .inflight_max(INFLIGHT))
}

async fn publish_midge(case: Case, port: u16, messages: u64) -> Outcome<()> {
    let client = Client::connect(options_midge(port)?).await?;
    let payload = midge_client::Bytes::from(vec![0; PAYLOAD]);
    for _ in 0..messages {
        let publish = client.publish(TOPIC, payload.clone()).qos(qos_midge(case));
        drop(publish.enqueue().await?);
    }
    client.disconnect().within(Duration::from_secs(60)).await?;
    Ok(())
}

/// Publishes, and then says again and again that this was all: a broker may drop QoS 0.
async fn feed_until_killed(case: Case, port: u16, messages: u64) -> Outcome<()> {
    let client = Client::connect(options_midge(port)?).await?;
    let payload = midge_client::Bytes::from(vec![0; PAYLOAD]);
    for _ in 0..messages {
        let publish = client.publish(TOPIC, payload.clone()).qos(qos_midge(case));
        drop(publish.enqueue().await?);
    }
    loop {
        client
            .publish(TOPIC, END)
            .qos(midge_client::QoS::AtLeastOnce)
            .await?;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn receive_midge(name: &str, case: Case, port: u16, messages: u64) -> Outcome<f64> {
    let client = Client::connect(options_midge(port)?).await?;
    let mut stream = client.subscribe(TOPIC).qos(qos_midge(case)).await?;
    let _feed = feed(name, port, messages)?;
    stream.next().await.ok_or("no message")?;
    let before = cpu_time()?;
    let mut received = 0.0;
    while stream.next().await.ok_or("the stream ends")?.payload() != END {
        received += 1.0;
    }
    Ok((cpu_time()? - before) / received)
}
