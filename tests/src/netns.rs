//! Two network namespaces with a wire between them, for faults that need real packets: what is sent into a wire that has
//! gone dead is not acknowledged by anybody, which no relay can do.

use std::net::{IpAddr, Ipv4Addr};
use std::process::{Command, Stdio};

use crate::program::Program;
use crate::wait::{SOON, until};

/// A network namespace. It goes with what runs in it.
#[derive(Debug)]
struct Namespace {
    holder: Program,
}

impl Namespace {
    async fn new() -> Self {
        let mut command = Command::new("unshare");
        command.args(["-n", "sleep", "1d"]);
        let holder = Program::start(command);
        let of = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/net")).ok();
        let pid = holder.pid().to_string();
        let apart = async || of(&pid).filter(|its| of("self").as_ref() != Some(its)).map(drop);
        until("the process has a network of its own", SOON, apart).await;
        Self { holder }
    }

    fn wrapper(&self) -> Vec<String> {
        ["nsenter", "-t", &self.holder.pid().to_string(), "-n", "--"].map(str::to_owned).to_vec()
    }

    fn run(&self, arguments: &[&str]) {
        let wrapper = self.wrapper();
        let mut command = Command::new(&wrapper[0]);
        // Where `ip` is, and not everybody looks.
        let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
        let done = command.env("PATH", path).args(&wrapper[1..]).args(arguments).output().unwrap();
        assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    }
}

/// Two namespaces and the wire between them: [`Self::FAR`] is the other end for what runs at [`Self::NEAR`].
#[derive(Debug)]
pub struct Wire {
    near: Namespace,
    far: Namespace,
}

impl Wire {
    /// The address at the near end.
    pub const NEAR: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 7, 0, 1));
    /// The address at the far end.
    pub const FAR: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 7, 0, 2));

    /// A wire that works. None, with a line that says so, where the kernel gives no namespaces to this process.
    pub async fn new() -> Option<Self> {
        let mut probe = Command::new("unshare");
        let probed = probe.args(["-n", "true"]).stdout(Stdio::null()).stderr(Stdio::piped()).output();
        let refused = match probed {
            Ok(done) if done.status.success() => None,
            Ok(done) => Some(String::from_utf8_lossy(&done.stderr).into_owned()),
            Err(error) => Some(error.to_string()),
        };
        if let Some(refused) = refused {
            #[expect(clippy::print_stderr, reason = "who runs the tests shall know what was not tested")]
            {
                eprintln!("SKIPPED: no network namespaces here: {}", refused.trim());
            }
            return None;
        }
        let (near, far) = (Namespace::new().await, Namespace::new().await);
        let other = far.holder.pid().to_string();
        near.run(&["ip", "link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", &other]);
        for (end, address) in [(&near, Self::NEAR), (&far, Self::FAR)] {
            end.run(&["ip", "link", "set", "lo", "up"]);
            end.run(&["ip", "address", "add", &format!("{address}/24"), "dev", "wire"]);
            end.run(&["ip", "link", "set", "wire", "up"]);
        }
        Some(Self { near, far })
    }

    /// What runs a program at the near end; see [`crate::program::inside`].
    #[must_use]
    pub fn near(&self) -> Vec<String> {
        self.near.wrapper()
    }

    /// The same for the far end.
    #[must_use]
    pub fn far(&self) -> Vec<String> {
        self.far.wrapper()
    }

    /// Every packet goes astray from now on, in both directions, and nobody hears of it.
    pub fn dies(&self) {
        for (end, other) in [(&self.near, Self::FAR), (&self.far, Self::NEAR)] {
            // To a card that nobody has: the other end drops it.
            let astray = ["lladdr", "02:00:00:00:00:99", "dev", "wire", "nud", "permanent"];
            end.run(&[&["ip", "neighbour", "replace", &other.to_string()], &astray[..]].concat());
        }
    }

    /// The wire works again.
    pub fn is_back(&self) {
        for (end, other) in [(&self.near, Self::FAR), (&self.far, Self::NEAR)] {
            end.run(&["ip", "neighbour", "delete", &other.to_string(), "dev", "wire"]);
        }
    }
}
