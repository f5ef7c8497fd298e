//! Chains of plugins, and the kinds that need no network.

mod kinds;

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use http::header::{AUTHORIZATION, RETRY_AFTER, VARY, WWW_AUTHENTICATE};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use ops::drain::Drain;
use ops::error_kind::ErrorKind;
use ops::metrics::{Metrics, PluginFailure};
use ops::spawn::{Placement, Spawner};
use parking_lot::Mutex;
use policy::host::Host;
use protocol::exchange::Scheme;
use protocol::request::TraceContext;
use serde_json::{Value, json};

use super::basic_auth::BasicAuth;
use super::rate_limit::RateLimit;
use super::*;
use crate::access::{AccessKind, LogSink, Record};
use crate::context::Waits;
use crate::service::KnownServers;

const SHORT: Duration = Duration::from_millis(20);
const TRACE: TraceContext = TraceContext { trace_id: [7; 16], span_id: [1; 8], flags: 0 };

fn head(fields: &[(&'static str, &str)]) -> RequestHead {
    head_from("203.0.113.9:1000", fields)
}

fn head_from(visitor: &str, fields: &[(&'static str, &str)]) -> RequestHead {
    let host = Host::parse("app.test").unwrap();
    let path = PathAndQuery::from_static("/a?b=c");
    let field = |&(name, value): &(&'static str, &str)| {
        (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
    };
    RequestHead::new(Method::GET, Scheme::Https, host, path, visitor.parse().unwrap()).with(
        None,
        fields.iter().map(field).collect(),
        TRACE.trace_id,
    )
}

fn context(spawner: &Spawner) -> Context {
    Context {
        spawner: spawner.clone(),
        metrics: Metrics::new("test"),
        sink: Arc::new(LogSink),
        drain: Drain::new(),
        drain_connections: true,
        waits: Waits::default(),
        servers: KnownServers::default(),
    }
}

fn on_workers<T>(test: impl AsyncFnOnce(Context) -> T) -> T {
    let (spawner, workers) = Spawner::start(1, Placement::PerCore).unwrap();
    let result = workers.block_on(test(context(&spawner)));
    workers.shutdown(Duration::from_secs(2));
    result
}

fn built(kind: &str, keys: Value) -> Arc<Seat> {
    let Value::Object(keys) = keys else { unreachable!() };
    Arc::new(Kinds::built_in().build(kind, kind, keys).unwrap_or_else(|error| panic!("{error}")))
}

fn seat(name: &str, on_failure: OnFailure, plugin: impl Plugin) -> Arc<Seat> {
    Arc::new(Seat::new(name.into(), "test".into(), on_failure, SHORT, Arc::new(plugin)))
}

fn chain(seats: impl IntoIterator<Item = Arc<Seat>>) -> Chain {
    Chain::new(seats.into_iter().collect())
}

async fn asked(chain: &Chain, head: RequestHead) -> (Plugged, Option<Response<bytes::Bytes>>) {
    let mut plugged = chain.begin(head);
    let answer = match plugged.on_request().await {
        Flow::Pass => None,
        Flow::Answer(reply) => Some(reply.into_response(&HeaderMap::new(), TRACE)),
    };
    (plugged, answer)
}

/// Notes the phases it sees, and does in each what the test wants.
struct Noting {
    name: &'static str,
    seen: Arc<Mutex<Vec<String>>>,
    answer: bool,
}

impl Plugin for Noting {
    fn on_request<'a>(&'a self, request: &'a mut RequestHead) -> Call<'a, Flow> {
        self.seen.lock().push(format!("request {}", self.name));
        request.headers.append("x-seen", HeaderValue::from_static(self.name));
        Call::now(if self.answer {
            Flow::Answer(Box::new(Reply::denied(StatusCode::FORBIDDEN, "No.")))
        } else {
            Flow::Pass
        })
    }

    fn on_response<'a>(&'a self, request: &'a RequestHead, response: &'a mut ResponseHead) -> Call<'a, ()> {
        Call::later(async move {
            let seen = request.headers.get_all("x-seen").iter().count();
            self.seen.lock().push(format!("response {} {} after {seen}", self.name, response.status()));
            response.headers.append("x-by", HeaderValue::from_static(self.name));
            Ok(())
        })
    }

    fn on_end(self: Arc<Self>, line: &AccessLine) -> Call<'static, ()> {
        let (seen, said) = (self.seen.clone(), format!("end {} {:?}", self.name, line.status));
        Call::later(async move {
            seen.lock().push(said);
            Ok(())
        })
    }
}

/// Changes the request, and then fails in one way or another.
enum Broken {
    Error,
    Panic,
    LatePanic,
    Slow,
}

impl Plugin for Broken {
    fn on_request<'a>(&'a self, request: &'a mut RequestHead) -> Call<'a, Flow> {
        request.headers.insert("x-half-done", HeaderValue::from_static("1"));
        match self {
            Self::Error => Call::failed(PluginError::new("no luck")),
            Self::Panic => panic!("with {:?}", request.headers.get(AUTHORIZATION)),
            Self::LatePanic => Call::later(async { panic!("late") }),
            Self::Slow => Call::later(pending()),
        }
    }

    fn on_response<'a>(&'a self, _: &'a RequestHead, response: &'a mut ResponseHead) -> Call<'a, ()> {
        response.headers.clear();
        Call::failed(PluginError::new("no luck"))
    }
}

