//! What a configuration file says.

use std::collections::HashSet;
use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use protocol::join::HostPort;
use protocol::limits::{NAME_MAX, REGISTRATIONS_MAX};
use toml::Spanned;
use toml::de::DeTable;

use super::problem::Problems;
use super::report::draw;
use super::section::Section;
use super::tunnel::tunnel;
use crate::settings;
use crate::tunnel::Tunnel;

/// Parallel sessions at most: more help no link.
const CONNECTIONS_MAX: u16 = 32;
/// Keys of later versions.
const LATER: [&str; 2] = ["forward", "allow"];

/// A configuration. Paths are complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileConfig {
    /// `join_file`.
    pub join_file: Option<PathBuf>,
    /// `ca_file`.
    pub ca_file: Option<PathBuf>,
    /// `name`.
    pub name: Option<String>,
    /// `servers`; empty: that of the join string.
    pub servers: Vec<HostPort>,
    /// `connections`, from 1.
    pub connections: u16,
    /// `ops`.
    pub ops: Option<SocketAddr>,
    /// `tunnel`.
    pub tunnels: Vec<Tunnel>,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}: {error}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// What it says is wrong. The text is the whole report, drawn.
    #[error("{0}")]
    Wrong(String),
}

/// Reads and checks the file at `path`; `env` looks up the variables of `${…}`. Blocks for as long as the disk does.
///
/// # Errors
/// It cannot be read, or anything in it is wrong: then all of it is in the report.
pub fn load(path: &Path, env: impl Fn(&str) -> Option<String> + Copy) -> Result<FileConfig, ConfigError> {
    let source =
        std::fs::read_to_string(path).map_err(|error| ConfigError::Read { path: path.to_owned(), error })?;
    read(path, &source, env).map_err(|problems| {
        let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        ConfigError::Wrong(draw(&path.display().to_string(), &source, &problems.0, colour))
    })
}

fn read(
    path: &Path,
    source: &str,
    env: impl Fn(&str) -> Option<String> + Copy,
) -> Result<FileConfig, Problems> {
    let mut problems = Problems::default();
    let (table, errors) = DeTable::parse_recoverable(source);
    for error in errors {
        problems.add(error.span().unwrap_or_default(), error.message());
    }
    if !problems.0.is_empty() {
        // What follows broken syntax is guesswork.
        return Err(problems);
    }
    let base = path.parent().unwrap_or(Path::new(""));
    let mut top = Section::new(table.get_ref(), 0..0, env);
    let mut file =
        |key, problems: &mut Problems| top.text(key, problems).map(|text| base.join(text.get_ref()));
    let join_file = file("join_file", &mut problems);
    let ca_file = file("ca_file", &mut problems);
    let name = top.text("name", &mut problems).and_then(|text| display_name(&text, &mut problems));
    let servers = top.texts("servers", &mut problems);
    let servers =
        servers.iter().filter_map(|text| problems.check(text.span(), text.get_ref().parse::<HostPort>()));
    let servers = servers.collect();
    let connections = top
        .number("connections", 1..=CONNECTIONS_MAX, &mut problems)
        .map_or(settings::CONNECTIONS, Spanned::into_inner);
    let ops = top.text("ops", &mut problems).and_then(|text| {
        let address = text.get_ref().parse();
        problems.check(text.span(), address.map_err(|_| "write ADDRESS:PORT, for example 127.0.0.1:7481"))
    });
    let sections = top.sections("tunnel", &mut problems);
    if let Some(extra) = sections.get(REGISTRATIONS_MAX) {
        problems.add(extra.span.clone(), format_args!("more than {REGISTRATIONS_MAX} tunnels"));
    }
    let mut names = HashSet::new();
    let tunnels = sections.into_iter().filter_map(|section| tunnel(section, &mut names, &mut problems));
    let tunnels = tunnels.collect();
    top.finish(&LATER, &mut problems);
    if problems.0.is_empty() {
        Ok(FileConfig { join_file, ca_file, name, servers, connections, ops, tunnels })
    } else {
        Err(problems)
    }
}

