//! The scheduler under many random operations: no block is lost or shared, every plan is valid, everybody is served.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use karst_contract::Sampling;
use karst_engine::plan::{Append, Bounds, FeaturesId, Plan, RequestId};
use karst_engine::scheduler::{Job, PackPlace, Scheduler};
use proptest::prelude::*;

const BOUNDS: Bounds = Bounds { slots: 4, blocks: 40, block: 16, chunk: 48, pack_rows: 64 };
const PATCHES: usize = 2000;

/// `text` ids, then packs of 64 rows with an id between them.
fn job(request: u64, text: usize, packs: usize, max_tokens: usize) -> Job {
    let starts = (0..packs).map(|pack| text + 65 * pack);
    let places = starts.map(|start| PackPlace { start, patches: 300 + 400 * (start % 3) });
    Job {
        request: RequestId(request),
        prompt: (0..(text + 65 * packs) as u32).collect(),
        packs: places.collect(),
        max_tokens,
        sampling: Sampling::GREEDY,
        seed: 0,
        logprobs: None,
    }
}

/// What the scheduler must agree with: each request's progress, counted from its plans.
#[derive(Default)]
struct Model {
    jobs: BTreeMap<RequestId, (Job, usize, usize)>,
    /// Features that exist.
    alive: BTreeSet<FeaturesId>,
    made: u64,
}

impl Model {
    fn follow(&mut self, plan: &Plan) {
        plan.verify(&BOUNDS).unwrap();
        for row in plan.rows() {
            let (job, past, drawn) = self.jobs.get_mut(&row.request).expect("a plan names a request that has left");
            assert_eq!(row.past, *past);
            if let Append::Chunk(chunk) = &row.append {
                assert!(past.is_multiple_of(BOUNDS.chunk), "chunks depend on the request alone");
                assert_eq!(chunk.range.len(), BOUNDS.chunk.min(job.prompt.len() - *past));
                follow_features(job, chunk.range.start, chunk, &self.alive);
            }
            *past += row.appended();
            if let Some(draw) = row.draw {
                assert_eq!(draw.index, *drawn);
                *drawn += 1;
                assert!(*drawn <= job.max_tokens);
            }
        }
    }

    fn release(&mut self, features: Vec<FeaturesId>) {
        for features in features {
            assert!(self.alive.remove(&features), "{features:?} released twice");
        }
    }
}

/// Every position of a pack within the chunk takes the right row.
fn follow_features(job: &Job, past: usize, chunk: &karst_engine::plan::Chunk, alive: &BTreeSet<FeaturesId>) {
    let mut found = BTreeMap::new();
    for placed in &chunk.features {
        assert!(alive.contains(&placed.features), "{:?} are gone", placed.features);
        for (offset, row) in placed.rows.clone().enumerate() {
            found.insert(past + placed.offset + offset, row);
        }
    }
    let rows = job.packs.iter().flat_map(|pack| (0..BOUNDS.pack_rows).map(move |row| (pack.start + row, row)));
    let expected: BTreeMap<_, _> = rows.filter(|(position, _)| chunk.range.contains(position)).collect();
    assert_eq!(found, expected);
}

#[derive(Debug, Clone)]
enum Op {
    Enqueue { text: usize, packs: usize, max_tokens: usize },
    Admit,
    Encode,
    Step,
    Remove(usize),
    Hold(usize),
    Resume(usize),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        3 => (1usize..200, 0usize..4, 1usize..60).prop_map(|(text, packs, max_tokens)| Op::Enqueue { text, packs, max_tokens }),
        4 => Just(Op::Admit),
        4 => Just(Op::Encode),
        12 => Just(Op::Step),
        1 => any::<usize>().prop_map(Op::Remove),
        1 => any::<usize>().prop_map(Op::Hold),
        1 => any::<usize>().prop_map(Op::Resume),
    ];
    prop::collection::vec(op, 1..400)
}

struct World {
    scheduler: Scheduler,
    model: Model,
    now: Duration,
    next: u64,
}

impl World {
    fn new() -> Self {
        let scheduler = Scheduler::new(BOUNDS, PATCHES);
        Self { scheduler, model: Model::default(), now: Duration::ZERO, next: 0 }
    }

    fn enqueue(&mut self, text: usize, packs: usize, max_tokens: usize) -> bool {
        let job = job(self.next, text, packs, max_tokens);
        self.next += 1;
        let fits = (job.prompt.len() + max_tokens).div_ceil(BOUNDS.block) <= BOUNDS.blocks as usize;
        assert_eq!(self.scheduler.enqueue(job.clone(), self.now).is_ok(), fits);
        if fits {
            self.model.jobs.insert(job.request, (job, 0, 0));
        }
        fits
    }

    fn encode(&mut self) {
        let Some(encode) = self.scheduler.encode() else { return };
        let job = &self.model.jobs[&encode.request].0;
        let patches: usize = job.packs[encode.packs.clone()].iter().map(|pack| pack.patches).sum();
        assert!(encode.packs.len() == 1 || patches <= PATCHES);
        let features = FeaturesId(self.model.made);
        self.model.made += 1;
        self.model.alive.insert(features);
        self.scheduler.encoded(&encode, features);
    }

    fn step(&mut self) -> Plan {
        let plan = self.scheduler.plan();
        self.model.follow(&plan);
        let spent = self.scheduler.spent();
        self.model.release(spent);
        let done = |(job, _, drawn): &(Job, usize, usize)| job.max_tokens == *drawn;
        let ended: Vec<_> = self.model.jobs.iter().filter(|(_, entry)| done(entry)).map(|(id, _)| *id).collect();
        ended.into_iter().for_each(|request| self.remove(request));
        plan
    }

