use std::ffi::OsString;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

use super::resolve::Surroundings;
use super::*;

type Env<'a> = &'a [(&'a str, &'a str)];

fn resolve(
    system_is_ours: bool,
    program: Program,
    flag: Option<&str>,
    env: Env<'_>,
) -> Result<(String, &'static str), StateDirError> {
    let lookup =
        |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value));
    StateDir::resolve_in(Surroundings { system_is_ours }, program, flag.map(PathBuf::from), lookup)
        .map(|dir| (dir.path().display().to_string(), dir.origin()))
}

fn fresh() -> (tempfile::TempDir, StateDir) {
    let temp = tempfile::tempdir().unwrap();
    let dir = StateDir { path: temp.path().join("a/state"), origin: "--state", handed_over: Arc::default() };
    dir.create().unwrap();
    (temp, dir)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn the_order_is_flag_systemd_system_xdg_home() {
    let check = |system_is_ours, flag, env: Env<'_>, path: &str, below: &str, origin| {
        let server = resolve(system_is_ours, Program::Tunneld, flag, env).unwrap();
        assert_eq!(server, (path.to_owned(), origin));
        let client = resolve(system_is_ours, Program::Tunnelc, flag, env).unwrap();
        assert_eq!(client, (format!("{path}{below}"), origin));
    };
    let env = [("STATE_DIRECTORY", "/s1:/s2"), ("XDG_STATE_HOME", "/x"), ("HOME", "/h")];
    check(true, Some("f"), &env, "f", "/tunnelc", "--state");
    check(true, None, &env, "/s1", "/tunnelc", "$STATE_DIRECTORY");
    check(true, None, &env[1..], "/var/lib/tunnel", "/tunnelc", "/var/lib/tunnel");
    check(false, None, &env[1..], "/x/tunnel", "/tunnelc", "$XDG_STATE_HOME");
    check(false, None, &env[2..], "/h/.local/state/tunnel", "/tunnelc", "~/.local/state");
    let unusable = [("STATE_DIRECTORY", ""), ("XDG_STATE_HOME", "relative"), ("HOME", "/h")];
    check(false, None, &unusable, "/h/.local/state/tunnel", "/tunnelc", "~/.local/state");
    assert!(matches!(resolve(false, Program::Tunneld, None, &[]), Err(StateDirError::Nowhere)));
}

#[test]
fn directories_are_0700_and_files_0600() {
    let (temp, dir) = fresh();
    assert_eq!(mode(&temp.path().join("a")), 0o700);
    assert_eq!(mode(dir.path()), 0o700);
    dir.create().unwrap();
    dir.write_atomic("join", b"secret").unwrap();
    let _locked = dir.lock().unwrap();
    assert_eq!(mode(&dir.file("join")), 0o600);
    assert_eq!(mode(&dir.file("lock")), 0o600);
}

#[test]
fn a_write_replaces_the_file_and_leaves_nothing_else() {
    let (_temp, dir) = fresh();
    assert_eq!(dir.read_optional("id").unwrap(), None);
    dir.write_atomic("id", b"one").unwrap();
    // A reader that has the old file keeps the old content, whole.
    let mut old = fs::File::open(dir.file("id")).unwrap();
    let before = fs::metadata(dir.file("id")).unwrap().ino();
    dir.write_atomic("id", b"two!").unwrap();
    assert_ne!(fs::metadata(dir.file("id")).unwrap().ino(), before);
    assert_eq!(io::read_to_string(&mut old).unwrap(), "one");
    assert_eq!(dir.read_optional("id").unwrap().as_deref(), Some(&b"two!"[..]));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    dir.remove("id").unwrap();
    dir.remove("id").unwrap();
    assert_eq!(dir.read_optional("id").unwrap(), None);
}

