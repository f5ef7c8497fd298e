//! What a listener is for.

/// What a listener is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Role {
    /// Clients.
    Tunnel,
    /// Visitors.
    Http,
    /// Visitors over TLS, and clients by ALPN.
    Https,
    /// Operators.
    Ops,
    /// Those who ask as commands do.
    Admin,
    /// Visitors whose connections go where the listener says.
    Tcp,
    /// Those whose connections go where the name says that their TLS asks for.
    Tls,
}

impl Role {
    /// As in the file.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Tunnel => "tunnel",
            Self::Http => "http",
            Self::Https => "https",
            Self::Ops => "ops",
            Self::Admin => "admin",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
        }
    }

    /// Where its address stands in the file.
    pub(super) const fn key(self) -> &'static str {
        match self {
            Self::Tunnel => "listen.tunnel",
            Self::Http => "listen.http",
            Self::Https => "listen.https",
            Self::Ops => "listen.ops",
            Self::Admin => "listen.admin",
            Self::Tcp => "tcp.listen",
            Self::Tls => "tls.listen",
        }
    }

    /// How its address is given on the command line.
    pub(super) const fn flag(self) -> &'static str {
        match self {
            Self::Tunnel => "--tunnel",
            Self::Http => "--http",
            Self::Https => "--https",
            Self::Ops => "--ops",
            Self::Admin | Self::Tcp | Self::Tls => self.key(),
        }
    }
}
