//! Configurations that take each other's place, with real listeners, services and visitors.

mod fixture;
mod sockets;

use std::io::ErrorKind;
use std::time::Duration;

use fixture::{Backend, closed, get, get_on, raw, secure as tls, serves, world, world_at};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::*;

fn wishes() -> Wishes {
    Wishes::default()
}

#[test]
fn flips_of_rules_and_services_lose_no_request() {
    world(|world| async move {
        let (a, b) = (Backend::start("a").await, Backend::start("b").await);
        let leads = |to: &Backend, name: &str| {
            format!(
                "service = [{{ name = \"{name}\", servers = [{{ address = \"http://{}\" }}] }}]\n\
                 rule = [{{ name = \"app\", host = \"app.localhost\", to = \"{name}\" }}]\n",
                to.address
            )
        };
        let texts = [leads(&a, "one"), leads(&b, "two"), leads(&b, "one")];
        world.apply(&texts[0]).await.unwrap();
        let mut visitors = JoinSet::new();
        (0..4).for_each(|_| drop(visitors.spawn(world.visitor_for_ever("app.localhost"))));
        for flip in 1..60 {
            world.apply(&texts[flip % texts.len()]).await.unwrap();
        }
        world.stop.cancel();
        let mut all = 0;
        for (answered, failed) in visitors.join_all().await {
            assert_eq!(failed, Vec::<String>::new());
            all += answered;
        }
        assert!(all > 0);
        assert_eq!(get(world.http(), "app.localhost").await, (200, "b".to_owned()));
        assert_eq!(world.running.revision(), 60);
        println!("{all} requests during 59 flips");
    });
}

#[test]
fn a_listener_keeps_its_socket_and_its_connections_whatever_else_changes() {
    world(|world| async move {
        let (a, b) = (Backend::start("a").await, Backend::start("b").await);
        let leads = |to: &Backend, more: &str| {
            format!(
                "service = [{{ name = \"db\", servers = [{{ address = \"{}\" }}] }}]\n\
                 [[tcp]]\nlisten = \"127.0.0.1:0\"\nto = \"db\"\n{more}",
                to.address
            )
        };
        world.apply(&leads(&a, "")).await.unwrap();
        let address = world.relayed().await;
        let mut before = TcpStream::connect(address).await.unwrap();
        assert_eq!(get_on(&mut before, "x").await.unwrap(), (200, "a".to_owned()));
        world.apply(&leads(&b, "allow = [\"127.0.0.0/8\"]\nidle_timeout = \"1h\"\n")).await.unwrap();
        assert_eq!(world.relayed().await, address);
        assert_eq!(get(address, "x").await, (200, "b".to_owned()));
        assert_eq!(get_on(&mut before, "x").await.unwrap(), (200, "a".to_owned()), "it goes on where it is");
        // Nobody is let in who is not in the list.
        world.apply(&leads(&b, "allow = [\"192.0.2.0/24\"]\n")).await.unwrap();
        let refused = match TcpStream::connect(address).await {
            Ok(mut stream) => get_on(&mut stream, "x").await.is_err(),
            Err(error) => error.kind() == ErrorKind::ConnectionReset,
        };
        assert!(refused);
        // Without it nobody listens, and what is under way goes on.
        world.apply("").await.unwrap();
        closed(address).await;
        assert_eq!(get_on(&mut before, "x").await.unwrap(), (200, "a".to_owned()));
    });
}

