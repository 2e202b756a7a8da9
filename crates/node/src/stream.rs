//! A running request.

use std::sync::Arc;
use std::task::Poll;

use karst_contract::limits;
use karst_engine::Generation;
use napi::Env;
use napi::bindgen_prelude::PromiseRaw;
use napi_derive::napi;

use crate::entry::later;
use crate::environment::Share;
use crate::event::NativeEvent;

/// A request that was started. It keeps its model open until it has ended or is forgotten; being forgotten ends it.
#[napi]
pub struct NativeStream {
    generation: Arc<Generation>,
    _engine: Share,
}

#[napi]
impl NativeStream {
    pub(crate) fn of(generation: Generation, engine: Share) -> Self {
        Self { generation: Arc::new(generation), _engine: engine }
    }

    /// The next events, at least one; null after the last.
    #[napi(ts_return_type = "Promise<Array<NativeEvent> | null>")]
    pub fn next<'env>(&self, env: &'env Env) -> napi::Result<PromiseRaw<'env, Option<Vec<NativeEvent>>>> {
        let generation = Arc::clone(&self.generation);
        let events = async move {
            let Some(first) = generation.next().await else { return Ok(None) };
            let mut events = vec![first];
            while events.len() < limits::MAX_EVENTS {
                let Poll::Ready(Some(event)) = generation.try_next() else { break };
                events.push(event);
            }
            Ok(Some(events))
        };
        later(env, events, |events| events.map(|events| events.into_iter().map(NativeEvent::from).collect()))
    }

    /// Ends the request within one step; its last event tells what was said until then.
    #[napi]
    pub fn cancel(&self) {
        self.generation.cancel();
    }
}
