//! The tables of `contract`, for the command line, the documentation and the tests.

use karst_contract::options::{Kind, TABLE};
use karst_contract::{Code, Failure, limits};
use napi::Env;
use napi_derive::napi;

use crate::convert::{ROLES, bytes, count};
use crate::entry::at_once;
use crate::options::{OF_CLIP, OF_MODEL, OF_PICTURE, known};

/// An option of a request.
#[napi(object, object_from_js = false)]
pub struct NativeOptionRow {
    pub name: &'static str,
    #[napi(ts_type = "'boolean' | 'integer' | 'number' | 'strings'")]
    pub kind: &'static str,
    pub min: Option<f64>,
    pub max: Option<f64>,
    #[napi(js_name = "default")]
    pub default: &'static str,
    pub doc: &'static str,
}

/// The options of a request.
#[napi]
pub fn option_table() -> Vec<NativeOptionRow> {
    let row = |row: &karst_contract::options::Row| {
        let (kind, range) = match row.kind {
            Kind::Bool => ("boolean", None),
            Kind::Integer { min, max } => ("integer", Some((min as f64, max as f64))),
            Kind::Number { min, max } => ("number", Some((min, max))),
            Kind::Strings => ("strings", None),
        };
        let (min, max) = range.unzip();
        NativeOptionRow { name: row.name, kind, min, max, default: row.default, doc: row.doc }
    };
    TABLE.iter().map(row).collect()
}

/// An error's code.
#[napi(object, object_from_js = false)]
pub struct NativeErrorRow {
    pub code: &'static str,
    pub http_status: u32,
    pub exit_code: u32,
    pub summary: &'static str,
}

/// Every code of an error.
#[napi]
pub fn error_table() -> Vec<NativeErrorRow> {
    let row = |&code: &Code| NativeErrorRow {
        code: code.name(),
        http_status: u32::from(code.http_status()),
        exit_code: u32::from(code.exit_code()),
        summary: code.summary().trim(),
    };
    Code::ALL.iter().map(row).collect()
}

/// Limits that are checked before a value leaves JavaScript.
#[napi(object, object_from_js = false)]
pub struct NativeLimits {
    pub messages: i64,
    pub parts: i64,
    pub frames: i64,
    pub text_bytes: i64,
    pub stops: i64,
    pub encoded_bytes: i64,
}

/// Limits that are checked before a value leaves JavaScript.
#[napi]
pub fn limits() -> NativeLimits {
    NativeLimits {
        messages: count(limits::MAX_MESSAGES),
        parts: count(limits::MAX_PARTS),
        frames: count(limits::MAX_FRAMES),
        text_bytes: count(limits::MAX_TEXT_BYTES),
        stops: count(limits::MAX_STOPS),
        encoded_bytes: bytes(limits::MAX_ENCODED_BYTES),
    }
}

/// Refuses a name that is not known where it was used, with the nearest one; `more` are names that only JavaScript knows.
#[napi(
    ts_args_type = "kind: 'request' | 'model' | 'picture' | 'clip' | 'role' | 'field', name: string, more: Array<string>"
)]
pub fn check_name(env: Env, kind: String, name: String, more: Vec<String>) -> napi::Result<()> {
    let (what, code, names) = match kind.as_str() {
        "model" => ("option", Code::InvalidOption, OF_MODEL.to_vec()),
        "picture" => ("option", Code::InvalidOption, OF_PICTURE.to_vec()),
        "clip" => ("option", Code::InvalidOption, OF_CLIP.to_vec()),
        "role" => ("role", Code::InvalidMessage, ROLES.to_vec()),
        "field" => ("field", Code::InvalidMessage, Vec::new()),
        _ => ("option", Code::InvalidOption, TABLE.iter().map(|row| row.name).collect()),
    };
    let names = names.into_iter().chain(more.iter().map(String::as_str));
    at_once(env, || -> Result<(), Failure> { known(what, code, &name, names) })
}