#[test]
fn what_can_not_be_bound_changes_nothing() {
    world(|world| async move {
        let a = Backend::start("a").await;
        let good = format!(
            "service = [{{ name = \"one\", servers = [{{ address = \"http://{}\" }}] }}]\n\
             rule = [{{ name = \"app\", host = \"app.localhost\", to = \"one\" }}]\n",
            a.address
        );
        let revision = world.apply(&good).await.unwrap().revision;
        let taken = TcpListener::bind(crate::fakes::nobody()).await.unwrap();
        let address = taken.local_addr().unwrap();
        let bad = format!(
            "service = [{{ name = \"db\", servers = [{{ address = \"1\" }}] }}]\n\
             [[tcp]]\nlisten = \"{address}\"\nto = \"db\"\n"
        );
        let error = world.apply(&bad).await.unwrap_err().to_string();
        assert!(error.starts_with(&format!("tcp.listen: cannot listen on {address}")), "{error}");
        assert_eq!(world.running.revision(), revision);
        assert_eq!(get(world.http(), "app.localhost").await, (200, "a".to_owned()));
        // What was prepared was given back: nothing is in the way of the next one.
        drop(taken);
        world.apply(&bad).await.unwrap();
    });
}

#[test]
fn an_address_that_overlaps_one_of_ours_is_moved_in_two_steps() {
    world(|world| async move {
        let tcp = |listen: &str| {
            format!(
                "service = [{{ name = \"db\", servers = [{{ address = \"1\" }}] }}]\n[[tcp]]\nlisten = \"{listen}\"\nto = \"db\"\n"
            )
        };
        world.apply(&tcp("127.0.0.1:0")).await.unwrap();
        let port = world.relayed().await.port();
        let error = world.apply(&tcp(&format!("0.0.0.0:{port}"))).await.unwrap_err();
        assert!(matches!(error, Unproven::Overlap(_)), "{error}");
        world.apply("").await.unwrap();
        world.apply(&tcp(&format!("0.0.0.0:{port}"))).await.unwrap();
    });
}

#[test]
fn a_plugin_that_is_the_same_remembers_what_it_did() {
    world(|world| async move {
        let limited = |rate: &str, status: u16| {
            format!(
                "plugin = [{{ name = \"few\", kind = \"rate-limit\", key = \"address\", rate = \"{rate}\" }}]\n\
                 rule = [{{ name = \"app\", host = \"app.localhost\", respond = {{ status = {status}, body = \"x\" }}, plugins = [\"few\"] }}]\n"
            )
        };
        world.apply(&limited("1/d", 200)).await.unwrap();
        assert_eq!(get(world.http(), "app.localhost").await.0, 200);
        assert_eq!(get(world.http(), "app.localhost").await.0, 429);
        world.apply(&limited("1/d", 201)).await.unwrap();
        assert_eq!(get(world.http(), "app.localhost").await.0, 429, "its day is not over");
        world.apply(&limited("2/d", 201)).await.unwrap();
        assert_eq!(get(world.http(), "app.localhost").await.0, 201, "it is another one");
    });
}

#[test]
fn a_service_keeps_the_connections_to_its_servers() {
    world(|world| async move {
        let a = Backend::start("a").await;
        let with = |more: &str| {
            format!(
                "service = [{{ name = \"one\", servers = [{{ address = \"http://{}\"{more} }}] }}]\n\
                 rule = [{{ name = \"app\", host = \"app.localhost\", to = \"one\" }}]\n",
                a.address
            )
        };
        world.apply(&with("")).await.unwrap();
        let mut visitor = TcpStream::connect(world.http()).await.unwrap();
        for more in ["", ", weight = 3", ""] {
            world.apply(&with(more)).await.unwrap();
            assert_eq!(get_on(&mut visitor, "app.localhost").await.unwrap().0, 200);
        }
        assert_eq!(a.connections(), 1, "a server that is the same keeps its pool");
    });
}

