//! What visitors type: the pattern that turns a host into a URL.

use policy::host::Host;

/// Where the host goes.
const HOST: &str = "{host}";

/// `http://{host}:8080`, `https://{host}`, …
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl(String);

/// Why a text is no such pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublicUrlError {
    /// Neither `http://` nor `https://` is in front.
    #[error("{0:?} does not start with http:// or https://; write it like 'https://{{host}}'")]
    Scheme(String),
    /// It names no host, or more than one.
    #[error("{0:?} must contain {{host}} exactly once; write it like 'https://{{host}}'")]
    Host(String),
    /// Something in it can not be in a URL.
    #[error("{0:?} contains a space or a control character")]
    Character(String),
}

impl PublicUrl {
    /// Reads a pattern.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, PublicUrlError> {
        let text = text.trim_end_matches('/');
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(PublicUrlError::Character(text.to_owned()));
        }
        let Some(rest) = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")) else {
            return Err(PublicUrlError::Scheme(text.to_owned()));
        };
        if rest.matches(HOST).count() != 1 {
            return Err(PublicUrlError::Host(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }

    /// The pattern of a plain listener on `port`.
    #[must_use]
    pub fn plain(port: u16) -> Self {
        match port {
            80 => Self(format!("http://{HOST}")),
            _ => Self(format!("http://{HOST}:{port}")),
        }
    }

    /// The pattern of a listener with TLS on `port`.
    #[must_use]
    pub fn secure(port: u16) -> Self {
        match port {
            443 => Self(format!("https://{HOST}")),
            _ => Self(format!("https://{HOST}:{port}")),
        }
    }

    /// Whether it begins with `https`.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.0.starts_with("https://")
    }

    /// The pattern, with `{host}` for the host.
    #[must_use]
    pub fn pattern(&self) -> &str {
        &self.0
    }

    /// The URL of `host`.
    #[must_use]
    pub fn of(&self, host: &Host) -> String {
        self.0.replace(HOST, host.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_becomes_a_url() {
        let host = Host::parse("a.localhost").unwrap();
        assert_eq!(PublicUrl::plain(8080).of(&host), "http://a.localhost:8080");
        assert_eq!(PublicUrl::plain(80).of(&host), "http://a.localhost");
        assert_eq!(PublicUrl::parse("https://{host}/").unwrap().of(&host), "https://a.localhost");
    }

    #[test]
    fn what_is_no_pattern_says_why() {
        assert!(matches!(PublicUrl::parse("{host}"), Err(PublicUrlError::Scheme(_))));
        assert!(matches!(PublicUrl::parse("https://x"), Err(PublicUrlError::Host(_))));
        assert!(matches!(PublicUrl::parse("https://{host}.{host}"), Err(PublicUrlError::Host(_))));
        assert!(matches!(PublicUrl::parse("https://{host} "), Err(PublicUrlError::Character(_))));
    }
}
