//! Places of the loopback that are a test's own.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};

use socket2::{Domain, Socket, Type};

/// What is bound, for as long as this process is there.
static BOUND: Mutex<Vec<Socket>> = Mutex::new(Vec::new());

/// An address where nobody listens, and where nobody comes to listen who asks for any port that is free: a socket is bound there
/// that does not listen. Whoever asks for this one gets it, again and again, for listeners share an address with who does not listen.
#[must_use]
pub fn nobody() -> SocketAddr {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    BOUND.lock().unwrap_or_else(PoisonError::into_inner).push(socket);
    address
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn nobody_is_there_until_somebody_comes_who_may_come_again() {
        let place = nobody();
        for _ in 0..2 {
            let refused = TcpStream::connect(place).await.map(drop).unwrap_err();
            assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
            let listener = TcpListener::bind(place).unwrap();
            let visitor = TcpStream::connect(place).await.unwrap();
            let (accepted, _) = listener.accept().unwrap();
            // What is closed here first is waited for by the kernel.
            drop((listener, accepted));
            drop(visitor);
        }
    }

    #[test]
    fn who_asks_for_any_port_gets_another() {
        let place = nobody();
        // Twice as many as it takes to get each free one on average.
        for _ in 0..60_000 {
            assert_ne!(TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap(), place);
        }
    }
}
