//! Names under `llm.`: a Qwen3 decoder.

use half::{bf16, f16};
use karst_checkpoint::{Dtype, Tensor};

use super::Loader;
use crate::ModelError;
use crate::cpu::attention::Heads;
use crate::cpu::decoder::{Decoder, DecoderLayer};
use crate::cpu::embedding::{Embedding, Words};
use crate::cpu::rope::Rope;

impl Loader<'_> {
    pub(super) fn decoder(&self) -> Result<Decoder, ModelError> {
        let config = &self.checkpoint.config().decoder;
        let (hidden, vocabulary) = (config.hidden, config.vocabulary);
        let table = self.tensor("llm.model.embed_tokens.weight", &[vocabulary, hidden])?;
        let embedding = Embedding { words: words(&table)?, hidden };
        self.taken(table.name, table.bytes.len());
        let head =
            if config.tied_head { self.dense(&table, None)? } else { self.linear("llm.lm_head", hidden, vocabulary)? };
        Ok(Decoder {
            embedding,
            layers: (0..config.layers).map(|layer| self.decoder_layer(layer)).collect::<Result<_, _>>()?,
            norm: self.rms_norm("llm.model.norm", hidden, config.rms_norm_eps)?,
            head,
            rope: Rope::new(config.rope_theta, config.head_dim),
            heads: Heads { queries: config.heads, keys: config.kv_heads, width: config.head_dim },
        })
    }

    fn decoder_layer(&self, layer: usize) -> Result<DecoderLayer, ModelError> {
        let config = &self.checkpoint.config().decoder;
        let (hidden, width, epsilon) = (config.hidden, config.head_dim, config.rms_norm_eps);
        let (queries, keys) = (config.heads * width, config.kv_heads * width);
        let name = |part: &str| format!("llm.model.layers.{layer}.{part}");
        Ok(DecoderLayer {
            attention_norm: self.rms_norm(&name("input_layernorm"), hidden, epsilon)?,
            query: self.linear(&name("self_attn.q_proj"), hidden, queries)?,
            key: self.linear(&name("self_attn.k_proj"), hidden, keys)?,
            value: self.linear(&name("self_attn.v_proj"), hidden, keys)?,
            query_norm: self.rms_norm(&name("self_attn.q_norm"), width, epsilon)?,
            key_norm: self.rms_norm(&name("self_attn.k_norm"), width, epsilon)?,
            output: self.linear(&name("self_attn.o_proj"), queries, hidden)?,
            mlp_norm: self.rms_norm(&name("post_attention_layernorm"), hidden, epsilon)?,
            gate: self.linear(&name("mlp.gate_proj"), hidden, config.intermediate)?,
            up: self.linear(&name("mlp.up_proj"), hidden, config.intermediate)?,
            down: self.linear(&name("mlp.down_proj"), config.intermediate, hidden)?,
        })
    }
}

/// A copy in the stored width. Bytes of a file may lie at any address, so words are put together from bytes.
fn words(table: &Tensor<'_>) -> Result<Words, ModelError> {
    let (pairs, _) = table.bytes.as_chunks::<2>();
    Ok(match table.dtype {
        Dtype::F16 => Words::F16(pairs.iter().map(|&pair| f16::from_le_bytes(pair)).collect()),
        Dtype::BF16 => Words::Bf16(pairs.iter().map(|&pair| bf16::from_le_bytes(pair)).collect()),
        _ => Words::F32(table.to_f32()?),
    })
}
