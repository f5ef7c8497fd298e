//! From a connection to a session: TLS, the pin, the login.

use std::sync::Arc;

use ops::doctor::Findings;
use ops::spawn::Spawner;
use protocol::handshake::RejectCode;
use protocol::id::{ClientId, CredentialId, InstanceId, Slot};
use protocol::join::HostPort;
use rustls::ClientConfig;
use transport::handshake::{HelloDraft, LoggedIn, LoginError, Place};
use transport::login_key::LoginKey;
use transport::session::ProcessBudget;

use crate::dial::{DialError, dial};

/// What a finding about TLS is called.
const TLS: &str = "tls";
/// What a finding about the login is called.
const LOGIN: &str = "login";

/// Who logs in.
pub(super) struct Who {
    /// As which installation.
    pub(super) client: ClientId,
    /// With which credential.
    pub(super) credential: CredentialId,
    /// Decides whom to trust.
    pub(super) tls: Arc<ClientConfig>,
    /// Signs the login.
    pub(super) key: LoginKey,
    /// The program that runs here is logged in, so that the credential is good whatever comes of this login.
    pub(super) connected: bool,
}

/// Logs in at `server`.
pub(super) async fn login(
    server: &HostPort,
    who: &Who,
    spawner: &Spawner,
    findings: &mut Findings,
) -> Option<LoggedIn> {
    let draft = HelloDraft {
        client: who.client,
        instance: InstanceId(rand::random()),
        slot: Slot(0),
        replaces: None,
        takes_parts: false,
        credential: who.credential.clone(),
        name: "doctor".to_owned(),
        agent: crate::AGENT.to_owned(),
    };
    let budget = ProcessBudget::of_memory(ops::memory::available());
    let place = Place { spawner, worker: spawner.here(), budget };
    let error = match dial(server, who.tls.clone(), draft, &who.key, place).await {
        Ok(logged_in) => {
            findings.good(TLS, format_args!("{server} has the key that is expected"));
            let session = logged_in.welcome.session;
            findings.good(
                LOGIN,
                format_args!("credential {} is let in at {server} (session {session})", who.credential),
            );
            return Some(logged_in);
        }
        Err(error) => error,
    };
    match &error {
        DialError::Login { error: LoginError::WrongKey(_), .. } => {
            let todo = "ask the operator of the server for a new join string, over a channel that you trust;\nif it was not set up anew, somebody is in between";
            findings.bad(TLS, &error, todo);
        }
        DialError::Login { error: LoginError::Untrusted(_), .. } => {
            findings.bad(
                TLS,
                &error,
                "use a join string with a pin, or --ca-file with the CA of the server's certificate",
            );
        }
        DialError::Login { error: LoginError::Certificate(_), .. } => {
            findings.good(TLS, format_args!("{server} has the key that is expected"));
            let todo = "get a certificate from the operator of the server (`client_ca` of tunneld.toml says which CA makes them),\nand name it in tunnelc.toml: cert = \"FILE\", key = \"FILE\"";
            findings.bad(LOGIN, &error, todo);
        }
        DialError::Login { error: LoginError::Tls(_), .. } | DialError::Name { .. } => {
            let todo = "correct the address: it must be the listener for clients (`listen.tunnel`) or `listen.https` of tunneld;\na proxy in between must pass TLS through";
            findings.bad(TLS, &error, todo);
        }
        DialError::Login { error: LoginError::Rejected(reject), .. } => {
            findings.good(TLS, format_args!("{server} has the key that is expected"));
            if who.connected {
                let says =
                    format!("{error}; the program that runs here is logged in, so its credential is good");
                findings.skip(LOGIN, says);
            } else {
                findings.bad(LOGIN, &error, after(reject.code));
            }
        }
        _ => findings.bad(LOGIN, &error, "try again; if it stays, look into the log of tunneld"),
    }
    None
}

fn after(code: RejectCode) -> &'static str {
    match code {
        RejectCode::DENIED => {
            "ask the operator of the server: `tunneld principals` shows whether the credential is there; `tunneld invite NAME` makes a new join string"
        }
        RejectCode::EXPIRED => "ask the operator of the server for a new join string: tunneld invite NAME",
        RejectCode::THROTTLED => {
            "stop what tries with a wrong secret, and wait a minute; `tunneld unban ADDR` ends it at once"
        }
        RejectCode::BUSY | RejectCode::DRAINING => "try again in a moment",
        RejectCode::OVER_QUOTA => {
            "end another tunnelc of this principal, or have its quota raised: tunneld invite NAME --quota sessions=N"
        }
        RejectCode::VERSION | RejectCode::CRITICAL_FEATURE => {
            "update tunnelc and tunneld to the same version"
        }
        _ => "look into the log of tunneld",
    }
}
