//! What the word after `disable`, `enable` and `kick` means here.

use std::collections::BTreeSet;

use policy::disabled::{Disabled, Installation, What};
use policy::group::GroupKey;
use policy::host::Host;
use policy::principal::Principal;
use protocol::id::ClientId;

use crate::identity::Book;
use crate::registry::{Name, Registry};

/// The word means nothing here, or too much.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum MeaningError {
    /// Nothing.
    #[error("nothing here is called {0}; `tunneld status` shows what there is")]
    Nothing(String),
    /// It is in service.
    #[error("{0} is not disabled; `tunneld status` lists what is")]
    InService(String),
    /// A client that is not connected can only be meant by its id.
    #[error(
        "no client called {0} is connected; one that is not is named client:PRINCIPAL/ID, as `tunneld principals` and the log show them"
    )]
    NoClient(String),
    /// More than one thing.
    #[error("{word} may mean several things; say which: {}", .meanings.join(", "))]
    Several {
        /// What was said.
        word: String,
        /// What it may mean, each as it is to be said.
        meanings: Vec<String>,
    },
    /// A server next to a client.
    #[error(
        "{0}: a single server next to clients can not be disabled, only one next to this server (server:SERVICE/ADDRESS); take it out with `tunneld config apply`, or disable the client, member or group"
    )]
    NextToClients(String),
    /// The part behind the kind is none of it.
    #[error("{0}")]
    Wrong(String),
}

/// Something with what people call it.
pub(super) type Meant = (What, Option<String>);

/// What can be disabled by this word: a kind and a name, or a name that only one thing has.
pub(super) fn of(registry: &Registry, book: &Book, word: &str) -> Result<Meant, MeaningError> {
    if word.split_once('@').is_some_and(|(it, _)| it.contains('/') && !it.contains(':')) {
        return Err(MeaningError::NextToClients(word.to_owned()));
    }
    match word.split_once(':') {
        Some((kind, name)) => of_kind(registry, book, kind, name, word),
        None => only(all(registry, book, word), word),
    }
}

/// Which of the things that are disabled is meant.
pub(super) fn among(disabled: &Disabled, domain: &Host, word: &str) -> Result<What, MeaningError> {
    let meant = disabled.iter().filter(|(what, note)| is_meant(what, note.called.as_deref(), domain, word));
    let mut meant: Vec<What> = meant.map(|(what, _)| what.clone()).collect();
    match (meant.pop(), meant.is_empty()) {
        (Some(what), true) => Ok(what),
        (None, _) => Err(MeaningError::InService(word.to_owned())),
        (Some(last), false) => {
            let meanings = meant.iter().chain([&last]).map(ToString::to_string).collect();
            Err(MeaningError::Several { word: word.to_owned(), meanings })
        }
    }
}

/// Whether `word` means `what`, which is out of service: by the words that take it out of it.
fn is_meant(what: &What, called: Option<&str>, domain: &Host, word: &str) -> bool {
    let (kind, name) = match word.split_once(':') {
        Some((
            kind @ ("principal" | "client" | "member" | "group" | "host" | "port" | "rule" | "server"),
            name,
        )) => (Some(kind), name),
        _ => (None, word),
    };
    let may_be = |of: &str| kind.is_none_or(|kind| kind == of);
    // It need not be connected, so what it was called is all that there is to go by.
    let is_client = |of: &Installation, name: &str| {
        called.is_some_and(|called| called.eq_ignore_ascii_case(name))
            || of.client.to_string() == name
            || of.to_string() == name
    };
    match what {
        What::Principal(it) => may_be("principal") && it.as_str() == name,
        What::Client(of) => may_be("client") && is_client(of, name),
        What::Member(group, of) => match (kind, name.split_once('/')) {
            (Some("member"), Some((in_group, name))) => in_group == group.as_str() && is_client(of, name),
            (Some(_), _) => false,
            (None, _) => is_client(of, name),
        },
        What::Group(it) => may_be("group") && it.as_str() == name,
        What::Rule(it) => may_be("rule") && it.as_str() == name,
        What::Host(it) => may_be("host") && Host::complete(name, domain).is_ok_and(|host| host == *it),
        What::Port(it) => may_be("port") && name.parse::<u16>().is_ok_and(|port| port == *it),
        What::Server(service, address) => {
            may_be("server")
                && name.split_once('/').is_some_and(|(of, at)| of == service && is_at(address, at))
        }
    }
}

