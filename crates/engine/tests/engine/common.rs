//! Engines of a simulation with the demo model's tokenizer, and requests to them.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use karst_contract::{
    Answer, Code, Event, FinishReason, Frame, Message, Options, Part, Picture, Request, Role, Sampling, Source,
};
use karst_engine::backend::Memory;
use karst_engine::backend::sim::{self, At, Fault, Log, Sim};
use karst_engine::{DeviceInfo, Engine, Front, Generation, Info, LimitsInfo, ModelInfo, Tuning};
use karst_prompt::Tokenizer;
use karst_vision_input::Settings;

/// Positions of a request.
pub const CONTEXT: usize = 512;

pub fn models() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models")
}

pub fn tokenizer() -> Arc<Tokenizer> {
    static TOKENIZER: OnceLock<Arc<Tokenizer>> = OnceLock::new();
    let read = || {
        let bytes = std::fs::read(models().join("demo/tokenizer.json")).unwrap();
        Arc::new(Tokenizer::from_bytes(&bytes).unwrap())
    };
    Arc::clone(TOKENIZER.get_or_init(read))
}

pub fn front(max_context: usize) -> Front {
    let control = *tokenizer().control();
    Front {
        tokenizer: tokenizer(),
        eos: [control.im_end, control.end_of_text].into(),
        settings: Settings::default(),
        image_ids: true,
        pack_rows: 64,
        max_context,
        max_positions: 40_960,
        position_bytes: 8,
    }
}

pub fn info() -> Info {
    let nothing = String::new;
    Info {
        device: DeviceInfo { name: "sim".to_owned(), description: nothing(), why: nothing() },
        model: ModelInfo {
            name: nothing(),
            quantization: nothing(),
            bytes: 0,
            layers: 0,
            hidden: 0,
            heads: 0,
            kv_heads: 0,
            vocabulary: 1284,
            vision_layers: 0,
            vision_hidden: 0,
            max_positions: 40_960,
        },
        memory: Memory::default(),
        limits: LimitsInfo {
            max_context: CONTEXT,
            max_requests: 4,
            max_waiting: 256,
            cache_tokens: 1024,
            max_slices: 9,
        },
    }
}

/// A simulated engine and what its backend sees.
pub struct World {
    pub engine: Arc<Engine>,
    pub log: Arc<Mutex<Log>>,
}

impl World {
    pub fn new(options: sim::Options) -> Self {
        Self::tuned(options, CONTEXT, Tuning::default())
    }

    pub fn failing(faults: Vec<(At, Fault)>) -> Self {
        Self::new(sim::Options { faults, ..sim::Options::default() })
    }

    pub fn tuned(options: sim::Options, context: usize, tuning: Tuning) -> Self {
        let (sim, log) = Sim::new(options);
        let engine = Engine::assemble(Box::new(sim), front(context), info(), tuning).unwrap();
        Self { engine: Arc::new(engine), log }
    }

    pub fn ask(&self, request: Request) -> End {
        End::of(&self.engine.start(request))
    }

    /// How often the request with this number had a row in a step.
    pub fn rows_of(&self, request: u64) -> usize {
        self.log.lock().unwrap().rows.iter().filter(|rows| rows.contains(&request)).count()
    }

    pub fn steps(&self) -> u64 {
        self.log.lock().unwrap().steps
    }

    /// Whether a call has been made.
    pub fn has_passed(&self, at: At) -> bool {
        let log = self.log.lock().unwrap();
        match at {
            At::Step(number) => log.steps > number,
            At::Encode(number) => log.encodes > number,
        }
    }

    /// Nothing is held for anybody, and no rule was broken.
    pub fn holds_nothing(&self) {
        let load = self.engine.load();
        assert_eq!((load.requests, load.running), (0, 0), "{load:?}");
        assert_eq!(load.blocks_free, load.blocks_total, "{load:?}");
        assert_eq!((load.feature_bytes, load.pixel_bytes), (0, 0), "{load:?}");
        let log = self.log.lock().unwrap();
        assert!(log.violations.is_empty(), "{:?}", log.violations);
        assert_eq!(log.features, 0);
    }

    /// Nothing is held for anybody, no rule was broken, and the next good request is answered as by a new engine.
    pub fn is_as_new(&self) {
        self.holds_nothing();
        let good = self.ask(good()).finished();
        assert_eq!(good.ids, golden().ids);
        assert!(self.log.lock().unwrap().violations.is_empty());
    }
}

/// A request that every engine must answer with [`golden`] after whatever happened to it.
pub fn good() -> Request {
    ask("What is in the picture?", vec![picture(60, 40, 9)], 7)
}

pub fn golden() -> Answer {
    static GOLDEN: OnceLock<Answer> = OnceLock::new();
    GOLDEN.get_or_init(|| World::new(sim::Options::default()).ask(good()).finished()).clone()
}

/// How a request ended, and what came before.
#[derive(Debug)]
pub struct End {
    pub pieces: Vec<Event>,
    pub last: Event,
}

impl End {
    /// Reads a generation to its end; checks that there is exactly one end.
    pub fn of(generation: &Generation) -> Self {
        let mut pieces = Vec::new();
        let last = loop {
            match generation.next_blocking().expect("the end is told") {
                event @ (Event::Text(_) | Event::Reasoning(_)) => pieces.push(event),
                last => break last,
            }
        };
        assert_eq!(generation.next_blocking(), None, "nothing follows the end");
        assert_eq!(generation.next_blocking(), None);
        Self { pieces, last }
    }

    pub fn streamed(&self) -> String {
        let text = |event: &Event| if let Event::Text(text) = event { text.clone() } else { String::new() };
        self.pieces.iter().map(text).collect()
    }

    pub fn finished(self) -> Answer {
        match self.last {
            Event::Finish(ref answer) => {
                assert_eq!(self.streamed().trim_start_matches('\n'), answer.text, "the stream is the answer");
                (**answer).clone()
            }
            other => panic!("{other:?}"),
        }
    }

    pub fn aborted(self) -> Answer {
        let answer = self.finished();
        assert_eq!(answer.finish_reason, FinishReason::Abort);
        answer
    }

    pub fn failed(self, code: Code) -> (String, Answer) {
        match self.last {
            Event::Failed { failure, answer } if failure.code == code => (failure.message, *answer),
            other => panic!("{other:?} instead of {code}"),
        }
    }
}

pub fn greedy(max_tokens: usize) -> Options {
    Options { max_tokens, sampling: Sampling::GREEDY, ..Options::default() }
}

/// Visuals and then a question, greedily.
pub fn ask(question: &str, visuals: Vec<Part>, max_tokens: usize) -> Request {
    let content = visuals.into_iter().chain([Part::Text(question.to_owned())]).collect();
    Request { messages: vec![Message { role: Role::User, content, reasoning: None }], options: greedy(max_tokens) }
}

pub fn picture(width: u32, height: u32, seed: u8) -> Part {
    Part::Picture(still(width, height, seed))
}

pub fn still(width: u32, height: u32, seed: u8) -> Picture {
    let rgb: Vec<u8> = (0..3 * width * height).map(|at| (at as u8).wrapping_mul(seed)).collect();
    let source = Source::Frame(Frame::new(width, height, rgb).unwrap());
    Picture { source, max_slices: None, orientation: Default::default(), alpha: Default::default() }
}

/// Waits for something that another thread does.
pub fn until(what: &str, done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(20), "{what} never came");
        std::thread::sleep(Duration::from_millis(1));
    }
}
