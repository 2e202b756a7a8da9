//! An open model.

use std::path::PathBuf;

use karst_contract::{Failure, Progress};
use karst_engine::Engine;
use napi::bindgen_prelude::PromiseRaw;
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi::{Env, Status};
use napi_derive::napi;

use crate::convert::{NativeMessage, bytes, request};
use crate::entry::{at_once, elsewhere};
use crate::environment::{Environment, Share};
use crate::info::{NativeInfo, NativeInspection};
use crate::options::{NativeOption, of_model};
use crate::stream::NativeStream;

/// A step of opening a model.
#[napi(object, object_from_js = false)]
pub struct NativeProgress {
    pub phase: &'static str,
    pub done: i64,
    pub total: i64,
}

impl From<Progress> for NativeProgress {
    fn from(progress: Progress) -> Self {
        Self { phase: progress.phase, done: bytes(progress.done), total: bytes(progress.total) }
    }
}

/// Called without being waited for, and without keeping the process alive.
type OnProgress = ThreadsafeFunction<NativeProgress, (), NativeProgress, Status, false, true>;

/// An open model; it is closed by [`NativeModel::close`] or when it and its streams are forgotten.
#[napi]
pub struct NativeModel {
    engine: Share,
}

#[napi]
impl NativeModel {
    /// Opens the model in a folder.
    #[napi(ts_return_type = "Promise<NativeModel>")]
    pub fn load<'env>(
        env: &'env Env,
        folder: String,
        options: Vec<NativeOption>,
        #[napi(ts_arg_type = "(progress: NativeProgress) => void")] on_progress: Option<OnProgress>,
    ) -> napi::Result<PromiseRaw<'env, NativeModel>> {
        let environment = Environment::of(*env)?;
        let options = at_once(*env, || of_model(&options))?;
        let progress = move |step: Progress| {
            if let Some(on_progress) = &on_progress {
                on_progress.call(step.into(), ThreadsafeFunctionCallMode::NonBlocking);
            }
        };
        let open = move || {
            let engine = Engine::open(&PathBuf::from(folder), &options, progress);
            engine.map(|engine| environment.keep(engine)).map_err(|error| Failure::from(&error))
        };
        elsewhere(env, open, |engine| Self { engine })
    }

    /// What was opened, and on what.
    #[napi]
    pub fn info(&self) -> NativeInfo {
        self.engine.engine().info().into()
    }

    /// What a conversation becomes.
    #[napi(ts_return_type = "Promise<NativeInspection>")]
    pub fn inspect<'env>(
        &self,
        env: &'env Env,
        messages: Vec<NativeMessage<'_>>,
        options: Vec<NativeOption>,
    ) -> napi::Result<PromiseRaw<'env, NativeInspection>> {
        let request = at_once(*env, || request(messages, &options))?;
        let engine = self.engine.clone();
        elsewhere(env, move || engine.engine().inspect(&request), |found| NativeInspection::from(&found))
    }

    /// Begins to answer a conversation.
    #[napi]
    pub fn stream(
        &self,
        env: Env,
        messages: Vec<NativeMessage<'_>>,
        options: Vec<NativeOption>,
    ) -> napi::Result<NativeStream> {
        at_once(env, || {
            let generation = self.engine.engine().start(request(messages, &options)?);
            Ok(NativeStream::of(generation, self.engine.clone()))
        })
    }

    /// Ends every request and frees the model. Closing twice is the same as closing once.
    #[napi(ts_return_type = "Promise<void>")]
    pub fn close<'env>(&self, env: &'env Env) -> napi::Result<PromiseRaw<'env, ()>> {
        let engine = self.engine.clone();
        let close = move || {
            engine.engine().close();
            Ok(())
        };
        elsewhere(env, close, |()| ())
    }
}
