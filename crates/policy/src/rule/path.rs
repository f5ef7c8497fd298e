//! Paths in the one spelling in which rules see them.

use std::borrow::Cow;

/// `path` as a service will most likely read it: unreserved characters without their percent-encoding, no `.` and `..`
/// (RFC 3986 sections 6.2.2.2 and 6.2.2.3), one `/` for several. Without it, a rule for `/admin` could be passed by as
/// `/x/../admin`. Most paths are in this form already; they are borrowed.
#[must_use]
pub fn normal_path(path: &str) -> Cow<'_, str> {
    if !path.contains('%') && !path.contains("/.") && !path.contains("//") {
        return Cow::Borrowed(path);
    }
    let decoded = decode_unreserved(path);
    let mut segments: Vec<&str> = Vec::new();
    let mut open = false;
    for segment in decoded.split('/').skip(1) {
        open = matches!(segment, "" | "." | "..");
        match segment {
            ".." => drop(segments.pop()),
            "" | "." => {}
            segment => segments.push(segment),
        }
    }
    let mut normal = String::with_capacity(decoded.len());
    for segment in &segments {
        normal.push('/');
        normal.push_str(segment);
    }
    if open || segments.is_empty() {
        normal.push('/');
    }
    Cow::Owned(normal)
}

/// Letters, digits, `-`, `.`, `_` and `~` mean the same with and without percent-encoding.
fn decode_unreserved(path: &str) -> String {
    let mut decoded = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((before, encoded)) = rest.split_once('%') {
        decoded.push_str(before);
        let code = encoded.get(..2).filter(|code| code.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let byte = code.and_then(|code| u8::from_str_radix(code, 16).ok());
        match byte.filter(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(byte)) {
            Some(byte) => {
                decoded.push(char::from(byte));
                rest = encoded.get(2..).unwrap_or_default();
            }
            None => {
                decoded.push('%');
                rest = encoded;
            }
        }
    }
    decoded.push_str(rest);
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn paths_are_seen_as_services_read_them() {
        for (path, expected) in [
            ("/", "/"),
            ("*", "*"),
            ("/a/b/", "/a/b/"),
            ("/x/../admin", "/admin"),
            ("/x/%2e%2E/admin", "/admin"),
            ("/%61dmin", "/admin"),
            ("//admin//x", "/admin/x"),
            ("/./admin/.", "/admin/"),
            ("/a/..", "/"),
            ("/../../admin", "/admin"),
            ("/.well-known/x", "/.well-known/x"),
            ("/a/...", "/a/..."),
            // What means something else without its encoding keeps it.
            ("/a%2Fb%20c", "/a%2Fb%20c"),
            ("/a%", "/a%"),
            ("/a%zz%4", "/a%zz%4"),
            ("/%2561", "/%2561"),
        ] {
            assert_eq!(normal_path(path), expected, "{path}");
        }
        assert!(matches!(normal_path("/usual/path"), Cow::Borrowed(_)));
    }

    proptest! {
        #[test]
        fn what_is_normal_holds_nothing_to_pass_by_with(path in "/([a%2eE./]|%2[eE]|%61){0,20}") {
            let normal = normal_path(&path).into_owned();
            prop_assert!(normal.starts_with('/') && !normal.contains("//"), "{}", normal);
            prop_assert!(!normal.split('/').any(|segment| matches!(segment, "." | "..")), "{}", normal);
        }
    }
}
