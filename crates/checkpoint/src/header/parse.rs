//! From the header's JSON to tensors. Limits hold while it is read, not afterwards.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;

use karst_contract::limits;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;

use super::entry::{Entry, bits};
use super::error::HeaderError;
use crate::Dtype;

/// The tensors of a header after which `data_bytes` follow from byte `start` of the file.
pub(super) fn tensors(text: &[u8], start: u64, data_bytes: u64) -> Result<BTreeMap<String, Entry>, HeaderError> {
    let text = str::from_utf8(text).map_err(|error| HeaderError::NotUtf8 { at: error.valid_up_to() })?;
    if !text.starts_with('{') {
        return Err(HeaderError::NotObject { found: text.chars().next() });
    }
    let cause = RefCell::new(None);
    let visitor = Tensors { start, data_bytes, cause: &cause };
    let mut json = serde_json::Deserializer::from_str(text);
    let parsed = visitor.deserialize(&mut json).and_then(|tensors| json.end().map(|()| tensors));
    parsed.map_err(|error| match error.classify() {
        Category::Data => cause.take().unwrap_or(HeaderError::NotJson(error)),
        _ => HeaderError::NotJson(error), // also where it broke off inside a tensor
    })
}

/// Reads the object; what is wrong beyond syntax goes to `cause`, since the parser's own errors are only text.
#[derive(Clone, Copy)]
struct Tensors<'a> {
    start: u64,
    data_bytes: u64,
    cause: &'a RefCell<Option<HeaderError>>,
}

impl Tensors<'_> {
    /// Notes the cause; the error that the parser passes on is only text.
    fn fail<E: Error>(self, cause: HeaderError) -> E {
        let error = E::custom(&cause);
        self.cause.replace(Some(cause));
        error
    }
}

impl Tensors<'_> {
    /// Notes the cause of an error that the parser found.
    fn note<E: Error>(self, error: E, cause: impl FnOnce(String) -> HeaderError) -> E {
        self.cause.replace(Some(cause(error.to_string())));
        error
    }
}

impl<'de> DeserializeSeed<'de> for Tensors<'_> {
    type Value = BTreeMap<String, Entry>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Tensors<'_> {
    type Value = BTreeMap<String, Entry>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
        let mut tensors = BTreeMap::new();
        let mut metadata = false;
        while let Some(tensor) = object.next_key::<String>()? {
            if tensor == "__metadata__" {
                if metadata {
                    return Err(self.fail(HeaderError::Metadata { problem: "it stands twice".into() }));
                }
                metadata = true;
                object
                    .next_value::<Strings>()
                    .map_err(|error| self.note(error, |problem| HeaderError::Metadata { problem }))?;
                continue;
            }
            if tensors.len() == limits::MAX_TENSORS {
                return Err(self.fail(HeaderError::TooManyTensors { limit: limits::MAX_TENSORS }));
            }
            if tensors.contains_key(&tensor) {
                return Err(self.fail(HeaderError::DuplicateTensor { tensor }));
            }
            let entry = |problem| HeaderError::Entry { tensor: tensor.clone(), problem };
            let raw = object.next_value::<Raw<'_>>().map_err(|error| self.note(error, entry))?;
            let entry = raw.check(&tensor, self.start, self.data_bytes).map_err(|cause| self.fail(cause))?;
            tensors.insert(tensor, entry);
        }
        Ok(tensors)
    }
}

/// A tensor as the file describes it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object of dtype, shape and data_offsets")]
struct Raw<'a> {
    #[serde(borrow)]
    dtype: std::borrow::Cow<'a, str>,
    shape: Few,
    data_offsets: Few,
}

impl Raw<'_> {
    fn check(self, name: &str, start: u64, data: u64) -> Result<Entry, HeaderError> {
        let tensor = name.to_owned();
        let Some(dtype) = Dtype::from_name(&self.dtype) else {
            return Err(HeaderError::UnknownDtype { tensor, dtype: self.dtype.into_owned() });
        };
        let [begin, end] = *self.data_offsets.0 else {
            return Err(HeaderError::Entry { tensor, problem: "data_offsets are not two numbers".into() });
        };
        let Some(found) = end.checked_sub(begin) else { return Err(HeaderError::Reversed { tensor, begin, end }) };
        if end > data {
            return Err(HeaderError::PastEnd { tensor, end, data });
        }
        let (shape, expected) = self.shape.measure(tensor, dtype)?;
        if expected != found {
            return Err(HeaderError::Size { tensor: name.into(), shape, dtype, expected, found });
        }
        Ok(Entry { dtype, shape, bytes: start + begin..start + end })
    }
}

/// At most [`limits::MAX_SIDES`] numbers.
struct Few(Vec<u64>);

impl Few {
    /// These as sides, and the bytes that a tensor of them has.
    fn measure(self, tensor: String, dtype: Dtype) -> Result<(Vec<usize>, u64), HeaderError> {
        let sides = self.0.iter().map(|&side| usize::try_from(side).ok()).collect();
        match (bits(&self.0, dtype), sides) {
            (Some(bits), Some(_)) if bits % 8 != 0 => Err(HeaderError::PartOfByte { tensor, shape: self.0, dtype }),
            (Some(bits), Some(sides)) => Ok((sides, bits / 8)),
            _ => Err(HeaderError::Overflow { tensor, shape: self.0 }),
        }
    }
}

impl<'de> Deserialize<'de> for Few {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(FewVisitor)
    }
}

struct FewVisitor;

impl<'de> Visitor<'de> for FewVisitor {
    type Value = Few;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at most {} numbers", limits::MAX_SIDES)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Few, A::Error> {
        let mut numbers = Vec::new();
        while let Some(number) = list.next_element()? {
            if numbers.len() == limits::MAX_SIDES {
                return Err(Error::invalid_length(numbers.len() + 1, &self));
            }
            numbers.push(number);
        }
        Ok(Few(numbers))
    }
}

/// An object of strings, which nothing reads.
struct Strings;

impl<'de> Deserialize<'de> for Strings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(StringsVisitor)
    }
}

struct StringsVisitor;

impl<'de> Visitor<'de> for StringsVisitor {
    type Value = Strings;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of strings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Strings, A::Error> {
        while object.next_entry::<String, String>()?.is_some() {}
        Ok(Strings)
    }
}
