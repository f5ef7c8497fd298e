//! Text for people: what a refusal says to whoever reads a terminal or a log.

use std::fmt;
use std::ops::Deref;

use crate::limits::TEXT_MAX;

/// At most [`TEXT_MAX`] bytes of UTF-8 without control characters, so that a peer can neither flood a log nor drive a
/// terminal (`spec/02-frames.md`).
///
/// Made from any string: control characters become spaces and what is too long ends in `…`. This is the one place that
/// shortens; everything a program reads is refused instead.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Text(String);

impl Text {
    /// The text that says the same as `text` and fits.
    #[must_use]
    pub fn new(text: &str) -> Self {
        const CUT: char = '…';
        let clean = text.chars().map(|c| if c.is_control() { ' ' } else { c });
        if text.len() <= TEXT_MAX {
            return Self(clean.collect());
        }
        let room = TEXT_MAX.saturating_sub(CUT.len_utf8());
        let mut shortened = String::with_capacity(TEXT_MAX);
        for c in clean {
            if shortened.len().saturating_add(c.len_utf8()) > room {
                break;
            }
            shortened.push(c);
        }
        shortened.push(CUT);
        Self(shortened)
    }

    /// As a plain string slice.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether `text` holds a character that a terminal might act on.
pub(crate) fn has_control(text: &str) -> bool {
    text.chars().any(char::is_control)
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        if text.len() <= TEXT_MAX && !has_control(&text) {
            return Self(text);
        }
        Self::new(&text)
    }
}

impl From<Text> for String {
    fn from(text: Text) -> Self {
        text.0
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        self.0 == other
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        self.0 == *other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_become_spaces() {
        assert_eq!(Text::new("a\u{1b}[2Jb\nc\u{9b}"), "a [2Jb c ");
        assert_eq!(Text::from("two\nlines".to_owned()), "two lines");
    }

    #[test]
    fn a_long_text_is_cut_at_a_character_and_says_so() {
        let text = Text::new(&"ä".repeat(TEXT_MAX));
        assert!(text.len() <= TEXT_MAX);
        assert!(text.ends_with("ä…"));
        assert_eq!(Text::new(&"a".repeat(TEXT_MAX)).len(), TEXT_MAX);
    }
}
