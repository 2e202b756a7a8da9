//! The tensors of the model, by name and shape, as its configuration implies them. The only place with tensor names that
//! both the check of a checkpoint and the writing of one read.

use crate::{DecoderConfig, ResamplerConfig, VisionConfig};

/// A tensor or a linear layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    /// The tensor's name, or the layer's: what stands before `.weight` or `.qweight`.
    pub(crate) name: String,
    pub(crate) kind: Kind,
}

/// What a part is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Factors of a norm, about one.
    Norm(usize),
    /// Numbers that are added: a bias of a norm or a layer.
    Bias(usize),
    /// Rows that are looked up.
    Table(Vec<usize>),
    /// Rows that are multiplied with, but not under the name of a linear layer.
    Matrix(Vec<usize>),
    /// A linear layer `[n, k]`. Those of the decoder's layers are what the published recipe quantises.
    Linear { k: usize, n: usize, bias: bool, quantisable: bool },
}

/// All parts, made as they are asked for: a hostile number of layers costs nothing before the first that is missing.
pub(crate) fn parts<'a>(
    decoder: &'a DecoderConfig,
    vision: &'a VisionConfig,
    resampler: &'a ResamplerConfig,
) -> impl Iterator<Item = Part> + 'a {
    let decoder_layers = (0..decoder.layers).flat_map(|layer| decoder_layer(decoder, layer));
    let vision_layers = (0..vision.used_layers()).flat_map(|layer| vision_layer(vision, layer));
    let outside = outside_layers(decoder, vision);
    outside.chain(decoder_layers).chain(vision_layers).chain(resampler_parts(resampler, vision.hidden))
}

fn outside_layers(decoder: &DecoderConfig, vision: &VisionConfig) -> impl Iterator<Item = Part> + use<> {
    let (hidden, patch) = (vision.hidden, vision.patch_size);
    let positions = vision.position_side() * vision.position_side();
    let head = (!decoder.tied_head).then(|| linear("llm.lm_head", decoder.hidden, decoder.vocabulary, false));
    let always = [
        table("llm.model.embed_tokens.weight", [decoder.vocabulary, decoder.hidden]),
        part("llm.model.norm.weight", Kind::Norm(decoder.hidden)),
        matrix("vpm.embeddings.patch_embedding.weight", [hidden, 3, patch, patch]),
        part("vpm.embeddings.patch_embedding.bias", Kind::Bias(hidden)),
        table("vpm.embeddings.position_embedding.weight", [positions, hidden]),
    ];
    head.into_iter().chain(always).chain(norm("vpm.post_layernorm", hidden))
}

fn decoder_layer(decoder: &DecoderConfig, layer: usize) -> impl Iterator<Item = Part> + use<> {
    let (hidden, inner, width) = (decoder.hidden, decoder.intermediate, decoder.head_dim);
    let (queries, keys) = (decoder.heads * width, decoder.kv_heads * width);
    let norms = [
        ("input_layernorm", hidden),
        ("post_attention_layernorm", hidden),
        ("self_attn.q_norm", width),
        ("self_attn.k_norm", width),
    ];
    let linears = [
        ("self_attn.q_proj", hidden, queries),
        ("self_attn.k_proj", hidden, keys),
        ("self_attn.v_proj", hidden, keys),
        ("self_attn.o_proj", queries, hidden),
        ("mlp.gate_proj", hidden, inner),
        ("mlp.up_proj", hidden, inner),
        ("mlp.down_proj", inner, hidden),
    ];
    let name = move |module: &str| format!("llm.model.layers.{layer}.{module}");
    let norms = norms.map(|(module, length)| part(name(module) + ".weight", Kind::Norm(length)));
    let linears =
        linears.map(|(module, k, n)| part(name(module), Kind::Linear { k, n, bias: false, quantisable: true }));
    norms.into_iter().chain(linears)
}

fn vision_layer(vision: &VisionConfig, layer: usize) -> impl Iterator<Item = Part> + use<> {
    let (hidden, inner) = (vision.hidden, vision.intermediate);
    let linears = [
        ("self_attn.q_proj", hidden, hidden),
        ("self_attn.k_proj", hidden, hidden),
        ("self_attn.v_proj", hidden, hidden),
        ("self_attn.out_proj", hidden, hidden),
        ("mlp.fc1", hidden, inner),
        ("mlp.fc2", inner, hidden),
    ];
    let name = move |module: &str| format!("vpm.encoder.layers.{layer}.{module}");
    let norms = ["layer_norm1", "layer_norm2"].into_iter().flat_map(move |module| norm(&name(module), hidden));
    norms.chain(linears.map(|(module, k, n)| linear(&name(module), k, n, true)))
}

fn resampler_parts(resampler: &ResamplerConfig, vision: usize) -> impl Iterator<Item = Part> + use<> {
    let hidden = resampler.hidden;
    let parts = [
        table("resampler.query", [resampler.queries, hidden]),
        matrix("resampler.proj", [hidden, hidden]),
        linear("resampler.kv_proj", vision, hidden, false),
        matrix("resampler.attn.in_proj_weight", [3 * hidden, hidden]),
        part("resampler.attn.in_proj_bias", Kind::Bias(3 * hidden)),
        linear("resampler.attn.out_proj", hidden, hidden, true),
    ];
    let norms = ["ln_q", "ln_kv", "ln_post"].map(|module| norm(&format!("resampler.{module}"), hidden));
    parts.into_iter().chain(norms.into_iter().flatten())
}

fn part(name: impl Into<String>, kind: Kind) -> Part {
    Part { name: name.into(), kind }
}

fn table<const N: usize>(name: &str, shape: [usize; N]) -> Part {
    part(name, Kind::Table(shape.into()))
}

fn matrix<const N: usize>(name: &str, shape: [usize; N]) -> Part {
    part(name, Kind::Matrix(shape.into()))
}

fn linear(name: &str, k: usize, n: usize, bias: bool) -> Part {
    part(name, Kind::Linear { k, n, bias, quantisable: false })
}

/// A norm that adds as well as it multiplies.
fn norm(name: &str, length: usize) -> [Part; 2] {
    [part(format!("{name}.weight"), Kind::Norm(length)), part(format!("{name}.bias"), Kind::Bias(length))]
}
