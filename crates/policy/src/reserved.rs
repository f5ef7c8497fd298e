//! Labels that people or machines trust by their name alone. Only an exact grant gives them away.

/// Labels that browsers, mail programs, proxies and operators look for by themselves.
const RESERVED: [&str; 14] = [
    "admin",
    "api",
    "autoconfig",
    "autodiscover",
    "dashboard",
    "isatap",
    "localhost",
    "mail",
    "metrics",
    "mx",
    "ns",
    "status",
    "wpad",
    "www",
];

/// Whether a canonical label is reserved: one of the well-known ones, a numbered name server or mail exchanger
/// (`ns1`, `mx2`), or an internationalised label, which may look like any of them.
#[must_use]
pub fn is_reserved_label(label: &str) -> bool {
    let unnumbered = label.trim_end_matches(|c: char| c.is_ascii_digit());
    RESERVED.binary_search(&label).is_ok()
        || matches!(unnumbered, "ns" | "mx")
        || label.starts_with("xn--")
        || label.starts_with('_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted_for_the_search() {
        assert!(RESERVED.is_sorted());
    }

    #[test]
    fn well_known_labels_are_reserved() {
        for label in [
            "www",
            "api",
            "wpad",
            "ns",
            "ns1",
            "ns42",
            "mx",
            "mx1",
            "localhost",
            "xn--pple-43d",
            "_acme-challenge",
        ] {
            assert!(is_reserved_label(label), "{label}");
        }
        for label in ["app", "wiki", "nsa", "ns1a", "www2", "apis", "demo", "mxtoolbox", ""] {
            assert!(!is_reserved_label(label), "{label}");
        }
    }
}
