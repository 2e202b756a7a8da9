//! The border: every call enters through here, so that a failure becomes an error with a code and a panic becomes a failure.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};

use karst_contract::{Code, Failure};
use napi::bindgen_prelude::{JsValue, PromiseRaw, ToNapiValue};
use napi::{Env, Error};
use napi_derive::napi;
use tokio::task::{self, JoinError};

/// Does `work` on the JavaScript thread; only for what takes no longer than a copy.
pub(crate) fn at_once<T>(env: Env, work: impl FnOnce() -> Result<T, Failure>) -> napi::Result<T> {
    let result = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(panicked(panic.as_ref())));
    result.map_err(|failure| error(env, &failure))
}

/// Waits for `work` elsewhere and settles a promise with what `convert` makes of it.
pub(crate) fn later<'env, T, V>(
    env: &'env Env,
    work: impl Future<Output = Result<T, Failure>> + Send + 'static,
    convert: impl FnOnce(T) -> V + 'static,
) -> napi::Result<PromiseRaw<'env, V>>
where
    T: Send + 'static,
    V: ToNapiValue,
{
    let caught = async { Ok(task::spawn(work).await.unwrap_or_else(|error| Err(broken(error)))) };
    env.spawn_future_with_callback(caught, move |env, result| match result {
        Ok(value) => Ok(convert(value)),
        Err(failure) => Err(error(*env, &failure)),
    })
}

/// Does `work` on a thread that may wait, and settles a promise with what `convert` makes of it.
pub(crate) fn elsewhere<'env, T, V>(
    env: &'env Env,
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
    convert: impl FnOnce(T) -> V + 'static,
) -> napi::Result<PromiseRaw<'env, V>>
where
    T: Send + 'static,
    V: ToNapiValue,
{
    let waited = async { task::spawn_blocking(work).await.unwrap_or_else(|error| Err(broken(error))) };
    later(env, waited, convert)
}

/// The JavaScript error of a failure: an `Error` with `code` and, where there is one, `hint`.
fn error(env: Env, failure: &Failure) -> Error {
    let made = env.create_error(Error::from_reason(&failure.message)).and_then(|mut object| {
        object.set("code", failure.code.name())?;
        if let Some(hint) = &failure.hint {
            object.set("hint", hint)?;
        }
        Ok(Error::from(object.to_unknown()))
    });
    // Without memory for an error object there is still the message.
    made.unwrap_or_else(|_| Error::from_reason(&failure.message))
}

fn broken(error: JoinError) -> Failure {
    match error.try_into_panic() {
        Ok(panic) => panicked(panic.as_ref()),
        Err(_) => Failure::new(Code::Closed, "the program is ending"),
    }
}

fn panicked(panic: &(dyn Any + Send)) -> Failure {
    let words = panic.downcast_ref::<&str>().copied().or(panic.downcast_ref::<String>().map(String::as_str));
    Failure::new(Code::Internal, format!("a fault inside karst: {}", words.unwrap_or("no words")))
        .with_hint("Please report it, with the call that led to it.")
}

/// Panics on purpose, at once or on another thread: the tests' way to see that a panic becomes an error.
#[napi(ts_args_type = "where: 'at once' | 'elsewhere'", ts_return_type = "Promise<void>")]
pub fn fault(env: &Env, place: String) -> napi::Result<PromiseRaw<'_, ()>> {
    let fault = move |here: &str| -> Result<(), Failure> {
        assert!(place != here, "a fault on purpose");
        Ok(())
    };
    at_once(*env, || fault("at once"))?;
    elsewhere(env, move || fault("elsewhere"), |()| ())
}
