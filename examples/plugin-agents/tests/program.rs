//! The program with the plugin in it.
#![expect(clippy::unwrap_used, reason = "a test says what it expects by unwrapping")]

use std::process::Command;

fn check(config: &str) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tunneld.toml");
    std::fs::write(&path, config).unwrap();
    let out = Command::new(env!("CARGO_BIN_EXE_tunneld-agents")).arg("check").arg(&path).output().unwrap();
    let said = [out.stdout, out.stderr].concat();
    (out.status.success(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn the_program_knows_the_kind_and_its_keys() {
    let (good, said) =
        check("plugin = [{ name = \"a\", kind = \"refuse-agents\", words = [\"x\"], timeout = \"2s\" }]");
    assert!(good && said.contains("1 plugin"), "{said}");
    let (good, said) = check("plugin = [{ name = \"a\", kind = \"refuse-agents\", word = [\"x\"] }]");
    assert!(!good && said.contains("`words`") && said.contains("`word`"), "{said}");
}
