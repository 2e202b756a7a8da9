//! What a turn computes: one batch of pictures and one step, and what becomes of their results.

use std::ops::ControlFlow;
use std::time::Instant;

use karst_contract::{Failure, FinishReason};

use super::Worker;
use crate::backend::{BackendError, Drawn, Outcome, Ticket};
use crate::plan::{FeaturesId, Plan, RequestId};

/// A step under way.
pub(super) struct Begun {
    plan: Plan,
    ticket: Ticket,
    /// Features that no later plan names.
    spent: Vec<FeaturesId>,
}

impl Worker {
    /// Encodes one batch of packs, if any waits.
    pub(super) fn encode(&mut self) -> ControlFlow<Failure, bool> {
        let Some(encode) = self.scheduler.encode() else { return ControlFlow::Continue(false) };
        let Some(live) = self.live.get_mut(&encode.request) else { return ControlFlow::Continue(false) };
        let (views, packs, bytes) = live.next_packs(encode.packs.len());
        live.pixels -= bytes;
        self.pixels.give(bytes);
        match self.backend.encode(&views, &packs) {
            Ok(features) => {
                self.features.insert(features.id, features.bytes);
                self.scheduler.encoded(&encode, features.id);
            }
            Err(error) if error.is_final() => return ControlFlow::Break(error.into()),
            Err(error) => self.fail(encode.request, error.into()),
        }
        ControlFlow::Continue(true)
    }

    /// Begins a step of all who can take part in one, and settles the one before; a backend that keeps no step under way has
    /// its own settled at once. Requests that the one before ends have a row in this one, which nobody looks at.
    pub(super) fn step(&mut self) -> ControlFlow<Failure, bool> {
        let plan = self.scheduler.plan();
        let before = self.under_way.take();
        if plan.is_empty() {
            let worked = before.is_some();
            before.map_or(ControlFlow::Continue(()), |begun| self.end(begun))?;
            return ControlFlow::Continue(worked);
        }
        match self.backend.step(&plan) {
            Ok(ticket) => {
                let begun = Begun { plan, ticket, spent: self.scheduler.spent() };
                let due = match self.backend.description().ahead {
                    true => {
                        self.under_way = Some(begun);
                        before
                    }
                    false => Some(begun),
                };
                due.map_or(ControlFlow::Continue(()), |begun| self.end(begun))?;
            }
            Err(error) if error.is_final() => return ControlFlow::Break(error.into()),
            Err(error) => {
                before.map_or(ControlFlow::Continue(()), |begun| self.end(begun))?;
                self.run_apart(plan, error)?;
                let spent = self.scheduler.spent();
                self.release(spent);
            }
        }
        ControlFlow::Continue(true)
    }

    /// Waits for a step and tells what it came to. One that is refused as a whole is run again, row by row.
    fn end(&mut self, begun: Begun) -> ControlFlow<Failure> {
        let Begun { plan, ticket, spent } = begun;
        let requests: Vec<_> = plan.rows().iter().map(|row| row.request).collect();
        match self.backend.settle(ticket) {
            Ok(outcomes) if outcomes.len() == requests.len() => {
                // Before any end is told: whoever hears of it finds nothing held.
                self.release(spent);
                requests.into_iter().zip(outcomes).for_each(|(request, outcome)| self.settle(request, outcome));
            }
            Ok(outcomes) => {
                let what = format!("{} outcomes of {} rows", outcomes.len(), requests.len());
                return ControlFlow::Break(BackendError::DeviceLost(what).into());
            }
            Err(error) if error.is_final() => return ControlFlow::Break(error.into()),
            // What has begun since then was to go on from these rows.
            Err(error) if self.under_way.is_some() => {
                self.release(spent);
                requests.iter().for_each(|&id| self.fail(id, (&error).into()));
            }
            Err(error) => {
                self.run_apart(plan, error)?;
                self.release(spent);
            }
        }
        ControlFlow::Continue(())
    }

    /// Runs the rows of a refused plan one by one, so that only the culprit fails.
    fn run_apart(&mut self, plan: Plan, error: BackendError) -> ControlFlow<Failure> {
        if let [row] = plan.rows() {
            self.fail(row.request, error.into());
            return ControlFlow::Continue(());
        }
        for row in plan.split() {
            let requests: Vec<_> = row.rows().iter().map(|row| row.request).collect();
            match self.backend.step(&row).and_then(|ticket| self.backend.settle(ticket)) {
                Ok(outcomes) => requests.into_iter().zip(outcomes).for_each(|(id, outcome)| self.settle(id, outcome)),
                Err(error) if error.is_final() => return ControlFlow::Break(error.into()),
                Err(error) => requests.into_iter().for_each(|id| self.fail(id, (&error).into())),
            }
        }
        ControlFlow::Continue(())
    }

    fn settle(&mut self, request: RequestId, outcome: Outcome) {
        match outcome {
            Err(fault) => self.fail(request, Failure::from(&fault)),
            Ok(None) => {}
            Ok(Some(drawn)) => self.say(request, drawn),
        }
    }

    fn say(&mut self, request: RequestId, drawn: Drawn) {
        let now = self.now();
        let Some(live) = self.live.get_mut(&request) else { return };
        let Some(saying) = &mut live.saying else { return };
        if live.outbox.is_cancelled() {
            return self.finish(request, FinishReason::Abort);
        }
        live.times.first_token.get_or_insert_with(Instant::now);
        let (pieces, end) = saying.take(drawn);
        live.outbox.push(pieces);
        match end {
            Some(reason) => self.finish(request, reason),
            None if !live.outbox.flush() => self.scheduler.hold(request, now),
            None => {}
        }
    }
}
