//! The header of a frame.

use protocol::mux::{Breach, HEADER_LEN, Header};

/// Twelve bytes are a header that is written as the same bytes, or of another version, or of an unknown kind.
pub fn frame(data: &[u8]) {
    let Some(bytes) = data.first_chunk::<HEADER_LEN>() else { return };
    match Header::decode(*bytes) {
        Ok(header) => {
            assert_eq!(header.encode(), *bytes);
            assert_eq!(Header::decode(header.encode()), Ok(header));
        }
        Err(Breach::Version(version)) => assert!(version == bytes[0] && version != 0),
        Err(Breach::Kind(kind)) => assert!(bytes[0] == 0 && kind == bytes[1] && kind > 3),
        Err(other) => unreachable!("a header alone can not be {other:?}"),
    }
}
