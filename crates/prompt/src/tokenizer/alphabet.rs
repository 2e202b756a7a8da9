//! The characters in which byte-level tokens are written: one for each byte, all of them visible.

/// The byte that `character` stands for: printable ones of Latin-1 for themselves, U+0100 and on for the 68 others in order.
pub(super) fn byte_of(character: char) -> Option<u8> {
    let byte = match u32::from(character) {
        value @ (0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff) => value,
        value @ 0x100..=0x120 => value - 0x100,
        value @ 0x121..=0x142 => value - 0x121 + 0x7f,
        0x143 => 0xad,
        _ => return None,
    };
    u8::try_from(byte).ok()
}

/// The character that stands for each byte.
pub(super) fn characters() -> impl Iterator<Item = (u8, char)> {
    (0..=0x143).filter_map(char::from_u32).filter_map(|character| Some((byte_of(character)?, character)))
}

/// The bytes of a token; one with a character outside the alphabet stands for itself.
pub(super) fn bytes_of(token: &str) -> Vec<u8> {
    token.chars().map(byte_of).collect::<Option<_>>().unwrap_or_else(|| token.as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;
    use tokenizers::pre_tokenizers::byte_level::ByteLevel;

    #[test]
    fn the_alphabet_is_the_librarys_and_has_every_byte_once() {
        let ours: HashMap<u8, char> = characters().collect();
        assert_eq!(ours.len(), 256);
        assert_eq!(characters().count(), 256);
        assert!(ByteLevel::alphabet().into_iter().all(|character| byte_of(character).is_some()));
        assert_eq!([ours[&b' '], ours[&b'\n'], ours[&b'a'], ours[&0x7f], ours[&0xad]], ['Ġ', 'Ċ', 'a', 'ġ', 'Ń']);
    }
}