/// The one client that is connected and called so, or has this id.
pub(super) fn client(registry: &Registry, word: &str) -> Result<(Installation, String), MeaningError> {
    let word = word.strip_prefix("client:").unwrap_or(word);
    let mut found: Vec<_> = clients(registry, word).into_iter().collect();
    match (found.pop(), found.is_empty()) {
        (Some(only), true) => Ok(only),
        (None, _) => Err(MeaningError::NoClient(word.to_owned())),
        (Some(last), false) => {
            let meanings = found.iter().chain([&last]).map(|(client, _)| format!("client:{client}"));
            Err(MeaningError::Several { word: word.to_owned(), meanings: meanings.collect() })
        }
    }
}

/// The clients that are connected and called so, or have this id.
fn clients(registry: &Registry, word: &str) -> BTreeSet<(Installation, String)> {
    let exact: Option<Installation> = word.parse().ok();
    let is_meant = |of: &Installation, name: &str| {
        name.eq_ignore_ascii_case(word) || of.client.to_string() == word || exact.as_ref() == Some(of)
    };
    let sessions = registry.sessions();
    let all = sessions.iter().map(|live| {
        let login = &live.login;
        (Installation { principal: login.principal.clone(), client: login.client }, login.name.clone())
    });
    all.filter(|(of, name)| is_meant(of, name)).collect()
}

fn of_kind(
    registry: &Registry,
    book: &Book,
    kind: &str,
    name: &str,
    word: &str,
) -> Result<Meant, MeaningError> {
    let nothing = || MeaningError::Nothing(word.to_owned());
    let domain = &registry.naming().domain;
    let what = match kind {
        "client" => {
            // It need not be connected if all of it is said.
            return match name.parse::<Installation>() {
                Ok(exact) => Ok((What::Client(exact), called(registry, name))),
                Err(()) => client(registry, name).map(|(client, name)| (What::Client(client), Some(name))),
            };
        }
        "member" => {
            let (group, of) = name
                .split_once('/')
                .ok_or_else(|| MeaningError::Wrong(format!("{word}: write member:GROUP/CLIENT")))?;
            let group = a_group(registry, group).ok_or_else(nothing)?;
            return match of.parse::<Installation>() {
                Ok(exact) => Ok((What::Member(group, exact), called(registry, of))),
                Err(()) => {
                    client(registry, of).map(|(client, name)| (What::Member(group, client), Some(name)))
                }
            };
        }
        "principal" => What::Principal(a_principal(book, domain, name).ok_or_else(nothing)?),
        "group" => What::Group(a_group(registry, name).ok_or_else(nothing)?),
        "rule" => What::Rule(a_rule(registry, name).ok_or_else(nothing)?),
        "host" => Host::complete(name, domain)
            .map(What::Host)
            .map_err(|error| MeaningError::Wrong(format!("{word}: {error}")))?,
        "port" => What::Port(
            name.parse()
                .map_err(|_| MeaningError::Wrong(format!("{word}: write a number from 1 to 65535")))?,
        ),
        "server" => {
            let of_clients = name.split_once('/').and_then(|(of, _)| a_group(registry, of));
            return match servers(registry, name) {
                found if found.is_empty() && of_clients.is_some() => {
                    Err(MeaningError::NextToClients(word.to_owned()))
                }
                found => only(found, word),
            };
        }
        // An IPv6 address, for instance.
        _ => return only(all(registry, book, word), word),
    };
    Ok((what, None))
}

fn called(registry: &Registry, word: &str) -> Option<String> {
    clients(registry, word).into_iter().next().map(|(_, name)| name)
}

/// Everything that is called `word`.
fn all(registry: &Registry, book: &Book, word: &str) -> Vec<Meant> {
    let domain = &registry.naming().domain;
    let host = Host::complete(word, domain).ok().filter(|host| is_known(registry, host));
    let port = word.parse().ok().filter(|port| registry.names().look(&Name::Tcp(*port), |_| ()).is_some());
    let plain = [
        a_principal(book, domain, word).map(What::Principal),
        a_group(registry, word).map(What::Group),
        a_rule(registry, word).map(What::Rule),
        host.map(What::Host),
        port.map(What::Port),
    ];
    let clients =
        clients(registry, word).into_iter().map(|(client, name)| (What::Client(client), Some(name)));
    let plain = plain.into_iter().flatten().map(|what| (what, None));
    plain.chain(clients).chain(servers(registry, word)).collect()
}

