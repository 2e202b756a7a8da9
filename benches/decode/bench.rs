//! A device, what it can do at best, and the time of recorded work.

use karst_kernels::{Device, Measure, Stream, Work};

pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// How often work is repeated.
const ROUNDS: usize = 40;

/// Bytes that are read to measure memory: far more than any cache holds.
const READ: usize = 4 << 30;

pub struct Bench {
    /// The device's number.
    pub ordinal: u32,
    pub device: Device,
    pub stream: Stream,
    pub measure: Measure,
    /// Bytes a second.
    pub bandwidth: f64,
    /// Operations a second of matrix instructions for bytes and for halves.
    rates: [f64; 2],
}

/// What a piece of work has to do.
#[derive(Debug, Clone, Copy, Default)]
pub struct Floor {
    /// Bytes that come from memory.
    pub bytes: f64,
    /// Operations on bytes.
    pub byte_operations: f64,
    /// Operations on halves.
    pub half_operations: f64,
}

impl Bench {
    /// Opens a device and measures it.
    pub fn open(ordinal: u32) -> Result<Self> {
        let device = Device::open(ordinal)?;
        let stream = device.stream()?;
        let measure = Measure::load(&device)?.ok_or("this build has no kernels for the device")?;
        let bandwidth =
            measure.bandwidth(&stream, &device.zeroed(READ.min(device.free_memory()? as usize / 2))?, 10)?;
        let rates = measure.matrix_rates(&stream, 5)?;
        let properties = device.properties();
        let (major, minor) = properties.capability;
        println!(
            "{}, compute capability {major}.{minor}, {} multiprocessors",
            properties.name, properties.multiprocessors
        );
        println!(
            "read {:.2} TB/s; matrix instructions {:.0} TOPS on bytes, {:.0} TFLOPS on halves\n",
            bandwidth / 1e12,
            rates[0] / 1e12,
            rates[1] / 1e12
        );
        Ok(Self { ordinal, device, stream, measure, bandwidth, rates })
    }

    /// The median time of a recording of this work, in microseconds.
    pub fn time<'a>(&self, work: impl IntoIterator<Item = &'a Work>) -> Result<f64> {
        let graph = self.stream.record(work)?;
        let events = (0..=ROUNDS).map(|_| self.device.event()).collect::<std::result::Result<Vec<_>, _>>()?;
        (0..3).try_for_each(|_| graph.launch(&self.stream))?;
        events[0].record(&self.stream)?;
        for event in &events[1..] {
            graph.launch(&self.stream)?;
            event.record(&self.stream)?;
        }
        self.stream.synchronize()?;
        let times = events.windows(2).map(|pair| pair[0].microseconds_to(&pair[1]));
        Ok(median(times.collect::<std::result::Result<Vec<_>, _>>()?))
    }

    /// The least time that this can take, in microseconds: memory and matrix units work side by side.
    pub fn limit(&self, floor: Floor) -> f64 {
        let arithmetic = floor.byte_operations / self.rates[0] + floor.half_operations / self.rates[1];
        1e6 * arithmetic.max(floor.bytes / self.bandwidth)
    }

    pub fn line(&self, name: &str, us: f64, floor: Floor) {
        let limit = self.limit(floor);
        let (share, rate) = (100.0 * limit / us, floor.bytes / us / 1e6);
        println!("{name:44} {us:9.1} us   limit {limit:8.1} us   {share:5.1} %   {rate:.2} TB/s");
    }
}

pub fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
