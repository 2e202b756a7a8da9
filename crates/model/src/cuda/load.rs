//! From a checkpoint to weights on the device. Names are those under `llm.`: a Qwen3 decoder.

use karst_checkpoint::{Checkpoint, DecoderConfig, Dtype, Linear, Tensor};
use karst_kernels::{
    Buffer, Dense, Device, Float, Form, Kind, Layout, LoadError, Loader, PackError, Quantised, Source, Transfer,
    Weights,
};

use super::weights::{DecoderWeights, LayerWeights};
use crate::ModelError;
use crate::cpu::linear::LinearError;
use crate::progress::Taken;

/// Blocks of threads of a product: so many share the sum of squares that the next norm needs.
const CTAS: usize = 128;

/// Loads the decoder.
pub(super) fn decoder(
    checkpoint: &Checkpoint,
    device: &Device,
    taken: &Taken<'_>,
) -> Result<DecoderWeights, ModelError> {
    let loader = Loader::new(device, Transfer::default())?.ok_or(ModelError::NoKernels)?;
    let config = &checkpoint.config().decoder;
    let mut from = Decoder { checkpoint, config, device, taken, loader };
    let weights = from.load()?;
    from.loader.finish().map_err(LoadError::from)?;
    Ok(weights)
}

struct Decoder<'a> {
    checkpoint: &'a Checkpoint,
    config: &'a DecoderConfig,
    device: &'a Device,
    taken: &'a Taken<'a>,
    loader: Loader,
}

