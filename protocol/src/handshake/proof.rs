//! What a client signs to log in (`spec/03-handshake.md`, "Proof").

use crate::id::{ClientId, InstanceId, Slot};

/// The label of the TLS exporter (RFC 8446 section 7.5) whose 32 bytes tie a login to its connection; the context is
/// empty.
pub const EXPORTER_LABEL: &str = "EXPORTER-tunnel-1-login";

/// The id of a credential that a client says which has none: it logs in by the certificate that it has shown in TLS.
pub const CERTIFICATE: &str = "certificate";

/// The bytes before everything else, so that a signature of a login is good for nothing else.
const PREFIX: &[u8] = b"tunnel/1 login";

/// The message under the Ed25519 signature (RFC 8032): the prefix, the exporter, client, instance and slot.
///
/// It binds the login to one TLS connection, so that a captured login is worthless, and to who logs in, so that a server
/// can not pass it on as somebody else's.
#[must_use]
pub fn login_message(exporter: &[u8; 32], client: ClientId, instance: InstanceId, slot: Slot) -> Vec<u8> {
    [PREFIX, exporter, &client.0, &instance.0, &slot.0.to_be_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_under_the_signature_in_its_place() {
        let message = login_message(&[1; 32], ClientId([2; 16]), InstanceId([3; 16]), Slot(0x0405));
        let expected = [&b"tunnel/1 login"[..], &[1; 32], &[2; 16], &[3; 16], &[4, 5]].concat();
        assert_eq!(message, expected);
    }
}
