//! The kernels, compiled for each architecture and embedded in the program.

/// Name of the source, architecture (`sm_90a`, `compute_80`), image.
static IMAGES: &[(&str, &str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/images.rs"));

/// Whether this build has kernels. One without a CUDA compiler has none.
pub fn has_images() -> bool {
    !IMAGES.is_empty()
}

/// The first source that has no image for a device, `None` if all have one. A build may be for some architectures only.
pub(crate) fn lacking(capability: (u32, u32)) -> Option<&'static str> {
    IMAGES.iter().map(|(name, ..)| *name).find(|name| image(name, capability).is_none())
}

/// The best image of a source for a device: one for its very architecture, else the newest that runs there unchanged, else
/// the text that its driver compiles.
pub fn image(name: &str, capability: (u32, u32)) -> Option<&'static [u8]> {
    let ranked = IMAGES.iter().filter(|(source, ..)| *source == name);
    let ranked = ranked.filter_map(|(_, architecture, image)| Some((rank(architecture, capability)?, *image)));
    ranked.max_by_key(|(rank, _)| *rank).map(|(_, image)| image)
}

/// How well an architecture suits a device, `None` if it does not run there. An image `sm_XY` runs on every device of major
/// version X from minor version Y on; with an `a` behind it on that version alone; text of `compute_XY` on all later ones.
fn rank(architecture: &str, capability: (u32, u32)) -> Option<(u32, u32)> {
    let (kind, version) = architecture.split_once('_')?;
    let exact = version.strip_suffix('a');
    let version: u32 = exact.unwrap_or(version).parse().ok()?;
    let (major, minor) = (version / 10, version % 10);
    match kind {
        "sm" if exact.is_some() => ((major, minor) == capability).then_some((3, version)),
        "sm" => (major == capability.0 && minor <= capability.1).then_some((2, version)),
        _ => ((major, minor) <= capability).then_some((1, version)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_ranked_by_how_well_it_suits_the_device() {
        let ranks = |architecture| {
            [(8, 0), (8, 6), (8, 9), (9, 0), (10, 0), (12, 0)].map(|c| rank(architecture, c).map(|r| r.0))
        };
        assert_eq!(ranks("sm_80"), [Some(2), Some(2), Some(2), None, None, None]);
        assert_eq!(ranks("sm_86"), [None, Some(2), Some(2), None, None, None]);
        assert_eq!(ranks("sm_90a"), [None, None, None, Some(3), None, None]);
        assert_eq!(ranks("sm_120"), [None, None, None, None, None, Some(2)]);
        assert_eq!(ranks("compute_80"), [Some(1); 6]);
        assert_eq!(rank("sm_x", (9, 0)), None);
        assert!(rank("sm_86", (8, 9)) > rank("sm_80", (8, 9)));
    }
}
