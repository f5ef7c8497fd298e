//! Every file of the committed corpus through its target, on any toolchain.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "the helper of the tests stands outside of them"
)]

use std::fs;
use std::path::Path;

fn replay(name: &str) {
    let (_, target) = fuzz::TARGETS.iter().find(|(known, _)| *known == name).unwrap();
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let files: Vec<_> = fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .collect();
    assert!(!files.is_empty(), "{} is empty", directory.display());
    for file in &files {
        target(&fs::read(file).unwrap());
    }
    println!("{name}: {} files", files.len());
}

macro_rules! targets {
    ($($name:ident),* $(,)?) => {
        $(#[test]
        fn $name() {
            replay(stringify!($name));
        })*

        #[test]
        fn every_target_has_a_test_and_a_binary() {
            let tested = [$(stringify!($name)),*];
            assert_eq!(fuzz::TARGETS.iter().map(|(name, _)| *name).collect::<Vec<_>>(), tested);
            for name in tested {
                let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fuzz_targets/{name}.rs"));
                assert!(file.is_file(), "{}", file.display());
            }
        }
    };
}

targets! {
    control,
    frame,
    hello,
    join_string,
    messages,
    pieces,
    server_reply,
    service_name,
    substream_head,
    control_value,
    handshake_value,
    message_values,
    name_value,
    substream_head_value,
    mux_frame,
    mux_raw,
    mux_operations,
    mux_against_crate,
    relay,
    http_requests,
    http_requests_value,
}