impl Decoder<'_> {
    fn load(&mut self) -> Result<DecoderWeights, ModelError> {
        let name = "llm.model.embed_tokens";
        let checkpoint = self.checkpoint;
        let shape = [self.config.vocabulary, self.config.hidden];
        let table = dense(checkpoint.expect(&format!("{name}.weight"), &shape)?)?;
        let embedding_float = if table.float == Float::F16 { Float::F16 } else { Float::Bf16 };
        let embedding = self.loader.table(&table, embedding_float)?;
        self.taken.take(name, embedding.bytes());
        Ok(DecoderWeights {
            embedding,
            embedding_float,
            layers: (0..self.config.layers).map(|layer| self.layer(layer)).collect::<Result<_, _>>()?,
            norm: self.norm("llm.model.norm", self.config.hidden)?,
            head: self.head()?,
        })
    }

    fn layer(&mut self, layer: usize) -> Result<LayerWeights, ModelError> {
        let config = self.config;
        let (hidden, width) = (config.hidden, config.head_dim);
        let (queries, keys) = (config.heads * width, config.kv_heads * width);
        let name = |part: &str| format!("llm.model.layers.{layer}.{part}");
        let heads = ["q_proj", "k_proj", "v_proj"].map(|part| name(&format!("self_attn.{part}")));
        let mlp = ["gate_proj", "up_proj"].map(|part| name(&format!("mlp.{part}")));
        Ok(LayerWeights {
            attention_norm: self.norm(&name("input_layernorm"), hidden)?,
            qkv: self.stacked(&heads, hidden, &[queries, keys, keys])?,
            query_norm: self.norm(&name("self_attn.q_norm"), width)?,
            key_norm: self.norm(&name("self_attn.k_norm"), width)?,
            output: self.stacked(&[name("self_attn.o_proj")], queries, &[hidden])?,
            mlp_norm: self.norm(&name("post_attention_layernorm"), hidden)?,
            gate_up: self.linears(&mlp, hidden, &[config.intermediate; 2], |kind| {
                Layout::interleaved(kind, hidden, config.intermediate, CTAS).map_err(PackError::from)
            })?,
            down: self.stacked(&[name("mlp.down_proj")], config.intermediate, &[hidden])?,
        })
    }

    /// The head has blocks of threads for all multiprocessors. Numbers of 16 bits are kept in half precision, whatever their
    /// format: a head's are small, and activations then keep eleven bits.
    fn head(&mut self) -> Result<Weights, ModelError> {
        let (hidden, vocabulary) = (self.config.hidden, self.config.vocabulary);
        let name = if self.config.tied_head { "llm.model.embed_tokens" } else { "llm.lm_head" };
        let linear = self.checkpoint.linear(name, hidden, vocabulary)?;
        let source = source(name, &linear)?;
        let kind = match source {
            Source::Dense(_) => Kind::F16,
            Source::Quantised(_) => Kind::of(&[source]).map_err(LoadError::from)?,
        };
        let blocks = self.device.properties().multiprocessors as usize;
        let layout = Layout::stacked(kind, hidden, &[vocabulary], blocks)
            .map_err(|error| LoadError::from(PackError::from(error)))?;
        self.pack(layout, &[source], name)
    }

    fn stacked(&mut self, names: &[String], inputs: usize, outputs: &[usize]) -> Result<Weights, ModelError> {
        let layout = |kind| Layout::stacked(kind, inputs, outputs, CTAS).map_err(PackError::from);
        self.linears(names, inputs, outputs, layout)
    }

    /// Layers that read the same inputs, in one layout.
    fn linears(
        &mut self,
        names: &[String],
        inputs: usize,
        outputs: &[usize],
        layout: impl FnOnce(Kind) -> Result<Layout, PackError>,
    ) -> Result<Weights, ModelError> {
        let linears = names.iter().zip(outputs).map(|(name, &outputs)| self.checkpoint.linear(name, inputs, outputs));
        let linears = linears.collect::<Result<Vec<_>, _>>()?;
        let sources = names.iter().zip(&linears).map(|(name, linear)| source(name, linear));
        let sources = sources.collect::<Result<Vec<_>, _>>()?;
        let layout = Kind::of(&sources).and_then(layout).map_err(LoadError::from)?;
        let weights = self.pack(layout, &sources, &names[0])?;
        names[1..].iter().for_each(|name| self.taken.take(name, 0));
        Ok(weights)
    }

    fn pack(&mut self, layout: Layout, sources: &[Source<'_>], name: &str) -> Result<Weights, ModelError> {
        let (bytes, permutation) = self.loader.pack(&layout, sources)?;
        self.taken.take(name, bytes.bytes());
        Ok(Weights::new(layout, bytes, permutation))
    }

    fn norm(&self, name: &str, width: usize) -> Result<Buffer<f32>, ModelError> {
        let factors = self.checkpoint.norm(&format!("{name}.weight"), width)?;
        Ok(self.device.upload(&factors).map_err(LoadError::from)?)
    }
}

fn source<'a>(name: &'a str, linear: &'a Linear<'a>) -> Result<Source<'a>, ModelError> {
    Ok(match linear {
        Linear::Dense { bias: Some(bias), .. } => return Err(ModelError::Bias { tensor: bias.name.to_owned() }),
        Linear::Dense { weight, bias: None } => Source::Dense(dense(*weight)?),
        Linear::Gptq(codes) => Source::Quantised(Quantised {
            name,
            form: Form { bits: codes.bits as usize, inputs: codes.k, outputs: codes.n, group: codes.group },
            codes: &codes.qweight,
            zeros: codes.zeros.as_deref(),
            scales: &codes.scales,
            order: codes.order.as_deref(),
        }),
    })
}

fn dense(tensor: Tensor<'_>) -> Result<Dense<'_>, ModelError> {
    let float = match tensor.dtype {
        Dtype::F16 => Float::F16,
        Dtype::BF16 => Float::Bf16,
        Dtype::F32 => Float::F32,
        dtype => return Err(LinearError::Dtype { tensor: tensor.name.to_owned(), dtype }.into()),
    };
    let &[outputs, inputs] = tensor.shape else {
        return Err(LinearError::Shape { tensor: tensor.name.to_owned(), shape: tensor.shape.to_vec() }.into());
    };
    Ok(Dense { name: tensor.name, inputs, outputs, float, bytes: tensor.bytes })
}
