//! JSON as Python's `json.dumps(value, ensure_ascii=False)` writes it, which is what the template was trained with.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::Value;
use serde_json::ser::{Formatter, Serializer};

/// Writes `value` on one line, with a space after each comma and colon, keys in their order. Whole numbers beyond 64 bits
/// were already rounded when `value` was read.
pub(super) fn dumps(value: &Value) -> String {
    let mut written = Vec::new();
    // Neither a vector nor a value that is JSON already gives an error.
    let done = value.serialize(&mut Serializer::with_formatter(&mut written, Python));
    debug_assert!(done.is_ok());
    String::from_utf8_lossy(&written).into_owned()
}

struct Python;

impl Python {
    fn comma<W: Write + ?Sized>(writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }
}

impl Formatter for Python {
    fn begin_array_value<W: Write + ?Sized>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        Self::comma(writer, first)
    }

    fn begin_object_key<W: Write + ?Sized>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        Self::comma(writer, first)
    }

    fn begin_object_value<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }

    fn write_f64<W: Write + ?Sized>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        writer.write_all(repr(value).as_bytes())
    }
}

/// A float as Python's `repr` writes it: the fewest digits that give it back, with an exponent from 1e16 up and below 1e-4.
fn repr(value: f64) -> String {
    let scientific = format!("{value:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else { return scientific };
    match exponent.parse::<i32>() {
        Ok(exponent @ -4..16) => {
            let plain = value.to_string();
            if exponent >= 0 && !plain.contains('.') { plain + ".0" } else { plain }
        }
        Ok(exponent) => format!("{digits}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs()),
        Err(_) => scientific,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by CPython 3.11's `json.dumps(json.loads(text), ensure_ascii=False)`.
    const CASES: &[(&str, &str)] = &[
        ("[]", "[]"),
        ("{}", "{}"),
        (
            r#"{"b":[1,2,{"c":null}],"a":{"x":true,"y":false}}"#,
            r#"{"b": [1, 2, {"c": null}], "a": {"x": true, "y": false}}"#,
        ),
        (
            r#"["桂林","\u00e9\u2028","\ud83d\ude80","a\"b\\c\/d"]"#,
            "[\"桂林\", \"é\u{2028}\", \"🚀\", \"a\\\"b\\\\c/d\"]",
        ),
        (r#""\b\f\n\r\t\u0000\u001f\u007f""#, "\"\\b\\f\\n\\r\\t\\u0000\\u001f\u{7f}\""),
        (
            "[0,1,-1,18446744073709551615,-9223372036854775808]",
            "[0, 1, -1, 18446744073709551615, -9223372036854775808]",
        ),
        ("[1.0,-0.0,0.5,100.0,1e2,1.5e3]", "[1.0, -0.0, 0.5, 100.0, 100.0, 1500.0]"),
        (
            "[1e15,1e16,123456789012345680.0,1e22,1e100]",
            "[1000000000000000.0, 1e+16, 1.2345678901234568e+17, 1e+22, 1e+100]",
        ),
        ("[0.001,0.0001,0.00001,1.5e-7,5e-324]", "[0.001, 0.0001, 1e-05, 1.5e-07, 5e-324]"),
        (
            "[0.1,0.30000000000000004,3.141592653589793,1.7976931348623157e308]",
            "[0.1, 0.30000000000000004, 3.141592653589793, 1.7976931348623157e+308]",
        ),
    ];

    #[test]
    fn json_is_written_as_python_writes_it() {
        for (read, written) in CASES {
            let value: Value = serde_json::from_str(read).unwrap();
            assert_eq!(&dumps(&value), written, "{read}");
        }
    }
}
