//! Why a text is no join string, and what to do about it. None of these shows the text: it may hold a secret.

use super::{HostPortError, PinError};
use crate::limits::PINS_MAX;

/// Why a text is no join string.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// Not even the beginning of one.
    #[error(
        "a join string starts with tunnel:// — copy the whole line that the server printed, between its single quotes"
    )]
    Scheme,
    /// No `ID:SECRET@`.
    #[error(
        "the join string has no ID:SECRET@ part: copy all of it, or make a new one with `tunneld invite`"
    )]
    NoCredential,
    /// The id of the credential is none.
    #[error("the ID of the join string is damaged (before the first ':'): copy it again")]
    Credential,
    /// The secret is not 32 bytes of base64url.
    #[error("the SECRET of the join string is damaged (43 characters between ':' and '@'): copy it again")]
    Secret,
    /// The address is none.
    #[error("the address of the join string is wrong: {0}")]
    Address(HostPortError),
    /// A pin is none.
    #[error("the pin of the join string is damaged: {0}")]
    Pin(PinError),
    /// More pins than there may be.
    #[error("the join string has more than {PINS_MAX} pins: make a new one with `tunneld invite`")]
    TooManyPins,
    /// Something after the `?` that this version does not know.
    #[error(
        "the join string says something this version does not know (only pin=… may follow the '?'): update this program"
    )]
    UnknownOption,
}
