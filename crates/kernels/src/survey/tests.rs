use super::*;

fn device(name: &str, capability: (u32, u32)) -> Properties {
    let name = name.to_owned();
    Properties { name, capability, multiprocessors: 108, memory: 80 << 30, l2: 40 << 20, shared: 163 << 10 }
}

fn machine(version: (u32, u32), devices: &[Properties]) -> Survey {
    Survey::of(true, || Ok((version, devices.to_vec())))
}

fn refused(code: u32, name: &str) -> Survey {
    Survey::of(true, || Err(CudaError { call: "cuInit", code, name: name.to_owned() }.into()))
}

fn words(survey: &Survey, wanted: Option<u32>) -> String {
    survey.choose(wanted).unwrap_err().to_string()
}

#[test]
fn every_cause_has_its_words() {
    let old = Unavailable::OldDriver { symbol: "cuLaunchKernelEx" };
    let hopper = [device("H100", (9, 0))];
    let cases = [
        (Survey::of(false, || Ok(((13, 0), hopper.to_vec()))), "this build has no CUDA kernels"),
        (Survey::of(true, || Err(Unavailable::NoDriver)), "no NVIDIA driver is installed"),
        (Survey::of(true, || Err(old)), "the NVIDIA driver is too old: it has no cuLaunchKernelEx"),
        (refused(100, "CUDA_ERROR_NO_DEVICE"), "the NVIDIA driver sees no device"),
        (refused(999, "CUDA_ERROR_UNKNOWN"), "the NVIDIA driver does not work: cuInit: CUDA_ERROR_UNKNOWN (999)"),
        (machine((11, 8), &hopper), "the NVIDIA driver is too old: it knows CUDA 11.8, and 12.0 is needed"),
        (machine((12, 0), &[]), "the NVIDIA driver sees no device"),
        (machine((12, 0), &[device("V100", (7, 0))]), "V100 has compute capability 7.0, and 8.0 is needed"),
    ];
    for (survey, expected) in cases {
        assert_eq!(words(&survey, None), expected);
        assert_eq!(words(&survey, Some(0)), expected);
    }
    assert_eq!(words(&machine((12, 0), &hopper), Some(1)), "there is no device 1: the driver sees 1");
}

#[test]
fn the_driver_is_not_looked_for_without_kernels() {
    assert_eq!(Survey::of(false, || panic!("nobody asked")).devices(), Err(Unusable::NoKernels));
}

/// A compute capability that this build has images for; any, if it has no images.
fn covered() -> (u32, u32) {
    (8..20).map(|major| (major, 0)).find(|&it| images::lacking(it).is_none()).unwrap()
}

#[test]
fn the_first_device_that_can_is_chosen() {
    let (old, new) = (device("old", (7, 5)), device("new", covered()));
    let mixed = machine((12, 4), &[old.clone(), new.clone(), new]);
    assert_eq!(mixed.choose(None), Ok(1));
    assert_eq!(mixed.choose(Some(2)), Ok(2));
    assert_eq!(words(&mixed, Some(0)), "old has compute capability 7.5, and 8.0 is needed");
    let older = machine((12, 4), &[old, device("oldest", (6, 1))]);
    assert_eq!(words(&older, None), "old has compute capability 7.5, and 8.0 is needed");
}

#[test]
fn a_build_for_other_devices_says_so() {
    let unknown = machine((12, 4), &[device("X1", (99, 0))]);
    // Text runs on devices of any later version; a build that has only images for some does not.
    match images::lacking((99, 0)) {
        None => assert_eq!(unknown.choose(None), Ok(0)),
        Some(source) => assert_eq!(
            words(&unknown, None),
            format!("this build has no CUDA kernels for X1 with compute capability 99.0: {source} lacks them")
        ),
    }
}

/// Whether the system finds the driver, asked apart from what is tested.
fn has_driver() -> bool {
    let names: &[&str] = if cfg!(windows) { &["nvcuda.dll"] } else { &["libcuda.so.1", "libcuda.so"] };
    // SAFETY: loading the driver runs its initialisers, as every program with CUDA does.
    names.iter().any(|name| unsafe { libloading::Library::new(*name) }.is_ok())
}

#[test]
fn a_machine_without_a_driver_says_so() {
    let missing = !has_driver();
    assert_eq!(Device::open(0).err() == Some(Unavailable::NoDriver), missing);
    assert_eq!(Device::describe(0).err() == Some(Unavailable::NoDriver), missing);
    assert_eq!(Device::count().err() == Some(Unavailable::NoDriver), missing);
    assert_eq!(driver_version().err() == Some(Unavailable::NoDriver), missing);
    let why = if images::has_images() { Unusable::Driver(Unavailable::NoDriver) } else { Unusable::NoKernels };
    assert_eq!(Survey::take().choose(None).err() == Some(why), missing || !images::has_images());
}

#[test]
fn no_number_of_a_device_is_too_large() {
    for ordinal in [1 << 8, i32::MAX.unsigned_abs(), 1 << 31, u32::MAX] {
        assert!(Device::open(ordinal).is_err(), "{ordinal}");
        assert!(Survey::take().choose(Some(ordinal)).is_err(), "{ordinal}");
    }
}
