//! The whole path on the demo model: its samples answer as listed, alone and together, before and after bad requests.

use std::path::Path;
use std::sync::{Mutex, OnceLock};

use karst_contract::{
    Answer, Clip, Code, FinishReason, Message, Part, Picture, Progress, Request, Role, Sampling, Source, Timing,
};
use karst_engine::{DeviceChoice, Engine, EngineOptions};
use serde_json::Value;

use crate::common::{End, greedy, models, until};

/// A conversation, and what the reference implementation makes of it.
struct Sample {
    id: String,
    request: Request,
    answer: String,
    ids: Vec<u32>,
    prompt_tokens: usize,
    grids: Vec<(u32, u32)>,
}

/// One engine for all tests here; most of them want to share it.
fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| Engine::open(&models().join("demo"), &EngineOptions::default(), |_| {}).unwrap())
}

fn samples() -> Vec<Sample> {
    let bytes = std::fs::read(models().join("samples/samples.json")).unwrap();
    let samples: Vec<Value> = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(samples.len(), 27);
    samples.iter().map(Sample::of).collect()
}

impl Sample {
    fn of(sample: &Value) -> Self {
        let numbers = |value: &Value| value.as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as u32).collect();
        let pair = |grid: &Value| (grid[0].as_u64().unwrap() as u32, grid[1].as_u64().unwrap() as u32);
        Self {
            id: sample["id"].as_str().unwrap().to_owned(),
            request: request(sample),
            answer: sample["answer"].as_str().unwrap().to_owned(),
            ids: numbers(&sample["greedy_ids"]),
            prompt_tokens: sample["prompt_tokens"].as_u64().unwrap() as usize,
            grids: sample["grids"].as_array().unwrap().iter().map(pair).collect(),
        }
    }

    fn check(&self, answer: &Answer) {
        let id = &self.id;
        assert_eq!(answer.ids, self.ids, "{id}: {:?}", answer.text);
        assert_eq!(answer.usage.prompt_tokens, self.prompt_tokens, "{id}");
        assert_eq!(answer.finish_reason, FinishReason::Stop, "{id}");
        let (thoughts, text) = self
            .answer
            .split_once("\n</think>\n\n")
            .map_or((None, &self.answer[..]), |(thoughts, text)| (Some(thoughts), text));
        assert_eq!((answer.reasoning.as_deref(), answer.text.as_str()), (thoughts, text), "{id}");
    }
}

/// The sample's conversation in our words: pictures of one message with temporal ids are a clip.
fn request(sample: &Value) -> Request {
    let options = &sample["options"];
    let messages = sample["messages"].as_array().unwrap().iter().map(|message| Message {
        role: match message["role"].as_str().unwrap() {
            "system" => Role::System,
            "assistant" => Role::Assistant,
            _ => Role::User,
        },
        content: content(&message["content"], &options["temporal_ids"]),
        reasoning: None,
    });
    let mut request = Request { messages: messages.collect(), options: greedy(200) };
    request.options.thinking = options["enable_thinking"].as_bool().unwrap_or(false);
    request
}

fn content(content: &Value, temporal_ids: &Value) -> Vec<Part> {
    if let Some(text) = content.as_str() {
        return vec![Part::Text(text.to_owned())];
    }
    let items = content.as_array().unwrap();
    let pictures: Vec<_> = items.iter().filter_map(|item| item["image"].as_str()).map(picture).collect();
    let texts = items.iter().filter_map(|item| item["text"].as_str()).map(|text| Part::Text(text.to_owned()));
    let visuals = if temporal_ids.is_null() {
        pictures.into_iter().map(Part::Picture).collect()
    } else {
        vec![clip(pictures, temporal_ids)]
    };
    visuals.into_iter().chain(texts).collect()
}

fn clip(frames: Vec<Picture>, temporal_ids: &Value) -> Part {
    let group = |group: &Value| group.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect();
    let timing = Timing::TemporalIds(temporal_ids.as_array().unwrap().iter().map(group).collect());
    Part::Clip(Clip { frames, timing, packing: None, max_slices: None })
}

fn picture(name: &str) -> Picture {
    let source = Source::Path(models().join("samples").join(name));
    Picture { source, max_slices: None, orientation: Default::default(), alpha: Default::default() }
}

fn answer(request: &Request) -> Answer {
    End::of(&engine().start(request.clone())).finished()
}

#[test]
fn the_demo_samples_answer_as_listed() {
    for sample in samples() {
        sample.check(&answer(&sample.request));
    }
}

