//! Sockets that the service manager has opened (systemd's socket activation: `LISTEN_FDS`, `LISTEN_FDNAMES`).

use std::io;
use std::net::TcpListener;

use listenfd::ListenFd;

use super::{Label, Sockets};

/// The listeners that a socket can be named after (`FileDescriptorName=`).
const ROLES: [&str; 4] = ["tunnel", "http", "https", "ops"];

/// What the service manager has handed to this process.
#[derive(Debug, Default)]
pub struct Activation(Vec<(String, TcpListener)>);

/// The service manager has handed over what this program can not use.
#[derive(Debug, thiserror::Error)]
pub enum ActivationError {
    /// No TCP socket that listens.
    #[error(
        "the service manager hands over {name:?}, which is no listening TCP socket ({error}); use ListenStream=ADDRESS:PORT in the .socket unit"
    )]
    NotTcp {
        /// What it calls it.
        name: String,
        /// What is wrong with it.
        error: io::Error,
    },
    /// No listener that is configured is there.
    #[error(
        "the service manager hands over sockets that are no listener's: {0}; set FileDescriptorName=tunnel, http, https or ops in the .socket unit, or configure a listener with that very address"
    )]
    Unclaimed(String),
}

impl Activation {
    /// What the environment says; to be called before there are threads, for it is taken out of it.
    ///
    /// # Errors
    /// [`ActivationError::NotTcp`].
    pub fn of_process() -> Result<Self, ActivationError> {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut handed = ListenFd::from_env();
        let mut names = names.split(':');
        let mut sockets = Vec::new();
        for number in 0..handed.len() {
            let name = names.next().unwrap_or_default().to_owned();
            match handed.take_tcp_listener(number).and_then(|socket| socket.map(listening).transpose()) {
                Ok(Some(socket)) => sockets.push((name, socket)),
                Ok(None) => {}
                Err(error) => return Err(ActivationError::NotTcp { name, error }),
            }
        }
        Ok(Self(sockets))
    }

    /// As the sockets of this process.
    ///
    /// # Errors
    /// [`ActivationError::NotTcp`].
    pub fn into_sockets(self) -> Result<Sockets, ActivationError> {
        let labelled = self.0.into_iter().map(|(name, socket)| match socket.local_addr() {
            Ok(asked) => {
                let named = ROLES.contains(&name.as_str());
                Ok((Label { role: name, asked, named, lent: true }, socket))
            }
            Err(error) => Err(ActivationError::NotTcp { name, error }),
        });
        Ok(Sockets::inherited(labelled.collect::<Result<_, _>>()?))
    }

    /// Checks that every socket has become a listener's.
    ///
    /// # Errors
    /// [`ActivationError::Unclaimed`].
    pub fn is_used_up(sockets: &Sockets) -> Result<(), ActivationError> {
        let unclaimed = sockets.unclaimed();
        if unclaimed.is_empty() {
            return Ok(());
        }
        let shown: Vec<_> =
            unclaimed.iter().map(|label| format!("{} (called {:?})", label.asked, label.role)).collect();
        Err(ActivationError::Unclaimed(shown.join(", ")))
    }
}

/// Only one that listens is a listener: a connection of `Accept=yes` is not.
fn listening(socket: TcpListener) -> io::Result<TcpListener> {
    match rustix::net::sockopt::socket_acceptconn(&socket) {
        Ok(true) => Ok(socket),
        Ok(false) => Err(io::Error::other("it does not listen; Accept=yes can not be used")),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_listens_on_is_an_error_that_says_what_to_do() {
        let bind = || TcpListener::bind("127.0.0.1:0").unwrap();
        let (web, http) = (bind(), bind());
        let at = web.local_addr().unwrap();
        let handed = Activation(vec![("web".to_owned(), web), ("http".to_owned(), http)]);
        let sockets = handed.into_sockets().unwrap();
        let _http = sockets.named("http").unwrap();
        let error = Activation::is_used_up(&sockets).unwrap_err().to_string();
        assert!(error.contains(&format!("{at} (called \"web\")")), "{error}");
        assert!(error.contains("FileDescriptorName="), "{error}");
        let _web = sockets.listen("tcp", at, || panic!("it is there")).unwrap();
        assert!(Activation::is_used_up(&sockets).is_ok());
    }
}
