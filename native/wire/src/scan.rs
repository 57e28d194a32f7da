//! Finds the next byte of a few kinds, eight bytes at a time.

const ONES: u64 = u64::MAX / 255;

/// The index of the first byte of `text` that `found` marks in its word, or the text's length.
///
/// `found` is made of [`below`] and [`equal`].
#[inline(always)]
pub(crate) fn first(text: &[u8], found: impl Fn(u64) -> u64) -> usize {
    const HIGH: u64 = ONES << 7;
    let (words, rest) = text.as_chunks::<8>();
    for (i, &word) in words.iter().enumerate() {
        let marks = found(u64::from_le_bytes(word)) & HIGH;
        if marks != 0 {
            return i * 8 + marks.trailing_zeros() as usize / 8;
        }
    }
    let mut word = [0xFF; 8];
    word[..rest.len()].copy_from_slice(rest); // fewer than eight
    let marks = found(u64::from_le_bytes(word)) & HIGH;
    text.len() - rest.len() + (marks.trailing_zeros() as usize / 8).min(rest.len())
}

/// Marks, by its highest bit, each byte of a word that is below `limit`, which is at most 0x80.
///
/// A borrow may also mark bytes behind such a one, never one before it.
#[inline(always)]
pub(crate) fn below(limit: u8, word: u64) -> u64 {
    word.wrapping_sub(ONES * u64::from(limit)) & !word
}

/// Marks each byte that is `byte`, as [`below`] does.
#[inline(always)]
pub(crate) fn equal(byte: u8, word: u64) -> u64 {
    below(1, word ^ (ONES * u64::from(byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_found_at_every_place() {
        let found = |word| below(0x20, word) | equal(b'"', word);
        for length in 0..40 {
            for at in 0..length {
                for wanted in [0u8, 0x1F, b'"'] {
                    for around in [b' ', b'!', b'#', 0x7F, 0x80, 0xFF] {
                        let mut text = vec![around; length];
                        assert_eq!(first(&text, found), length);
                        text[at] = wanted;
                        assert_eq!(first(&text, found), at);
                        text[length - 1] = wanted;
                        assert_eq!(first(&text, found), at);
                    }
                }
            }
        }
    }
}
