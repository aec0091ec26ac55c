//! The memory of many clients in one process.

use std::env;
use std::fs;
use std::process::{Command, Stdio};

use midge_client::Client;
use rumqttc::{AsyncClient, Event, Incoming};
use tokio::task::JoinSet;

use super::{INFLIGHT, Outcome, options_midge, options_rumqttc};

/// How many connect at a time: a broker's backlog is no part of this.
const AT_A_TIME: usize = 50;

/// Each library in a process of its own, connected to the broker at `port`.
pub(super) fn compare(port: u16, count: usize) -> Outcome<()> {
    for library in ["midge", "rumqttc"] {
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
    let mut midge = Vec::new();
    let mut rumqttc = Vec::new();
    let mut begun = 0;
    while begun < count {
        let group = AT_A_TIME.min(count - begun);
        match library {
            "midge" => {
                let mut joining = JoinSet::new();
                for number in begun..begun + group {
                    joining.spawn(connect_midge(port, number));
                }
                for result in joining.join_all().await {
                    midge.push(result.map_err(|error| error.to_string())?);
                }
            }
            _ => {
                let mut joining = JoinSet::new();
                for number in begun..begun + group {
                    joining.spawn(connect_rumqttc(port, number));
                }
                for result in joining.join_all().await {
                    rumqttc.push(result?);
                }
            }
        }
        begun += group;
    }
    println!("{}", (resident()? - before) / count);
    Ok(())
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

/// The event loop goes on in a task of its own once it has subscribed.
async fn connect_rumqttc(port: u16, number: usize) -> Result<AsyncClient, String> {
    let mut options = options_rumqttc(port);
    options.set_client_id(format!("rumqttc-{number}"));
    let (client, mut events) = AsyncClient::new(options, INFLIGHT.into());
    client
        .subscribe(format!("bench/{number}"), rumqttc::QoS::AtMostOnce)
        .await
        .map_err(|error| error.to_string())?;
    loop {
        match events.poll().await.map_err(|error| error.to_string())? {
            Event::Incoming(Incoming::SubAck(_)) => break,
            _ => {}
        }
    }
    tokio::spawn(async move { while events.poll().await.is_ok() {} });
    Ok(client)
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
