//! The memory of many clients in one process.

use std::any::Any;
use std::env;
use std::fs;
use std::process::{Command, Stdio};

use midge_client::Client;
use tokio::task::JoinSet;

use super::rumqtt::{first, next};
use super::{Outcome, options_midge};

/// How many connect at a time: a broker's backlog is no part of this.
const AT_A_TIME: usize = 50;

/// Each library in a process of its own, connected to the broker at `port`.
pub(super) fn compare(port: u16, count: usize) -> Outcome<()> {
    for library in ["midge", "rumqttc", "rumqttc-next"] {
        let output = Command::new(env::current_exe()?)
            .args(["clients", library, &port.to_string(), &count.to_string()])
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()?;
        let bytes = String::from_utf8(output.stdout)?;
        println!(
            "{library}: {} bytes for each of {count} clients",
            bytes.trim()
        );
    }
    Ok(())
}

/// Connects `count` clients with a subscription each, waits until all have it, and prints what each takes.
pub(super) async fn hold(library: &str, port: u16, count: usize) -> Outcome<()> {
    let before = resident()?;
    let clients = match library {
        "midge" => hold_all(count, |number| connect_midge(port, number)).await?,
        "rumqttc" => hold_all(count, |number| first::hold(port, number)).await?,
        _ => hold_all(count, |number| next::hold(port, number)).await?,
    };
    println!("{}", (resident()? - before) / count);
    drop(clients);
    Ok(())
}

/// Has `count` clients connect, some at a time, and gives them to be kept.
async fn hold_all<C, F>(count: usize, connect: impl Fn(usize) -> F) -> Outcome<Box<dyn Any>>
where
    C: Send + 'static,
    F: Future<Output = Result<C, String>> + Send + 'static,
{
    let mut clients = Vec::new();
    while clients.len() < count {
        let mut joining = JoinSet::new();
        for number in clients.len()..count.min(clients.len() + AT_A_TIME) {
            joining.spawn(connect(number));
        }
        for client in joining.join_all().await {
            clients.push(client?);
        }
    }
    Ok(Box::new(clients))
}

async fn connect_midge(
    port: u16,
    number: usize,
) -> Result<(Client, midge_client::Subscription), String> {
    let options = options_midge(port).map_err(|error| error.to_string())?;
    let options = options.client_id(format!("midge-{number}"));
    let client = Client::connect(options)
        .await
        .map_err(|error| error.to_string())?;
    let subscription = client
        .subscribe(format!("bench/{number}"))
        .await
        .map_err(|error| error.to_string())?;
    Ok((client, subscription))
}

/// Resident bytes of this process.
fn resident() -> Outcome<usize> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .ok_or("no VmRSS")?;
    let kib = line.trim().strip_suffix(" kB").ok_or("no kB")?;
    Ok(kib.trim().parse::<usize>()? * 1024)
}