#[test]
fn requests_go_in_order_and_responses_in_reverse() {
    on_workers(async |context| {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let noting =
            |name, answer| seat(name, OnFailure::Closed, Noting { name, seen: seen.clone(), answer });
        let all = chain([noting("a", false), noting("b", false), noting("c", true), noting("d", false)]);
        assert_eq!(all.names().collect::<Vec<_>>(), ["a", "b", "c", "d"]);
        let mut record = Record::start(&context, AccessKind::Http, TRACE.trace_id);
        let mut plugged = all.begin(head(&[]));
        record.tells(plugged.ending(&context.spawner));
        let Flow::Answer(reply) = plugged.on_request().await else { panic!("it passed") };
        assert_eq!(reply.kind(), Some(ErrorKind::Denied));
        let mut response = reply.into_response(&HeaderMap::new(), TRACE);
        // An answer passes back through those that let the request pass, and through nobody else.
        plugged.on_response(&mut response).await.unwrap();
        let by: Vec<_> = response.headers().get_all("x-by").iter().collect();
        assert_eq!(by, ["b", "a"]);
        record.line.status = Some(403);
        drop(record);
        while seen.lock().len() < 8 {
            tokio::task::yield_now().await;
        }
        let expected = "request a|request b|request c|response b 403 Forbidden after 3|\
             response a 403 Forbidden after 3|end a Some(403)|end b Some(403)|end c Some(403)";
        assert_eq!(seen.lock().join("|"), expected);
    });
}

#[test]
fn what_fails_closed_is_an_answer_and_what_fails_open_has_never_been_there() {
    on_workers(async |context| {
        let cases: [(fn() -> Broken, PluginFailure); 4] = [
            (|| Broken::Error, PluginFailure::Error),
            (|| Broken::Panic, PluginFailure::Panic),
            (|| Broken::LatePanic, PluginFailure::Panic),
            (|| Broken::Slow, PluginFailure::Timeout),
        ];
        for (index, (broken, reason)) in cases.into_iter().enumerate() {
            let name = format!("broken-{index}");
            for on_failure in [OnFailure::Open, OnFailure::Closed] {
                let seat = seat(&name, on_failure, broken());
                seat.start(&context);
                let began = tokio::time::Instant::now();
                let (plugged, answer) = asked(&chain([seat]), head(&[("authorization", "secret")])).await;
                assert!(began.elapsed() < Duration::from_secs(5), "{reason:?}");
                match on_failure {
                    OnFailure::Open => {
                        assert!(answer.is_none(), "{reason:?}");
                        assert!(!plugged.request.headers.contains_key("x-half-done"), "{reason:?}");
                    }
                    OnFailure::Closed => {
                        let answer = answer.unwrap();
                        assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
                        assert_eq!(answer.headers()["x-tunnel-error"], "internal");
                    }
                }
            }
            assert_eq!(context.metrics.plugin(&name).failures(reason), 2);
        }
    });
}

#[test]
fn a_response_fails_as_a_request_does() {
    on_workers(async |_| {
        struct Late(Broken);
        impl Plugin for Late {
            fn on_response<'a>(&'a self, q: &'a RequestHead, r: &'a mut ResponseHead) -> Call<'a, ()> {
                self.0.on_response(q, r)
            }
        }
        for (on_failure, fails) in [(OnFailure::Open, false), (OnFailure::Closed, true)] {
            let (mut plugged, _) =
                asked(&chain([seat("late", on_failure, Late(Broken::Error))]), head(&[])).await;
            let mut response = Response::new(());
            response.headers_mut().insert("x-kept", HeaderValue::from_static("1"));
            assert_eq!(plugged.on_response(&mut response).await.is_err(), fails);
            assert_eq!(response.headers().contains_key("x-kept"), !fails);
        }
    });
}

#[test]
fn plugins_do_not_decide_where_a_body_ends() {
    on_workers(async |_| {
        struct Framing;
        impl Plugin for Framing {
            fn on_response<'a>(&'a self, _: &'a RequestHead, response: &'a mut ResponseHead) -> Call<'a, ()> {
                assert!(!response.headers.contains_key("content-length"));
                for name in ["content-length", "transfer-encoding", "connection"] {
                    response.headers.insert(name, HeaderValue::from_static("9"));
                }
                Call::now(())
            }
        }
        let (mut plugged, _) = asked(&chain([seat("framing", OnFailure::Closed, Framing)]), head(&[])).await;
        let mut response = Response::new(());
        response.headers_mut().insert("content-length", HeaderValue::from_static("5"));
        plugged.on_response(&mut response).await.unwrap();
        assert_eq!(response.headers().len(), 1);
        assert_eq!(response.headers()["content-length"], "5");
    });
}

#[test]
fn a_name_that_no_plugin_has_is_an_error_and_a_name_twice_too() {
    let mut plugins = Plugins::default();
    let Value::Object(keys) = json!({ "rate": "1/s" }) else { unreachable!() };
    let per_ip = || Kinds::built_in().build("per-ip", "rate-limit", keys.clone()).unwrap();
    plugins.add(per_ip()).unwrap();
    assert_eq!(plugins.add(per_ip()), Err(PluginsError::Twice("per-ip".into())));
    assert!(plugins.chain::<&str>(&[]).unwrap().is_empty());
    assert_eq!(plugins.chain(&["per-ip"]).unwrap().names().count(), 1);
    let unknown = plugins.chain(&["per-ipp"]).unwrap_err().to_string();
    assert!(unknown.contains("did you mean `per-ip`"), "{unknown}");
}