/// DESIGN section 4: the same bits in any company.
#[test]
fn samples_answer_the_same_together() {
    let samples = samples();
    let running: Vec<_> = samples.iter().map(|sample| engine().start(sample.request.clone())).collect();
    for (sample, generation) in samples.iter().zip(&running) {
        sample.check(&End::of(generation).finished());
    }
}

#[test]
fn log_probabilities_are_the_same_alone_and_together() {
    let request = |sample: &Sample| {
        let mut request = sample.request.clone();
        request.options.logprobs = Some(3);
        request
    };
    let samples = &samples()[..6];
    let alone: Vec<_> = samples.iter().map(|sample| answer(&request(sample)).logprobs.unwrap()).collect();
    let running: Vec<_> = samples.iter().map(|sample| engine().start(request(sample))).collect();
    let together: Vec<_> = running.iter().map(|one| End::of(one).finished().logprobs.unwrap()).collect();
    assert_eq!(alone, together);
}

#[test]
fn inspection_names_the_samples_grids_and_tokens() {
    for sample in samples() {
        let found = engine().inspect(&sample.request).unwrap();
        assert_eq!(found.prompt_tokens, sample.prompt_tokens, "{}", sample.id);
        let groups = found.parts.iter().flat_map(|part| &part.groups);
        let views: Vec<_> = groups.flat_map(|group| (0..group.frames).flat_map(|_| group.views.clone())).collect();
        let grids: Vec<_> = views.iter().map(|view| (view.height / 14, view.width / 14)).collect();
        assert_eq!(grids, sample.grids, "{}", sample.id);
    }
}

/// Release gate: after each bad request the next good one is right.
#[test]
fn a_bad_request_does_not_disturb_the_next() {
    let samples = samples();
    let with = |part: Part| {
        let mut request = samples[0].request.clone();
        request.messages[0].content.insert(0, part);
        request
    };
    let bytes = |bytes: &[u8]| Part::Picture(Picture { source: Source::Bytes(bytes.into()), ..picture("open.png") });
    let whole = std::fs::read(models().join("samples/open.png")).unwrap();
    let frames = || vec![picture("open.png"), picture("circle-square.png")];
    let mixed =
        Clip { frames: frames(), timing: Timing::TemporalIds(vec![vec![0, 1]]), packing: None, max_slices: None };
    let bad = [
        (with(Part::Picture(picture("missing.png"))), Code::PictureNotFound),
        (with(bytes(b"not a picture")), Code::InvalidPicture),
        (with(bytes(&whole[..whole.len() * 2 / 3])), Code::InvalidPicture),
        (with(Part::Clip(mixed)), Code::InvalidClip),
        (with(Part::Text("word ".repeat(20_000))), Code::ContextOverflow),
        (Request { messages: Vec::new(), options: greedy(1) }, Code::InvalidMessage),
    ];
    for (request, code) in bad {
        End::of(&engine().start(request)).failed(code);
        samples[0].check(&answer(&samples[0].request));
    }
}

#[test]
fn a_sample_that_is_cancelled_leaves_nothing() {
    let samples = samples();
    for taken in 0..4 {
        let generation = engine().start(samples[6].request.clone());
        (0..taken).for_each(|_| drop(generation.next_blocking()));
        drop(generation);
        samples[1].check(&answer(&samples[1].request));
    }
}

#[test]
fn seeds_repeat_on_the_model() {
    let mut request = samples().remove(26).request;
    request.options.sampling = Sampling { temperature: 2.0, top_p: 1.0, top_k: 0, seed: Some(11), ..Sampling::FAST };
    request.options.max_tokens = 20;
    let first = answer(&request).ids;
    assert_eq!(answer(&request).ids, first);
    request.options.sampling.seed = Some(12);
    assert_ne!(answer(&request).ids, first);
}

/// The device that computes and why, or why the wanted one does not, on the machine of this test.
fn expected(wanted: Option<u32>) -> Result<(String, String), String> {
    let none = |why: String| match wanted {
        None => Ok(("cpu".to_owned(), why)),
        Some(_) => Err(why),
    };
    if !karst_kernels::has_images() {
        return none("this build has no CUDA kernels".to_owned());
    }
    match (karst_kernels::Device::count(), karst_kernels::Survey::take().choose(wanted)) {
        (Err(karst_kernels::Unavailable::NoDriver), _) => none("no NVIDIA driver is installed".to_owned()),
        (_, Err(why)) => none(why.to_string()),
        (_, Ok(ordinal)) => {
            let why = wanted.map_or("it is the first CUDA device that can compute", |_| "it was asked for");
            Ok((format!("cuda:{ordinal}"), why.to_owned()))
        }
    }
}

