//! The forms of a request's target (RFC 9112 section 3.2).

use http::Uri;

use super::head::TARGET_MAX;
use crate::error::Fault;

/// Refuses what is none of the forms that `method` may have, what is too long, and a fragment, which a parser of URIs
/// would drop silently. The authority form stays for `CONNECT`, which is answered later.
pub(super) fn check_target(method: &str, target: &str) -> Result<(), Fault> {
    if target.len() > TARGET_MAX {
        return Err(Fault::Target);
    }
    if target.bytes().any(|byte| byte == b'#') {
        return Err(Fault::TargetForm);
    }
    let known_form = match target.as_bytes() {
        [b'/', ..] => true,
        b"*" => method == "OPTIONS",
        _ => method == "CONNECT" || target.contains("://"),
    };
    // The same parser reads it once more behind this.
    if known_form && target.parse::<Uri>().is_ok() { Ok(()) } else { Err(Fault::TargetForm) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_has_the_form_of_its_method() {
        for (method, target) in [
            ("GET", "/"),
            ("GET", "//a?b"),
            ("OPTIONS", "*"),
            ("GET", "http://a.test"),
            ("CONNECT", "a.test:443"),
        ] {
            assert_eq!(check_target(method, target), Ok(()), "{method} {target}");
        }
        for (method, target) in [
            ("GET", "*"),
            ("GET", "a.test"),
            ("GET", "/a#b"),
            ("GET", "a/b"),
            ("GET", "http:///"),
            ("GET", "/<"),
        ] {
            assert_eq!(check_target(method, target), Err(Fault::TargetForm), "{method} {target}");
        }
        assert_eq!(check_target("GET", &format!("/{}", "a".repeat(TARGET_MAX))), Err(Fault::Target));
    }
}
