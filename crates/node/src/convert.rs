//! A conversation as JavaScript gives it, and the request it becomes.

use karst_contract::{Code, Failure, Message, Part, Request, Role};
use napi::Either;
use napi::bindgen_prelude::ClassInstance;
use napi_derive::napi;

use crate::options::{NativeOption, known, of_request};
use crate::part::NativePart;

/// One turn.
#[napi(object, object_to_js = false)]
pub struct NativeMessage<'env> {
    pub role: String,
    pub content: Vec<Either<String, ClassInstance<'env, NativePart>>>,
    pub reasoning: Option<String>,
}

/// The names of the roles.
pub(crate) const ROLES: &[&str] = &["system", "user", "assistant"];

pub(crate) fn request(messages: Vec<NativeMessage<'_>>, options: &[NativeOption]) -> Result<Request, Failure> {
    let options = of_request(options)?;
    Ok(Request { messages: messages.into_iter().map(message).collect::<Result<_, _>>()?, options })
}

fn message(message: NativeMessage<'_>) -> Result<Message, Failure> {
    let content = message.content.into_iter().map(|part| match part {
        Either::A(text) => Part::Text(text),
        Either::B(part) => part.part.clone(),
    });
    Ok(Message { role: role(&message.role)?, content: content.collect(), reasoning: message.reasoning })
}

fn role(name: &str) -> Result<Role, Failure> {
    known("role", Code::InvalidMessage, name, ROLES.iter().copied())?;
    Ok(match name {
        "system" => Role::System,
        "user" => Role::User,
        _ => Role::Assistant,
    })
}

/// A count as a JavaScript number.
pub(crate) fn count(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Bytes as a JavaScript number.
pub(crate) fn bytes(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
