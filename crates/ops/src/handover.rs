//! The line between a process and the one that takes over from it: messages with descriptors, over a pair of sockets of
//! which the new process gets one end as its standard input. Nobody else can be at the other end.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::Interest;
use tokio::net::UnixStream;

/// Tells a process that its standard input is such a line.
pub const VARIABLE: &str = "TUNNEL_HANDOVER";
/// Descriptors in one message at most.
pub const DESCRIPTORS: usize = 64;
/// Bytes of one message at most.
const MESSAGE: usize = 64 * 1024;

/// One end, as long as the process has no runtime: what it does blocks.
#[derive(Debug)]
pub struct Line(OwnedFd);

/// One end. It does not block.
#[derive(Debug)]
pub struct AsyncLine(UnixStream);

/// A message, and the descriptors that came with it.
#[derive(Debug)]
pub struct Message<M> {
    /// What was said.
    pub said: M,
    /// In the order that they were sent in.
    pub descriptors: Vec<OwnedFd>,
}

impl Line {
    /// Both ends; the second is for the other process.
    ///
    /// # Errors
    /// The kernel's.
    pub fn pair() -> io::Result<(Self, OwnedFd)> {
        let kind = (AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC);
        let (ours, theirs) = socketpair(kind.0, kind.1, kind.2, None)?;
        Ok((Self(ours), theirs))
    }

    /// The end that this process was started with, if it was started by one that it is to take over from. To be called
    /// once: standard input is empty then.
    ///
    /// # Errors
    /// The kernel's.
    pub fn of_process() -> io::Result<Option<Self>> {
        if std::env::var_os(VARIABLE).is_none() {
            return Ok(None);
        }
        let line = io::stdin().as_fd().try_clone_to_owned()?;
        rustix::stdio::dup2_stdin(std::fs::File::open("/dev/null")?)?;
        Ok(Some(Self(line)))
    }

    /// Says something.
    ///
    /// # Errors
    /// The other process is gone, or the kernel's.
    pub fn send(&self, said: &impl Serialize, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        send(self.0.as_fd(), &encode(said)?, descriptors)
    }

    /// The next message; none if the other process is gone.
    ///
    /// # Errors
    /// None within `limit`, one that this version does not know, or the kernel's.
    pub fn receive<M: DeserializeOwned>(&self, limit: Duration) -> io::Result<Option<Message<M>>> {
        set_socket_timeout(&self.0, Timeout::Recv, Some(limit))?;
        receive(self.0.as_fd())
    }

    /// The same end, in a runtime.
    ///
    /// # Errors
    /// The kernel's.
    pub fn into_async(self) -> io::Result<AsyncLine> {
        // For the runtime one kind of connected socket is like another.
        let line = std::os::unix::net::UnixStream::from(self.0);
        line.set_nonblocking(true)?;
        UnixStream::from_std(line).map(AsyncLine)
    }
}

impl AsyncLine {
    /// Says something. Waits while the other process does not listen.
    ///
    /// # Errors
    /// The other process is gone, or the kernel's.
    pub async fn send(&self, said: &impl Serialize, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let bytes = encode(said)?;
        self.0.async_io(Interest::WRITABLE, || send(self.0.as_fd(), &bytes, descriptors)).await
    }

    /// The next message; none if the other process is gone. Cancel safe.
    ///
    /// # Errors
    /// One that this version does not know, or the kernel's.
    pub async fn receive<M: DeserializeOwned>(&self) -> io::Result<Option<Message<M>>> {
        self.0.async_io(Interest::READABLE, || receive(self.0.as_fd())).await
    }
}

fn encode(said: &impl Serialize) -> io::Result<Vec<u8>> {
    let bytes = serde_json::to_vec(said)?;
    if bytes.len() > MESSAGE {
        return Err(io::Error::other("the message is too long"));
    }
    Ok(bytes)
}

fn send(line: BorrowedFd<'_>, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::other("too many descriptors for one message"));
    }
    sendmsg(line, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

fn receive<M: DeserializeOwned>(line: BorrowedFd<'_>) -> io::Result<Option<Message<M>>> {
    let mut bytes = vec![0; MESSAGE];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut next =
        || recvmsg(line, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC);
    let received = match next() {
        // It has gone with words of ours unread. The kernel says so once; then come its own last words.
        Err(Errno::CONNRESET) => next()?,
        received => received?,
    };
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(io::Error::other("a message was cut: the limit of open files may be too low"));
    }
    match bytes.get(..received.bytes) {
        Some([]) | None => Ok(None),
        Some(said) => Ok(Some(Message { said: serde_json::from_slice(said)?, descriptors })),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Write};

    use super::*;

    const SOON: Duration = Duration::from_secs(5);

    #[test]
    fn descriptors_come_with_the_words_they_were_sent_with() {
        let (ours, theirs) = Line::pair().unwrap();
        let theirs = Line(theirs);
        let (mut read, write) = io::pipe().unwrap();
        ours.send(&"a pipe", &[write.as_fd()]).unwrap();
        ours.send(&"nothing", &[]).unwrap();
        drop(write);
        let Message { said, mut descriptors } = theirs.receive::<String>(SOON).unwrap().unwrap();
        assert_eq!((said.as_str(), descriptors.len()), ("a pipe", 1));
        let mut other_end = File::from(descriptors.remove(0));
        other_end.write_all(b"through").unwrap();
        drop(other_end);
        let mut text = String::new();
        read.read_to_string(&mut text).unwrap();
        assert_eq!(text, "through");
        let second = theirs.receive::<String>(SOON).unwrap().unwrap();
        assert_eq!((second.said.as_str(), second.descriptors.len()), ("nothing", 0));
    }

    #[test]
    fn silence_has_a_limit_and_the_end_is_an_end() {
        let (ours, theirs) = Line::pair().unwrap();
        let error = ours.receive::<String>(Duration::from_millis(20)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        // It goes without having listened, but has said something.
        ours.send(&"nobody hears it", &[]).unwrap();
        Line(theirs).send(&"last words", &[]).unwrap();
        assert_eq!(ours.receive::<String>(SOON).unwrap().unwrap().said, "last words");
        assert!(ours.receive::<String>(SOON).unwrap().is_none());
        assert_eq!(ours.send(&1, &[]).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[tokio::test]
    async fn many_messages_wait_for_one_who_is_slow() {
        let (ours, theirs) = Line::pair().unwrap();
        let (ours, theirs) = (ours.into_async().unwrap(), Line(theirs).into_async().unwrap());
        let text = "x".repeat(30_000);
        let say = async {
            for number in 0..100 {
                ours.send(&(number, &text), &[]).await.unwrap();
            }
        };
        let hear = async {
            for number in 0..100 {
                let heard = theirs.receive::<(u32, String)>().await.unwrap().unwrap();
                assert_eq!(heard.said.0, number);
            }
        };
        tokio::join!(say, hear);
        assert!(ours.send(&"x".repeat(MESSAGE), &[]).await.is_err());
    }
}