/// The servers of the services next to this server that are meant by `SERVICE/ADDRESS`.
fn servers(registry: &Registry, word: &str) -> Vec<Meant> {
    let Some((service, at)) = word.split_once('/') else { return Vec::new() };
    let Some(known) = registry.nearby().service(service) else { return Vec::new() };
    let all: BTreeSet<String> = known.targets().map(ToString::to_string).collect();
    let meant = all.into_iter().filter(|address| is_at(address, at));
    meant.map(|address| (What::Server(service.to_owned(), address), None)).collect()
}

/// Whether `word` means the server at `address`: as `status` shows it, or without its scheme.
fn is_at(address: &str, word: &str) -> bool {
    address == word || address.split_once("://").is_some_and(|(_, bare)| bare == word)
}

fn only(mut meanings: Vec<Meant>, word: &str) -> Result<Meant, MeaningError> {
    match (meanings.pop(), meanings.is_empty()) {
        (Some(only), true) => Ok(only),
        (None, _) if word.parse::<ClientId>().is_ok() => Err(MeaningError::NoClient(word.to_owned())),
        (None, _) => Err(MeaningError::Nothing(word.to_owned())),
        (Some(last), false) => {
            let meanings = meanings.iter().chain([&last]).map(|(what, _)| what.to_string()).collect();
            Err(MeaningError::Several { word: word.to_owned(), meanings })
        }
    }
}

fn a_principal(book: &Book, domain: &Host, name: &str) -> Option<Principal> {
    Principal::parse(name).ok().filter(|principal| book.grants(principal, domain).is_some())
}

/// One of the configuration, or of tunnels alone.
fn a_group(registry: &Registry, name: &str) -> Option<String> {
    let configured = registry.memberships().all().contains_key(name);
    let mut of_tunnels = false;
    registry.names().each(|_, entry| of_tunnels |= &*entry.labels.group == name);
    (GroupKey::named(name).is_ok() && (configured || of_tunnels)).then(|| name.to_owned())
}

fn a_rule(registry: &Registry, name: &str) -> Option<String> {
    registry.routing().table().rules().iter().any(|rule| &*rule.name == name).then(|| name.to_owned())
}

/// Whether a tunnel, a rule or a passed-through TLS has the host.
fn is_known(registry: &Registry, host: &Host) -> bool {
    let routing = registry.routing();
    let ruled = routing.table().rules().iter().filter_map(|rule| rule.matcher.host.as_ref());
    registry.names().look(&Name::Http(host.clone()), |_| ()).is_some()
        || ruled.into_iter().any(|pattern| pattern.matches(host))
        || routing.relays().passing(None, host).is_some()
}

#[cfg(test)]
mod tests {
    use policy::disabled::Note;

    use super::*;

    #[test]
    fn what_is_disabled_is_meant_by_the_words_that_disable() {
        let of =
            |id: u8| Installation { principal: Principal::parse("ann").unwrap(), client: ClientId([id; 16]) };
        let domain = Host::parse("t.example.com").unwrap();
        let client = What::Client(of(2));
        let members = [What::Member("web".to_owned(), of(1)), What::Member("web".to_owned(), of(2))];
        let host = What::Host(Host::parse("wiki.t.example.com").unwrap());
        let mut disabled = Disabled::default();
        for (what, called) in [
            (&client, Some("edge-2")),
            (&members[0], Some("Edge-1")),
            (&members[1], Some("edge-2")),
            (&host, None),
        ] {
            let note = Note { since: 1, called: called.map(str::to_owned) };
            assert_eq!(disabled.disable(what.clone(), note), Ok(true));
        }
        let meant = |word: &str| among(&disabled, &domain, word);
        assert_eq!(meant("member:web/edge-1"), Ok(members[0].clone()));
        assert_eq!(meant("EDGE-1"), Ok(members[0].clone()), "as clients are called, in any case");
        assert_eq!(meant("client:edge-2"), Ok(client.clone()));
        for word in ["host:wiki", "wiki", "host:WIKI.t.example.com"] {
            assert_eq!(meant(word), Ok(host.clone()), "{word}");
        }
        for what in [&client, &members[0], &members[1], &host] {
            assert_eq!(meant(&what.to_string()), Ok(what.clone()), "as `status` shows it");
        }
        assert!(matches!(meant("edge-2"), Err(MeaningError::Several { .. })));
        for word in ["member:db/edge-1", "client:edge-1", "group:wiki"] {
            assert_eq!(meant(word), Err(MeaningError::InService(word.to_owned())));
        }
    }
}