#[test]
fn limits_and_timeouts_hold_for_the_next_request() {
    world(|world| async move {
        let (a, silent) = (Backend::start("a").await, Backend::silent().await);
        let with = |more: &str| {
            format!(
                "{more}\nservice = [{{ name = \"one\", servers = [{{ address = \"http://{}\" }}] }}, \
                 {{ name = \"silent\", servers = [{{ address = \"http://{}\" }}] }}]\n\
                 rule = [{{ name = \"app\", host = \"app.localhost\", to = \"one\" }}, \
                 {{ name = \"silent\", host = \"silent.localhost\", to = \"silent\" }}]\n",
                a.address, silent.address
            )
        };
        world.apply(&with("")).await.unwrap();
        // On a connection that was there before.
        let mut visitor = TcpStream::connect(world.http()).await.unwrap();
        assert_eq!(get_on(&mut visitor, "app.localhost").await.unwrap().0, 200);
        world.apply(&with("timeouts = { request = \"100ms\" }")).await.unwrap();
        assert_eq!(get_on(&mut visitor, "silent.localhost").await.unwrap().0, 504);
        let narrow = "timeouts = { queue = \"100ms\" }\nlimits = { max_concurrent_requests = 1, max_queued_requests = 0 }";
        world.apply(&with(narrow)).await.unwrap();
        let mut waiting = TcpStream::connect(world.http()).await.unwrap();
        waiting.write_all(raw("silent.localhost").as_bytes()).await.unwrap();
        silent.asked(2).await;
        assert_eq!(get(world.http(), "app.localhost").await.0, 503);
        world.apply(&with("")).await.unwrap();
        assert_eq!(get(world.http(), "app.localhost").await.0, 200);
    });
}

#[test]
fn http_listeners_come_and_go_and_redirect_for_the_next_request() {
    world(|world| async move {
        let rules = "rule = [{ name = \"app\", host = \"app.localhost\", respond = { status = 200, body = \"x\" } }]\n";
        let pem = world.certificate("app.localhost", "one");
        let https = format!("listen = {{ https = \"127.0.0.1:0\" }}\ncertificate = [{pem}]\n{rules}");
        world.apply(&https).await.unwrap();
        let secure = world.running.bound().https.unwrap();
        assert!(serves(secure, "app.localhost", &world.shown("one")).await);
        // Another certificate, and the same socket.
        let pem = world.certificate("app.localhost", "two");
        let other = format!("listen = {{ https = \"127.0.0.1:0\" }}\ncertificate = [{pem}]\n{rules}");
        world.apply(&other).await.unwrap();
        assert_eq!(world.running.bound().https, Some(secure));
        assert!(serves(secure, "app.localhost", &world.shown("two")).await);
        let mixed = format!(
            "listen = {{ https = \"127.0.0.1:0\" }}\ncertificate = [{{ cert = \"{}\", key = \"{}\" }}]\n{rules}",
            world.path("one.pem").display(),
            world.path("two.key").display()
        );
        let error = world.document(&mixed).unwrap_err().to_string();
        assert!(error.contains("does not belong"), "{error}");
        // The same, if the files change behind the look at the text.
        let document = world.document(&other).unwrap();
        std::fs::copy(world.path("one.key"), world.path("two.key")).unwrap();
        let error = world.running.prove(document, 9, wishes()).await.unwrap_err().to_string();
        assert!(error.contains("does not belong"), "{error}");
        assert!(serves(secure, "app.localhost", &world.shown("two")).await);
        // Without it nobody listens there any more, and nobody stays for another request.
        let mut stays = tls(secure, "app.localhost", &world.shown("two")).await.unwrap();
        assert_eq!(get_on(&mut stays, "app.localhost").await.unwrap().0, 200);
        world.apply(rules).await.unwrap();
        assert_eq!(world.running.bound().https, None);
        closed(secure).await;
        let end = tokio::time::timeout(Duration::from_secs(10), stays.read(&mut [0])).await.unwrap();
        assert_eq!(end.unwrap(), 0);
    });
}

#[test]
fn a_change_of_the_groups_of_a_dropped_proof_gives_back_its_names() {
    world(|world| async move {
        let rules = "rule = [{ name = \"app\", host = \"app.localhost\", respond = { status = 200, body = \"x\" } }]\n";
        let proven = world.running.prove(world.document(rules).unwrap(), 7, wishes()).await.unwrap();
        assert_eq!(proven.revision(), 7);
        drop(proven);
        assert_eq!(world.running.revision(), 0);
        assert_eq!(get(world.http(), "app.localhost").await.0, 404);
        world.apply(rules).await.unwrap();
        assert_eq!(get(world.http(), "app.localhost").await.0, 200);
    });
}

