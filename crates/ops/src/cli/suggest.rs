//! Did you mean …?

use strsim::damerau_levenshtein;

/// The word of `words` that `word` was most likely meant to be: at most one edit per three
/// characters away, or the only one that it begins. The first of equals.
pub fn closest<'a>(word: &str, words: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (word.chars().count() / 3).max(1);
    words
        .into_iter()
        .map(|candidate| {
            let starts = word.len() > 1 && candidate.starts_with(word);
            (if starts { 1 } else { damerau_levenshtein(word, candidate) }, candidate)
        })
        .filter(|&(distance, candidate)| distance <= limit && distance < candidate.chars().count())
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

/// `; did you mean X?`, or nothing where nothing is close.
pub fn did_you_mean<'a>(word: &str, words: impl IntoIterator<Item = &'a str>) -> String {
    closest(word, words).map_or_else(String::new, |candidate| format!("; did you mean `{candidate}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: [&str; 5] = ["http", "tcp", "status", "version", "--host"];

    #[test]
    fn typos_find_their_word() {
        for (typo, word) in [("htpp", "http"), ("htt", "http"), ("stauts", "status"), ("vers", "version")] {
            assert_eq!(closest(typo, WORDS), Some(word), "{typo}");
        }
        assert_eq!(did_you_mean("--hots", WORDS), "; did you mean `--host`?");
    }

    #[test]
    fn far_words_find_nothing() {
        for word in ["", "x", "forward", "3000"] {
            assert_eq!(closest(word, WORDS), None, "{word}");
        }
        assert_eq!(did_you_mean("forward", WORDS), "");
    }
}
