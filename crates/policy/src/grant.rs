//! What a principal may use. Everything is refused that is not granted.

use crate::host::Host;
use crate::host_pattern::HostPattern;
use crate::port::PortRange;
use crate::reserved::is_reserved_label;

/// What a principal may use. The default is nothing but one random subdomain.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Grants {
    /// Hosts, one by one or by pattern.
    pub hosts: Vec<HostPattern>,
    /// Every host below this one, however deep: the principal `default`.
    pub any_host_under: Option<Host>,
    /// TCP ports.
    pub ports: Vec<PortRange>,
    /// Named groups to be a member of.
    pub groups: Vec<String>,
    /// Server-side services to reach in the other direction.
    pub reach: Vec<String>,
    /// How much of what is granted.
    pub quotas: Quotas,
}

/// How much a principal may have at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quotas {
    /// Hosts and ports that it holds, over all of its clients.
    pub names: u32,
    /// Sessions, over all of its clients.
    pub sessions: u32,
    /// Requests and connections that all of its clients carry together, both ways. None: no limit.
    pub requests: Option<u32>,
}

impl Default for Quotas {
    fn default() -> Self {
        Self { names: 1024, sessions: 1024, requests: None }
    }
}

/// Why a host is not given to a principal. The client is at fault, or the operator forgot a grant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotGranted {
    /// The grants do not cover it.
    #[error("{0} is not granted")]
    Host(Host),
    /// A pattern covers it, but it is the domain itself or begins with a reserved label.
    #[error("{0} is reserved: only a grant of exactly this host gives it")]
    Reserved(Host),
    /// There are no host grants, so that there is one random subdomain and nothing else.
    #[error("{asked} is not granted: without host grants there is only {random}; ask for no host to get it")]
    OnlyRandom {
        /// What was asked for.
        asked: Host,
        /// The subdomain of this client.
        random: Host,
    },
    /// No host was asked for, and the granted ones must be named.
    #[error("a host has to be named; granted: {granted}")]
    NameOne {
        /// The granted patterns, separated by commas.
        granted: String,
    },
}

impl Grants {
    /// The grants of the principal `default`: every host below `domain` and every unprivileged port.
    #[must_use]
    pub fn everything_under(domain: Host) -> Self {
        Self { any_host_under: Some(domain), ports: vec![PortRange::UNPRIVILEGED], ..Self::default() }
    }

    /// Whether there is a grant of any host.
    #[must_use]
    pub const fn has_hosts(&self) -> bool {
        !self.hosts.is_empty() || self.any_host_under.is_some()
    }

    /// Whether `host` is granted. A pattern does not cover reserved labels; see also [`HostRight`].
    #[must_use]
    pub fn allows_host(&self, host: &Host) -> bool {
        self.names_host(host)
            || self.is_under(host)
            || (self.covers_host(host) && !is_reserved_label(host.first_label()))
    }

    /// Whether `port` is granted.
    #[must_use]
    pub fn allows_port(&self, port: u16) -> bool {
        self.ports.iter().any(|range| range.contains(port))
    }

    /// Whether being a member of the named group `group` is granted.
    #[must_use]
    pub fn allows_group(&self, group: &str) -> bool {
        self.groups.iter().any(|granted| granted == group)
    }

    /// Whether reaching the server-side service `service` is granted.
    #[must_use]
    pub fn allows_reach(&self, service: &str) -> bool {
        self.reach.iter().any(|granted| granted == service)
    }

    fn names_host(&self, host: &Host) -> bool {
        self.hosts.iter().any(|pattern| matches!(pattern, HostPattern::Exact(exact) if exact == host))
    }

    /// Of the principal `default`, which may use every name below the domain, the reserved labels too.
    fn is_under(&self, host: &Host) -> bool {
        self.any_host_under.as_ref().is_some_and(|domain| host.name_in(domain).is_some())
    }

    fn covers_host(&self, host: &Host) -> bool {
        self.hosts.iter().any(|pattern| pattern.matches(host))
    }
}

/// The right of a principal to hosts, at a server with a domain.
#[derive(Debug, Clone, Copy)]
pub struct HostRight<'a> {
    grants: &'a Grants,
    domain: &'a Host,
}

impl<'a> HostRight<'a> {
    /// What `grants` give at the server of `domain`.
    #[must_use]
    pub const fn new(grants: &'a Grants, domain: &'a Host) -> Self {
        Self { grants, domain }
    }

    /// The host that a tunnel gets: the `requested` one if it is granted, or `random`, the random subdomain of
    /// this client and tunnel, if none is requested.
    ///
    /// # Errors
    /// Why not.
    pub fn host_for(&self, requested: Option<&Host>, random: Host) -> Result<Host, NotGranted> {
        match requested {
            Some(host) if *host == random && !self.grants.has_hosts() => Ok(random),
            Some(host) if !self.grants.has_hosts() => {
                Err(NotGranted::OnlyRandom { asked: host.clone(), random })
            }
            Some(host) => self.check(host).map(|()| host.clone()),
            None if !self.grants.has_hosts() || self.check(&random).is_ok() => Ok(random),
            None => {
                let granted: Vec<String> = self.grants.hosts.iter().map(ToString::to_string).collect();
                Err(NotGranted::NameOne { granted: granted.join(", ") })
            }
        }
    }

