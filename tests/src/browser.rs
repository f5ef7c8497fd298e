//! Chromium without a window, driven by its own protocol for developers.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::peer;
use crate::program::Program;
use crate::visitor;
use crate::wait::{SOON, until, within};

/// The program itself: what is in the path is a script, and what ends the script does not end the browser.
const CHROMIUM: &str = "/usr/lib/chromium/chromium-headless-shell";

/// How long a browser may take to start on a busy machine.
const START: Duration = Duration::from_secs(20);

/// A running browser with one page. It ends when dropped.
#[derive(Debug)]
pub struct Browser {
    /// The process.
    pub program: Program,
    page: WebSocketStream<TcpStream>,
    asked: u64,
    events: Vec<Value>,
    _home: TempDir,
}

impl Browser {
    /// Starts it; it believes whoever shows the key with this SHA-256 of its SPKI, base64.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub async fn start(key: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut chromium = peer::command(CHROMIUM);
        chromium.env("HOME", home.path()).args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
        ]);
        chromium.args(["--no-first-run", "--disable-background-networking", "--disable-component-update"]);
        chromium.args(["--disable-quic", "--no-proxy-server", "--remote-debugging-port=0", "about:blank"]);
        chromium.arg(format!("--user-data-dir={}", home.path().display()));
        chromium.arg(format!("--ignore-certificate-errors-spki-list={key}"));
        let program = Program::start(chromium);
        let line = program.says("DevTools listening on ws://", START).await;
        let place = line.split("ws://").nth(1).and_then(|rest| rest.split('/').next());
        let addr = place.unwrap_or_else(|| panic!("{line}")).parse().unwrap();
        let page = async || {
            let pages = visitor::try_get(addr, "localhost", "/json/list").await.ok()?.json();
            let page = pages.as_array()?.iter().find(|page| page["type"] == "page")?;
            Some(page["webSocketDebuggerUrl"].as_str()?.split_once("/devtools")?.1.to_owned())
        };
        let (path, _) = until("the browser has a page", START, page).await;
        let page = visitor::websocket(addr, &addr.to_string(), &format!("/devtools{path}")).await.unwrap();
        let mut browser = Self { program, page, asked: 0, events: Vec::new(), _home: home };
        browser.ask("Network.enable", json!({})).await;
        browser.ask("Page.enable", json!({})).await;
        browser
    }

    /// Opens a URL.
    pub async fn open(&mut self, url: &str) {
        let done = self.ask("Page.navigate", json!({ "url": url })).await;
        assert!(done["errorText"].is_null(), "{url}: {done}");
    }

    /// The value of an expression in the page.
    pub async fn value(&mut self, expression: &str) -> Value {
        let done = self.ask("Runtime.evaluate", json!({ "expression": expression })).await;
        done["result"]["value"].clone()
    }

    /// What it has told of its network so far under this name.
    #[must_use]
    pub fn events(&self, method: &str) -> Vec<&Value> {
        self.events.iter().filter(|event| event["method"] == method).map(|event| &event["params"]).collect()
    }

    async fn ask(&mut self, method: &str, params: Value) -> Value {
        self.asked += 1;
        let ask = json!({ "id": self.asked, "method": method, "params": params });
        self.page.send(Message::text(ask.to_string())).await.unwrap();
        let answered = async {
            loop {
                let message = self.page.next().await.unwrap().unwrap();
                let told: Value = serde_json::from_str(message.to_text().unwrap()).unwrap();
                if told["id"] == self.asked {
                    assert!(told["error"].is_null(), "{method}: {told}");
                    return told["result"].clone();
                }
                self.events.push(told);
            }
        };
        within(method, SOON, answered).await
    }
}
