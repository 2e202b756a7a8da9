//! What a turn computes: one batch of pictures and one step, and what becomes of their results.

use std::ops::ControlFlow;
use std::time::Instant;

use karst_contract::{Failure, FinishReason};

use super::Worker;
use crate::backend::{BackendError, Drawn, Outcome};
use crate::plan::{Plan, RequestId};

/// What a row came to, with the fault in the words of its request's end.
type Settled = (RequestId, Result<Option<Drawn>, Failure>);

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

    /// Runs one step of all who can take part in it, if any can.
    pub(super) fn step(&mut self) -> ControlFlow<Failure, bool> {
        let plan = self.scheduler.plan();
        if plan.is_empty() {
            return ControlFlow::Continue(false);
        }
        match self.execute(plan) {
            Err(error) => return ControlFlow::Break(error.into()),
            Ok(outcomes) => outcomes.into_iter().for_each(|(request, outcome)| self.settle(request, outcome)),
        }
        let spent = self.scheduler.spent();
        self.release(spent);
        ControlFlow::Continue(true)
    }

    /// Runs a plan. If it is refused as a whole, its rows run one by one, so that only the culprit fails.
    fn execute(&mut self, plan: Plan) -> Result<Vec<Settled>, BackendError> {
        let requests: Vec<_> = plan.rows().iter().map(|row| row.request).collect();
        match self.attempt(&plan) {
            Ok(outcomes) => {
                let outcomes = outcomes.into_iter().map(|outcome| outcome.map_err(|fault| Failure::from(&fault)));
                Ok(requests.into_iter().zip(outcomes).collect())
            }
            Err(error) if error.is_final() => Err(error),
            Err(error) if requests.len() == 1 => Ok(vec![(requests[0], Err(error.into()))]),
            Err(_) => {
                let settled: Result<Vec<_>, _> = plan.split().map(|row| self.execute(row)).collect();
                Ok(settled?.into_iter().flatten().collect())
            }
        }
    }

    fn attempt(&mut self, plan: &Plan) -> Result<Vec<Outcome>, BackendError> {
        let ticket = self.backend.step(plan)?;
        let outcomes = self.backend.settle(ticket)?;
        let (found, rows) = (outcomes.len(), plan.rows().len());
        if found != rows {
            return Err(BackendError::DeviceLost(format!("{found} outcomes of {rows} rows")));
        }
        Ok(outcomes)
    }

    fn settle(&mut self, request: RequestId, outcome: Result<Option<Drawn>, Failure>) {
        match outcome {
            Err(failure) => self.fail(request, failure),
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
