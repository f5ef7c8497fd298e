use std::os::unix::fs::symlink;

use ops::error_kind::ErrorKind;
use ops::signals::Hangups;
use policy::revision::{Author, NoSuchRevision};
use tests_wait::until;

use super::*;
use crate::revision::desk::{Apply, Desk, desk};

fn admin() -> Author {
    Author::Admin { uid: Some(0), name: Some("root".to_owned()) }
}

fn apply(text: &str) -> Apply {
    let wishes = Wishes::default();
    let path = "/root/copy.toml".into();
    Apply { text: text.to_owned(), path, author: admin(), note: None, wishes, confirm: None }
}

/// Waits for a condition, for ten seconds at most.
mod tests_wait {
    use std::time::{Duration, Instant};

    pub(super) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
        let began = Instant::now();
        while !holds() {
            assert!(began.elapsed() < Duration::from_secs(10), "waited in vain: {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[test]
fn what_is_applied_is_in_force_and_kept() {
    in_runtime(async |_| {
        let place = Place::new();
        place.write(&domain("a"));
        let mut server = place.up();
        let applied = server.authority.apply(apply(&domain("b"))).await.unwrap();
        let parts: Vec<_> = applied.parts.iter().map(ToString::to_string).collect();
        assert_eq!((applied.revision, parts), (2, vec!["domain changed".to_owned()]));
        assert_eq!(applied.remarks, ["one member is behind"]);
        assert_eq!(server.runs.last(), Some((2, "b.example.com".to_owned())));
        assert_eq!(server.board.number(), 2);
        let again = server.authority.apply(apply(&domain("b"))).await.unwrap();
        assert!(again.unchanged && again.revision == 2);
        assert_eq!(again.remarks, ["a certificate is old"]);
        assert_eq!(server.runs.in_force.lock().len(), 1, "nothing is switched for nothing");
        drop(server);
        assert_eq!(place.up().board.number(), 2);
    });
}

#[test]
fn what_fails_changes_nothing_at_all() {
    in_runtime(async |_| {
        let place = Place::new();
        place.write(&domain("a"));
        let mut server = place.up();
        let before = (std::fs::read(place.index()).unwrap(), server.board.history());
        let refused = async |server: &mut Server, text: &str| {
            let refusal = server.authority.apply(apply(text)).await.unwrap_err();
            assert_eq!(std::fs::read(place.index()).unwrap(), before.0);
            assert_eq!(server.board.history(), before.1);
            assert_eq!(server.runs.in_force.lock().len(), 0);
            assert_eq!(server.runs.held.load(Ordering::SeqCst), 0, "what was proved is given back");
            refusal
        };
        let report = refused(&mut server, "domian = \"x\"\nlimits = 3\n").await.to_string();
        assert!(report.contains("copy.toml:1:1") && report.contains("copy.toml:2:10"), "{report}");
        assert!(report.contains("did you mean `domain`"), "{report}");
        *server.runs.broken.lock() = Some("127.0.0.1:80 is in use".to_owned());
        assert!(refused(&mut server, &domain("b")).await.to_string().contains("127.0.0.1:80"));
        *server.runs.broken.lock() = None;
        // The disk does not take it, although everything was proved.
        let folder = place.index().parent().unwrap().to_owned();
        std::fs::rename(&folder, folder.with_file_name("aside")).unwrap();
        let refusal = server.authority.apply(apply(&domain("b"))).await.unwrap_err();
        assert!(!refusal.is_usage(), "{refusal}");
        std::fs::rename(folder.with_file_name("aside"), &folder).unwrap();
        assert_eq!(server.runs.held.load(Ordering::SeqCst), 0);
        assert!(server.metrics.encode().unwrap().contains("tunnel_reload_total{outcome=\"failed\"} 3"));
        assert_eq!(server.authority.apply(apply(&domain("b"))).await.unwrap().revision, 2);
    });
}

#[test]
fn a_rollback_is_a_new_revision_and_survives_restart_and_touch() {
    in_runtime(async |_| {
        let place = Place::new();
        place.write(&domain("a"));
        let mut server = place.up();
        assert!(matches!(
            server.authority.roll_back(None, admin(), None, Wishes::default()).await.unwrap_err(),
            Refusal::NoSuchRevision(NoSuchRevision::Earlier)
        ));
        drop(server);
        place.write(&domain("b"));
        let mut server = place.up();
        let back = server.authority.roll_back(None, admin(), None, Wishes::default()).await.unwrap();
        assert_eq!(back.revision, 3);
        assert_eq!(server.runs.last(), Some((3, "a.example.com".to_owned())));
        drop(server);
        for _ in 0..2 {
            // As touch does.
            place.write(&domain("b"));
            let start = place.start(Some(&place.file()), later(0)).unwrap();
            assert_eq!(start.number(), 3);
            assert_eq!(
                start.document().domain.as_ref().map(ToString::to_string).as_deref(),
                Some("a.example.com")
            );
            assert!(start.board(Metrics::new("0")).pending().is_none());
        }
    });
}

/// A server that listens to its file and its desk.
struct Lively {
    desk: Desk,
    runs: Arc<Running>,
    board: Arc<Board>,
    metrics: Metrics,
    task: ops::spawn::Task<()>,
}

impl Lively {
    async fn up(place: &Place, spawner: &Spawner) -> Self {
        let Server { authority, runs, board, metrics } = place.up();
        let (desk, asked) = desk();
        let hangups = Hangups::listen().await.unwrap();
        let task = spawner.spawn(spawner.here(), "configuration", authority.run(asked, hangups));
        Self { desk, runs, board, metrics, task }
    }

    async fn serves(&self, number: u64, domain: &str) {
        let wanted = Some((number, format!("{domain}.example.com")));
        until(&format!("{wanted:?} is in force"), || {
            self.runs.last() == wanted && self.board.number() == number
        })
        .await;
    }
}

impl Drop for Lively {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[test]
fn the_file_is_followed_however_it_changes() {
    in_runtime(async |spawner| {
        let place = Place::new();
        place.write(&domain("a"));
        let server = Lively::up(&place, &spawner).await;
        let pending = || server.board.pending().is_some();
        place.write(&domain("b"));
        server.serves(2, "b").await;
        // Renamed over, as editors do.
        let aside = place.folder.path().join(".tunneld.toml.swp");
        std::fs::write(&aside, domain("c")).unwrap();
        std::fs::rename(&aside, place.file()).unwrap();
        server.serves(3, "c").await;
        place.write("domain = \"half");
        until("half a file is refused", pending).await;
        std::fs::remove_file(place.file()).unwrap();
        until("it is missed", || {
            server.board.pending().is_some_and(|reason| reason.contains("No such file"))
        })
        .await;
        place.write(&domain("d"));
        server.serves(4, "d").await;
        until("nothing is pending", || !pending()).await;
        // As a volume of Kubernetes: a link to a folder that is a link itself.
        let root = place.folder.path();
        for version in ["v1", "v2"] {
            std::fs::create_dir(root.join(version)).unwrap();
            std::fs::write(root.join(version).join("tunneld.toml"), domain(version)).unwrap();
        }
        let swap = |version: &str| {
            symlink(version, root.join("..data_tmp")).unwrap();
            std::fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
        };
        swap("v1");
        symlink("..data/tunneld.toml", root.join("link")).unwrap();
        std::fs::rename(root.join("link"), place.file()).unwrap();
        server.serves(5, "v1").await;
        swap("v2");
        server.serves(6, "v2").await;
        // What is no news is not applied.
        *server.runs.broken.lock() = Some("no".to_owned());
        swap("v2");
        until("it is looked at", || !pending()).await;
        assert_eq!(server.board.number(), 6);
    });
}

#[test]
fn what_nobody_confirms_is_undone_and_what_somebody_confirms_stays() {
    in_runtime(async |spawner| {
        let place = Place::new();
        place.write(&domain("a"));
        let server = Lively::up(&place, &spawner).await;
        let tried = Apply { confirm: Some(60), ..apply(&domain("b")) };
        assert_eq!(server.desk.apply(tried).await.unwrap().undone_in_seconds, Some(60));
        let refusal = server.desk.apply(apply(&domain("c"))).await.unwrap_err();
        assert!(refusal.to_string().contains("tunneld config confirm"), "{refusal}");
        place.write(&domain("f"));
        until("the file waits", || server.board.pending().is_some()).await;
        assert_eq!(server.desk.confirm().await.unwrap(), 2);
        assert!(matches!(server.desk.confirm().await.unwrap_err(), Refusal::NothingAwaited));
        server.serves(3, "f").await;
        let tried = Apply { confirm: Some(1), ..apply(&domain("d")) };
        server.desk.apply(tried).await.unwrap();
        server.serves(5, "f").await;
        let current = server.board.history();
        let current = current.current().unwrap();
        assert_eq!((current.author.clone(), current.restores), (Author::Unconfirmed, Some(3)));
        assert!(server.metrics.encode().unwrap().contains("tunnel_reload_total{outcome=\"rolled-back\"} 1"));
    });
}

#[test]
fn a_revision_that_fails_its_visitors_is_undone_by_itself() {
    in_runtime(async |spawner| {
        let place = Place::new();
        place.write(&domain("a"));
        let server = Lively::up(&place, &spawner).await;
        let visits = |count, failure| (0..count).for_each(|_| server.metrics.judge(failure));
        visits(50, None);
        server.desk.apply(apply(&domain("b"))).await.unwrap();
        // What visitors bring about as they please speaks against nobody.
        visits(100, Some(ErrorKind::NoRoute));
        visits(100, Some(ErrorKind::ServiceRefused));
        server.serves(3, "a").await;
        let history = server.board.history();
        let current = history.current().unwrap();
        assert_eq!(current.author, Author::Watch);
        let note = current.note.as_deref().unwrap_or_default();
        assert!(note.contains("revision 2") && note.contains("100 of 200 requests failed"), "{note}");
        // What undoes is not undone itself.
        visits(200, Some(ErrorKind::ServiceRefused));
        server.desk.text(1).await.unwrap();
        assert_eq!(server.board.number(), 3);
    });
}

#[test]
fn a_file_that_could_not_be_used_is_tried_again_unless_somebody_has_changed_something() {
    in_runtime(async |_| {
        let place = Place::new();
        place.write(&domain("a"));
        let mut server = place.up();
        let soon = |server: &mut Server| {
            let (at, _) = server.authority.retry.as_mut().expect("it is tried again");
            *at = std::time::Instant::now();
        };
        let said = |server: &Server| server.metrics.encode().unwrap().matches("\"failed\"} 1\n").count();
        *server.runs.broken.lock() = Some("the port is taken".to_owned());
        place.write(&domain("b"));
        server.authority.look().await;
        for _ in 0..3 {
            soon(&mut server);
            server.authority.tick().await;
            assert_eq!((server.board.number(), said(&server)), (1, 1), "the reason is said once");
        }
        *server.runs.broken.lock() = None;
        soon(&mut server);
        server.authority.tick().await;
        assert_eq!(server.runs.last(), Some((2, "b.example.com".to_owned())));
        assert!(server.board.pending().is_none());

        *server.runs.broken.lock() = Some("the port is taken".to_owned());
        place.write(&domain("c"));
        server.authority.look().await;
        *server.runs.broken.lock() = None;
        server.authority.apply(apply(&domain("d"))).await.unwrap();
        soon(&mut server);
        server.authority.tick().await;
        assert_eq!(server.runs.last(), Some((3, "d.example.com".to_owned())), "the operator knows better");
        assert!(server.board.pending().is_some());
    });
}

#[test]
fn a_hangup_reads_the_file_at_once_and_what_it_refers_to() {
    in_runtime(async |spawner| {
        let place = Place::new();
        place.write(&domain("a"));
        let server = Lively::up(&place, &spawner).await;
        let hang_up = || {
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::HUP).unwrap();
        };
        hang_up();
        // The same text under the same number: its secrets may have changed.
        server.serves(1, "a").await;
        place.write(&domain("b"));
        hang_up();
        server.serves(2, "b").await;
        *server.runs.broken.lock() = Some("it is taken".to_owned());
        place.write(&domain("c"));
        hang_up();
        until("it is refused", || server.board.pending().is_some()).await;
        *server.runs.broken.lock() = None;
        hang_up();
        server.serves(3, "c").await;
    });
}

#[test]
fn an_undoing_that_fails_is_tried_again_and_the_time_to_confirm_stays_as_it_is() {
    in_runtime(async |_| {
        let place = Place::new();
        place.write(&domain("a"));
        let mut server = place.up();
        let visits = |server: &Server, failure| (0..100).for_each(|_| server.metrics.judge(failure));
        visits(&server, None);
        let tried = Apply { confirm: Some(3600), ..apply(&domain("b")) };
        server.authority.apply(tried).await.unwrap();
        visits(&server, Some(ErrorKind::ServiceRefused));
        *server.runs.broken.lock() = Some("the port is taken".to_owned());
        server.authority.tick().await;
        assert_eq!(server.board.number(), 2);
        let refusal = server.authority.apply(apply(&domain("c"))).await.unwrap_err();
        let Refusal::Awaiting { left, .. } = refusal else { panic!("{refusal}") };
        assert!(left > Duration::from_secs(3500), "{left:?}");

        *server.runs.broken.lock() = None;
        server.authority.tick().await;
        assert_eq!(server.board.number(), 2, "not yet");
        server.authority.began -= Duration::from_secs(5);
        server.authority.tick().await;
        assert_eq!(server.runs.last(), Some((3, "a.example.com".to_owned())));
        assert_eq!(server.board.history().current().unwrap().author, Author::Watch);
        server.authority.began -= Duration::from_secs(600);
        server.authority.tick().await;
        assert_eq!(server.board.number(), 3);
    });
}

#[test]
fn what_is_not_the_texts_fault_is_told_apart() {
    in_runtime(async |_| {
        let place = Place::new();
        let mut server = place.up_with(None);
        assert!(server.authority.apply(apply("domian = 1")).await.unwrap_err().is_usage());
        *server.runs.broken.lock() = Some("the port is taken".to_owned());
        let refusal = server.authority.apply(apply(&domain("a"))).await.unwrap_err();
        assert!(!refusal.is_usage(), "{refusal}");
    });
}
