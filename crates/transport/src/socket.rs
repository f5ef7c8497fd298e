//! Options of the sockets we own.

use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::net::{RecvFlags, recv};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// How long the kernel keeps unacknowledged bytes of a session before it gives the connection up.
const USER_TIMEOUT: Duration = Duration::from_secs(20);

/// Bytes of a session that may wait in the kernel unsent. What is above waits in the multiplexer, where a small answer of
/// another substream need not stand behind it: on a link of 0.5 MB/s with eight downloads, a new request is answered in
/// under a second instead of timing out behind megabytes of send buffer.
const NOTSENT_LOWAT: u32 = 64 * 1024;

/// The congestion control of connections that do not leave the machine: it does not pace, and every kernel has it.
const UNPACED: &[u8] = b"reno";

/// Sets what every TCP socket of ours has: no Nagle delay, so that a head and a body in two segments do not wait 40 ms; and
/// no pacing where no link is to be spared, which `peer` tells: bbr, the default of many servers, sets timers for what a
/// copy would do.
///
/// # Errors
/// The kernel's error; the socket is usually already closed by its peer then.
pub fn tune(stream: &impl AsFd, peer: IpAddr) -> io::Result<()> {
    let socket = SockRef::from(stream);
    socket.set_tcp_nodelay(true)?;
    #[cfg(target_os = "linux")]
    if peer.to_canonical().is_loopback() {
        // It is as good with another one.
        let _ = socket.set_tcp_congestion(UNPACED);
    }
    Ok(())
}

/// Sets what the TCP connection of a session has on top of [`tune`]: keepalive (15 s, then every 5 s, three times) and a
/// limit of 20 s for unacknowledged bytes, so that the kernel never outlives our own dead-peer limit by much, and at most
/// 64 KiB of unsent bytes in the kernel.
///
/// # Errors
/// The kernel's error.
pub fn tune_session(stream: &TcpStream) -> io::Result<()> {
    tune(stream, stream.peer_addr()?.ip())?;
    keep_alive(stream)?;
    #[cfg(target_os = "linux")]
    {
        let socket = SockRef::from(stream);
        socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
        socket.set_tcp_notsent_lowat(NOTSENT_LOWAT)?;
    }
    Ok(())
}

/// Makes the kernel look after 15 s of silence, then every 5 s, three times, whether the peer is still there: for
/// connections that may be idle for ever.
///
/// # Errors
/// The kernel's error.
pub fn keep_alive(stream: &TcpStream) -> io::Result<()> {
    let probes = TcpKeepalive::new()
        .with_time(Duration::from_secs(15))
        .with_interval(Duration::from_secs(5))
        .with_retries(3);
    SockRef::from(stream).set_tcp_keepalive(&probes)
}

/// Makes the next close of this socket a reset: what the peer sees then can not be mistaken for a clean end.
///
/// # Errors
/// The kernel's error; closing then ends with FIN.
pub fn reset_on_close(stream: &impl AsFd) -> io::Result<()> {
    SockRef::from(stream).set_linger(Some(Duration::ZERO))
}

/// Takes [`reset_on_close`] back: the coming close is an end.
///
/// # Errors
/// The kernel's error; closing then ends with a reset.
pub fn end_on_close(stream: &TcpStream) -> io::Result<()> {
    SockRef::from(stream).set_linger(None)
}

/// Waits until more than `seen` bytes can be read, and copies the first of them to `buffer` without taking them. Says how
/// many there are; never more than `buffer` holds. A peer that has ended its way is waited for, so that this needs a
/// deadline.
///
/// Cancel safe: nothing is taken.
///
/// # Errors
/// The kernel's error, [`io::ErrorKind::UnexpectedEof`] for a connection that ended before its first byte.
pub async fn peek(stream: &TcpStream, buffer: &mut [u8], seen: usize) -> io::Result<usize> {
    stream
        .async_io(Interest::READABLE, || {
            let (_, there) = recv(stream, &mut *buffer, RecvFlags::PEEK)?;
            match there {
                0 => Err(io::ErrorKind::UnexpectedEof.into()),
                // Not again before something new has come.
                old if old <= seen => Err(io::ErrorKind::WouldBlock.into()),
                new => Ok(new),
            }
        })
        .await
}

/// Closes a connection with a reset.
pub fn abort(stream: impl AsFd) {
    // A failure means that the peer was faster: there is nobody left to tell.
    drop(reset_on_close(&stream));
}
