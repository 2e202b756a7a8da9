//! Products of packed weights with the activations of a step.

mod params;
mod prepare;
mod shape;
mod wide;

use half::bf16;

use crate::device::Device;
use crate::error::CudaError;
use crate::images::image;
use crate::launch::Launch;
use crate::layout::Layout;
use crate::memory::{Buffer, Memory};
use crate::module::Module;
use crate::work::Work;
use params::{Params, Rows};
use prepare::Prepare;
use shape::{Shape, check, least_width, most_tokens, prepared_bytes};
use wide::Wide;

/// Parts of a row's sum of squares, each from another block of threads.
pub const SQUARES: usize = 128;

/// Bytes of shared memory that are left to a block of attention: it begins beside the product before it, and the
/// weights of the product after it arrive meanwhile.
const BESIDE: usize = 16 << 10;

/// Weights on the device.
#[derive(Debug)]
pub struct Weights {
    layout: Layout,
    bytes: Buffer<u8>,
    permutation: Option<Buffer<u32>>,
}

/// What a product reads.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// [T, K]: activations; where a norm stands before, the residual times the norm's weight.
    pub values: &'a Buffer<bf16>,
    /// [T, 128]: where a norm stands before, parts of the residual's sum of squares.
    pub squares: Option<&'a Buffer<f32>>,
    /// What the product that made `values` has left of them.
    pub left: Option<Left>,
}

/// What a kernel leaves for the products after it: their inputs, prepared. Until another one of its kind does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    by: By,
    pub(crate) tokens: usize,
    pub(crate) inputs: usize,
}

/// Who leaves inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Attention,
    /// A product that adds to the residual.
    Residual,
}

/// What becomes of a product.
#[derive(Debug)]
pub enum Output<'a> {
    /// [T, N]: the outputs.
    Plain(&'a mut Buffer<f32>),
    /// [T, N / 2]: SiLU of the first half of the outputs times the second half.
    Gated(&'a mut Buffer<bf16>),
    /// The outputs are added to the residual, and what the next product reads is made of it.
    Add(Residual<'a>),
}

/// The residual and what follows from it.
#[derive(Debug)]
pub struct Residual<'a> {
    /// [T, N].
    pub values: &'a mut Buffer<f32>,
    /// [N]: weight of the norm that follows.
    pub norm: &'a Buffer<f32>,
    /// [T, N]: the residual times that weight.
    pub normed: &'a mut Buffer<bf16>,
    /// [T, 128]: parts of the residual's sum of squares.
    pub squares: &'a mut Buffer<f32>,
}

/// Room for the activations of several tokens in the form that products take: one product after another uses it.
#[derive(Debug)]
pub struct Prepared {
    groups: Buffer<u8>,
    /// What products that add to the residual leave.
    left: Buffer<u8>,
    /// Where blocks of threads exchange sums; all words are [`wide::NOTHING`] between products.
    mail: Buffer<u8>,
}

/// How a product's ring of weights is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flow {
    /// Most stages that the ring holds; fewer where shared memory has no room.
    pub slots: usize,
    /// Most stages of sixteen tiles under way at once; kernels whose stages are smaller have more of them.
    pub flight: usize,
}

/// What a product is for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Setting {
    /// T.
    pub tokens: usize,
    /// Of the norm that stands before.
    pub epsilon: f32,
    /// How weights stream.
    pub flow: Flow,
}

/// What is asked of the kernels.
#[derive(Debug, Clone, Copy)]
struct Task<'a> {
    weights: &'a Weights,
    input: Input<'a>,
    output: &'a Output<'a>,
    prepared: &'a Prepared,
    setting: Setting,
}

/// The kernels.
#[derive(Debug)]
pub struct Products {
    module: Module,
    /// Those for many tokens.
    wide: Option<Wide>,
    /// Bytes of shared memory that a block may have.
    shared: usize,
    /// Whether the device has bulk copies and clusters.
    bulk: bool,
}

impl Weights {
    /// Weights of a layout, packed.
    ///
    /// # Panics
    /// When the bytes or the permutation are not as long as the layout says.
    pub fn new(layout: Layout, bytes: Buffer<u8>, permutation: Option<Buffer<u32>>) -> Self {
        assert_eq!(bytes.len(), layout.bytes(), "bytes of {layout:?}");
        assert!(permutation.as_ref().is_none_or(|order| order.len() == layout.inputs()), "a permutation of {layout:?}");
        Self { layout, bytes, permutation }
    }

