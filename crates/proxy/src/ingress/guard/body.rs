//! Where a request's body ends, by the fields of its head (RFC 9112 section 6.3).

use httparse::Header;

use crate::error::Fault;
use crate::headers::parse_length;

/// The highest length that is taken for one: what every peer can count.
const LENGTH_MAX: u64 = i64::MAX.unsigned_abs();

/// How a request's body is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// So many bytes; 0 if there is no body.
    Sized(u64),
    /// In chunks.
    Chunked,
}

impl Framing {
    /// The one framing that `fields` state; `old` is HTTP/1.0, which has no transfer codings.
    ///
    /// # Errors
    /// They state more than one, or none that is valid.
    pub(super) fn of(fields: &[Header<'_>], old: bool) -> Result<Self, Fault> {
        let (mut length, mut coding) = (None, None);
        for field in fields {
            // Few names are as long as one of these.
            let seen = match field.name.len() {
                14 if field.name.eq_ignore_ascii_case("content-length") => &mut length,
                17 if field.name.eq_ignore_ascii_case("transfer-encoding") => &mut coding,
                _ => continue,
            };
            if seen.replace(field.value).is_some() {
                return Err(Fault::Framing);
            }
        }
        match (coding, length) {
            (None, None) => Ok(Self::Sized(0)),
            (None, Some(digits)) => {
                let length = parse_length(digits).filter(|length| *length <= LENGTH_MAX);
                length.map(Self::Sized).ok_or(Fault::Framing)
            }
            (Some(coding), None) if !old => check_coding(coding).map(|()| Self::Chunked),
            _ => Err(Fault::Framing),
        }
    }
}

/// `chunked` and nothing else. A list that says so in another way is ambiguous; what ends with another coding, or holds
/// one, is a coding that is not known here (RFC 9112 section 6.1).
fn check_coding(coding: &[u8]) -> Result<(), Fault> {
    let is_chunked = |word: &[u8]| word.eq_ignore_ascii_case(b"chunked");
    if is_chunked(coding) {
        return Ok(());
    }
    let words = || coding.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    let ends_chunked = words().next_back().is_some_and(is_chunked);
    let nothing_else = words().all(|word| word.is_empty() || is_chunked(word));
    let empty = coding.trim_ascii().is_empty();
    Err(if empty || (ends_chunked && nothing_else) { Fault::Framing } else { Fault::TransferCoding })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framing(fields: &[(&str, &str)]) -> Result<Framing, Fault> {
        let fields: Vec<_> =
            fields.iter().map(|(name, value)| Header { name, value: value.as_bytes() }).collect();
        Framing::of(&fields, false)
    }

    #[test]
    fn one_length_or_one_coding() {
        assert_eq!(framing(&[("Host", "a")]), Ok(Framing::Sized(0)));
        assert_eq!(framing(&[("content-length", "003")]), Ok(Framing::Sized(3)));
        assert_eq!(framing(&[("Transfer-Encoding", "Chunked")]), Ok(Framing::Chunked));
        for bad in ["", "+3", "0x3", "3, 3", "3 3", "-0", "9223372036854775808", "18446744073709551616"] {
            assert_eq!(framing(&[("Content-Length", bad)]), Err(Fault::Framing), "{bad}");
        }
        let (length, coding) = (("content-length", "3"), ("transfer-encoding", "chunked"));
        for both in [[length, coding], [coding, length], [length, length], [coding, coding]] {
            assert_eq!(framing(&both), Err(Fault::Framing), "{both:?}");
        }
    }

    #[test]
    fn the_only_coding_is_chunked() {
        for (coding, fault) in [
            ("gzip, chunked", Fault::TransferCoding),
            ("chunked, identity", Fault::TransferCoding),
            ("identity", Fault::TransferCoding),
            ("xchunked", Fault::TransferCoding),
            ("chunked;a=b", Fault::TransferCoding),
            ("chunked,", Fault::TransferCoding),
            (",chunked", Fault::Framing),
            ("chunked, chunked", Fault::Framing),
            ("", Fault::Framing),
        ] {
            assert_eq!(framing(&[("transfer-encoding", coding)]), Err(fault), "{coding}");
        }
        let field = Header { name: "transfer-encoding", value: b"chunked" };
        assert_eq!(Framing::of(&[field], true), Err(Fault::Framing));
    }
}
