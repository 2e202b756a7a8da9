//! Options as JavaScript gives them: a name, and a value under the name of its type. They are checked here and in `contract`,
//! nowhere else.

use karst_contract::options::nearest;
use karst_contract::{Alpha, Code, Failure, OptionError, OptionValue, Options, Orientation, Timing, limits};
use karst_engine::{DeviceChoice, EngineOptions};
use napi_derive::napi;

/// One option. Exactly one of the other fields is there; `other` names a type that no option takes.
#[napi(object, object_to_js = false)]
pub struct NativeOption {
    pub name: String,
    pub number: Option<f64>,
    pub flag: Option<bool>,
    pub text: Option<String>,
    pub list: Option<Vec<String>>,
    pub numbers: Option<Vec<f64>>,
    pub groups: Option<Vec<Vec<f64>>>,
    pub other: Option<String>,
}

impl NativeOption {
    fn value(&self) -> OptionValue {
        let numbers = || match (&self.numbers, &self.groups) {
            (Some(numbers), _) => format!("a list of {} numbers", numbers.len()),
            (_, Some(groups)) => format!("{} lists of numbers", groups.len()),
            _ => self.other.clone().unwrap_or_else(|| "nothing".to_owned()),
        };
        None.or(self.number.map(OptionValue::Number))
            .or(self.flag.map(OptionValue::Bool))
            .or_else(|| self.text.clone().map(OptionValue::Text))
            .or_else(|| self.list.clone().map(OptionValue::List))
            .unwrap_or_else(|| OptionValue::Other(numbers()))
    }

    fn refuse(&self, expected: impl Into<String>) -> Failure {
        let (name, expected) = (self.name.clone(), expected.into());
        Failure::from(&match self.value() {
            OptionValue::Number(found) => OptionError::Range { name, expected, found: found.to_string() },
            OptionValue::Text(found) => OptionError::Range { name, expected, found: format!("'{found}'") },
            found => OptionError::Type { name, expected, found: found.to_string() },
        })
    }

    fn whole(&self, min: u32, max: u32) -> Result<u32, Failure> {
        whole(self.number, min, max).ok_or_else(|| self.refuse(format!("a whole number from {min} to {max}")))
    }
}

fn whole(number: Option<f64>, min: u32, max: u32) -> Option<u32> {
    let number = number.filter(|number| number.fract() == 0.0)?;
    (f64::from(min)..=f64::from(max)).contains(&number).then_some(number as u32)
}

/// Options of a request.
pub(crate) fn of_request(given: &[NativeOption]) -> Result<Options, Failure> {
    let given: Vec<_> = given.iter().map(|option| (option.name.clone(), option.value())).collect();
    Options::parse(&given).map_err(|error| Failure::from(&error))
}

/// The names of a model's options.
pub(crate) const OF_MODEL: &[&str] = &["device", "maxContext", "maxRequests"];

/// Options of a model.
pub(crate) fn of_model(given: &[NativeOption]) -> Result<EngineOptions, Failure> {
    let mut options = EngineOptions::default();
    for option in given {
        match option.name.as_str() {
            "device" => options.device = device(option)?,
            "maxContext" => options.max_context = Some(option.whole(1, u32::MAX)? as usize),
            "maxRequests" => options.max_requests = Some(option.whole(1, u32::MAX)? as usize),
            _ => known("option", Code::InvalidOption, &option.name, OF_MODEL.iter().copied())?,
        }
    }
    Ok(options)
}

fn device(option: &NativeOption) -> Result<DeviceChoice, Failure> {
    let text = option.text.as_deref().unwrap_or_default();
    let number = text.strip_prefix("cuda:").filter(|number| number.bytes().all(|byte| byte.is_ascii_digit()));
    match (text, number.and_then(|number| number.parse().ok())) {
        ("auto", _) => Ok(DeviceChoice::Auto),
        ("cpu", _) => Ok(DeviceChoice::Cpu),
        (_, Some(number)) => Ok(DeviceChoice::Cuda(number)),
        _ => Err(option.refuse("'auto', 'cpu' or 'cuda:' and a number")),
    }
}

/// The names of a still's options.
pub(crate) const OF_PICTURE: &[&str] = &["maxSlices", "background", "orientation"];

/// Options of a still.
#[derive(Default)]
pub(crate) struct PictureOptions {
    pub(crate) max_slices: Option<u32>,
    pub(crate) alpha: Alpha,
    pub(crate) orientation: Orientation,
}