    fn remove(&mut self, request: RequestId) {
        let left = self.scheduler.remove(request).expect("a request that the model knows");
        self.model.release(left);
        self.model.jobs.remove(&request);
        assert!(self.scheduler.remove(request).is_none(), "removed twice");
    }

    fn pick(&self, index: usize) -> Option<RequestId> {
        let count = self.model.jobs.len().max(1);
        self.model.jobs.keys().nth(index % count).copied()
    }

    fn apply(&mut self, op: &Op) {
        self.now += Duration::from_millis(1);
        match *op {
            Op::Enqueue { text, packs, max_tokens } => drop(self.enqueue(text, packs, max_tokens)),
            Op::Admit => drop(self.scheduler.admit(self.now)),
            Op::Encode => self.encode(),
            Op::Step => drop(self.step()),
            Op::Remove(index) => self.pick(index).into_iter().for_each(|request| self.remove(request)),
            Op::Hold(index) => self.pick(index).into_iter().for_each(|request| self.scheduler.hold(request, self.now)),
            Op::Resume(index) => self.pick(index).into_iter().for_each(|request| self.scheduler.resume(request)),
        }
        let blocks = self.scheduler.blocks();
        assert!(self.scheduler.running() <= BOUNDS.slots && blocks.free() <= blocks.total());
        assert_eq!(self.scheduler.running() + self.scheduler.waiting(), self.model.jobs.len());
    }

    /// Everything left runs to its end, within a number of steps that its lengths bound.
    fn drain(&mut self) {
        let work: usize =
            self.model.jobs.values().map(|(job, ..)| job.prompt.len() + job.max_tokens + job.packs.len()).sum();
        for _ in 0..=work {
            for request in self.model.jobs.keys() {
                self.scheduler.resume(*request);
            }
            self.scheduler.admit(self.now);
            self.encode();
            self.step();
        }
        assert!(self.model.jobs.is_empty(), "{} requests never ended", self.model.jobs.len());
        assert!(self.model.alive.is_empty(), "features were never released: {:?}", self.model.alive);
        assert_eq!(self.scheduler.blocks().free(), self.scheduler.blocks().total(), "blocks were lost");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn no_block_is_lost_or_shared_and_every_plan_is_valid(ops in ops()) {
        let mut world = World::new();
        for op in &ops {
            world.apply(op);
        }
        world.drain();
    }
}

/// R11: those who came first are admitted first, and none overtakes one that does not fit yet.
#[test]
fn admission_is_in_the_order_of_arrival() {
    let mut world = World::new();
    assert!(world.enqueue(400, 0, 60), "29 of 40 blocks");
    assert!(world.enqueue(200, 0, 40), "15 blocks: must wait");
    assert!(world.enqueue(1, 0, 1), "1 block: would fit, must not overtake");
    world.now += Duration::from_millis(7);
    let admitted = world.scheduler.admit(world.now);
    assert_eq!(admitted.iter().map(|one| (one.request.0, one.waited.as_millis())).collect::<Vec<_>>(), [(0, 7)]);
    world.remove(RequestId(0));
    assert_eq!(world.scheduler.admit(world.now).len(), 2);
}

/// R11: a long prompt and a long clip take turns with short prompts, and those who decode get a token at every step.
#[test]
fn long_prompts_do_not_hold_up_the_others() {
    let mut world = World::new();
    world.enqueue(1, 0, 60);
    world.enqueue(300, 0, 4);
    world.scheduler.admit(world.now);
    world.step();
    world.enqueue(20, 0, 4);
    world.scheduler.admit(world.now);
    let mut served = HashSet::new();
    for step in 0..4 {
        let plan = world.step();
        assert!(plan.rows().iter().any(|row| row.request == RequestId(0)), "step {step}: the decoder waits");
        served.extend(plan.rows().iter().map(|row| row.request.0));
    }
    assert!(served.contains(&2), "a prompt of one chunk waits for one of seven");
    world.drain();
}

#[test]
fn vision_work_is_shared_out_in_turns() {
    let mut world = World::new();
    world.enqueue(1, 3, 1);
    world.enqueue(1, 3, 1);
    world.scheduler.admit(world.now);
    let order: Vec<u64> = std::iter::from_fn(|| {
        let encode = world.scheduler.encode()?;
        let features = FeaturesId(world.model.made);
        world.model.made += 1;
        world.model.alive.insert(features);
        world.scheduler.encoded(&encode, features);
        Some(encode.request.0)
    })
    .collect();
    assert_eq!(order, [0, 1, 0, 1], "two batches each");
    world.drain();
}

#[test]
fn a_request_that_no_cache_holds_is_refused_at_once() {
    let mut scheduler = Scheduler::new(BOUNDS, PATCHES);
    let error = scheduler.enqueue(job(0, 600, 0, 41), Duration::ZERO).unwrap_err();
    assert_eq!((error.need, error.have), (41, 40));
    assert!(scheduler.enqueue(job(1, 600, 0, 40), Duration::ZERO).is_ok());
    assert!(scheduler.enqueue(job(2, 1, 0, usize::MAX), Duration::ZERO).is_err(), "the sum must not wrap");
}

/// The plan's own check is one that can fail.
#[test]
fn a_plan_is_refused_by_smaller_bounds() {
    let mut world = World::new();
    world.enqueue(40, 0, 4);
    world.scheduler.admit(world.now);
    let plan = world.scheduler.plan();
    plan.verify(&BOUNDS).unwrap();
    for bounds in [
        Bounds { slots: 0, ..BOUNDS },
        Bounds { blocks: 1, ..BOUNDS },
        Bounds { block: 8, ..BOUNDS },
        Bounds { chunk: 8, ..BOUNDS },
    ] {
        assert!(plan.verify(&bounds).is_err(), "{bounds:?}");
    }
}
