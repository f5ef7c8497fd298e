//! What `status` and `sessions` say of the registry.

use std::collections::BTreeMap;
use std::time::Duration;

use ops::error_kind::ErrorKind;
use policy::disabled::{Installation, Note, What};
use policy::ownership::Holding;
use protocol::service_name::ServiceName;
use proxy::directory::RouteLabels;

use super::Registry;
use super::instance::{Instance, InstanceKey};
use super::memberships::{Group, Membership};
use super::name::Name;
use super::names::Entry;
use crate::admin::api::{
    DisabledInfo, GroupInfo, GroupMemberInfo, IngressInfo, MemberInfo, NameInfo, SessionInfo,
};
use crate::session::Live;

impl Registry {
    /// Every session, by number.
    #[must_use]
    pub fn session_infos(&self) -> Vec<SessionInfo> {
        let disabled = self.disabled();
        let standing = |live: &Live| {
            let InstanceKey { principal, client, .. } = InstanceKey::of(live);
            disabled.of(&Installation { principal, client })
        };
        let sessions = self.sessions();
        sessions.iter().map(|live| session_info(live, standing(live).is_total())).collect()
    }

    /// Every name that is held or reserved, in order.
    #[must_use]
    pub fn name_infos(&self) -> Vec<NameInfo> {
        let mut names = BTreeMap::new();
        self.names().each(|name, entry| {
            names.insert(name.clone(), self.name_info(name, entry));
        });
        names.into_values().collect()
    }

    /// Every group of the configuration, in order.
    #[must_use]
    pub fn group_infos(&self) -> Vec<GroupInfo> {
        let disabled = self.disabled();
        let groups = self.memberships().in_use();
        groups.iter().filter_map(|group| group_info(group, disabled.is_group(group.name()))).collect()
    }

    /// Every configured ingress whose connections are relayed, in order.
    #[must_use]
    pub fn ingress_infos(&self) -> Vec<IngressInfo> {
        let routing = self.routing();
        let all = routing.relays().all().into_iter();
        all.map(|(listener, host, relay)| IngressInfo {
            kind: if host.is_some() { "tls" } else { "tcp" }.to_owned(),
            listen: listener.to_string(),
            down: None,
            host,
            to: relay.to.to_string(),
            members: match &relay.to {
                ServiceName::Grouped { group, service } => self.groups().look(group, service, |served| {
                    served.behind.iter().map(|behind| member_info(&behind.instance)).collect()
                }),
                ServiceName::Plain(_) | ServiceName::Own(_) => None,
            }
            .unwrap_or_default(),
            failures: failures(&relay.labels),
        })
        .collect()
    }

    /// Everything that is out of service, in order.
    #[must_use]
    pub fn disabled_infos(&self) -> Vec<DisabledInfo> {
        let disabled = self.disabled();
        let info = |(what, note): (&What, &Note)| DisabledInfo {
            what: what.to_string(),
            called: note.called.clone(),
            since: note.since,
        };
        disabled.iter().map(info).collect()
    }

    fn is_disabled(&self, name: &Name, group: &str) -> bool {
        let disabled = self.disabled();
        disabled.is_group(group)
            || match name {
                Name::Http(host) => disabled.is_host(host),
                Name::Tcp(port) => disabled.is_port(*port),
            }
    }

    fn name_info(&self, name: &Name, entry: &Entry) -> NameInfo {
        let labels = &entry.labels;
        NameInfo {
            name: name.public(),
            kind: name.kind().to_owned(),
            url: self.url(name),
            principal: entry.holding.principal().map(ToString::to_string).unwrap_or_default(),
            group: labels.group.to_string(),
            service: labels.service.to_string(),
            state: match &entry.holding {
                _ if self.is_disabled(name, &labels.group) => "disabled",
                Holding::Live { .. } => "live",
                Holding::Free | Holding::Reserved { .. } => "reserved",
            }
            .to_owned(),
            members: entry.behind.iter().map(|behind| member_info(&behind.instance)).collect(),
            failures: failures(labels),
        }
    }
}

pub(super) fn failures(labels: &RouteLabels) -> BTreeMap<String, u64> {
    let count = |kind: &ErrorKind| (kind.as_str().to_owned(), labels.metrics.errors(*kind));
    ErrorKind::ALL.iter().map(count).filter(|(_, count)| *count > 0).collect()
}

fn session_info(live: &Live, disabled: bool) -> SessionInfo {
    let login = &live.login;
    SessionInfo {
        session: live.id.0,
        principal: login.principal.to_string(),
        credential: login.means.to_string(),
        client: login.client.to_string(),
        instance: login.instance.to_string(),
        slot: login.slot.0,
        generation: live.generation.0,
        name: login.name.clone(),
        agent: login.agent.clone(),
        peer: login.peer.to_string(),
        age_seconds: live.since.elapsed().as_secs(),
        rtt_ms: live.rtt().map(milliseconds),
        substreams: live.load(),
        state: match () {
            () if live.is_draining() => "draining",
            () if disabled => "disabled",
            () => "ready",
        }
        .to_owned(),
    }
}

fn group_info(group: &Group, disabled: bool) -> Option<GroupInfo> {
    let used = group.used()?;
    let member = |membership: &Membership| {
        let instance = &membership.instance;
        let (state, reason) = membership.state(group.name());
        GroupMemberInfo {
            member: MemberInfo { state: state.to_owned(), ..member_info(instance) },
            principal: instance.key.principal.to_string(),
            reason: reason.map(|reason| reason.to_string()),
        }
    };
    Some(GroupInfo {
        name: used.id().group.clone(),
        disabled,
        revision: used.id().revision,
        services: used.part().services.iter().map(|service| service.name.clone()).collect(),
        members: group.memberships().iter().map(member).collect(),
    })
}

pub(super) fn member_info(instance: &Instance) -> MemberInfo {
    MemberInfo {
        client: instance.key.client.to_string(),
        instance: instance.key.instance.to_string(),
        name: instance.name.to_string(),
        state: instance.state().as_str().to_owned(),
        rtt_ms: instance.rtt().map(milliseconds),
        sessions: instance.slots.all().len(),
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