#[test]
fn a_half_read_response_is_finished_on_the_old_configuration() {
    world(|world| async move {
        let slow = Backend::halting().await;
        let text = format!(
            "service = [{{ name = \"one\", servers = [{{ address = \"http://{}\" }}] }}]\n\
             rule = [{{ name = \"app\", host = \"app.localhost\", to = \"one\" }}]\n",
            slow.address
        );
        world.apply(&text).await.unwrap();
        let mut visitor = TcpStream::connect(world.http()).await.unwrap();
        visitor.write_all(raw("app.localhost").as_bytes()).await.unwrap();
        let mut first = [0; 16];
        visitor.read_exact(&mut first).await.unwrap();
        world.apply("").await.unwrap();
        slow.go_on();
        let mut rest = Vec::new();
        let read = async {
            loop {
                let mut bytes = [0; 4096];
                let count = visitor.read(&mut bytes).await.unwrap();
                rest.extend_from_slice(&bytes[..count]);
                if count == 0 || rest.ends_with(b"second half") {
                    return;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(10), read).await.unwrap();
        assert!(rest.ends_with(b"first half, second half"), "{}", String::from_utf8_lossy(&rest));
    });
}

#[test]
fn a_port_in_use_at_the_start_is_tried_again() {
    let taken = std::net::TcpListener::bind(crate::fakes::nobody()).unwrap();
    let address = taken.local_addr().unwrap();
    world_at(&address.to_string(), |world| async move {
        assert_eq!(world.http(), address);
        assert!(world.running.down(address).is_some_and(|why| why.contains("--http")));
        assert_eq!(world.running.all_down().into_keys().collect::<Vec<_>>(), ["http"]);
        let rules = "rule = [{ name = \"app\", host = \"app.localhost\", respond = { status = 200, body = \"x\" } }]\n";
        // A configuration does not wait for it.
        world.apply(rules).await.unwrap();
        drop(taken);
        while world.running.down(address).is_some() {
            tokio::task::yield_now().await;
        }
        assert!(world.running.all_down().is_empty());
        assert_eq!(get(address, "app.localhost").await, (200, "x".to_owned()));
    });
}

#[test]
fn the_join_string_of_the_quick_start_comes_and_goes_with_principals() {
    world(|world| async move {
        let join = world.path("state").join("join");
        let is_there = async |expected: bool| {
            let changed = async {
                while join.exists() != expected {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(Duration::from_secs(10), changed).await.unwrap();
        };
        world.apply("principal = [{ name = \"bob\" }]\n").await.unwrap();
        is_there(false).await;
        world.apply("").await.unwrap();
        is_there(true).await;
        let before = std::fs::read_to_string(&join).unwrap();
        world.apply("advertise = \"tunnel.example.com:7443\"\n").await.unwrap();
        let changed = async {
            while std::fs::read_to_string(&join).unwrap() == before {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), changed).await.unwrap();
        assert!(std::fs::read_to_string(&join).unwrap().contains("@tunnel.example.com:7443"));
    });
}

#[test]
fn proving_writes_nothing() {
    world(|world| async move {
        let certificate = || std::fs::read(world.path("state/tls.crt")).unwrap();
        let before = certificate();
        let text = "advertise = \"tunnel.example.com:7443\"\n";
        let document = world.document(text).unwrap();
        drop(world.running.prove(document, 1, Wishes::default()).await.unwrap());
        assert!(certificate() == before, "it was made for a name that is in no configuration");
        world.apply(text).await.unwrap();
        let began = std::time::Instant::now();
        while certificate() == before {
            assert!(began.elapsed() < Duration::from_secs(10), "the new certificate is not kept");
            tokio::task::yield_now().await;
        }
    });
}
