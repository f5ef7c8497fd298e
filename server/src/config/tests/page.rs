//! `docs/tunneld.toml.md` says what the code does.

use super::*;

const KEYS: &str = include_str!("../../../../docs/tunneld.toml.md");

/// One unknown key in every table there is, in the order of the page.
const EVERY_TABLE: &str = r#"
zz = 1
timeouts = { zz = 1 }
limits = { zz = 1 }
principal = [{ name = "p", quotas = { zz = 1 }, zz = 1 }]
service = [{ name = "s", servers = [{ address = "1", tls = { zz = 1 }, zz = 1 }], health = { kind = "tcp", zz = 1 }, zz = 1 }]
rule = [
  { name = "a", to = [{ to = "s", zz = 1 }], headers = { x = { prefix = "", zz = 1 } }, zz = 1 },
  { name = "b", redirect = { to = "/", zz = 1 } },
  { name = "c", respond = { zz = 1 } },
]
certificate = [{ zz = 1 }]
tcp = [{ listen = "1.1.1.1:1", to = "s", zz = 1 }]
tls = [{ host = "a.b", to = "s", zz = 1 }]
group = [{ name = "g", ingress = [{ listen = "1.1.1.1:1", kind = "tcp", to = "s", zz = 1 }], zz = 1 }]
[listen]
zz = 1
http = { address = "1.1.1.1:2", zz = 1 }
https = { address = "1.1.1.1:3", zz = 1 }
tunnel = { address = "1.1.1.1:4", zz = 1 }
admin = { address = "127.0.0.1:5", token_file = "t", zz = 1 }
ops = { address = "1.1.1.1:6", zz = 1 }
"#;

/// The rows of the page: (table, key, default).
fn rows() -> Vec<(String, String, String)> {
    let mut table = String::new();
    let mut rows = Vec::new();
    for line in KEYS.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            table = title.trim().trim_matches('`').to_owned();
        }
        let cells: Vec<_> = line.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
        if let ["", key, _, default, _, ""] = cells.as_slice()
            && !key.is_empty()
            && line.starts_with("| `")
        {
            rows.push((table.clone(), (*key).to_owned(), (*default).to_owned()));
        }
    }
    rows
}

#[test]
fn the_page_of_keys_has_every_key_that_is_read_and_no_other() {
    let found = parse(Path::new("t.toml"), EVERY_TABLE).unwrap_err().found;
    let mut code: Vec<Vec<String>> = found
        .iter()
        .filter_map(|problem| problem.help.as_ref()?.strip_prefix("keys here: "))
        .map(|keys| keys.split(", ").map(str::to_owned).collect())
        .collect();
    code.iter_mut().for_each(|keys| keys.sort());
    code.sort();
    code.dedup();
    let mut page = BTreeMap::<String, Vec<String>>::new();
    for (table, key, _) in rows() {
        page.entry(table).or_default().push(key);
    }
    // What a plugin may have is its kind's affair.
    page.remove("plugin");
    let mut page: Vec<Vec<String>> = page.into_values().collect();
    page.iter_mut().for_each(|keys| keys.sort());
    page.sort();
    page.dedup();
    assert_eq!(page, code);
}

#[test]
fn the_defaults_of_the_page_are_those_of_the_code() {
    let of = |table: &str| {
        let rows = rows().into_iter().filter(|(of, _, default)| of == table && !default.is_empty());
        rows.map(|(_, key, default)| format!("{key} = {default}\n")).collect::<String>()
    };
    let config = good(&format!("[timeouts]\n{}[limits]\n{}", of("timeouts"), of("limits")));
    assert_eq!(format!("{:?}", config.timeouts), format!("{:?}", Timeouts::default()));
    assert_eq!(config.limits, Limits::default());
}