impl PictureOptions {
    pub(crate) fn of(given: &[NativeOption]) -> Result<Self, Failure> {
        let mut options = Self::default();
        for option in given {
            match option.name.as_str() {
                "maxSlices" => options.max_slices = max_slices(option)?,
                "background" => options.alpha = alpha(option)?,
                "orientation" => options.orientation = orientation(option)?,
                _ => known("option", Code::InvalidOption, &option.name, OF_PICTURE.iter().copied())?,
            }
        }
        Ok(options)
    }
}

fn max_slices(option: &NativeOption) -> Result<Option<u32>, Failure> {
    let parsed = Options::parse(&[("maxSlices".to_owned(), option.value())]);
    parsed.map(|options| options.max_slices).map_err(|error| Failure::from(&error))
}

fn alpha(option: &NativeOption) -> Result<Alpha, Failure> {
    if option.text.as_deref() == Some("drop-alpha") {
        return Ok(Alpha::Drop);
    }
    let channel = |&value: &f64| whole(Some(value), 0, 255).and_then(|value| u8::try_from(value).ok());
    let colour: Option<Vec<u8>> = option.numbers.as_deref().and_then(|numbers| numbers.iter().map(channel).collect());
    let colour = colour.and_then(|colour| <[u8; 3]>::try_from(colour).ok());
    colour.map(Alpha::Over).ok_or_else(|| option.refuse("'drop-alpha' or three whole numbers from 0 to 255"))
}

fn orientation(option: &NativeOption) -> Result<Orientation, Failure> {
    match option.text.as_deref() {
        Some("exif") => Ok(Orientation::Exif),
        Some("ignore") => Ok(Orientation::Ignore),
        _ => Err(option.refuse("'exif' or 'ignore'")),
    }
}

/// The names of a clip's options.
pub(crate) const OF_CLIP: &[&str] = &["times", "fps", "temporalIds", "packing", "maxSlices"];

/// Options of a clip.
pub(crate) struct ClipOptions {
    pub(crate) timing: Timing,
    pub(crate) packing: Option<u32>,
    pub(crate) max_slices: Option<u32>,
}

impl ClipOptions {
    pub(crate) fn of(given: &[NativeOption]) -> Result<Self, Failure> {
        let (mut timings, mut packing, mut slices) = (Vec::new(), None, None);
        for option in given {
            match option.name.as_str() {
                "times" | "fps" | "temporalIds" => timings.push(timing(option)?),
                "packing" => packing = Some(option.whole(1, limits::MAX_PACKING as u32)?),
                "maxSlices" => slices = max_slices(option)?,
                _ => known("option", Code::InvalidOption, &option.name, OF_CLIP.iter().copied())?,
            }
        }
        let one = "frames take exactly one of 'times', 'fps' and 'temporalIds'";
        let Ok([timing]) = <[Timing; 1]>::try_from(timings) else { return Err(Failure::new(Code::InvalidClip, one)) };
        if packing.is_some() && matches!(timing, Timing::TemporalIds(_)) {
            let both = "option 'packing' does not go with 'temporalIds', whose groups are the packs";
            return Err(Failure::new(Code::InvalidClip, both));
        }
        Ok(Self { timing, packing, max_slices: slices })
    }
}

fn timing(option: &NativeOption) -> Result<Timing, Failure> {
    let id = |&id: &f64| whole(Some(id), 0, limits::MAX_TEMPORAL_ID);
    let refuse = |expected: &str| option.refuse(expected);
    match option.name.as_str() {
        "times" => option.numbers.clone().map(Timing::Times).ok_or_else(|| refuse("a list of seconds, one a frame")),
        "fps" => option.number.map(Timing::Fps).ok_or_else(|| refuse("a number of frames a second")),
        _ => {
            let groups = option.groups.iter().flatten().map(|group| group.iter().map(id).collect());
            let groups: Option<Vec<Vec<u32>>> = groups.collect();
            let groups = groups.filter(|groups| !groups.is_empty()).map(Timing::TemporalIds);
            groups.ok_or_else(|| {
                refuse(&format!("lists of whole numbers from 0 to {}, one list a pack", limits::MAX_TEMPORAL_ID))
            })
        }
    }
}

/// Refuses a name that is not among the known ones, with the nearest of them.
pub(crate) fn known<'a>(
    what: &str,
    code: Code,
    name: &str,
    known: impl Iterator<Item = &'a str> + Clone,
) -> Result<(), Failure> {
    if known.clone().any(|known| known == name) {
        return Ok(());
    }
    let near = nearest(name, known.clone()).map(|near| format!("; did you mean '{near}'?")).unwrap_or_default();
    let all: Vec<_> = known.collect();
    Err(Failure::new(code, format!("unknown {what} '{name}'{near}"))
        .with_hint(format!("the {what}s are {}", all.join(", "))))
}
