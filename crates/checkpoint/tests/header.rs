//! The header of one file. Each wrong file stands beside a right one that differs in nothing else.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod common;

use common::file;
use karst_checkpoint::Dtype;
use karst_checkpoint::header::{Header, HeaderError};
use karst_contract::limits;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

fn parse(bytes: &[u8]) -> Result<Header, HeaderError> {
    Header::read(bytes, bytes.len() as u64)
}

/// Two tensors of four bytes each, of which `b` is described by `entry`.
fn with(entry: &str) -> Vec<u8> {
    file(&format!(r#"{{"a":{{"dtype":"F32","shape":[1],"data_offsets":[0,4]}},"b":{entry}}}"#), &[0; 8])
}

const GOOD: &str = r#"{"dtype":"F32","shape":[1],"data_offsets":[4,8]}"#;

/// The error of a file in which `b` is described by `entry`; the right description loads.
macro_rules! refused {
    ($entry:expr, $error:pat) => {{
        parse(&with(GOOD)).unwrap();
        let error = parse(&with(&$entry)).unwrap_err();
        assert!(matches!(error, $error), "{error:?}");
        error.to_string()
    }};
}

#[test]
fn a_right_header_gives_every_tensor_its_bytes() {
    let bytes = with(GOOD);
    let header = parse(&bytes).unwrap();
    let b = &header.tensors()["b"];
    assert_eq!((b.dtype, b.shape.as_slice()), (Dtype::F32, &[1][..]));
    assert_eq!(b.bytes, bytes.len() as u64 - 4..bytes.len() as u64);
    assert_eq!(header.data_bytes(), 8);
}

#[test]
fn w1_a_file_too_short_for_a_length_is_refused() {
    for length in 0..8 {
        assert!(matches!(parse(&vec![0; length]), Err(HeaderError::TooShort { bytes }) if bytes == length as u64));
    }
    assert!(parse(&file("{}", &[])).is_ok());
}

#[test]
fn w1_a_header_longer_than_the_file_is_refused() {
    let mut bytes = file("{}", &[]);
    bytes[0] = 3;
    assert!(matches!(parse(&bytes), Err(HeaderError::OverFile { length: 3, room: 2 })));
}

#[test]
fn w1_a_header_over_the_limit_is_refused_before_it_is_read() {
    for length in [limits::MAX_HEADER_BYTES + 1, 1 << 32, 1 << 63, u64::MAX] {
        let bytes = length.to_le_bytes();
        // The file is said to be long enough, so only the limit can refuse it.
        let error = Header::read(&bytes[..], u64::MAX).unwrap_err();
        assert!(matches!(error, HeaderError::OverLimit { length: found, .. } if found == length), "{error}");
    }
}

#[test]
fn w1_a_header_that_is_not_utf8_is_refused() {
    let mut bytes = with(GOOD);
    let at = bytes.iter().position(|&byte| byte == b'a').unwrap();
    bytes[at] = 0xff;
    assert!(matches!(parse(&bytes), Err(HeaderError::NotUtf8 { at: found }) if found == at - 8));
}

#[test]
fn w1_a_header_must_begin_with_a_brace() {
    for (text, first) in [(" {}", Some(' ')), ("[]", Some('[')), ("\u{feff}{}", Some('\u{feff}')), ("", None)] {
        let error = parse(&file(text, &[])).unwrap_err();
        assert!(matches!(error, HeaderError::NotObject { found } if found == first), "{error}");
    }
    parse(&file("{}", &[])).unwrap();
    parse(&file("{}      ", &[])).unwrap();
}

#[test]
fn w1_a_header_that_is_not_json_is_refused() {
    for text in ["{", "{}{}", "{} x", "{\"a\"}", "{\"__metadata__\":{},}", "{\"a\":{\"dtype\":\"F32\",\"sha"] {
        let error = parse(&file(text, &[])).unwrap_err();
        assert!(matches!(error, HeaderError::NotJson(_)), "{text}: {error:?}");
    }
}

#[test]
fn w1_an_entry_must_have_its_three_fields_and_no_others() {
    for entry in [
        "1",
        "null",
        "{}",
        r#"{"dtype":"F32","shape":[1]}"#,
        r#"{"dtype":"F32","shape":[1],"data_offsets":[4,8],"more":0}"#,
        r#"{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[4,8]}"#,
        r#"{"dtype":7,"shape":[1],"data_offsets":[4,8]}"#,
        r#"{"dtype":"F32","shape":1,"data_offsets":[4,8]}"#,
        r#"{"dtype":"F32","shape":[-1],"data_offsets":[4,8]}"#,
        r#"{"dtype":"F32","shape":[1.0],"data_offsets":[4,8]}"#,
        r#"{"dtype":"F32","shape":[18446744073709551616],"data_offsets":[4,8]}"#,
        r#"{"dtype":"F32","shape":[1],"data_offsets":[4]}"#,
        r#"{"dtype":"F32","shape":[1],"data_offsets":[4,8,12]}"#,
        r#"{"dtype":"F32","shape":[1],"data_offsets":["4","8"]}"#,
        r#"{"dtype":"F32","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[4,8]}"#,
    ] {
        let error = refused!(entry, HeaderError::Entry { .. });
        assert!(error.starts_with("tensor b "), "{error}");
    }
}

#[test]
fn w1_an_unknown_dtype_is_refused_and_known_ones_are_measured() {
    for dtype in ["f32", "F31", "", "BF32"] {
        refused!(GOOD.replace("F32", dtype), HeaderError::UnknownDtype { .. });
    }
    for &dtype in Dtype::ALL {
        // Eight elements fill whole bytes in every format.
        let end = dtype.bits();
        let header = format!(r#"{{"a":{{"dtype":"{dtype}","shape":[8],"data_offsets":[0,{end}]}}}}"#);
        parse(&file(&header, &vec![0; end as usize])).unwrap();
    }
    refused!(r#"{"dtype":"F4","shape":[3],"data_offsets":[4,8]}"#, HeaderError::PartOfByte { .. });
}

#[test]
fn w1_metadata_may_be_absent_or_any_object_of_strings() {
    let with = |metadata: &str| parse(&file(&format!("{{{metadata}}}"), &[]));
    with("").unwrap();
    with(r#""__metadata__":{}"#).unwrap();
    assert!(with(r#""__metadata__":{"format":"pt","x":"y"}"#).unwrap().tensors().is_empty());
    for bad in [
        r#""__metadata__":null"#,
        r#""__metadata__":{"x":1}"#,
        r#""__metadata__":{"x":{}}"#,
        r#""__metadata__":"x""#,
        r#""__metadata__":{},"__metadata__":{}"#,
    ] {
        let error = with(bad).unwrap_err();
        assert!(matches!(error, HeaderError::Metadata { .. }), "{bad}: {error:?}");
    }
}

#[test]
fn w1_too_many_tensors_are_refused() {
    let header = |count: usize| {
        let entry = |i| format!(r#""{i}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#);
        format!("{{{}}}", (0..count).map(entry).collect::<Vec<_>>().join(","))
    };
    assert_eq!(parse(&file(&header(limits::MAX_TENSORS), &[])).unwrap().tensors().len(), limits::MAX_TENSORS);
    let error = parse(&file(&header(limits::MAX_TENSORS + 1), &[])).unwrap_err();
    assert!(matches!(error, HeaderError::TooManyTensors { limit: limits::MAX_TENSORS }), "{error}");
}

#[test]
fn w2_an_overlap_by_one_is_refused() {
    let error =
        refused!(r#"{"dtype":"U8","shape":[5],"data_offsets":[3,8]}"#, HeaderError::Overlap { begin: 3, end: 4, .. });
    assert!(error.contains("tensor b") && error.contains("before a"), "{error}");
    refused!(r#"{"dtype":"F32","shape":[1],"data_offsets":[0,4]}"#, HeaderError::Overlap { .. });
}

#[test]
fn w2_a_hole_of_one_is_refused() {
    refused!(r#"{"dtype":"U8","shape":[3],"data_offsets":[5,8]}"#, HeaderError::Hole { bytes: 1, .. });
    // A hole before the first tensor is one as well.
    let header = r#"{"a":{"dtype":"U8","shape":[7],"data_offsets":[1,8]}}"#;
    assert!(matches!(parse(&file(header, &[0; 8])), Err(HeaderError::Hole { bytes: 1, .. })));
}

#[test]
fn w2_a_reversed_pair_is_refused() {
    refused!(r#"{"dtype":"F32","shape":[1],"data_offsets":[8,4]}"#, HeaderError::Reversed { begin: 8, end: 4, .. });
}

#[test]
fn w2_bytes_after_the_last_tensor_are_refused() {
    refused!(r#"{"dtype":"U8","shape":[3],"data_offsets":[4,7]}"#, HeaderError::Trailing { bytes: 1 });
    let archive = [&with(GOOD)[..], b"PK\x05\x06", &[0; 18]].concat();
    assert!(matches!(parse(&archive), Err(HeaderError::Trailing { bytes: 22 })));
}

#[test]
fn w2_order_in_the_header_is_free() {
    let header = r#"{"b":{"dtype":"U8","shape":[1],"data_offsets":[3,4]},"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},
                     "empty":{"dtype":"F32","shape":[0,9],"data_offsets":[3,3]}}"#;
    assert_eq!(parse(&file(header, &[0; 4])).unwrap().tensors().len(), 3);
}

#[test]
fn w3_duplicate_names_are_refused() {
    let header = format!(r#"{{"a":{{"dtype":"F32","shape":[1],"data_offsets":[0,4]}},"a":{GOOD}}}"#);
    let error = parse(&file(&header, &[0; 8])).unwrap_err();
    assert!(matches!(error, HeaderError::DuplicateTensor { ref tensor } if tensor == "a"), "{error}");
    parse(&file(&header.replacen("\"a\"", "\"b\"", 1), &[0; 8])).unwrap();
    // The same name in another spelling is the same name.
    let escaped = header.replacen("\"a\"", "\"\\u0061\"", 1);
    assert!(matches!(parse(&file(&escaped, &[0; 8])), Err(HeaderError::DuplicateTensor { .. })));
}

#[test]
fn w4_products_beyond_64_bits_are_refused() {
    let big = 1u64 << 40;
    refused!(format!(r#"{{"dtype":"F32","shape":[{big},{big}],"data_offsets":[4,8]}}"#), HeaderError::Overflow { .. });
    // 2^63 elements of two bits too many; and a product that would wrap to the right size.
    refused!(r#"{"dtype":"F32","shape":[9223372036854775808],"data_offsets":[4,8]}"#, HeaderError::Overflow { .. });
    refused!(r#"{"dtype":"F32","shape":[9223372036854775809,1],"data_offsets":[4,8]}"#, HeaderError::Overflow { .. });
    refused!(r#"{"dtype":"U8","shape":[4294967296,4294967297],"data_offsets":[4,8]}"#, HeaderError::Overflow { .. });
}

#[test]
fn w4_offsets_near_the_end_of_64_bits_are_refused() {
    let top = u64::MAX;
    for (begin, end) in [(top - 4, top), (top - 3, top - 3), (4, top), (0, 1 << 63), (top, top)] {
        refused!(
            format!(r#"{{"dtype":"F32","shape":[1],"data_offsets":[{begin},{end}]}}"#),
            HeaderError::PastEnd { .. }
        );
    }
}

#[test]
fn w5_one_byte_past_the_end_is_refused() {
    refused!(r#"{"dtype":"U8","shape":[5],"data_offsets":[4,9]}"#, HeaderError::PastEnd { end: 9, data: 8, .. });
}

#[test]
fn w5_a_shape_that_does_not_give_the_bytes_is_refused() {
    for (dtype, shape) in [("F32", "2"), ("F32", "0"), ("F16", "1"), ("I64", "1"), ("F16", "3")] {
        refused!(
            format!(r#"{{"dtype":"{dtype}","shape":[{shape}],"data_offsets":[4,8]}}"#),
            HeaderError::Size { found: 4, .. }
        );
    }
}

#[test]
fn w5_more_than_two_to_the_31_elements_are_counted_in_full() {
    let elements = (1u64 << 31) + 1;
    let header = format!(r#"{{"a":{{"dtype":"U8","shape":[{elements}],"data_offsets":[0,{elements}]}}}}"#);
    let (bytes, length) = (file(&header, &[]), 8 + header.len() as u64 + elements);
    assert_eq!(Header::read(&bytes[..], length).unwrap().data_bytes(), elements);
    assert!(matches!(Header::read(&bytes[..], length - 1), Err(HeaderError::PastEnd { .. })));
}

#[test]
fn all_prefixes_of_a_valid_file_fail() {
    let whole = with(GOOD);
    parse(&whole).unwrap();
    for length in 0..whole.len() {
        assert!(parse(&whole[..length]).is_err(), "{length} of {} bytes were accepted", whole.len());
    }
}

#[test]
fn a_file_that_is_shorter_than_it_says_is_an_error_not_a_short_read() {
    let whole = with(GOOD);
    assert!(matches!(Header::read(&whole[..20], whole.len() as u64), Err(HeaderError::Unreadable(_))));
}

proptest! {
    #[test]
    fn any_tensors_written_one_after_the_other_are_read_back(
        tensors in btree_map("[a-z.\"\\\\é]{0,12}", (0..Dtype::ALL.len(), vec(0usize..5, 0..4)), 0..20),
    ) {
        let mut header = serde_json::Map::new();
        let mut end = 0;
        for (name, (dtype, shape)) in &tensors {
            let dtype = Dtype::ALL[*dtype];
            let begin = end;
            let bits = dtype.bits() * shape.iter().map(|&side| side as u64).product::<u64>();
            prop_assume!(bits.is_multiple_of(8) && name != "__metadata__");
            end += bits / 8;
            let entry = serde_json::json!({ "dtype": dtype.name(), "shape": shape, "data_offsets": [begin, end] });
            header.insert(name.clone(), entry);
        }
        let bytes = file(&serde_json::Value::from(header).to_string(), &vec![0; end as usize]);
        let parsed = parse(&bytes).unwrap();
        prop_assert_eq!(parsed.tensors().len(), tensors.len());
        for (name, (dtype, shape)) in &tensors {
            let entry = &parsed.tensors()[name];
            prop_assert_eq!((entry.dtype, &entry.shape), (Dtype::ALL[*dtype], shape));
        }
        prop_assert_eq!(parsed.data_bytes(), end);
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in vec(any::<u8>(), 0..200)) {
        let _ = parse(&bytes);
    }

    /// Whatever is done to a right file, what is accepted lies within it and overlaps nothing.
    #[test]
    fn a_changed_header_is_refused_or_still_describes_the_file(at in 0usize..100, to in any::<u8>()) {
        let mut bytes = with(GOOD);
        let at = at % bytes.len();
        bytes[at] = to;
        if let Ok(header) = parse(&bytes) {
            let used: u64 = header.tensors().values().map(|entry| entry.bytes.end - entry.bytes.start).sum();
            prop_assert_eq!(used, header.data_bytes());
            prop_assert!(header.tensors().values().all(|entry| entry.bytes.end <= bytes.len() as u64));
        }
    }
}
