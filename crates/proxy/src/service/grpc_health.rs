//! The two messages of `grpc.health.v1.Health/Check`, small enough to be written by hand.

use bytes::{BufMut, Bytes, BytesMut};

/// The method.
pub(super) const PATH: &str = "/grpc.health.v1.Health/Check";
/// A response above this is none, in bytes.
pub(super) const RESPONSE_MAX: usize = 256;
/// The longest name of a service that can be asked for: its length is one byte.
pub(super) const SERVICE_MAX: usize = 120;

/// `HealthCheckRequest { service }` with the prefix of a gRPC message; an empty `service` asks for all.
pub(super) fn request(service: &str) -> Bytes {
    let service = service.as_bytes().get(..SERVICE_MAX).unwrap_or(service.as_bytes());
    let mut message = BytesMut::new();
    if let Ok(length @ 1..) = u8::try_from(service.len()) {
        // Field 1, length-delimited.
        message.put_slice(&[0x0A, length]);
        message.put_slice(service);
    }
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap_or(0));
    framed.extend_from_slice(&message);
    framed.freeze()
}

/// Whether this is one whole `HealthCheckResponse` whose status is SERVING.
pub(super) fn is_serving(framed: &[u8]) -> bool {
    let Some((&[compressed, a, b, c, d], message)) = framed.split_first_chunk() else { return false };
    let length = usize::try_from(u32::from_be_bytes([a, b, c, d]));
    // Field 1, varint, 1. Other fields there are none.
    compressed == 0 && length == Ok(message.len()) && message == [0x08, 0x01]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages() {
        assert_eq!(request(""), [0, 0, 0, 0, 0][..]);
        assert_eq!(request("a.B"), [0, 0, 0, 0, 5, 0x0A, 3, b'a', b'.', b'B'][..]);
        assert!(is_serving(&[0, 0, 0, 0, 2, 8, 1]));
        for other in [
            &[0, 0, 0, 0, 2, 8, 2][..],
            &[0, 0, 0, 0, 0],
            &[1, 0, 0, 0, 2, 8, 1],
            &[0, 0, 0, 0, 3, 8, 1],
            &[],
        ] {
            assert!(!is_serving(other), "{other:?}");
        }
    }
}
