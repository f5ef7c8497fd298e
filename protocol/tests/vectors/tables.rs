//! The code tables: the crate has the numbers and names of the spec, no more and no fewer.

use std::collections::BTreeMap;

use protocol::code::Code;
use protocol::control::{CloseReason, NoticeCode, RegisterCode};
use protocol::handshake::RejectCode;
use serde::Deserialize;

use crate::sample::read;

#[derive(Deserialize)]
struct Table {
    name: String,
    codes: BTreeMap<u16, String>,
}

macro_rules! table {
    ($code:ident) => {
        $code::ALL.iter().map(|code| (code.0, code.name().unwrap().to_owned())).collect()
    };
}

#[test]
fn codes() {
    for table in read::<Table>("codes") {
        let ours: BTreeMap<u16, String> = match table.name.as_str() {
            "code" => table!(Code),
            "reject" => table!(RejectCode),
            "register" => table!(RegisterCode),
            "close" => table!(CloseReason),
            "notice" => table!(NoticeCode),
            other => panic!("no such table: {other}"),
        };
        assert_eq!(ours, table.codes, "{}", table.name);
    }
}
