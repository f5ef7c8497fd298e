//! Upgrades of HTTP/1.1 (RFC 9110 section 7.8).

use http::header::{CONNECTION, HeaderMap, HeaderValue, UPGRADE};

/// The protocol that a request asks to upgrade to. None if `Connection` does not list `upgrade`, if there is more than one
/// choice, or for `h2c`: what is said after that would be more requests, past every check.
pub(crate) fn upgrade_token(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut offers = headers.get_all(UPGRADE).iter();
    let (Some(offer), None) = (offers.next(), offers.next()) else { return None };
    let is_upgrade = |word: &[u8]| word.trim_ascii().eq_ignore_ascii_case(b"upgrade");
    let listed = |value: &HeaderValue| value.as_bytes().split(|byte| *byte == b',').any(is_upgrade);
    let token = offer.as_bytes();
    let one = !token.is_empty() && token.iter().all(|byte| byte.is_ascii_graphic() && *byte != b',');
    let usable = one && !token.eq_ignore_ascii_case(b"h2c") && headers.get_all(CONNECTION).iter().any(listed);
    usable.then(|| offer.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(connection: &'static str, upgrade: &'static str) -> Option<HeaderValue> {
        let fields = [(CONNECTION, connection), (UPGRADE, upgrade)];
        upgrade_token(
            &fields.into_iter().map(|(name, value)| (name, HeaderValue::from_static(value))).collect(),
        )
    }

    #[test]
    fn an_upgrade_is_asked_for_in_both_fields() {
        assert_eq!(token("keep-alive, Upgrade", "websocket").unwrap(), "websocket");
        assert_eq!(token("keep-alive", "websocket"), None);
        assert_eq!(token("upgrade", "h2c"), None);
        assert_eq!(token("upgrade", "websocket, foo"), None);
        assert_eq!(token("upgrade", ""), None);
    }
}
