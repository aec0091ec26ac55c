//! Logins and requests to the broker itself: to who judges them, and back.

use midge_broker::{ConnId, LoginAnswer};

use super::Worker;
use crate::tables::TurnTables;

impl Worker {
    /// Hands over the logins and requests that this turn has brought. What can be answered at once is.
    pub(super) fn settle_logins(&mut self, tables: &mut TurnTables<'_>) {
        while !self.core.effects.logins.is_empty() {
            for mut login in std::mem::take(&mut self.core.effects.logins) {
                let conn = login.conn;
                login.shown = self.shown(conn);
                if let Some(answer) = self.shared.guard.judge(self.id, login) {
                    self.logged_in(conn, answer, tables);
                }
            }
        }
        for request in std::mem::take(&mut self.core.effects.controls) {
            self.shared.guard.control(self.id, request);
        }
    }

    pub(super) fn logged_in(
        &mut self,
        conn: ConnId,
        answer: LoginAnswer,
        tables: &mut TurnTables<'_>,
    ) {
        let (shard, mut step) = self.core.step(tables);
        shard.logged_in(&mut step, conn, answer);
        self.settle_directory(tables);
        self.read_on(conn, tables);
    }
}
