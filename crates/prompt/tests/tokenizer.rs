//! Text to ids and back, against the reference and against the library reading the whole file.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod common;

use karst_contract::{Code, Coded};
use karst_prompt::{ControlToken, Tokenizer, TokenizerError};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::sync::LazyLock;

#[test]
fn every_golden_text_has_the_references_ids_and_text() {
    let Some(tokenizer) = common::published() else { return };
    let golden = common::golden("tokenizer.json");
    let cases = golden.as_array().unwrap();
    assert!(cases.len() >= 357, "{}", cases.len());
    for case in cases {
        let ids: Vec<u32> = serde_json::from_value(case["ids"].clone()).unwrap();
        assert_eq!(tokenizer.encode_with_control(case["text"].as_str().unwrap()), ids, "{case}");
        assert_eq!(tokenizer.decode(&ids), case["decoded"].as_str().unwrap(), "{case}");
    }
    assert_eq!(tokenizer.vocabulary_len(), 151_748);
}

/// The library with the whole file, control tokens and all.
fn library() -> &'static tokenizers::Tokenizer {
    static LIBRARY: LazyLock<tokenizers::Tokenizer> = LazyLock::new(|| {
        let bytes = common::published_bytes().unwrap_or_else(common::demo_bytes);
        tokenizers::Tokenizer::from_bytes(bytes).unwrap()
    });
    &LIBRARY
}

fn ours() -> std::sync::Arc<Tokenizer> {
    common::published().unwrap_or_else(common::demo)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn text_with_and_without_control_tokens_has_the_librarys_ids(
        parts in prop::collection::vec(prop_oneof![
            "\\PC{0,12}", "[a-z ,.'0-9\\n\\r\\t]{0,24}",
            Just("<think>".to_owned()), Just("<|im_end|>".to_owned()), Just("<unk>".to_owned()), Just("<|im".to_owned()),
        ], 0..6),
    ) {
        let text = parts.concat();
        let theirs = library().encode_fast(text.as_str(), false).unwrap();
        prop_assert_eq!(ours().encode_with_control(&text), theirs.get_ids());
    }

    #[test]
    fn any_ids_have_the_librarys_text(ids in prop::collection::vec(0_u32..160_000, 0..40)) {
        prop_assert_eq!(ours().decode(&ids), library().decode(&ids, false).unwrap());
    }
}

#[test]
fn every_id_has_the_librarys_text_alone_and_nothing_beyond_the_vocabulary() {
    let tokenizer = ours();
    for id in 0..u32::try_from(tokenizer.vocabulary_len()).unwrap() {
        assert_eq!(tokenizer.decode(&[id]), library().decode(&[id], false).unwrap(), "{id}");
        assert!(tokenizer.token_bytes(id).is_some(), "{id}");
    }
    for id in [u32::try_from(tokenizer.vocabulary_len()).unwrap(), u32::MAX] {
        assert_eq!((tokenizer.token_bytes(id), tokenizer.decode(&[id])), (None, String::new()));
    }
}

#[test]
fn control_ids_come_from_the_file() {
    for tokenizer in common::tokenizers() {
        for token in ControlToken::ALL {
            assert_eq!(tokenizer.token_bytes(tokenizer.control().id(*token)), Some(token.text().as_bytes()));
        }
    }
    if let Some(published) = common::published() {
        let control = published.control();
        assert_eq!([control.im_end, control.end_of_text, control.think_end], [151_645, 151_643, 151_668]);
        assert_eq!(
            [control.image, control.slice_end, control.image_id, control.unk],
            [151_669, 151_680, 151_681, 128_244]
        );
    }
}

/// The demo's file with one change.
fn changed(change: impl FnOnce(&mut Value)) -> Result<Tokenizer, TokenizerError> {
    let mut file: Value = serde_json::from_slice(&common::demo_bytes()).unwrap();
    change(&mut file);
    Tokenizer::from_bytes(&serde_json::to_vec(&file).unwrap())
}

#[test]
fn a_missing_control_token_is_named() {
    for token in ControlToken::ALL {
        let error = changed(|file| {
            file["added_tokens"].as_array_mut().unwrap().retain(|added| added["content"] != token.text());
        });
        let error = error.unwrap_err();
        assert!(
            matches!(error, TokenizerError::MissingControl { token: missing } if missing == token.text()),
            "{error}"
        );
        assert!(error.to_string().contains(token.text()), "{error}");
        assert_eq!(error.code(), Code::UnsupportedCheckpoint);
    }
}

