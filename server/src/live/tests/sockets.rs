//! Sockets that are somebody else's too, and those that there is no room for yet.

use ops::sockets::{Label, Sockets};
use proxy::directory::{Connecting, Directory, Lookup, Public};

use super::fixture::{Start, world_of};
use super::*;
use crate::fakes::nobody;

fn tcp(to: &Backend, listen: &[&str]) -> String {
    let entrances = listen.iter().map(|at| format!("[[tcp]]\nlisten = \"{at}\"\nto = \"db\"\n"));
    let service =
        format!("service = [{{ name = \"db\", servers = [{{ address = \"{}\" }}] }}]\n", to.address);
    [service].into_iter().chain(entrances).collect()
}

/// The service manager listens as long as it likes: its address can not be bound anew.
#[test]
fn a_listener_of_the_service_manager_that_was_dropped_comes_back() {
    let manager = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = manager.local_addr().unwrap();
    let label = Label { role: "db".to_owned(), asked: at, named: false, lent: true };
    let sockets = Sockets::inherited(vec![(label, manager.try_clone().unwrap())]);
    world_of(Start { sockets, ..Start::default() }, |world| async move {
        let a = Backend::start("a").await;
        for _ in 0..2 {
            world.apply(&tcp(&a, &[&at.to_string()])).await.unwrap();
            assert_eq!(get(at, "x").await, (200, "a".to_owned()));
            world.apply("").await.unwrap();
            // Who comes meanwhile waits, as before the server was there.
            let mut waits = TcpStream::connect(at).await.unwrap();
            world.apply(&tcp(&a, &[&at.to_string()])).await.unwrap();
            assert_eq!(get_on(&mut waits, "x").await.unwrap(), (200, "a".to_owned()));
            world.apply("").await.unwrap();
        }
        drop(manager);
    });
}

#[test]
fn a_late_listener_without_room_is_told_of_and_begins_when_there_is_some() {
    let taken = std::net::TcpListener::bind(nobody()).unwrap();
    let late = taken.local_addr().unwrap();
    let written = late.to_string();
    // Three ports have all the room that there is.
    let first = format!(
        "service = [{{ name = \"db\", servers = [{{ address = \"1\" }}] }}]\n{}",
        [written.as_str(), "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"]
            .map(|at| format!("[[tcp]]\nlisten = \"{at}\"\nto = \"db\"\n"))
            .concat()
    );
    world_of(Start { config: &first, descriptors: 1, ..Start::default() }, |world| async move {
        let is = async |wanted: &str| {
            let told = async {
                while world.running.down(late).unwrap_or_default() != wanted {
                    tokio::task::yield_now().await;
                }
            };
            let told = tokio::time::timeout(Duration::from_secs(15), told).await;
            assert!(told.is_ok(), "{wanted:?}: {:?}", world.running.down(late));
        };
        assert!(world.running.down(late).is_some_and(|why| why.contains("cannot listen")));
        drop(taken);
        is("the server has no file descriptors for one more public port").await;
        let refused = TcpStream::connect(late).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "nobody waits for what may never come");
        let a = Backend::start("a").await;
        world.apply(&tcp(&a, &[&written, "127.0.0.1:0"])).await.unwrap();
        is("").await;
        assert_eq!(get(late, "x").await, (200, "a".to_owned()));
    });
}

/// Only `[[tcp]]` and `[[tls]]` ask clients for their ports.
#[test]
fn a_listener_for_others_does_not_wait_for_the_port_of_a_client() {
    world(|world| async move {
        let port = nobody().port();
        world.registry.ports().open(port).unwrap();
        let before = world.http();
        let pem = world.certificate("app.localhost", "one");
        let https = format!("listen = {{ https = \"127.0.0.1:{port}\" }}\ncertificate = [{pem}]\n");
        let error = world.apply(&https).await.unwrap_err();
        assert!(error.to_string().contains("cannot listen on"), "{error}");
        assert_eq!((world.http(), world.running.all_down().len()), (before, 0));
    });
}

/// A visitor of a client's port who has not been sent anywhere yet goes where the socket has gone, and nowhere else.
#[test]
fn only_the_listener_that_has_the_socket_of_a_port_gets_its_visitors() {
    for (listens, goes_there) in [("127.0.0.1", true), ("127.0.0.2", false)] {
        world(|world| async move {
            let (a, port) = (Backend::start("a").await, nobody().port());
            world.registry.ports().open(port).unwrap();
            world.apply(&tcp(&a, &[&format!("{listens}:{port}")])).await.unwrap();
            let visitor = Connecting { to: &Public::Port(port), client: [127, 0, 0, 1].into() };
            let found = world.registry.connection(&visitor);
            assert_eq!(matches!(found, Lookup::Found(_)), goes_there, "{listens}");
        });
    }
}
