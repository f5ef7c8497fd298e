//! The subdomain of a tunnel that asked for no name: it looks random and stays the same.

use crate::reserved::is_reserved_label;

/// Length of a random subdomain, in bytes.
pub const SUBDOMAIN_LEN: usize = 12;

/// RFC 4648 base 32, lower case; the first 26 are the letters.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// A label of [`SUBDOMAIN_LEN`] characters made of `hash`, a keyed hash of (client, tunnel name): it begins
/// with a letter and is never a reserved label.
#[must_use]
pub fn subdomain(hash: &[u8; 32]) -> String {
    let (chunks, _) = hash.as_chunks::<8>();
    let seed = chunks.iter().fold(0, |seed: u64, chunk| seed.rotate_left(17) ^ u64::from_be_bytes(*chunk));
    // Of two neighbouring seeds at most one is a reserved label, because no two of those differ by one.
    let mut label = encode(seed);
    if is_reserved_label(&label) {
        label = encode(seed.wrapping_add(1));
    }
    label
}

/// Five bits of `seed` to a character, the lowest last; the nine left over choose the first, a letter.
fn encode(seed: u64) -> String {
    let mut rest = seed;
    let mut label = [0; SUBDOMAIN_LEN];
    for (position, place) in label.iter_mut().enumerate().rev() {
        let base = if position == 0 { 26 } else { 32 };
        let digit = usize::try_from(rest % base).unwrap_or(0);
        *place = ALPHABET.get(digit).copied().unwrap_or(b'a');
        rest /= 32;
    }
    label.iter().copied().map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Host;
    use proptest::prelude::*;

    fn seed_of(label: &str) -> u64 {
        label.bytes().fold(0, |seed, byte| {
            seed * 32 + ALPHABET.iter().position(|&letter| letter == byte).unwrap() as u64
        })
    }

    #[test]
    fn a_reserved_label_is_stepped_over() {
        let seed = seed_of("autodiscover");
        assert_eq!(encode(seed), "autodiscover");
        let mut hash = [0; 32];
        hash[24..].copy_from_slice(&seed.to_be_bytes());
        assert_eq!(subdomain(&hash), "autodiscoves");
    }

    #[test]
    fn it_stays_the_same() {
        assert_eq!(subdomain(&[0; 32]), "aaaaaaaaaaaa");
        let hash = std::array::from_fn(|i| i as u8);
        assert_eq!(subdomain(&hash), subdomain(&hash));
    }

    proptest! {
        #[test]
        fn always_a_good_label(hash: [u8; 32]) {
            let label = subdomain(&hash);
            prop_assert_eq!(label.len(), SUBDOMAIN_LEN);
            prop_assert!(label.starts_with(|c: char| c.is_ascii_lowercase()));
            prop_assert!(!is_reserved_label(&label));
            let host = Host::parse(&label).unwrap();
            prop_assert_eq!(host.as_str(), label.as_str());
        }

        #[test]
        fn every_byte_of_the_hash_counts(hash: [u8; 32], place in 0usize..32) {
            let mut other = hash;
            other[place] ^= 1;
            prop_assert_ne!(subdomain(&hash), subdomain(&other));
        }
    }
}
