//! Listening sockets, bound before anything else is promised.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener};
use std::sync::Arc;

use ops::sockets::{PORT, Sockets};
use socket2::{Domain, Protocol, Socket, Type};

use crate::settings::Listen;

/// Connections that the kernel keeps for us while we do not accept.
const BACKLOG: i32 = 4096;
/// How often a free port for several addresses is looked for.
const PORTS_TRIED: usize = 8;
/// Address family not supported: what a kernel without IPv6 says (Linux).
const EAFNOSUPPORT: i32 = 97;

/// The sockets of one flag, all on one port.
#[derive(Debug)]
pub(crate) struct Listeners {
    /// Non-blocking, ready for a runtime. A process that takes over gets those that are not dropped.
    pub(crate) sockets: Vec<Arc<TcpListener>>,
    /// Where they listen, in the order of the flag.
    pub(crate) addresses: Vec<SocketAddr>,
}

/// A flag's address can not be listened on.
#[derive(Debug, thiserror::Error)]
#[error("{flag}: cannot listen on {address}: {error}{}", hint(.error, .flag))]
pub struct BindError {
    flag: &'static str,
    address: SocketAddr,
    error: io::Error,
}

fn hint(error: &io::Error, flag: &str) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("; another program is there: stop it, or choose another address with {flag} ADDR")
        }
        io::ErrorKind::PermissionDenied => "; ports below 1024 need CAP_NET_BIND_SERVICE".to_owned(),
        io::ErrorKind::AddrNotAvailable => "; no interface of this machine has that address".to_owned(),
        _ => String::new(),
    }
}

impl BindError {
    /// Whether what is written here is not what is written in the service manager's unit.
    pub(crate) fn is_mistaken(&self) -> bool {
        self.error.kind() == io::ErrorKind::InvalidInput
    }

    /// What the kernel says, roughly.
    pub(crate) fn kind(&self) -> io::ErrorKind {
        self.error.kind()
    }
}

impl Listeners {
    /// Listens on all addresses of `listen`, which came by `flag`, for `role`: with the sockets that this process was given,
    /// or else with new ones.
    ///
    /// # Errors
    /// The first address that can not be bound. A machine without IPv6 does without it where nobody asked for it.
    pub(crate) fn bind(
        sockets: &Sockets,
        role: &'static str,
        flag: &'static str,
        listen: &Listen,
    ) -> Result<Self, BindError> {
        if let Some(given) = Self::named(sockets, role, flag, listen)? {
            return Ok(given);
        }
        let any = listen.port() == 0 && listen.addresses().len() > 1;
        for _ in 1..PORTS_TRIED {
            match Self::bind_all(sockets, role, flag, listen) {
                // The port that was free on the first address is taken on another one.
                Err(BindError { error, .. }) if any && error.kind() == io::ErrorKind::AddrInUse => {}
                result => return result,
            }
        }
        Self::bind_all(sockets, role, flag, listen)
    }

    /// That `listen` is where the service manager has opened the listener for `role`, if it has: also while that is in use,
    /// since the next process gets it whatever is written.
    ///
    /// # Errors
    /// It is elsewhere.
    pub(crate) fn agree(
        sockets: &Sockets,
        role: &'static str,
        flag: &'static str,
        listen: &Listen,
    ) -> Result<(), BindError> {
        match sockets.places(role).into_iter().find(|address| !listen.agrees_with(*address)) {
            None => Ok(()),
            Some(other) => {
                let text = format!(
                    "the service manager has opened {other} for it; write the same address in both places, or none here"
                );
                let error = io::Error::new(io::ErrorKind::InvalidInput, text);
                Err(BindError { flag, address: written(listen), error })
            }
        }
    }

    /// Those that the service manager has opened for `role`, if it has opened any: they are all of them.
    fn named(
        sockets: &Sockets,
        role: &'static str,
        flag: &'static str,
        listen: &Listen,
    ) -> Result<Option<Self>, BindError> {
        let failed = |error| BindError { flag, address: written(listen), error };
        let sockets = sockets.named(role).map_err(failed)?;
        if sockets.is_empty() {
            return Ok(None);
        }
        let addresses = sockets.iter().map(|socket| socket.local_addr()).collect::<io::Result<_>>();
        Ok(Some(Self { addresses: addresses.map_err(failed)?, sockets }))
    }

    fn bind_all(
        sockets: &Sockets,
        role: &'static str,
        flag: &'static str,
        listen: &Listen,
    ) -> Result<Self, BindError> {
        let mut bound = Self { sockets: Vec::new(), addresses: Vec::new() };
        for &ip in listen.addresses() {
            let asked = SocketAddr::new(ip, listen.port());
            let address = SocketAddr::new(ip, bound.port().unwrap_or(listen.port()));
            match bound.add(sockets, role, asked, address) {
                Err(error) if no_ipv6(&error) => match listen.without_ipv6(ip) {
                    Some(ip) => bound.add(
                        sockets,
                        role,
                        SocketAddr::new(ip, asked.port()),
                        SocketAddr::new(ip, address.port()),
                    ),
                    None if listen.may_lack(ip) => Ok(()),
                    None => Err(error),
                },
                result => result,
            }
            .map_err(|error| BindError { flag, address, error })?;
        }
        Ok(bound)
    }

