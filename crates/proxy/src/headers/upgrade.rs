//! Upgrades of HTTP/1.1 (RFC 9110 section 7.8) and extended CONNECT of HTTP/2 (RFC 8441).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use h2::ext::Protocol;
use http::header::{CONNECTION, HeaderMap, HeaderValue, SEC_WEBSOCKET_KEY, UPGRADE};

/// The protocol that a request asks to upgrade to. None if `Connection` does not list `upgrade`, if there is more than one
/// choice, or for `h2c`: what is said after that would be more requests, past every check.
pub(crate) fn upgrade_token(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut offers = headers.get_all(UPGRADE).iter();
    let (Some(offer), None) = (offers.next(), offers.next()) else { return None };
    let is_upgrade = |word: &[u8]| word.trim_ascii().eq_ignore_ascii_case(b"upgrade");
    let listed = |value: &HeaderValue| value.as_bytes().split(|byte| *byte == b',').any(is_upgrade);
    let usable = is_usable(offer.as_bytes()) && headers.get_all(CONNECTION).iter().any(listed);
    usable.then(|| offer.clone())
}

/// The protocol of an extended CONNECT, under the same conditions.
pub(super) fn connect_token(protocol: &Protocol) -> Option<HeaderValue> {
    let token = HeaderValue::from_str(protocol.as_str()).ok()?;
    is_usable(token.as_bytes()).then_some(token)
}

fn is_usable(token: &[u8]) -> bool {
    let one = !token.is_empty() && token.iter().all(|byte| byte.is_ascii_graphic() && *byte != b',');
    one && !token.eq_ignore_ascii_case(b"h2c")
}

/// The key that a service of HTTP/1.1 needs to see and that extended CONNECT does without (RFC 6455 section 4.1, RFC 8441
/// section 5). None if it is no WebSocket, or there is one.
pub(super) fn websocket_key(protocol: &HeaderValue, headers: &HeaderMap) -> Option<HeaderValue> {
    let needed =
        protocol.as_bytes().eq_ignore_ascii_case(b"websocket") && !headers.contains_key(SEC_WEBSOCKET_KEY);
    let key = || HeaderValue::try_from(STANDARD.encode(rand::random::<[u8; 16]>())).ok();
    needed.then(key).flatten()
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
