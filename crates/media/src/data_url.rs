//! `data:TYPE;base64,DATA`, and nothing looser.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use karst_contract::limits;

use crate::error::Cause;

const SCHEME: &str = "data:";
const MARKER: &str = ";base64";

/// Longest media type that is looked at; the registered ones stay below 100 bytes.
const MAX_TYPE_BYTES: usize = 127;

/// How a data URL breaks the form. None repeats the URL, which may be long and private.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DataUrlError {
    /// It does not begin with `data:`.
    #[error("it does not begin with 'data:'")]
    Scheme,
    /// No comma parts the type from the data.
    #[error("no comma follows the type within {MAX_TYPE_BYTES} bytes")]
    Comma,
    /// `;base64` does not stand before the comma.
    #[error("';base64' does not stand before the comma")]
    Marker,
    /// The type is not that of a picture.
    #[error("the type '{0}' is not image/ and a name")]
    Type(String),
    /// Nothing follows the comma.
    #[error("no data follows the comma")]
    NoData,
    /// The data are not base64.
    #[error("the data are not base64 with padding: {0}")]
    Base64(String),
}

/// The bytes that `url` holds. Its length is held against the limit before anything is decoded; whether they are of the
/// type it names is left to their content, as with a file's name.
pub(crate) fn decode(url: &str) -> Result<Vec<u8>, Cause> {
    let data = payload(url).map_err(Cause::DataUrl)?;
    let bytes = data.len() as u64 / 4 * 3;
    // Padding stands for at most two bytes.
    if bytes > limits::MAX_ENCODED_BYTES + 2 {
        return Err(Cause::TooManyBytes { bytes, limit: limits::MAX_ENCODED_BYTES });
    }
    STANDARD.decode(data).map_err(|error| Cause::DataUrl(DataUrlError::Base64(error.to_string())))
}

fn payload(url: &str) -> Result<&str, DataUrlError> {
    let rest = url.strip_prefix(SCHEME).ok_or(DataUrlError::Scheme)?;
    let longest = MAX_TYPE_BYTES + MARKER.len();
    let comma = rest.bytes().take(longest + 1).position(|byte| byte == b',').ok_or(DataUrlError::Comma)?;
    let media_type = rest[..comma].strip_suffix(MARKER).ok_or(DataUrlError::Marker)?;
    if !is_picture(media_type) {
        return Err(DataUrlError::Type(media_type.escape_debug().to_string()));
    }
    match &rest[comma + 1..] {
        "" => Err(DataUrlError::NoData),
        data => Ok(data),
    }
}

/// `image/` and a token of RFC 6838, without parameters.
fn is_picture(media_type: &str) -> bool {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte);
    media_type.strip_prefix("image/").is_some_and(|name| !name.is_empty() && name.bytes().all(token))
}
