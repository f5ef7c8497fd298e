//! What the service manager is told, if this process is a service of it (sd_notify; `Type=notify` of systemd).

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::time::{MissedTickBehavior, interval};

use crate::spawn::{Spawner, Worker};

/// Where it listens.
const SOCKET: &str = "NOTIFY_SOCKET";
/// How often it wants to hear that the process is alive, in microseconds; and which process, if it says so.
const WATCHDOG: &str = "WATCHDOG_USEC";
const WATCHED: &str = "WATCHDOG_PID";
/// How long a service manager that does not read may hold us up.
const PATIENCE: Duration = Duration::from_secs(1);

/// What the service manager says to one process alone: the next one must not inherit it.
pub const OURS_ALONE: [&str; 4] = ["LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PID", WATCHED];

/// What there is to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// Everything that was promised is served; or the configuration was read again, for better or worse.
    Ready,
    /// The configuration is read again. It waits for [`News::Ready`].
    Reloading,
    /// It comes to its end, which may take so long.
    Stopping(Duration),
    /// The process with this number goes on in its place.
    Successor(u32),
    /// It is alive.
    Alive,
}

/// Tells it. Without a service manager nobody hears it, and one that does not listen changes nothing here.
pub fn tell(news: News) {
    let Some(place) = std::env::var_os(SOCKET).filter(|place| !place.is_empty()) else { return };
    if let Err(error) = send(&place, &words(news)) {
        tracing::warn!(%error, ?news, "the service manager could not be told");
    }
}

/// Tells it that the process is alive, for ever, if it wants to hear that (`WatchdogSec=`): as long as every worker turns.
pub async fn stay_alive(spawner: Spawner) {
    let Some(span) = watchdog() else { return };
    let mut ticks = interval(span / 2);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        for worker in (0..spawner.workers()).map(Worker) {
            if spawner.spawn(worker, "watchdog", async {}).await.is_err() {
                return;
            }
        }
        tell(News::Alive);
    }
}

/// Within which time the service manager wants to hear of this process.
#[must_use]
pub fn watchdog() -> Option<Duration> {
    let read = |name| std::env::var(name).ok();
    let named = read(WATCHED).is_none_or(|process| process == std::process::id().to_string());
    let span = Duration::from_micros(read(WATCHDOG)?.parse().ok()?);
    (named && !span.is_zero()).then_some(span)
}

fn words(news: News) -> String {
    match news {
        News::Ready => "READY=1\n".to_owned(),
        News::Reloading => {
            let now = clock_gettime(ClockId::Monotonic);
            // By this it tells whether the word is older than its own wish.
            let now = Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0));
            format!("RELOADING=1\nMONOTONIC_USEC={}\n", now.as_micros())
        }
        // The service manager ends it otherwise as if it had asked for the end itself.
        News::Stopping(within) => format!("STOPPING=1\nEXTEND_TIMEOUT_USEC={}\n", within.as_micros()),
        // It begins anew to wait for signs of life: they come from the other one by now.
        News::Successor(process) => format!("MAINPID={process}\nREADY=1\nWATCHDOG=1\n"),
        News::Alive => "WATCHDOG=1\n".to_owned(),
    }
}

/// `place` is a path, or after an `@` a name that is in no file system.
fn send(place: &OsStr, words: &str) -> io::Result<()> {
    let address = match place.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(place)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(PATIENCE))?;
    socket.send_to_addr(words.as_bytes(), &address)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(manager: &UnixDatagram) -> String {
        let mut bytes = [0; 256];
        let length = manager.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    }

    #[test]
    fn it_is_told_by_path_and_by_abstract_name() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        send(path.as_os_str(), &words(News::Ready)).unwrap();
        assert_eq!(heard(&manager), "READY=1\n");
        let name = format!("tunnel/test/{}", std::process::id());
        let manager = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let place = format!("@{name}");
        for (news, said) in [
            (News::Successor(7), "MAINPID=7\nREADY=1\nWATCHDOG=1\n"),
            (News::Stopping(Duration::from_secs(600)), "STOPPING=1\nEXTEND_TIMEOUT_USEC=600000000\n"),
            (News::Alive, "WATCHDOG=1\n"),
        ] {
            send(OsStr::new(&place), &words(news)).unwrap();
            assert_eq!(heard(&manager), said);
        }
        drop(manager);
        assert_eq!(send(OsStr::new(&place), "").unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn a_reload_says_when_it_began() {
        let said = words(News::Reloading);
        let (first, since) = said.trim_end().split_once("\nMONOTONIC_USEC=").unwrap();
        assert_eq!(first, "RELOADING=1");
        let since: u128 = since.parse().unwrap();
        let later: u128 = words(News::Reloading).trim_end().rsplit_once('=').unwrap().1.parse().unwrap();
        assert!(since > 0 && later >= since && later - since < 5_000_000, "{since} {later}");
    }
}