    /// The port of all of them.
    #[must_use]
    pub(crate) fn port(&self) -> Option<u16> {
        self.addresses.first().map(SocketAddr::port)
    }

    /// Listens at `address`, which stands for the one that was `asked` for.
    fn add(
        &mut self,
        sockets: &Sockets,
        role: &'static str,
        asked: SocketAddr,
        address: SocketAddr,
    ) -> io::Result<()> {
        let socket = sockets.listen(role, asked, || bind_one(address))?;
        self.addresses.push(socket.local_addr()?);
        self.sockets.push(socket);
        Ok(())
    }
}

/// The address to name where one is enough.
fn written(listen: &Listen) -> SocketAddr {
    let first = listen.addresses().first().copied();
    SocketAddr::new(first.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED)), listen.port())
}

/// Listens at `port` on each of `ips`, all or nothing.
///
/// # Errors
/// The kernel's, for the first address that it refuses.
pub(crate) fn bind_port(sockets: &Sockets, ips: &[IpAddr], port: u16) -> io::Result<Vec<Arc<TcpListener>>> {
    let addresses = ips.iter().map(|&ip| SocketAddr::new(ip, port));
    addresses.map(|address| sockets.listen(PORT, address, || bind_one(address))).collect()
}

/// Binds one address; `[::]` takes IPv4 as well, whatever the machine's default is.
fn bind_one(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    // Connections in TIME_WAIT must not keep a restarted server away from its port.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// EAFNOSUPPORT and EADDRNOTAVAIL: what a machine without IPv6, or with it switched off, says.
fn no_ipv6(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(EAFNOSUPPORT)
}

#[cfg(test)]
mod tests {
    use ops::sockets::Label;

    use super::*;

    fn listen(text: &str) -> Listen {
        Listen::parse(text, &["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()]).unwrap()
    }

    #[test]
    fn all_addresses_get_one_port() {
        let bound = Listeners::bind(&Sockets::default(), "http", "--http", &listen("0")).unwrap();
        let port = bound.port().unwrap();
        assert_ne!(port, 0);
        assert!(bound.addresses.iter().all(|address| address.port() == port));
    }

    #[test]
    fn a_port_in_use_names_the_flag() {
        let taken = Listeners::bind(&Sockets::default(), "http", "--http", &listen("127.0.0.1:0")).unwrap();
        let text = taken.addresses[0].to_string();
        let error =
            Listeners::bind(&Sockets::default(), "ops", "--ops", &listen(&text)).unwrap_err().to_string();
        assert!(error.starts_with("--ops: cannot listen on 127.0.0.1:"), "{error}");
        assert!(error.contains("--ops ADDR"), "{error}");
    }

    #[test]
    fn a_port_of_any_address_conflicts_with_one_on_all() {
        let taken = Listeners::bind(&Sockets::default(), "http", "--http", &listen("127.0.0.1:0")).unwrap();
        let all = ["::".parse().unwrap()];
        let error = bind_port(&Sockets::default(), &all, taken.port().unwrap()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn a_process_that_takes_over_has_the_same_ports_for_the_same_words() {
        let before = Sockets::default();
        let first = Listeners::bind(&before, "http", "--http", &listen("0")).unwrap();
        let port = bind_port(&before, &["127.0.0.1".parse().unwrap()], 0).unwrap();
        let after = Sockets::inherited(before.all().unwrap());
        let second = Listeners::bind(&after, "http", "--http", &listen("0")).unwrap();
        assert_eq!(second.addresses, first.addresses);
        let at = port[0].local_addr().unwrap();
        let claimed = bind_port(&after, &[at.ip()], at.port()).unwrap();
        assert_eq!(claimed[0].local_addr().unwrap(), at);
    }

    #[test]
    fn what_the_service_manager_opened_is_the_listener_unless_the_operator_says_otherwise() {
        let opened = || {
            let socket = TcpListener::bind("127.0.0.1:0").unwrap();
            let asked = socket.local_addr().unwrap();
            let label = Label { role: "http".to_owned(), asked, named: true, lent: true };
            (asked, Sockets::inherited(vec![(label, socket)]))
        };
        let implied = Listen::standard(&["::".parse().unwrap()], 8080);
        let (at, sockets) = opened();
        assert_eq!(Listeners::bind(&sockets, "http", "--http", &implied).unwrap().addresses, [at]);
        let (at, sockets) = opened();
        let same = listen(&at.to_string());
        assert_eq!(Listeners::bind(&sockets, "http", "--http", &same).unwrap().addresses, [at]);
        let (at, sockets) = opened();
        // Also while somebody has it.
        let mut in_use = Vec::new();
        for _ in 0..2 {
            let error = Listeners::agree(&sockets, "http", "--http", &listen("127.0.0.1:1")).unwrap_err();
            assert!(error.is_mistaken());
            let error = error.to_string();
            assert!(error.contains("127.0.0.1:1") && error.contains(&at.to_string()), "{error}");
            Listeners::agree(&sockets, "http", "--http", &listen(&at.to_string())).unwrap();
            Listeners::agree(&sockets, "tunnel", "--tunnel", &listen("127.0.0.1:1")).unwrap();
            in_use.extend(sockets.named("http").unwrap());
        }
        assert_eq!(in_use.len(), 1);
    }
}
