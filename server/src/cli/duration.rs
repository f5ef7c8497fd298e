//! `30d`, `12h`, `90m`, `45s`.

/// A time span as people write it, in seconds.
pub(super) fn seconds(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no time span; write 30d, 12h, 90m or 45s");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let per_unit = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 24 * 3600,
        'w' => 7 * 24 * 3600,
        _ => return Err(wrong()),
    };
    let number = text.strip_suffix(unit).filter(|number| number.bytes().all(|b| b.is_ascii_digit()));
    let number: u64 = number.and_then(|number| number.parse().ok()).ok_or_else(wrong)?;
    number.checked_mul(per_unit).filter(|seconds| *seconds > 0).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn numbers_with_a_unit() {
        assert_eq!(seconds("30d"), Ok(2_592_000));
        assert_eq!(seconds("90m"), Ok(5_400));
        for text in ["", "30", "d", "-1d", "1.5h", "0s", "1y", "99999999999999999999d", "ä"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
