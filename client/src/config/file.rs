//! What a configuration file says.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ops::config::{self, ConfigError, Problems, Section};
use policy::consent::Consent;
use policy::part::PluginPart;
use protocol::join::HostPort;
use protocol::limits::{NAME_MAX, REGISTRATIONS_MAX};
use proxy::plugin::Kinds;

use super::forward::{allow, forward};
use super::plugin::plugins;
use super::tunnel::{Taken, tunnel};
use crate::forward::Forward;
use crate::rotation::Rotation;
use crate::settings;
use crate::tunnel::Tunnel;

/// Parallel sessions at most: more help no link.
const CONNECTIONS_MAX: u16 = 32;
/// What a session may serve: less is no use, more is no rotation.
const ROTATION_AFTER: RangeInclusive<Duration> =
    Duration::from_secs(60)..=Duration::from_secs(30 * 24 * 3600);
/// Listeners that lead to services next to the server, at most.
const FORWARDS_MAX: usize = 256;

/// A configuration. Paths are complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileConfig {
    /// `join_file`.
    pub join_file: Option<PathBuf>,
    /// `ca_file`.
    pub ca_file: Option<PathBuf>,
    /// `cert` and `key`.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// `name`.
    pub name: Option<String>,
    /// `servers`; empty: that of the join string.
    pub servers: Vec<HostPort>,
    /// `connections`, from 1.
    pub connections: u16,
    /// `rotation`.
    pub rotation: Rotation,
    /// `ops`.
    pub ops: Option<SocketAddr>,
    /// `tunnel`.
    pub tunnels: Vec<Tunnel>,
    /// `forward`.
    pub forwards: Vec<Forward>,
    /// `plugin`.
    pub plugins: Vec<PluginPart>,
    /// `allow`.
    pub allow: Consent,
}