    /// Where they lie.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Bytes on the device.
    pub fn bytes(&self) -> usize {
        self.bytes.len() + self.permutation.as_ref().map_or(0, Buffer::bytes)
    }
}

impl Prepared {
    /// Room for `tokens` tokens of the inputs of each of these layouts.
    ///
    /// # Errors
    /// When there is not enough memory.
    pub fn new<'a>(
        device: &Device,
        layouts: impl IntoIterator<Item = &'a Layout>,
        tokens: usize,
    ) -> Result<Self, CudaError> {
        let (mut bytes, mut left, mut mail) = (0, 0, 0);
        for layout in layouts {
            bytes = bytes.max(prepared_bytes(layout, tokens)).max(wide::prepared_bytes(layout, tokens));
            left = left.max(wide::left_bytes(layout, tokens));
            mail = mail.max(wide::mail_bytes(layout, tokens));
        }
        let mail = device.upload(&vec![wide::NOTHING; mail])?;
        Ok(Self { groups: device.zeroed(bytes)?, left: device.zeroed(left)?, mail })
    }

    /// Where something is left, and the tokens that there is room for.
    ///
    /// # Panics
    /// When there is less room.
    pub(crate) fn place(&self, left: Left) -> (&Buffer<u8>, usize) {
        let place = if left.by == By::Attention { &self.groups } else { &self.left };
        let (width, bytes) = wide::room(left.inputs, left.tokens);
        assert!(place.len() >= bytes, "room of {} bytes for the {bytes} that are left", place.len());
        (place, width)
    }

    /// Bytes on the device.
    pub fn bytes(&self) -> usize {
        self.groups.len() + self.left.len() + self.mail.len()
    }
}

impl Default for Flow {
    /// All that shared memory holds; more than two stages under way at once delay those of the next product.
    fn default() -> Self {
        Self { slots: usize::MAX, flight: 2 }
    }
}

impl Products {
    /// Loads the kernels; `None` if this build has none for the device.
    ///
    /// # Errors
    /// When the driver refuses them.
    pub fn load(device: &Device) -> Result<Option<Self>, CudaError> {
        let properties = device.properties();
        let Some(image) = image("product", properties.capability) else { return Ok(None) };
        let module = device.module(image)?;
        let wide = Wide::load(device)?;
        Ok(Some(Self { module, wide, shared: properties.shared as usize - BESIDE, bulk: properties.capability.0 >= 9 }))
    }

    /// A product, proven to fit: pieces of work to run in order.
    ///
    /// # Errors
    /// When the driver refuses a kernel.
    ///
    /// # Panics
    /// When a buffer is too small or the shape is one that the kernels do not take.
    pub fn work(
        &self,
        weights: &Weights,
        input: Input<'_>,
        output: &mut Output<'_>,
        prepared: &mut Prepared,
        setting: Setting,
    ) -> Result<Vec<Work>, CudaError> {
        let (layout, tokens) = (&weights.layout, setting.tokens);
        check(layout, &input, output, tokens);
        let task = Task { weights, input, output, prepared, setting };
        if let Some(wide) = self.wide.as_ref().filter(|_| Wide::takes(layout, output, tokens)) {
            return wide.work(task);
        }
        let mut work = Vec::new();
        if tokens > 1 {
            let prepare = self.prepare(layout, tokens)?;
            work.push(prepare.work(weights, input.values, prepared, Rows { first: 0, count: tokens }));
        }
        let pass = self.pass(layout, output, tokens);
        for first in (0..tokens).step_by(pass) {
            let rows = Rows { first, count: pass.min(tokens - first) };
            work.push(self.product(task, rows)?);
        }
        Ok(work)
    }

    /// What a product of these weights that adds to the residual leaves of `tokens` tokens.
    pub fn left_by(&self, weights: &Weights, tokens: usize) -> Option<Left> {
        let leaves = self.wide.is_some() && wide::leaves(&weights.layout, tokens);
        leaves.then(|| Left { by: By::Residual, tokens, inputs: weights.layout.outputs() })
    }

