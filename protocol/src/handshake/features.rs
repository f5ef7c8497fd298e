//! Optional parts of the protocol, one bit each.

use std::fmt;

/// Feature bits. An unknown bit of the low half is ignored; one of the high half is critical: who does not know it must
/// refuse.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Features(pub u64);

impl Features {
    /// No feature.
    pub const NONE: Self = Self(0);
    /// Reserved: a link below yamux that survives a change of network.
    pub const RESUMABLE_LINK: Self = Self(1 << 0);
    /// Reserved: datagrams.
    pub const DATAGRAMS: Self = Self(1 << 1);
    /// Groups' parts of the configuration are handed to instances on the control substream.
    pub const PUSH: Self = Self(1 << 2);

    /// What this release offers.
    pub const OURS: Self = Self::PUSH;
    /// The critical half.
    const CRITICAL: u64 = 0xFFFF_FFFF_0000_0000;

    /// Whether every bit of `other` is set here too.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The same without those of `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The features that both sides have, to be sent in `welcome`.
    ///
    /// # Errors
    /// [`UnknownCriticalFeatures`] if `self`, what the peer offers, has critical bits that `ours` lacks.
    pub const fn negotiate(self, ours: Self) -> Result<Self, UnknownCriticalFeatures> {
        let unknown = self.0 & Self::CRITICAL & !ours.0;
        if unknown != 0 {
            return Err(UnknownCriticalFeatures { features: Self(unknown) });
        }
        Ok(Self(self.0 & ours.0))
    }
}

impl fmt::Debug for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Features({:#x})", self.0)
    }
}

/// The peer insists on something that this side does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the other side insists on features this side does not know (bits {:#018x}): update this side", features.0)]
pub struct UnknownCriticalFeatures {
    /// The bits nobody here knows.
    pub features: Features,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_bits_are_ignored_unless_critical() {
        let offered = Features(Features::PUSH.0 | 1 << 31);
        assert_eq!(offered.negotiate(Features::NONE), Ok(Features::NONE));
        assert_eq!(offered.negotiate(Features::OURS), Ok(Features::PUSH));
        let critical = Features(1 << 32 | 1);
        let error = critical.negotiate(Features::OURS).unwrap_err();
        assert_eq!(error.features, Features(1 << 32));
        assert!(error.to_string().contains("0x0000000100000000"), "{error}");
    }
}
