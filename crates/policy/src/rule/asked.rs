//! What rules look at: the facts of one request.

use std::net::IpAddr;

use crate::host::Host;

/// One request, as rules and balancing see it. It borrows everything.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// The canonical host.
    pub host: &'a Host,
    /// The method, as it was written.
    pub method: &'a str,
    /// The path without its query, in the form of [`normal_path`](super::normal_path); begins with `/`, or is `*`.
    pub path: &'a str,
    /// The fields.
    pub fields: &'a dyn Fields,
    /// The visitor's address.
    pub client: IpAddr,
}

/// The fields of a request, wherever they are kept.
pub trait Fields: Sync {
    /// Whether `is` holds for any value of the field `name`, which is in lower case. Asks in order, and no further than
    /// to the first that holds.
    fn any(&self, name: &str, is: &mut dyn FnMut(&[u8]) -> bool) -> bool;

    /// Tells of every field, with its name in lower case.
    fn each(&self, tell: &mut dyn FnMut(&str, &[u8]));
}

/// For explanations and tests; names are compared without regard to case.
impl Fields for Vec<(String, String)> {
    fn any(&self, name: &str, is: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        self.iter().any(|(known, value)| known.eq_ignore_ascii_case(name) && is(value.as_bytes()))
    }

    fn each(&self, tell: &mut dyn FnMut(&str, &[u8])) {
        self.iter().for_each(|(name, value)| tell(&name.to_ascii_lowercase(), value.as_bytes()));
    }
}

impl<'a> Asked<'a> {
    /// Service and method of a gRPC call (`/SERVICE/METHOD` with a content type of `application/grpc`, or one of its
    /// kinds).
    #[must_use]
    pub fn grpc_call(&self) -> Option<(&'a str, &'a str)> {
        let (service, method) = self.path.strip_prefix('/')?.split_once('/')?;
        let plain = !service.is_empty() && !method.is_empty() && !method.contains('/');
        (plain && self.fields.any("content-type", &mut is_grpc)).then_some((service, method))
    }
}

impl std::fmt::Debug for Asked<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { host, method, path, client, .. } = self;
        f.debug_struct("Asked")
            .field("host", host)
            .field("method", method)
            .field("path", path)
            .field("client", client)
            .finish_non_exhaustive()
    }
}

/// `application/grpc`, `application/grpc+proto`, `application/grpc;…`; not `application/grpc-web`.
fn is_grpc(content_type: &[u8]) -> bool {
    const GRPC: &[u8] = b"application/grpc";
    let Some((kind, rest)) = content_type.split_at_checked(GRPC.len()) else { return false };
    kind.eq_ignore_ascii_case(GRPC) && matches!(rest.first(), None | Some(b'+' | b';' | b' ' | b'\t'))
}

/// Whether `text` is a token of RFC 9110 section 5.6.2: the name of a field, a cookie or a method.
#[must_use]
pub fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grpc_call_has_two_segments_and_its_content_type() {
        let host = Host::parse("a.test").unwrap();
        for (path, content_type, expected) in [
            ("/pkg.Greeter/Hello", "application/grpc", Some(("pkg.Greeter", "Hello"))),
            ("/pkg.Greeter/Hello", "Application/gRPC+proto", Some(("pkg.Greeter", "Hello"))),
            ("/pkg.Greeter/Hello", "application/grpc; x=y", Some(("pkg.Greeter", "Hello"))),
            ("/pkg.Greeter/Hello", "application/grpc-web", None),
            ("/pkg.Greeter/Hello", "application/json", None),
            ("/pkg.Greeter/Hello/more", "application/grpc", None),
            ("/pkg.Greeter/", "application/grpc", None),
            ("//Hello", "application/grpc", None),
            ("*", "application/grpc", None),
        ] {
            let fields = vec![("Content-Type".to_owned(), content_type.to_owned())];
            let client = IpAddr::from([127, 0, 0, 1]);
            let asked = Asked { host: &host, method: "POST", path, fields: &fields, client };
            assert_eq!(asked.grpc_call(), expected, "{path} {content_type}");
        }
    }
}