    /// What attention may leave of `tokens` tokens to a product of these weights.
    pub fn left_to(&self, weights: &Weights, tokens: usize) -> Option<Left> {
        let takes = self.wide.is_some() && wide::takes_heads(weights, tokens);
        takes.then(|| Left { by: By::Attention, tokens, inputs: weights.layout.inputs() })
    }

    /// Tokens that one kernel takes together: as many as it has room for in shared memory.
    fn pass(&self, layout: &Layout, output: &Output<'_>, tokens: usize) -> usize {
        let shape = |count: usize| Shape::of(layout, output, tokens, count, self.bulk);
        let fits = |count: usize| shape(count).slots(self.shared, usize::MAX).is_some();
        let mut pass = most_tokens(layout.kind(), self.bulk);
        while pass > least_width(layout.kind()) && !fits(pass.min(tokens)) {
            pass /= 2;
        }
        pass
    }

    fn prepare(&self, layout: &Layout, tokens: usize) -> Result<Prepare, CudaError> {
        let function = self.module.function(&format!("prepare_{}", shape::kind_name(layout.kind())), 0)?;
        Ok(Prepare { function, tokens: 1, bytes: prepared_bytes(layout, tokens), early: self.bulk })
    }

    fn product(&self, task: Task<'_>, rows: Rows) -> Result<Work, CudaError> {
        let (shared, Setting { tokens, flow, .. }) = (self.shared, task.setting);
        let shape = Shape::of(&task.weights.layout, task.output, tokens, rows.count, self.bulk);
        let function = self.module.function(&shape.name, shared as u32)?;
        let slots = shape.slots(shared, flow.slots);
        let slots = slots.unwrap_or_else(|| panic!("{shape:?} in {shared} bytes of shared memory"));
        let launch = Launch {
            grid: [shape.grid() as u32, 1, 1],
            threads: shape.threads(),
            shared: shape.shared(slots) as u32,
            early: self.bulk,
        };
        let params = Params {
            stages: slots as u32,
            flight: (flow.flight * shape.cluster()).clamp(1, slots) as u32,
            ..params(task, rows)
        };
        // SAFETY: the buffers are as large as the kernel's parameters say, which was checked.
        Ok(unsafe { Work::new(&function, launch, &params, memory(task)) })
    }
}

impl Output<'_> {
    /// What kernels for the tokens from `first` on write, of `n` outputs: the output, and of a residual the weight of
    /// the norm, what it makes of the residual, and squares.
    fn addresses(&self, first: usize, n: usize) -> [u64; 4] {
        match self {
            Output::Plain(values) => [values.address_of(first * n), 0, 0, 0],
            Output::Gated(values) => [values.address_of(first * n / 2), 0, 0, 0],
            Output::Add(r) => [
                r.values.address_of(first * n),
                r.norm.address(),
                r.normed.address_of(first * n),
                r.squares.address_of(first * SQUARES),
            ],
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Output::Plain(_) => "plain",
            Output::Gated(_) => "gated",
            Output::Add(_) => "add",
        }
    }
}

/// All that a product touches.
fn memory(Task { weights, input, output, prepared, .. }: Task<'_>) -> Vec<Memory> {
    let Prepared { groups, left, mail } = prepared;
    let mut memory = vec![weights.bytes.memory(), input.values.memory()];
    memory.extend([groups.memory(), left.memory(), mail.memory()]);
    memory.extend(weights.permutation.as_ref().map(Buffer::memory));
    memory.extend(input.squares.map(Buffer::memory));
    match output {
        Output::Plain(values) => memory.push(values.memory()),
        Output::Gated(values) => memory.push(values.memory()),
        Output::Add(r) => memory.extend([r.values.memory(), r.norm.memory(), r.normed.memory(), r.squares.memory()]),
    }
    memory
}

/// What `product` is told, but for its ring.
fn params(task: Task<'_>, rows: Rows) -> Params {
    let Task { weights, input, prepared, setting: Setting { tokens, .. }, .. } = task;
    let kind = weights.layout.kind();
    let group = shape::group_tokens(kind);
    let (before, all_groups) = (rows.first / group, tokens.div_ceil(group));
    Params {
        input: match tokens {
            1 => input.values.address(),
            _ => prepared.groups.address_of(before * shape::group_bytes(kind)),
        },
        permutation: weights.permutation.as_ref().map_or(0, Buffer::address),
        groups: (all_groups - before) as u32,
        all_groups: all_groups as u32,
        ..Params::new(task, rows)
    }
}
