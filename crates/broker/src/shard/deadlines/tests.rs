use std::sync::Arc;

use super::*;
use crate::{
    ClaimAnswer, DirectoryRequest, Effects, Ended, LocalTables, Origin, Settings, SharedTables,
};

/// Runs `turns` with a shard of its own, and gives that back.
fn run(turns: impl FnOnce(&mut Shard, &mut dyn FnMut(&mut Shard, u64, &[u8]))) -> Shard {
    let mut tables = SharedTables::new(1);
    let mut shard = Shard::new(0, 1, Arc::new(Settings::default()), 1, Time(0));
    let mut visit = |shard: &mut Shard, millis: u64, bytes: &[u8]| {
        let mut tables = LocalTables::new(&mut tables);
        let mut effects = Effects::default();
        let mut step = Step {
            now: Time(millis),
            tables: &mut tables,
            effects: &mut effects,
        };
        shard.fire(&mut step);
        let origin = Origin {
            listener: Arc::clone(&shard.settings.listeners[0]),
            address: None,
        };
        let conn = shard.open(&mut step, 0, origin);
        shard.receive(&mut step, conn, bytes);
        if let Some(DirectoryRequest::Claim(claim)) = step.effects.directory.pop() {
            shard.claimed(&mut step, conn, &claim.client_id, ClaimAnswer::Here);
            shard.receive(&mut step, conn, bytes);
        }
        shard.closed(&mut step, conn, &Ended::ByPeer);
        shard.end_turn(&mut step);
    };
    turns(&mut shard, &mut visit);
    shard
}

/// CONNECT of 3.1.1 with the longest keep alive.
const PATIENT: [u8; 15] = [
    0x10, 13, 0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0xFF, 0xFF, 0, 1, b'a',
];

#[test]
fn clients_that_come_and_go_leave_few_timers() {
    let shard = run(|shard, visit| {
        for visitor in 0..50_000 {
            visit(shard, visitor * 5, &PATIENT);
            assert!(
                shard.timers.len() < 2 * SPARE_TIMERS,
                "{}",
                shard.timers.len()
            );
        }
    });
    assert_eq!(shard.sessions.len() + shard.conns.len(), 0);
    assert_eq!(shard.stats.connections, 50_000);
}

/// 5.0, persistent, each time with a shorter session expiry than before.
#[test]
fn ever_shorter_session_expiries_leave_few_timers() {
    let shard = run(|shard, visit| {
        for visitor in 0..50_000_u32 {
            let [a, b, c, d] = (u32::MAX - 1 - visitor * 1_000).to_be_bytes();
            let connect = [
                0x10, 19, 0, 4, b'M', b'Q', b'T', b'T', 5, 0, 0, 0, 5, 0x11, a, b, c, d, 0, 1, b'a',
            ];
            visit(shard, u64::from(visitor) * 5, &connect);
            assert!(
                shard.timers.len() < 2 * SPARE_TIMERS,
                "{}",
                shard.timers.len()
            );
        }
    });
    assert_eq!(shard.sessions.len(), 1);
}

/// A connected client has one timer, however long it stays.
#[test]
fn an_idle_connection_has_one_timer() {
    let mut tables = SharedTables::new(1);
    let settings = Settings {
        sys_interval: 0,
        ..Settings::default()
    };
    let mut shard = Shard::new(0, 1, Arc::new(settings), 1, Time(0));
    for second in 0..2_000 {
        let mut tables = LocalTables::new(&mut tables);
        let mut effects = Effects::default();
        let mut step = Step {
            now: Time(second * 1000),
            tables: &mut tables,
            effects: &mut effects,
        };
        if second == 0 {
            let origin = Origin {
                listener: Arc::clone(&shard.settings.listeners[0]),
                address: None,
            };
            let conn = shard.open(&mut step, 0, origin);
            shard.receive(&mut step, conn, &PATIENT);
            if let Some(DirectoryRequest::Claim(claim)) = step.effects.directory.pop() {
                shard.claimed(&mut step, conn, &claim.client_id, ClaimAnswer::Here);
                shard.receive(&mut step, conn, &PATIENT);
            }
        }
        shard.fire(&mut step);
        shard.end_turn(&mut step);
        // Its own, and the sweep's.
        assert!(shard.timers.len() <= 2, "{}", shard.timers.len());
    }
    assert_eq!(shard.stats.connected, 1);
}