#[test]
fn a_failed_write_keeps_the_old_state_and_names_the_path() {
    let (_temp, dir) = fresh();
    // A directory in its place cannot be replaced by a file.
    fs::create_dir(dir.file("id")).unwrap();
    let error = dir.write_atomic("id", b"x").unwrap_err().to_string();
    assert!(error.contains(&dir.file("id").display().to_string()), "{error}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    let error = dir.read_optional("id").unwrap_err().to_string();
    assert!(error.contains(&dir.file("id").display().to_string()), "{error}");
}

#[test]
fn names_do_not_lead_out() {
    let (_temp, dir) = fresh();
    for name in ["", ".", "..", "../x", "/etc/x", "a/b", "a/", "./a"] {
        assert!(matches!(dir.write_atomic(name, b""), Err(StateDirError::BadName { .. })), "{name:?}");
        assert!(matches!(dir.read_optional(name), Err(StateDirError::BadName { .. })), "{name:?}");
    }
}

#[test]
fn the_lock_is_exclusive_and_goes_with_its_holder() {
    let (_temp, dir) = fresh();
    let held = dir.lock().unwrap();
    assert!(matches!(dir.lock(), Err(LockError::Busy { path }) if path == dir.file("lock")));
    drop(held);
    assert!(dir.lock().is_ok());
}

#[test]
fn a_file_in_its_place_is_an_error_that_says_so() {
    let temp = tempfile::tempdir().unwrap();
    let dir =
        StateDir { path: temp.path().join("f"), origin: "$STATE_DIRECTORY", handed_over: Arc::default() };
    fs::write(dir.path(), b"").unwrap();
    let error = dir.create().unwrap_err().to_string();
    assert!(error.contains("$STATE_DIRECTORY") && error.contains("--state"), "{error}");
}

#[test]
fn the_lock_passes_with_its_open_file_and_only_of_the_same_directory() {
    let (_temp, dir) = fresh();
    let (_other_temp, other) = fresh();
    let first = dir.lock().unwrap();
    let passed = || first.as_fd().try_clone_to_owned().unwrap();
    other.lock().unwrap();
    assert!(matches!(other.take_over(passed()), Err(LockError::Elsewhere { .. })));
    let second = dir.take_over(passed()).unwrap();
    drop(first);
    assert!(matches!(dir.lock(), Err(LockError::Busy { .. })), "the second has it");
    drop(second);
    assert!(dir.lock().is_ok());
}

#[test]
fn who_has_handed_over_writes_nothing_until_it_takes_back() {
    let (_temp, dir) = fresh();
    let clone = dir.clone();
    dir.write_atomic("id", b"one").unwrap();
    assert!(dir.hand_over(Duration::from_secs(1)));
    assert!(clone.is_handed_over());
    assert!(matches!(clone.write_atomic("id", b"two"), Err(StateDirError::HandedOver)));
    assert!(matches!(clone.remove("id"), Err(StateDirError::HandedOver)));
    assert_eq!(clone.read_optional("id").unwrap().as_deref(), Some(&b"one"[..]));
    dir.take_back();
    clone.write_atomic("id", b"two").unwrap();
    // Somebody who is writing for ever.
    let writing = clone.handed_over.read();
    assert!(!dir.hand_over(Duration::from_millis(10)));
    drop(writing);
    assert!(!dir.is_handed_over());
    clone.write_atomic("id", b"three").unwrap();
    assert!(dir.hand_over(Duration::from_millis(10)) && clone.is_handed_over());
}

#[test]
fn what_died_half_written_is_removed_and_nothing_else() {
    let (_temp, dir) = fresh();
    dir.write_atomic("names.json", b"{}").unwrap();
    let half = [".names.json.0123456789abcdef", ".id.00000000000000ff"];
    let kept = [
        ".profile",
        ".names.json",
        ".names.json.0123",
        ".0123456789abcdef",
        "a.0123456789abcdef",
        "names.json",
    ];
    for name in half.iter().chain(&kept[..5]) {
        fs::write(dir.file(name), b"x").unwrap();
    }
    dir.tidy();
    assert!(half.iter().all(|name| !dir.file(name).exists()));
    assert!(kept.iter().all(|name| dir.file(name).exists()));
}