/// Reads and checks the file at `path`; `env` looks up the variables of `${…}`. Plugins are of `kinds`. Blocks for as
/// long as the disk does.
///
/// # Errors
/// It cannot be read, or anything in it is wrong: then all of it is in the report.
pub fn load(
    path: &Path,
    kinds: &Kinds,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<FileConfig, ConfigError> {
    config::load(path, env, |top, problems| document(top, kinds, problems))
}

/// The same for a file that was in use before. None: there is nothing in it any more.
///
/// # Errors
/// As for [`load`].
pub fn load_again(
    path: &Path,
    kinds: &Kinds,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<FileConfig>, ConfigError> {
    let text = config::read_text(path)?;
    if text.trim().is_empty() {
        return Ok(None);
    }
    config::load_text(path, &text, env, |top, problems| document(top, kinds, problems)).map(Some)
}

fn document(mut top: Section<'_>, kinds: &Kinds, problems: &mut Problems) -> Option<FileConfig> {
    let join_file = top.path("join_file", problems).map(|path| path.value);
    let ca_file = top.path("ca_file", problems).map(|path| path.value);
    let certificate = certificate(&mut top, problems);
    let name = top.text("name", problems).and_then(|text| text.parse(display_name, problems));
    let servers = top.texts("servers", problems);
    let servers = servers.iter().filter_map(|text| text.parse(str::parse::<HostPort>, problems)).collect();
    let connections = top
        .number("connections", 1..=CONNECTIONS_MAX, problems)
        .map_or(settings::CONNECTIONS, |connections| connections.value);
    let rotation =
        top.section("rotation", problems).map_or_else(Rotation::default, |it| rotation(it, problems));
    let ops = top.text("ops", problems).and_then(|text| {
        let address = |text: &str| text.parse().map_err(|_| "write ADDRESS:PORT, for example 127.0.0.1:7481");
        text.parse(address, problems)
    });
    let plugins = plugins(top.sections("plugin", problems), kinds, problems);
    let sections = top.sections("tunnel", problems);
    if let Some(extra) = sections.get(REGISTRATIONS_MAX) {
        problems.add(extra.span.clone(), format_args!("more than {REGISTRATIONS_MAX} tunnels"));
    }
    let mut taken = Taken::default();
    let tunnels = sections.into_iter().filter_map(|section| tunnel(section, &plugins, &mut taken, problems));
    let tunnels = tunnels.collect();
    let sections = top.sections("forward", problems);
    if let Some(extra) = sections.get(FORWARDS_MAX) {
        problems.add(extra.span.clone(), format_args!("more than {FORWARDS_MAX} forwards"));
    }
    let mut names = HashSet::new();
    let forwards =
        sections.into_iter().filter_map(|section| forward(section, &plugins, &mut names, problems));
    let forwards = forwards.collect();
    let allow = top.section("allow", problems).map_or_else(Consent::default, |it| allow(it, problems));
    top.finish(&[], problems);
    Some(FileConfig {
        join_file,
        ca_file,
        certificate,
        name,
        servers,
        connections,
        rotation,
        ops,
        tunnels,
        forwards,
        plugins,
        allow,
    })
}

/// A certificate is nothing without its key.
fn certificate(top: &mut Section<'_>, problems: &mut Problems) -> Option<(PathBuf, PathBuf)> {
    let (cert, key) = (top.path("cert", problems), top.path("key", problems));
    match (cert, key) {
        (Some(cert), Some(key)) => Some((cert.value, key.value)),
        (Some(_), None) => {
            top.require("key", "\"client.key\"", problems);
            None
        }
        (None, Some(_)) => {
            top.require("cert", "\"client.pem\"", problems);
            None
        }
        (None, None) => None,
    }
}

fn rotation(mut section: Section<'_>, problems: &mut Problems) -> Rotation {
    let usual = Rotation::default();
    let after = section.duration("after", ROTATION_AFTER, problems);
    let substreams = section.number("substreams", 1_000..=usual.substreams, problems);
    section.finish(&[], problems);
    Rotation {
        after: after.map_or(usual.after, |after| after.value),
        substreams: substreams.map_or(usual.substreams, |substreams| substreams.value),
    }
}

fn display_name(name: &str) -> Result<String, &'static str> {
    let fits = (1..=NAME_MAX).contains(&name.len()) && !name.chars().any(char::is_control);
    if fits { Ok(name.to_owned()) } else { Err("a name has 1 to 64 bytes and no control characters") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        (name == "CREDENTIALS_DIRECTORY").then(|| "/run/credentials".to_owned())
    }

    fn read(top: Section<'_>, problems: &mut Problems) -> Option<FileConfig> {
        document(top, &Kinds::built_in(), problems)
    }

    fn good(source: &str) -> FileConfig {
        config::read(Path::new("/etc/tunnel/tunnelc.toml"), source, &env, read).unwrap()
    }

    /// `line:column message` of everything that is wrong.
    fn wrong(source: &str) -> Vec<String> {
        let problems = config::read(Path::new("t.toml"), source, &env, read).unwrap_err().found;
        let mut found: Vec<_> = problems
            .iter()
            .map(|problem| {
                let before = &source[..problem.span.start];
                let line = before.matches('\n').count() + 1;
                let column = before.len() - before.rfind('\n').map_or(0, |at| at + 1) + 1;
                ((line, column), format!("{line}:{column} {}", problem.message))
            })
            .collect();
        found.sort();
        found.into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn the_reference_example() {
        let config = good(
            r#"
            join_file   = "${CREDENTIALS_DIRECTORY}/join"
            ca_file     = "ca.pem"
            name        = "edge-1"
            servers     = ["tunnel.t.example.com:7443"]
            connections = 2
            rotation    = { after = "12h", substreams = 5000 }
            ops         = "127.0.0.1:7481"
            tunnel = [
              { name = "wiki", kind = "http", host = "wiki", to = "http://127.0.0.1:8081", set_host = "wiki.lan" },
              { name = "ssh", kind = "tcp", port = 2222, to = "127.0.0.1:22", allow = ["203.0.113.0/24"] },
            ]
            forward = [{ name = "billing", kind = "http", listen = "127.0.0.1:9000", to = "billing" }]

            [allow]
            dial   = ["127.0.0.1:3000", "127.0.0.1:4000-4001"]
            listen = ["127.0.0.1:9000-9099"]
            "#,
        );
        let billing = Forward {
            name: "billing".to_owned(),
            kind: policy::part::IngressKind::Http,
            listen: "127.0.0.1:9000".parse().unwrap(),
            to: "billing".to_owned(),
            plugins: Vec::new(),
        };
        assert_eq!(config.forwards, [billing]);
        assert_eq!((config.allow.dial.len(), config.allow.listen.len()), (2, 1));
        assert_eq!(config.join_file.as_deref(), Some(Path::new("/run/credentials/join")));
        assert_eq!(config.ca_file.as_deref(), Some(Path::new("/etc/tunnel/ca.pem")));
        assert_eq!((config.name.as_deref(), config.connections), (Some("edge-1"), 2));
        assert_eq!(config.rotation, Rotation { after: Duration::from_secs(12 * 3600), substreams: 5_000 });
        assert_eq!(config.servers, ["tunnel.t.example.com:7443".parse().unwrap()]);
        assert_eq!(config.tunnels.len(), 2);
        assert_eq!(config.tunnels[1].name, "ssh");
        assert_eq!(config.tunnels[1].allow, ["203.0.113.0/24".parse().unwrap()]);
    }

    #[test]
    fn a_certificate_and_its_key_belong_together() {
        let config = good("cert = \"c.pem\"\nkey = \"/k.pem\"");
        assert_eq!(config.certificate, Some(("/etc/tunnel/c.pem".into(), "/k.pem".into())));
        assert_eq!(wrong("cert = \"c.pem\""), ["1:1 `key` is missing here: add key = \"client.key\""]);
        assert_eq!(wrong("key = \"c.pem\""), ["1:1 `cert` is missing here: add cert = \"client.pem\""]);
    }

    #[test]
    fn an_empty_file_has_defaults() {
        let config = good("");
        assert_eq!((config.connections, config.ops, config.tunnels.len()), (2, None, 0));
    }

    #[test]
    fn everything_wrong_is_said_at_once_with_its_place() {
        let source = r#"conections = 2
name = 7
servers = ["nowhere", "h:1"]
ops = "7481"
join_file = "${NOT_SET}/join"
forward = [{ name = "f", kind = "udp", listen = "host:1", to = "10.0.0.5:80" }]

[[tunnel]]
name = "a"
kind = "http"
to = "https://localhost:1/path"
port = 80
hots = "x"

[[tunnel]]
name = "a"
kind = "tpc"
to = "22"

[[tunnel]]
kind = "tcp"
to = "22"
host = "x"
port = 70000
allow = ["1.2.3.4/40"]

[allow]
dial = ["3000"]
listen = ["127.0.0.1:1"]
speak = []
"#;
        assert_eq!(
            wrong(source),
            [
                "1:1 unknown key `conections`; did you mean `connections`?",
                "2:8 `name` wants a string, and this is an integer",
                "3:12 write HOST:PORT, with a port from 1 to 65535",
                "4:7 write ADDRESS:PORT, for example 127.0.0.1:7481",
                "5:13 the environment variable NOT_SET is not set",
                "6:33 \"udp\" is no `kind`: there is http, tcp",
                "6:49 \"host:1\" is no place to listen at: write a port (9000, on 127.0.0.1) or ADDRESS:PORT",
                "6:64 \"10.0.0.5:80\" is not the name of a service next to the server: names have 1 to 64 letters, digits, '.', '_' and '-'; addresses are never reached",
                "11:6 the address of a service has no path: requests keep their own (\"/path\")",
                "12:8 `port` is for tunnels of kind \"tcp\"",
                "13:1 unknown key `hots`; did you mean `host`?",
                "16:8 there is another tunnel named \"a\"",
                "17:8 \"tpc\" is no kind of tunnel: write \"http\" or \"tcp\"",
                "20:1 `name` is missing here: add name = \"NAME\"",
                "23:8 `host` is for tunnels of kind \"http\"",
                "24:8 `port` is a number from 1 to 65535",
                "25:10 \"1.2.3.4/40\" is not an address range: write 203.0.113.0/24, 2001:db8::/32 or one address",
                "28:9 \"3000\" is no place: write HOST:PORT, HOST:FIRST-LAST or unix:/PATH",
                "30:1 unknown key `speak`",
            ]
        );
    }

    #[test]
    fn two_tunnels_can_not_have_the_same() {
        let source = r#"
tunnel = [
  { name = "a", kind = "http", host = "x", to = "1" },
  { name = "b", kind = "http", host = "X", to = "2" },
  { name = "c", kind = "tcp", port = 70, to = "3" },
  { name = "d", kind = "tcp", port = 70, to = "4" },
  { name = "e", kind = "http", to = "5" },
  { name = "f", kind = "http", to = "6" },
]"#;
        assert_eq!(
            wrong(source),
            ["4:39 another tunnel has the host \"x\"", "6:38 another tunnel has the port 70"]
        );
    }

    #[test]
    fn a_tunnel_names_plugins_of_the_file() {
        let source = r#"plugin = [{ name = "few", kind = "rate-limit", rate = "20/s" }]
tunnel = [{ name = "t", kind = "http", to = "3000", plugins = ["few"] }]"#;
        assert_eq!(good(source).tunnels[0].plugins, ["few"]);
        assert_eq!(wrong(&source.replace("[\"few\"]", "[\"fewer\"]")), ["2:64 there is no plugin \"fewer\""]);
        assert_eq!(
            wrong(&source.replace("\"http\"", "\"tcp\"")),
            ["2:63 `plugins` is for tunnels of kind \"http\""]
        );
    }

    #[test]
    fn a_forward_names_plugins_of_the_file() {
        let source = r#"plugin = [{ name = "few", kind = "rate-limit", rate = "20/s" }]
forward = [{ name = "f", kind = "http", listen = "9000", to = "billing", plugins = ["few"] }]"#;
        let config = good(source);
        assert_eq!(
            (config.forwards[0].plugins.as_slice(), config.plugins.len()),
            (&["few".to_owned()][..], 1)
        );
        assert_eq!(wrong(&source.replace("[\"few\"]", "[\"fewer\"]")), ["2:85 there is no plugin \"fewer\""]);
        assert_eq!(
            wrong(&source.replace("\"http\"", "\"tcp\"")),
            ["2:84 `plugins` is for forwards of kind \"http\""]
        );
        assert_eq!(
            wrong(
                r#"plugin = [{ name = "a", kind = "wings" }, { name = "b", kind = "rate-limit" }, { name = "b", kind = "rate-limit", rate = "1/s" }]"#
            ),
            [
                "1:32 \"wings\" is no `kind`: there is basic-auth, cors, forward-auth, headers, ip-allow, rate-limit",
                "1:43 `rate` is missing: add rate = \"20/s\"",
                "1:89 there is another plugin named \"b\"",
            ]
        );
    }

    /// The reference, of which every row is checked against what is read.
    const KEYS: &str = include_str!("../../../docs/tunnelc.toml.md");

    #[test]
    fn the_page_of_keys_has_every_key_that_is_read_and_no_other() {
        let source = r#"zz = 1
tunnel = [{ name = "t", kind = "tcp", to = "1", zz = 1 }]
forward = [{ name = "f", kind = "tcp", listen = "1", to = "s", zz = 1 }]
allow = { zz = 1 }
rotation = { zz = 1 }
"#;
        let found = config::read(Path::new("t.toml"), source, &env, read).unwrap_err().found;
        let keys = found.iter().filter_map(|it| it.help.as_ref()?.strip_prefix("keys here: "));
        let mut code: Vec<Vec<&str>> = keys.map(|keys| keys.split(", ").collect()).collect();
        let mut page: Vec<Vec<&str>> = Vec::new();
        for line in KEYS.lines() {
            match line.strip_prefix("| `").and_then(|rest| rest.split_once('`')) {
                Some((key, _)) => page.last_mut().unwrap().push(key),
                None if line.starts_with("## ") => page.push(Vec::new()),
                None => {}
            }
        }
        for tables in [&mut code, &mut page] {
            tables.iter_mut().for_each(|keys| keys.sort_unstable());
            tables.sort_unstable();
        }
        assert_eq!(page, code);
        assert!(KEYS.contains(&format!("| `connections` | number | `{}` |", settings::CONNECTIONS)));
    }

    #[test]
    fn broken_syntax_is_said_with_its_place() {
        let found = wrong("name = \"a\"\nname = \"b\"\nconnections = = 2\n");
        assert!(found.len() >= 2 && found[0].starts_with("2:1 "), "{found:?}");
    }

    #[test]
    fn the_report_shows_the_line_and_where_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.toml");
        std::fs::write(&path, "conections = 2\n").unwrap();
        let report = load(&path, &Kinds::built_in(), &env).unwrap_err().to_string();
        for part in ["t.toml:1:1", "conections = 2", "^^^^^^^^^^", "did you mean `connections`?"] {
            assert!(report.contains(part), "{report}");
        }
        let error = load(&dir.path().join("not.toml"), &Kinds::built_in(), &env).unwrap_err().to_string();
        assert!(error.starts_with("cannot read the configuration"), "{error}");
    }

    const EXAMPLE: &str = include_str!("../../../docs/examples/tunnelc.toml");

    #[test]
    fn the_reference_example_of_the_documents_is_good() {
        let config = good(EXAMPLE);
        assert_eq!(
            (config.tunnels.len(), config.forwards.len(), config.name.as_deref()),
            (2, 1, Some("edge-1"))
        );
        assert_eq!((config.allow.dial.len(), config.ops.map(|ops| ops.port())), (2, Some(7481)));
    }
}
