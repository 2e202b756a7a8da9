//! JSON as Python's `json.dumps(value, ensure_ascii=False)` writes it, which is how the template shows tools.

use serde_json::{Number, Value};

/// Spaces after `,` and `:`, keys in the given order, letters as they are.
pub(crate) fn dumps(value: &Value) -> String {
    match value {
        Value::Null | Value::Bool(_) | Value::String(_) => value.to_string(),
        Value::Number(number) => written(number),
        Value::Array(items) => format!("[{}]", items.iter().map(dumps).collect::<Vec<_>>().join(", ")),
        Value::Object(fields) => {
            let field = |(key, value): (&String, &Value)| format!("{}: {}", Value::from(key.as_str()), dumps(value));
            format!("{{{}}}", fields.iter().map(field).collect::<Vec<_>>().join(", "))
        }
    }
}

fn written(number: &Number) -> String {
    match number.as_f64() {
        Some(float) if number.is_f64() => repr(float),
        _ => number.to_string(),
    }
}

/// The shortest digits that give the number back; with an exponent below 1e-4 and from 1e16 on.
fn repr(float: f64) -> String {
    let scientific = format!("{float:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if float == 0.0 || (-4..16).contains(&exponent) {
        let plain = float.to_string();
        return if plain.contains('.') { plain } else { plain + ".0" };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_written_as_python_writes_them() {
        let cases = [
            (1.0, "1.0"),
            (0.1, "0.1"),
            (-2.5, "-2.5"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.5e300, "1.5e+300"),
            (1e-4, "0.0001"),
            (1e-5, "1e-05"),
            (0.0, "0.0"),
        ];
        for (float, expected) in cases {
            assert_eq!(repr(float), expected);
        }
    }

    #[test]
    fn objects_keep_their_order_and_letters() {
        let value: Value = serde_json::from_str(r#"{"b":[1,2.0,null,true],"a":"é\n\u0001\""}"#).unwrap();
        assert_eq!(dumps(&value), r#"{"b": [1, 2.0, null, true], "a": "é\n\u0001\""}"#);
    }
}