fn display_name(text: &Spanned<String>, problems: &mut Problems) -> Option<String> {
    let name = text.get_ref();
    let fits = (1..=NAME_MAX).contains(&name.len()) && !name.chars().any(char::is_control);
    let checked =
        if fits { Ok(name.clone()) } else { Err("a name has 1 to 64 bytes and no control characters") };
    problems.check(text.span(), checked)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        (name == "CREDENTIALS_DIRECTORY").then(|| "/run/credentials".to_owned())
    }

    fn good(source: &str) -> FileConfig {
        read(Path::new("/etc/tunnel/tunnelc.toml"), source, env).unwrap()
    }

    /// `line:column message` of everything that is wrong.
    fn wrong(source: &str) -> Vec<String> {
        let problems = read(Path::new("t.toml"), source, env).unwrap_err().0;
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
    fn the_reference_example_as_far_as_this_version_goes() {
        let config = good(
            r#"
            join_file   = "${CREDENTIALS_DIRECTORY}/join"
            ca_file     = "ca.pem"
            name        = "edge-1"
            servers     = ["tunnel.t.example.com:7443"]
            connections = 2
            ops         = "127.0.0.1:7481"
            tunnel = [
              { name = "wiki", kind = "http", host = "wiki", to = "http://127.0.0.1:8081", set_host = "wiki.lan" },
              { name = "ssh", kind = "tcp", port = 2222, to = "127.0.0.1:22", allow = ["203.0.113.0/24"] },
            ]
            "#,
        );
        assert_eq!(config.join_file.as_deref(), Some(Path::new("/run/credentials/join")));
        assert_eq!(config.ca_file.as_deref(), Some(Path::new("/etc/tunnel/ca.pem")));
        assert_eq!((config.name.as_deref(), config.connections), (Some("edge-1"), 2));
        assert_eq!(config.servers, ["tunnel.t.example.com:7443".parse().unwrap()]);
        assert_eq!(config.tunnels.len(), 2);
        assert_eq!(config.tunnels[1].name, "ssh");
        assert_eq!(config.tunnels[1].allow, ["203.0.113.0/24".parse().unwrap()]);
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
forward = []

[[tunnel]]
name = "a"
kind = "http"
to = "https://localhost:1"
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
dial = []
"#;
        assert_eq!(
            wrong(source),
            [
                "1:1 unknown key `conections`; did you mean `connections`?",
                "2:8 `name` wants a string, and this is an integer",
                "3:12 write HOST:PORT, with a port from 1 to 65535",
                "4:7 write ADDRESS:PORT, for example 127.0.0.1:7481",
                "5:13 the environment variable NOT_SET is not set",
                "6:1 `forward` is not in this version",
                "11:6 https:// services are not in this version; http://HOST:PORT and unix:/PATH are",
                "12:8 `port` is for tunnels of kind \"tcp\"",
                "13:1 unknown key `hots`; did you mean `host`?",
                "16:8 there is another tunnel named \"a\"",
                "17:8 \"tpc\" is no kind of tunnel: write \"http\" or \"tcp\"",
                "20:1 `name` is missing here: add name = \"NAME\"",
                "23:8 `host` is for tunnels of kind \"http\"",
                "24:8 `port` is a number from 1 to 65535",
                "25:10 \"1.2.3.4/40\" is not an address range: write 203.0.113.0/24, 2001:db8::/32 or one address",
                "27:2 `allow` is not in this version",
            ]
        );
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
        let report = load(&path, env).unwrap_err().to_string();
        for part in ["t.toml:1:1", "conections = 2", "^^^^^^^^^^", "did you mean `connections`?"] {
            assert!(report.contains(part), "{report}");
        }
        let error = load(&dir.path().join("not.toml"), env).unwrap_err().to_string();
        assert!(error.starts_with("cannot read the configuration"), "{error}");
    }
}
