//! What a model is, and what a conversation becomes, as JavaScript takes it.

use karst_engine::{Group, Info, Inspection, PartInspection};
use napi_derive::napi;

use crate::convert::{bytes, count};

/// What was opened, and on what.
#[napi(object, object_from_js = false)]
pub struct NativeInfo {
    pub device: NativeDeviceInfo,
    pub model: NativeModelInfo,
    pub memory: NativeMemory,
    pub limits: NativeLimitsInfo,
}

/// The device, and why it was chosen.
#[napi(object, object_from_js = false)]
pub struct NativeDeviceInfo {
    pub name: String,
    pub description: String,
    pub why: String,
}

/// The checkpoint's shapes.
#[napi(object, object_from_js = false)]
pub struct NativeModelInfo {
    pub name: String,
    pub quantization: String,
    pub bytes: i64,
    pub layers: i64,
    pub hidden: i64,
    pub heads: i64,
    pub kv_heads: i64,
    pub vocabulary: i64,
    pub vision_layers: i64,
    pub vision_hidden: i64,
    pub max_positions: i64,
}

/// Bytes that are reserved.
#[napi(object, object_from_js = false)]
pub struct NativeMemory {
    pub weights: i64,
    pub cache: i64,
}

/// What a request may ask for.
#[napi(object, object_from_js = false)]
pub struct NativeLimitsInfo {
    pub max_context: i64,
    pub max_requests: i64,
    pub max_waiting: i64,
    pub cache_tokens: i64,
    pub max_slices: u32,
}

/// What a conversation becomes.
#[napi(object, object_from_js = false)]
pub struct NativeInspection {
    pub parts: Vec<NativePartInspection>,
    pub prompt_tokens: i64,
    pub image_tokens: i64,
    pub max_tokens: i64,
    pub max_context: i64,
    pub cache_bytes: i64,
    pub pixel_bytes: i64,
}

/// A still or a clip.
#[napi(object, object_from_js = false)]
pub struct NativePartInspection {
    pub message: i64,
    pub part: i64,
    #[napi(js_name = "type", ts_type = "'image' | 'clip'")]
    pub kind: &'static str,
    pub groups: Vec<NativeGroup>,
}

/// A still, or frames that share rows.
#[napi(object, object_from_js = false)]
pub struct NativeGroup {
    pub size: NativeSize,
    pub frames: i64,
    pub times: Option<Vec<u32>>,
    pub image_id: Option<u32>,
    pub grid: Option<NativeGrid>,
    pub views: Vec<NativeSize>,
    pub patches: i64,
    pub tokens: i64,
}

/// Sides in pixels.
#[napi(object, object_from_js = false)]
pub struct NativeSize {
    pub width: u32,
    pub height: u32,
}

/// Slices side by side and one above the other.
#[napi(object, object_from_js = false)]
pub struct NativeGrid {
    pub columns: u32,
    pub rows: u32,
}

impl From<&Info> for NativeInfo {
    fn from(info: &Info) -> Self {
        let (device, model, limits) = (&info.device, &info.model, &info.limits);
        Self {
            device: NativeDeviceInfo {
                name: device.name.clone(),
                description: device.description.clone(),
                why: device.why.clone(),
            },
            model: NativeModelInfo {
                name: model.name.clone(),
                quantization: model.quantization.clone(),
                bytes: bytes(model.bytes),
                layers: count(model.layers),
                hidden: count(model.hidden),
                heads: count(model.heads),
                kv_heads: count(model.kv_heads),
                vocabulary: count(model.vocabulary),
                vision_layers: count(model.vision_layers),
                vision_hidden: count(model.vision_hidden),
                max_positions: count(model.max_positions),
            },
            memory: NativeMemory { weights: bytes(info.memory.weights), cache: bytes(info.memory.cache) },
            limits: NativeLimitsInfo {
                max_context: count(limits.max_context),
                max_requests: count(limits.max_requests),
                max_waiting: count(limits.max_waiting),
                cache_tokens: count(limits.cache_tokens),
                max_slices: limits.max_slices,
            },
        }
    }
}

impl From<&Inspection> for NativeInspection {
    fn from(found: &Inspection) -> Self {
        Self {
            parts: found.parts.iter().map(NativePartInspection::from).collect(),
            prompt_tokens: count(found.prompt_tokens),
            image_tokens: count(found.image_tokens),
            max_tokens: count(found.max_tokens),
            max_context: count(found.max_context),
            cache_bytes: bytes(found.cache_bytes),
            pixel_bytes: bytes(found.pixel_bytes),
        }
    }
}

impl From<&PartInspection> for NativePartInspection {
    fn from(part: &PartInspection) -> Self {
        Self {
            message: count(part.message),
            part: count(part.part),
            kind: if part.is_clip { "clip" } else { "image" },
            groups: part.groups.iter().map(NativeGroup::from).collect(),
        }
    }
}

impl From<&Group> for NativeGroup {
    fn from(group: &Group) -> Self {
        Self {
            size: NativeSize { width: group.size.width, height: group.size.height },
            frames: count(group.frames),
            times: group.times.clone(),
            image_id: group.image_id,
            grid: group.grid.map(|grid| NativeGrid { columns: grid.columns, rows: grid.rows }),
            views: group.views.iter().map(|view| NativeSize { width: view.width, height: view.height }).collect(),
            patches: count(group.patches),
            tokens: count(group.tokens),
        }
    }
}
