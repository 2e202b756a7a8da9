//! The kernels of products.

use half::bf16;
use karst_kernels::{
    Buffer, Flow, Input, Kind, Layout, Measure, Output, Prepared, Products, Residual, SQUARES, Setting, Weights,
};

use crate::{World, world};

const TOKENS: [usize; 6] = [1, 3, 8, 16, 20, 64];

struct Case<'a> {
    world: &'a World,
    products: &'a Products,
    measure: &'a Measure,
}

#[test]
fn products_once() {
    let world = world();
    let products = Products::load(&world.device).unwrap().expect("kernels for this device");
    let measure = Measure::load(&world.device).unwrap().expect("kernels for this device");
    let case = Case { world: &world, products: &products, measure: &measure };
    for kind in [Kind::Int4, Kind::Int8, Kind::F16, Kind::Bf16] {
        for tokens in TOKENS {
            case.plain(kind, tokens);
            case.gated(kind, tokens);
            case.add(kind, tokens);
        }
    }
}

impl Case<'_> {
    fn weights(&self, layout: Layout) -> Weights {
        let bytes = self.measure.weights(&self.world.stream, &layout, 5).unwrap();
        let order = self.world.device.upload(&(0..layout.inputs() as u32).rev().collect::<Vec<_>>()).unwrap();
        Weights::new(layout, bytes, Some(order))
    }

    fn plain(&self, kind: Kind, tokens: usize) {
        let weights = self.weights(Layout::stacked(kind, 264, &[100], 3).unwrap());
        let mut out = self.world.device.zeroed(tokens * 100).unwrap();
        self.run(&weights, Output::Plain(&mut out), true, tokens);
    }

    fn gated(&self, kind: Kind, tokens: usize) {
        let weights = self.weights(Layout::interleaved(kind, 264, 100, 3).unwrap());
        let mut out = self.world.device.zeroed(tokens * 100).unwrap();
        self.run(&weights, Output::Gated(&mut out), true, tokens);
    }

    /// Inputs of several chunks.
    fn add(&self, kind: Kind, tokens: usize) {
        let weights = self.weights(Layout::stacked(kind, 4360, &[56], 2).unwrap());
        let device = &self.world.device;
        let (mut values, norm) = (self.world.numbers(tokens * 56), self.world.numbers(56));
        let (mut normed, mut squares) = (device.zeroed(tokens * 56).unwrap(), device.zeroed(tokens * SQUARES).unwrap());
        let residual = Residual { values: &mut values, norm: &norm, normed: &mut normed, squares: &mut squares };
        self.run(&weights, Output::Add(residual), false, tokens);
    }

    fn run(&self, weights: &Weights, mut output: Output<'_>, norm: bool, tokens: usize) {
        let values: Buffer<bf16> = self.world.halves(tokens * weights.layout().inputs());
        let squares = self.world.device.upload(&vec![1.0; tokens * SQUARES]).unwrap();
        let mut prepared = Prepared::new(&self.world.device, [weights.layout()], tokens).unwrap();
        let input = Input { values: &values, squares: norm.then_some(&squares), left: None };
        let setting = Setting { tokens, epsilon: 1e-6, flow: Flow::default() };
        let work = self.products.work(weights, input, &mut output, &mut prepared, setting).unwrap();
        let twice: Vec<_> = work.iter().chain(&work).collect();
        self.world.stream.record(twice).unwrap().launch(&self.world.stream).unwrap();
        self.world.stream.synchronize().unwrap();
    }
}