#[test]
fn p7_any_other_way_of_tokenising_is_refused_by_name() {
    let nested = "(a+)+$";
    let changes: &[(&str, &str, Value)] = &[
        ("/normalizer", "normalizer", Value::Null),
        ("/normalizer", "normalizer", json!({ "type": "NFKC" })),
        ("/pre_tokenizer/pretokenizers/0/pattern/Regex", "pre_tokenizer", json!(nested)),
        ("/pre_tokenizer/pretokenizers/0/behavior", "pre_tokenizer", json!("Removed")),
        ("/pre_tokenizer/pretokenizers/1/add_prefix_space", "pre_tokenizer", json!(true)),
        ("/pre_tokenizer", "pre_tokenizer", Value::Null),
        ("/post_processor", "post_processor", json!({ "type": "TemplateProcessing" })),
        ("/decoder", "decoder", json!({ "type": "WordPiece" })),
        ("/truncation", "truncation", json!({ "max_length": 512 })),
        ("/padding", "padding", json!({ "pad_id": 0 })),
        ("/model/type", "model type", json!("Unigram")),
        ("/model/dropout", "model's dropout", json!(0.1)),
        ("/model/unk_token", "model's unk_token", json!("<unk>")),
        ("/model/continuing_subword_prefix", "model's continuing_subword_prefix", json!("##")),
        ("/model/end_of_word_suffix", "model's end_of_word_suffix", json!("</w>")),
        ("/model/byte_fallback", "model's byte_fallback", json!(true)),
        ("/model/ignore_merges", "model's ignore_merges", json!(true)),
    ];
    for (pointer, part, value) in changes {
        let error = changed(|file| *file.pointer_mut(pointer).unwrap() = value.clone()).unwrap_err();
        assert!(matches!(&error, TokenizerError::Form { part: named, .. } if named == part), "{pointer}: {error}");
        assert_eq!(error.code(), Code::UnsupportedCheckpoint);
    }
    let long =
        changed(|file| file["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = json!("(a+)+".repeat(9_999)));
    assert!(long.unwrap_err().to_string().len() < 1_000);
}

#[test]
fn what_does_not_change_the_ids_is_accepted() {
    let merges_as_lines = |file: &mut Value| {
        for merge in file["model"]["merges"].as_array_mut().unwrap() {
            *merge = json!(format!("{} {}", merge[0].as_str().unwrap(), merge[1].as_str().unwrap()));
        }
        file["model"]["continuing_subword_prefix"] = json!("");
        file["model"]["end_of_word_suffix"] = json!("");
        file["post_processor"] = Value::Null;
    };
    let tokenizer = changed(merges_as_lines).unwrap();
    let text = "What is in the picture? 图片里有什么？";
    assert_eq!(tokenizer.encode_text(text), common::demo().encode_text(text));
}

#[test]
fn a_damaged_vocabulary_is_refused_with_its_cause() {
    type Change = fn(&mut Value);
    let changes: &[(&str, Change)] = &[
        ("is empty", |file| file["model"]["vocab"][""] = json!(1_300)),
        ("ids are below", |file| file["model"]["vocab"]["zz zz"] = json!(u32::MAX)),
        ("both have the id 5", |file| file["model"]["vocab"]["zz zz"] = json!(5)),
        ("both have the id 5", |file| file["added_tokens"][7]["id"] = json!(5)),
        ("has the ids", |file| file["model"]["vocab"]["<think>"] = json!(1_300)),
        ("the byte 0x21", |file| {
            file["model"]["vocab"].as_object_mut().unwrap().remove("!");
        }),
        ("merge 0 joins", |file| file["model"]["merges"][0] = json!(["h", "zzzz"])),
        ("merge 0 joins", |file| file["model"]["merges"][0] = json!("lonely")),
        ("cannot be read", |file| file["model"]["vocab"]["zz"] = json!(-1)),
        ("cannot be read", |file| file["model"]["vocab"]["zz"] = json!(1_u64 << 40)),
        ("cannot be read", |file| file["model"] = json!("BPE")),
        ("takes white space", |file| file["added_tokens"][2]["lstrip"] = json!(true)),
    ];
    for (cause, change) in changes {
        let error = changed(*change).unwrap_err();
        assert!(error.to_string().contains(cause), "{cause}: {error}");
        assert!(error.hint().is_some(), "{error}");
    }
    let twice = String::from_utf8(common::demo_bytes()).unwrap().replacen("\"vocab\":{", "\"vocab\":{\"!\":1299,", 1);
    let twice = Tokenizer::from_bytes(twice.replacen("\"vocab\": {", "\"vocab\": {\"!\":1299,", 1).as_bytes());
    assert!(twice.unwrap_err().to_string().contains("\"!\" has the ids 1299 and 0"));
    for bytes in [&b""[..], b"{", b"null", b"[]", b"{\"model\":{}}", b"\xff\xfe"] {
        assert!(Tokenizer::from_bytes(bytes).is_err(), "{bytes:?}");
    }
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let bytes = common::demo_bytes();
    for cut in (0..bytes.len()).step_by(bytes.len() / 40) {
        assert!(matches!(Tokenizer::from_bytes(&bytes[..cut]), Err(TokenizerError::Json(_))), "{cut}");
    }
}
