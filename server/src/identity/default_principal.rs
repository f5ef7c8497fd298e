//! The principal of the quick start: it exists from the first start until somebody revokes it, which lasts.

use policy::principal::Principal;

/// Its name, and the id of its one credential.
pub const DEFAULT: &str = "default";

/// Whether `principal` is it.
#[must_use]
pub fn is_default(principal: &Principal) -> bool {
    principal.as_str() == DEFAULT
}