#[test]
fn opening_tells_progress_and_describes_the_model() {
    let seen = Mutex::new(Vec::new());
    let engine = Engine::open(&models().join("demo"), &EngineOptions::default(), |progress: Progress| {
        seen.lock().unwrap().push(progress);
    });
    let engine = engine.unwrap();
    let seen = seen.into_inner().unwrap();
    assert!(seen.last().is_some_and(|last| last.done == last.total && last.total > 0), "{seen:?}");
    assert!(seen.windows(2).all(|pair| pair[0].phase != pair[1].phase || pair[0].done <= pair[1].done), "{seen:?}");
    let info = engine.info();
    assert_eq!(Ok((info.device.name.clone(), info.device.why.clone())), expected(None));
    let (requests, number) = if info.device.name == "cpu" { (4, 4) } else { (16, 2) };
    assert_eq!(info.model.name, "demo");
    assert_eq!(info.model.quantization, "GPTQ int4, groups of 128, symmetric");
    assert_eq!((info.model.layers, info.model.hidden, info.model.vocabulary), (6, 256, 1284));
    assert_eq!((info.limits.max_context, info.limits.max_requests), (8192, requests));
    assert_eq!(info.limits.cache_tokens, requests * 8192);
    let cache = requests as u64 * 8192 * 2 * number * 6 * 2 * 128;
    assert!(info.memory.weights > 1 << 20 && info.memory.cache == cache, "{:?}", info.memory);
}

#[test]
fn what_cannot_be_opened_says_why() {
    let open = |folder: &Path, options: &EngineOptions| {
        let error = Engine::open(folder, options, |_| {}).unwrap_err();
        karst_contract::Failure::from(&error)
    };
    let demo = models().join("demo");
    let none = 99;
    let cuda = EngineOptions { device: DeviceChoice::Cuda(none), ..EngineOptions::default() };
    let failure = open(&demo, &cuda);
    assert_eq!(failure.code, Code::DeviceUnavailable);
    assert_eq!(failure.message, format!("device cuda:{none} cannot be used: {}", expected(Some(none)).unwrap_err()));
    assert_eq!(failure.hint.as_deref(), Some("choose the device auto or cpu"));
    let missing = open(&models().join("none"), &EngineOptions::default());
    assert_eq!(missing.code, Code::ModelNotFound);
    for context in [0, 40_961, usize::MAX] {
        let failure = open(&demo, &EngineOptions { max_context: Some(context), ..EngineOptions::default() });
        assert_eq!(failure.code, Code::InvalidOption);
        assert_eq!(failure.message, format!("maxContext is {context}; it takes 1 to 40960"));
    }
    let failure = open(&demo, &EngineOptions { max_requests: Some(65), ..EngineOptions::default() });
    assert_eq!(failure.message, "maxRequests is 65; it takes 1 to 64");
}

#[test]
fn a_small_context_holds_what_it_says() {
    let samples = samples();
    let sample = &samples[0];
    let limit = sample.prompt_tokens + sample.ids.len();
    let options = |limit| EngineOptions { max_context: Some(limit), max_requests: Some(1), ..EngineOptions::default() };
    let open = |limit| Engine::open(&models().join("demo"), &options(limit), |_| {}).unwrap();
    let ask = |limit: usize| End::of(&open(limit).start(sample.request.clone()));
    sample.check(&ask(limit).finished());
    let cut = ask(limit - 1).finished();
    assert_eq!((cut.ids.len(), cut.finish_reason), (sample.ids.len() - 1, FinishReason::Length));
    ask(sample.prompt_tokens).failed(Code::ContextOverflow);
}

/// R8: memory is flat over opening, answering and closing; a kept model would be 10 MiB a round. Other tests run beside this.
#[test]
fn r8_opening_and_closing_leaves_nothing() {
    let resident = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:").map(str::to_owned));
        line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok())
    };
    let Some(_) = resident() else { return eprintln!("resident memory is not known on this system") };
    let sample = &samples()[1];
    let round = || {
        let engine = Engine::open(&models().join("demo"), &EngineOptions::default(), |_| {}).unwrap();
        sample.check(&End::of(&engine.start(sample.request.clone())).finished());
        until("the end", || engine.load().requests == 0);
    };
    (0..5).for_each(|_| round());
    let before = resident().unwrap();
    (0..20).for_each(|_| round());
    let after = resident().unwrap();
    assert!(after < before + 100 * 1024, "{before} kB before 20 more rounds, {after} kB after");
}