    /// Whether the grants cover `host`. The domain itself and reserved labels take a grant of exactly that host.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, host: &Host) -> Result<(), NotGranted> {
        if self.grants.names_host(host) || self.grants.is_under(host) {
            return Ok(());
        }
        let reserved = host == self.domain || is_reserved_label(host.first_label());
        match self.grants.covers_host(host) {
            true if reserved => Err(NotGranted::Reserved(host.clone())),
            true => Ok(()),
            false => Err(NotGranted::Host(host.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn host(text: &str) -> Host {
        Host::parse(text).unwrap()
    }

    fn grants(hosts: &[&str]) -> Grants {
        Grants { hosts: hosts.iter().map(|text| text.parse().unwrap()).collect(), ..Grants::default() }
    }

    #[test]
    fn nothing_is_granted_by_default() {
        let none = Grants::default();
        assert!(!none.allows_host(&host("a.t.example.com")));
        assert!(!none.allows_port(2222) && !none.allows_group("web") && !none.allows_reach("billing"));
        assert_eq!(none.quotas, Quotas { names: 1024, sessions: 1024, requests: None });
    }

    #[test]
    fn the_default_principal_has_the_domain_and_the_high_ports() {
        let domain = host("localhost");
        let all = Grants::everything_under(domain.clone());
        for name in ["app.localhost", "b.app.localhost", "7.localhost", "www.localhost", "api.localhost"] {
            assert!(all.allows_host(&host(name)), "{name}");
        }
        for name in ["localhost", "app.example.com", "xlocalhost"] {
            assert!(!all.allows_host(&host(name)), "{name}");
        }
        assert!(all.allows_port(1024) && all.allows_port(65_535) && !all.allows_port(1023));
        assert!(!all.allows_reach("billing") && !all.allows_group("web"));
        let right = HostRight::new(&all, &domain);
        assert_eq!(right.host_for(None, host("abc.localhost")), Ok(host("abc.localhost")));
        let www = host("www.localhost");
        assert_eq!(right.host_for(Some(&www), host("abc.localhost")), Ok(www));
        let base = host("localhost");
        assert_eq!(right.host_for(Some(&base), host("abc.localhost")), Err(NotGranted::Host(base)));
    }

    #[test]
    fn without_host_grants_there_is_one_random_subdomain() {
        let (none, domain) = (Grants::default(), host("t.example.com"));
        let (random, other) = (host("q2w3e4.t.example.com"), host("app.t.example.com"));
        let right = HostRight::new(&none, &domain);
        assert_eq!(right.host_for(None, random.clone()), Ok(random.clone()));
        assert_eq!(right.host_for(Some(&random), random.clone()), Ok(random.clone()));
        assert_eq!(
            right.host_for(Some(&other), random.clone()),
            Err(NotGranted::OnlyRandom { asked: other, random })
        );
    }

    #[test]
    fn with_host_grants_one_of_them_is_named() {
        let (bob, domain) = (grants(&["demo.t.example.com", "*.bob.t.example.com"]), host("t.example.com"));
        let right = HostRight::new(&bob, &domain);
        let random = || host("q2w3e4.t.example.com");
        for name in ["demo.t.example.com", "x.bob.t.example.com"] {
            assert_eq!(right.host_for(Some(&host(name)), random()), Ok(host(name)));
        }
        for name in
            ["wiki.t.example.com", "bob.t.example.com", "y.x.bob.t.example.com", "q2w3e4.t.example.com"]
        {
            assert_eq!(right.host_for(Some(&host(name)), random()), Err(NotGranted::Host(host(name))));
        }
        let error = right.host_for(None, random()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "a host has to be named; granted: demo.t.example.com, *.bob.t.example.com"
        );
    }

    #[test]
    fn the_domain_and_reserved_labels_take_an_exact_grant() {
        let domain = host("t.example.com");
        let wide = grants(&["*.example.com", "*.t.example.com"]);
        let exact = grants(&["t.example.com", "www.t.example.com"]);
        for name in ["t.example.com", "www.t.example.com"] {
            let name = host(name);
            assert_eq!(HostRight::new(&wide, &domain).check(&name), Err(NotGranted::Reserved(name.clone())));
            assert_eq!(HostRight::new(&exact, &domain).check(&name), Ok(()));
        }
    }

    proptest! {
        #[test]
        fn a_right_is_never_wider_than_the_grants(
            hosts in prop::collection::vec("(\\*\\.)?(a|b|www|t)(\\.(a|t)){1,2}", 0..4),
            asked in "(a|b|www|t)(\\.(a|t)){0,3}",
        ) {
            let grants = Grants { hosts: hosts.iter().map(|text| text.parse().unwrap()).collect(), ..Grants::default() };
            let (domain, asked, random) = (host("t"), host(&asked), host("random.t"));
            let given = HostRight::new(&grants, &domain).host_for(Some(&asked), random.clone());
            if let Ok(given) = given {
                prop_assert_eq!(&given, &asked);
                prop_assert!(grants.allows_host(&given) || (!grants.has_hosts() && given == random));
            }
        }
    }
}
