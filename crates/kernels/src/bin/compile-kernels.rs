//! Compiles one kernel source with NVRTC: `compile-kernels LIBRARY SOURCE IMAGE OPTION...`.
//!
//! LIBRARY is the path of `libnvrtc`, which is loaded when this runs: nothing is linked, and neither a toolkit nor a device is
//! needed. IMAGE ends with `.cubin` or `.ptx` and says what is made; it is whole or not there at all. OPTIONs go to NVRTC as they
//! are. What the compiler says goes to the standard error.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::Path;
use std::{env, fs, ptr};

use libloading::Library;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// `nvrtcProgram`.
type Program = *mut c_void;
/// `nvrtcResult`; 0 is success.
type Status = c_int;
type Create = unsafe extern "C" fn(
    *mut Program,
    *const c_char,
    *const c_char,
    c_int,
    *const *const c_char,
    *const *const c_char,
) -> Status;
type Compile = unsafe extern "C" fn(Program, c_int, *const *const c_char) -> Status;
type Size = unsafe extern "C" fn(Program, *mut usize) -> Status;
type Read = unsafe extern "C" fn(Program, *mut c_char) -> Status;
type Words = unsafe extern "C" fn(Status) -> *const c_char;

/// The compiler's functions, valid as long as `_library` is loaded.
struct Nvrtc {
    create: Create,
    compile: Compile,
    log: (Size, Read),
    cubin: (Size, Read),
    ptx: (Size, Read),
    words: Words,
    _library: Library,
}

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [library, source, image, options @ ..] = arguments.as_slice() else {
        return Err("usage: compile-kernels LIBRARY SOURCE IMAGE OPTION...".into());
    };
    let nvrtc = Nvrtc::load(library)?;
    let made = nvrtc.image(Path::new(source), options, image.ends_with(".ptx"))?;
    // A build that is interrupted here leaves no half image behind.
    let partial = format!("{image}.{}.part", std::process::id());
    fs::write(&partial, made).map_err(|error| format!("{partial}: {error}"))?;
    Ok(fs::rename(&partial, image).map_err(|error| format!("{image}: {error}"))?)
}

impl Nvrtc {
    fn load(path: &str) -> Result<Self> {
        // SAFETY: loading the compiler runs its initialisers; the caller names the file.
        let library = unsafe { Library::new(path) }.map_err(|error| format!("{path} cannot be loaded: {error}"))?;
        // SAFETY: these types are those of nvrtc.h, which has kept them since version 11.
        unsafe {
            Ok(Self {
                create: *library.get(b"nvrtcCreateProgram\0")?,
                compile: *library.get(b"nvrtcCompileProgram\0")?,
                log: (*library.get(b"nvrtcGetProgramLogSize\0")?, *library.get(b"nvrtcGetProgramLog\0")?),
                cubin: (*library.get(b"nvrtcGetCUBINSize\0")?, *library.get(b"nvrtcGetCUBIN\0")?),
                ptx: (*library.get(b"nvrtcGetPTXSize\0")?, *library.get(b"nvrtcGetPTX\0")?),
                words: *library.get(b"nvrtcGetErrorString\0")?,
                _library: library,
            })
        }
    }

    fn image(&self, source: &Path, options: &[String], ptx: bool) -> Result<Vec<u8>> {
        let program = self.program(source)?;
        let options =
            options.iter().map(|option| CString::new(option.as_str())).collect::<std::result::Result<Vec<_>, _>>()?;
        let pointers: Vec<*const c_char> = options.iter().map(|option| option.as_ptr()).collect();
        // SAFETY: the program lives, and there are as many options as is said, each ending with a zero.
        let status = unsafe { (self.compile)(program, c_int::try_from(pointers.len())?, pointers.as_ptr()) };
        let log = self.read(program, self.log)?;
        eprint!("{}", String::from_utf8_lossy(&log).trim_end_matches('\0'));
        self.check("nvrtcCompileProgram", status)?;
        let image = self.read(program, if ptx { self.ptx } else { self.cubin })?;
        if image.is_empty() {
            return Err(format!("{}: the compiler made no image", source.display()).into());
        }
        // PTX ends with a zero, which the loader adds.
        Ok(if ptx { image.strip_suffix(&[0]).map(<[u8]>::to_vec).unwrap_or(image) } else { image })
    }

    /// The program lives until this process ends, which is soon.
    fn program(&self, source: &Path) -> Result<Program> {
        let text = fs::read(source).map_err(|error| format!("{}: {error}", source.display()))?;
        let text = CString::new(text)?;
        let name = CString::new(source.display().to_string())?;
        let mut program = ptr::null_mut();
        // SAFETY: both strings end with a zero and are copied; no header is given, so that both lists may be null.
        let status =
            unsafe { (self.create)(&raw mut program, text.as_ptr(), name.as_ptr(), 0, ptr::null(), ptr::null()) };
        self.check("nvrtcCreateProgram", status)?;
        Ok(program)
    }

    fn read(&self, program: Program, (size, read): (Size, Read)) -> Result<Vec<u8>> {
        let mut len = 0;
        // SAFETY: the program lives and the compiler writes one number.
        self.check("the size of a result", unsafe { size(program, &raw mut len) })?;
        let mut bytes = vec![0; len];
        // SAFETY: the compiler writes as many bytes as it has just said.
        self.check("a result", unsafe { read(program, bytes.as_mut_ptr().cast()) })?;
        Ok(bytes)
    }

    fn check(&self, call: &str, status: Status) -> Result<()> {
        if status == 0 {
            return Ok(());
        }
        // SAFETY: the compiler answers with a string that it never frees, for any number.
        let words = unsafe { CStr::from_ptr((self.words)(status)) };
        Err(format!("{call}: {} ({status})", words.to_string_lossy()).into())
    }
}
