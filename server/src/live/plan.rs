//! From the listeners that there are to those that a configuration wants: which sockets stay, and which addresses have to be
//! bound. Pure.

use std::net::SocketAddr;

use super::role::Role;
use crate::settings::Listen;

/// A listener that there is.
#[derive(Debug, Clone)]
pub(super) struct Open {
    /// What it is for.
    pub(super) role: Role,
    /// As written.
    pub(super) listen: Listen,
    /// Its sockets; none while it is down.
    pub(super) sockets: Vec<Place>,
}

/// Where a socket listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// As written, with port 0 for any.
    pub(super) written: SocketAddr,
    /// As bound.
    pub(super) bound: SocketAddr,
}

/// What becomes of a wanted listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// It is there: the one with this index.
    Keep(usize),
    /// It takes over these sockets, by the indices of their listeners and their own, and what is left is to be bound.
    Make {
        /// Sockets that stay.
        sockets: Vec<(usize, usize)>,
        /// Addresses without a socket.
        bind: Option<Listen>,
    },
}

/// An address is wanted that overlaps one of ours, so that it can not be bound before that one is closed, and no visitor
/// would get in meanwhile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{key}: {wanted} overlaps {live}, where this server listens now: move it in two revisions, the first without either of \
     them"
)]
pub struct Overlap {
    /// Where it stands in the file.
    pub key: &'static str,
    /// What is wanted.
    pub wanted: SocketAddr,
    /// What there is.
    pub live: SocketAddr,
}

/// What becomes of each of the `wanted` listeners, in their order; whatever of `open` is not named is closed.
///
/// # Errors
/// [`Overlap`].
pub(super) fn plan(open: &[Open], wanted: &[(Role, Listen)]) -> Result<Vec<Step>, Overlap> {
    let mut kept = vec![false; open.len()];
    let mut steps: Vec<Option<Step>> = Vec::with_capacity(wanted.len());
    for (role, listen) in wanted {
        let is_it = |index: &usize| {
            let free = kept.get(*index).is_some_and(|kept| !kept);
            free && open.get(*index).is_some_and(|it| it.role == *role && it.listen == *listen)
        };
        let known = (0..open.len()).find(is_it);
        if let Some(kept) = known.and_then(|index| kept.get_mut(index)) {
            *kept = true;
        }
        steps.push(known.map(Step::Keep));
    }
    let mut taken: Vec<(usize, usize)> = Vec::new();
    let mut made = Vec::with_capacity(wanted.len());
    for ((role, listen), step) in wanted.iter().zip(steps) {
        made.push(match step {
            Some(step) => step,
            None => make(open, &kept, &mut taken, *role, listen)?,
        });
    }
    Ok(made)
}

fn make(
    open: &[Open],
    kept: &[bool],
    taken: &mut Vec<(usize, usize)>,
    role: Role,
    listen: &Listen,
) -> Result<Step, Overlap> {
    let (mut sockets, mut bind) = (Vec::new(), Vec::new());
    for ip in listen.addresses() {
        let address = SocketAddr::new(*ip, listen.port());
        match socket_at(open, kept, taken, address) {
            Some(found) => {
                taken.push(found);
                sockets.push(found);
            }
            None => {
                if let Some(live) = overlapping(open, address) {
                    return Err(Overlap { key: role.key(), wanted: address, live });
                }
                bind.push(*ip);
            }
        }
    }
    let bind = (!bind.is_empty()).then(|| listen.only(bind));
    Ok(Step::Make { sockets, bind })
}

/// A socket at `address` that nobody keeps. Any port is no address to be found by.
fn socket_at(
    open: &[Open],
    kept: &[bool],
    taken: &[(usize, usize)],
    address: SocketAddr,
) -> Option<(usize, usize)> {
    let free = open.iter().zip(kept).enumerate().filter(|(_, (_, kept))| !**kept);
    let mut all = free.flat_map(|(listener, (open, _))| {
        open.sockets.iter().enumerate().map(move |(socket, place)| ((listener, socket), place))
    });
    let is_it = |place: &Place| place.bound == address || (address.port() != 0 && place.written == address);
    all.find(|(index, place)| is_it(place) && !taken.contains(index)).map(|(index, _)| index)
}

/// The address of a socket of ours that keeps `address` from being bound.
fn overlapping(open: &[Open], address: SocketAddr) -> Option<SocketAddr> {
    let all = open.iter().flat_map(|open| &open.sockets).map(|place| place.bound);
    all.into_iter()
        .find(|bound| address.port() != 0 && bound.port() == address.port() && overlap(address, *bound))
}

fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let takes = |all: SocketAddr, it: SocketAddr| {
        all.ip() == it.ip() || (all.ip().is_unspecified() && (all.is_ipv6() || it.is_ipv4()))
    };
    takes(one, other) || takes(other, one)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn listen(text: &str) -> Listen {
        Listen::parse(text, &["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()]).unwrap()
    }

    fn open(role: Role, written: &str, bound: &[&str]) -> Open {
        let listen = listen(written);
        let place = |(ip, bound): (&std::net::IpAddr, &&str)| Place {
            written: SocketAddr::new(*ip, listen.port()),
            bound: at(bound),
        };
        let sockets = listen.addresses().iter().zip(bound).map(place).collect();
        Open { role, listen, sockets }
    }

    fn wanted(all: &[(Role, &str)]) -> Vec<(Role, Listen)> {
        all.iter().map(|(role, text)| (*role, listen(text))).collect()
    }

    fn bound(ips: &[&str], port: u16) -> Option<Listen> {
        let ips = ips.iter().map(|ip| ip.parse().unwrap()).collect();
        Some(listen(&port.to_string()).only(ips))
    }

    #[test]
    fn what_is_the_same_stays_and_what_is_new_is_bound() {
        let open = [
            open(Role::Http, "8080", &["127.0.0.1:8080", "[::1]:8080"]),
            open(Role::Tcp, "127.0.0.1:0", &["127.0.0.1:40000"]),
            open(Role::Tcp, "127.0.0.1:0", &["127.0.0.1:40001"]),
        ];
        let wanted =
            wanted(&[(Role::Http, "8080"), (Role::Tcp, "127.0.0.1:0"), (Role::Ops, "127.0.0.1:7480")]);
        let bind = Some(listen("127.0.0.1:7480"));
        let new = Step::Make { sockets: vec![], bind };
        assert_eq!(plan(&open, &wanted).unwrap(), [Step::Keep(0), Step::Keep(1), new]);
    }

    #[test]
    fn a_socket_stays_whatever_it_is_for() {
        let open = [
            open(Role::Tcp, "127.0.0.1:5432", &["127.0.0.1:5432"]),
            open(Role::Tcp, "127.0.0.1:0", &["127.0.0.1:40000"]),
        ];
        let all = [(Role::Tls, "127.0.0.1:5432"), (Role::Tcp, "127.0.0.1:40000"), (Role::Http, "5433")];
        let steps = plan(&open, &wanted(&all)).unwrap();
        assert_eq!(
            steps,
            [
                Step::Make { sockets: vec![(0, 0)], bind: None },
                Step::Make { sockets: vec![(1, 0)], bind: None },
                Step::Make { sockets: vec![], bind: bound(&["127.0.0.1", "::1"], 5433) },
            ]
        );
        // A part of it is there.
        let steps = plan(&open, &wanted(&[(Role::Http, "5432")])).unwrap();
        assert_eq!(steps, [Step::Make { sockets: vec![(0, 0)], bind: bound(&["::1"], 5432) }]);
    }

    #[test]
    fn an_address_that_overlaps_one_of_ours_is_refused() {
        for (live, new, refused) in [
            ("0.0.0.0:80", "127.0.0.1:80", true),
            ("127.0.0.1:80", "0.0.0.0:80", true),
            ("[::]:80", "127.0.0.1:80", true),
            ("127.0.0.1:80", "[::]:80", true),
            ("0.0.0.0:80", "[::1]:80", false),
            ("127.0.0.1:80", "127.0.0.2:80", false),
            ("0.0.0.0:80", "127.0.0.1:81", false),
            ("0.0.0.0:80", "127.0.0.1:0", false),
        ] {
            let open = [open(Role::Http, live, &[live])];
            let error = plan(&open, &wanted(&[(Role::Http, new)])).err();
            assert_eq!(error.is_some(), refused, "{live} -> {new}");
            if let Some(error) = error {
                assert_eq!((error.wanted, error.live), (at(new), at(live)));
                assert!(error.to_string().contains("in two revisions"), "{error}");
            }
        }
    }

    #[test]
    fn a_listener_that_is_down_stays_down() {
        let down = Open { sockets: vec![], ..open(Role::Tcp, "127.0.0.1:5432", &[]) };
        let steps = plan(&[down], &wanted(&[(Role::Tcp, "127.0.0.1:5432")])).unwrap();
        assert_eq!(steps, [Step::Keep(0)]);
    }
}
