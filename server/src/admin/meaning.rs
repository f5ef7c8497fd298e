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
    /// A server of a service.
    #[error(
        "{0}: a single server of a service can not be disabled in this version; take it out with `tunneld config apply`, or disable a client, member or group"
    )]
    NotYet(String),
    /// The part behind the kind is none of it.
    #[error("{0}")]
    Wrong(String),
}

/// Something with what people call it.
pub(super) type Meant = (What, Option<String>);

/// What can be disabled by this word: a kind and a name, or a name that only one thing has.
pub(super) fn of(registry: &Registry, book: &Book, word: &str) -> Result<Meant, MeaningError> {
    let is_server = word.starts_with("server:") || word.starts_with("service:");
    if is_server || word.split_once('@').is_some_and(|(it, _)| it.contains('/') && !it.contains(':')) {
        return Err(MeaningError::NotYet(word.to_owned()));
    }
    match word.split_once(':') {
        Some((kind, name)) => of_kind(registry, book, kind, name, word),
        None => only(all(registry, book, word), word),
    }
}

/// Which of the things that are disabled is meant.
pub(super) fn among(disabled: &Disabled, domain: &Host, word: &str) -> Result<What, MeaningError> {
    let complete = Host::complete(word, domain).ok();
    let is_meant = |what: &What, called: Option<&str>| {
        what.to_string() == word
            || called.is_some_and(|called| called == word || format!("client:{called}") == word)
            || match what {
                What::Principal(name) => name.as_str() == word,
                What::Client(client) | What::Member(_, client) => client.client.to_string() == word,
                What::Group(name) | What::Rule(name) => name == word,
                What::Host(host) => complete.as_ref() == Some(host),
                What::Port(port) => port.to_string() == word,
            }
    };
    let meant = disabled.iter().filter(|(what, note)| is_meant(what, note.called.as_deref()));
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
    plain.into_iter().flatten().map(|what| (what, None)).chain(clients).collect()
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
