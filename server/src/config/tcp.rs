//! `[[tcp]]`: a public port that leads to a service.

use std::time::Duration;

use ipnet::IpNet;
use ops::config::{Placed, Problems, Section, Span};
use protocol::service_name::ServiceName;

use super::document::networks;
use super::names::Names;
use crate::settings::Listen;

/// The longest idle time; 0 is none.
const IDLE_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// A configured ingress for TCP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpEntrance {
    /// Where visitors connect.
    pub listen: Listen,
    /// The service.
    pub to: ServiceName,
    /// Which visitors may come; empty: all.
    pub allow: Vec<IpNet>,
    /// A connection without a byte for so long is closed; none: never.
    pub idle_timeout: Option<Duration>,
    /// Where it stands in the file.
    pub span: Span,
}

pub(super) fn entrances(
    sections: Vec<Section<'_>>,
    names: &mut Names,
    problems: &mut Problems,
) -> Vec<TcpEntrance> {
    sections.into_iter().filter_map(|section| entrance(section, names, problems)).collect()
}

fn entrance(mut section: Section<'_>, names: &mut Names, problems: &mut Problems) -> Option<TcpEntrance> {
    let listen = section.text("listen", problems);
    let to = section.text("to", problems);
    let allow = networks(&mut section, "allow", problems);
    let idle_timeout = idle_timeout(&mut section, problems);
    section.require("listen", "\"[::]:5432\"", problems);
    section.require("to", "\"GROUP/SERVICE\"", problems);
    let span = section.span.clone();
    section.finish(&[], problems);
    let to = to.and_then(|to| names.target(&to, problems));
    let listen = self::listen(&listen?, "tcp", names, problems)?;
    Some(TcpEntrance { listen, to: to?, allow, idle_timeout, span })
}

/// `idle_timeout`; 0 and nothing are none.
pub(super) fn idle_timeout(section: &mut Section<'_>, problems: &mut Problems) -> Option<Duration> {
    let idle = section.duration("idle_timeout", Duration::ZERO..=IDLE_MAX, problems)?.value;
    (!idle.is_zero()).then_some(idle)
}

/// `ADDRESS:PORT`, which nobody else may have.
pub(super) fn listen(
    text: &Placed<String>,
    key: &'static str,
    names: &mut Names,
    problems: &mut Problems,
) -> Option<Listen> {
    let parse = |text: &str| match Listen::parse(text, &[]) {
        Ok(listen) if listen.addresses().is_empty() => {
            Err("write ADDRESS:PORT, for example [::]:5432".to_owned())
        }
        Ok(listen) => Ok(listen),
        Err(error) => Err(error.to_string()),
    };
    let listen = text.parse(parse, problems)?;
    for ip in listen.addresses() {
        names.add_listener(key, (*ip, listen.port()).into(), text, problems);
    }
    Some(listen)
}
