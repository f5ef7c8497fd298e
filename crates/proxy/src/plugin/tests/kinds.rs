//! The built-in kinds, each by itself.

use super::*;

#[test]
fn headers_are_removed_set_and_added() {
    on_workers(async |_| {
        let keys = json!({
            "request": { "set": { "x-team": "a" }, "add": { "x-more": "2" }, "remove": ["x-secret"] },
            "response": { "set": { "x-frame-options": "DENY" }, "remove": ["server"] },
        });
        let fields =
            [("x-team", "b"), ("x_team", "c"), ("x-secret", "1"), ("x_secret", "1"), ("x-more", "1")];
        let (mut plugged, answer) = asked(&chain([built("headers", keys)]), head(&fields)).await;
        assert!(answer.is_none());
        let headers = &plugged.request.headers;
        assert_eq!((headers.len(), &headers["x-team"]), (3, &HeaderValue::from_static("a")));
        assert_eq!(headers.get_all("x-more").iter().count(), 2);
        let mut response = Response::new(());
        response.headers_mut().insert("server", HeaderValue::from_static("x"));
        plugged.on_response(&mut response).await.unwrap();
        assert_eq!(response.headers().len(), 1);
        assert_eq!(response.headers()["x-frame-options"], "DENY");
    });
    let refused = |keys: Value| {
        let Value::Object(keys) = keys else { unreachable!() };
        Kinds::built_in().build("h", "headers", keys).unwrap_err().to_string()
    };
    for name in ["connection", "content-length", "x-forwarded-for", "host"] {
        let error = refused(json!({ "request": { "set": { name: "1" } } }));
        assert!(error.contains("request.set") && error.contains(name), "{error}");
    }
    assert!(refused(json!({})).contains("are empty"));
}

#[test]
fn visitors_are_let_in_by_their_address() {
    on_workers(async |_| {
        let keys = json!({ "allow": ["203.0.113.0/24", "2001:db8::/32"], "deny": ["203.0.113.66"] });
        let gate = chain([built("ip-allow", keys)]);
        for (visitor, welcome) in [
            ("203.0.113.9:1", true),
            ("[::ffff:203.0.113.9]:1", true),
            ("[2001:db8::1]:1", true),
            ("203.0.113.66:1", false),
            ("198.51.100.1:1", false),
        ] {
            let (_, answer) = asked(&gate, head_from(visitor, &[])).await;
            assert_eq!(answer.is_none(), welcome, "{visitor}");
            if let Some(answer) = answer {
                assert_eq!(answer.status(), StatusCode::FORBIDDEN);
                assert_eq!(answer.headers()["x-tunnel-error"], "denied");
            }
        }
        let denying = chain([built("ip-allow", json!({ "deny": ["198.51.100.0/24"] }))]);
        assert!(asked(&denying, head(&[])).await.1.is_none());
    });
}

#[test]
fn a_rate_is_kept_by_address_and_the_visitor_is_told_when_to_come_again() {
    on_workers(async |_| {
        let limit = chain([built("rate-limit", json!({ "rate": "2/h" }))]);
        for visitor in ["203.0.113.9:1", "198.51.100.1:1", "[2001:db8::1]:1"] {
            for answer in [None, None, Some(StatusCode::TOO_MANY_REQUESTS)] {
                let (_, got) = asked(&limit, head_from(visitor, &[])).await;
                assert_eq!(got.as_ref().map(Response::status), answer, "{visitor}");
                if let Some(got) = got {
                    let after: u64 = got.headers()[RETRY_AFTER].to_str().unwrap().parse().unwrap();
                    assert!((1790..=1800).contains(&after), "{after}");
                    assert_eq!(got.headers()["x-tunnel-error"], "over-limit");
                }
            }
        }
        // The neighbours in a /64 are the same site, and another port is nobody else.
        assert!(asked(&limit, head_from("[2001:db8::ffff]:2", &[])).await.1.is_some());
        assert!(asked(&limit, head_from("[2001:db8:0:1::1]:2", &[])).await.1.is_none());
    });
}

fn limiter(
    keys: Value,
) -> (RateLimit<governor::clock::FakeRelativeClock>, governor::clock::FakeRelativeClock) {
    let Value::Object(keys) = keys else { unreachable!() };
    let clock = governor::clock::FakeRelativeClock::default();
    let mut options = Options::new(keys);
    let limiter = RateLimit::read(&mut options, clock.clone());
    assert_eq!(options.finish(), []);
    (limiter.unwrap(), clock)
}

fn passes(limiter: &impl Plugin, mut head: RequestHead) -> bool {
    matches!(limiter.on_request(&mut head), Call::Now(Ok(Flow::Pass)))
}

#[test]
fn a_burst_is_given_back_with_time() {
    let (limiter, clock) = limiter(json!({ "rate": "10/s", "burst": 3 }));
    let burst = |limiter| (0..10).filter(|_| passes(limiter, head(&[]))).count();
    assert_eq!(burst(&limiter), 3);
    clock.advance(Duration::from_millis(100));
    assert_eq!(burst(&limiter), 1);
    clock.advance(Duration::from_secs(60));
    assert_eq!(burst(&limiter), 3);
}

#[test]
fn a_rate_by_header_or_principal_falls_back_to_the_address() {
    let (by_header, _) = limiter(json!({ "rate": "1/h", "key": "header:x-api-key" }));
    assert!(
        passes(&by_header, head(&[("x-api-key", "a")])) && passes(&by_header, head(&[("x-api-key", "b")]))
    );
    assert!(!passes(&by_header, head(&[("x-api-key", "a")])));
    assert!(passes(&by_header, head(&[])) && !passes(&by_header, head(&[])));
    let (by_principal, _) = limiter(json!({ "rate": "1/h", "key": "principal" }));
    let of = |name: &str| {
        let mut head = head(&[]);
        head.principal = Some(name.into());
        head
    };
    assert!(passes(&by_principal, of("alice")) && passes(&by_principal, of("bob")));
    assert!(!passes(&by_principal, of("alice")));
    assert!(passes(&by_principal, head(&[])) && !passes(&by_principal, head(&[])));
}

#[test]
fn a_flood_of_keys_costs_bounded_memory() {
    let (limiter, _) = limiter(json!({ "rate": "1/h", "key": "header:x-key", "keys": 100 }));
    let names: Vec<_> = (0..10_000).map(|number| number.to_string()).collect();
    for name in &names {
        passes(&limiter, head(&[("x-key", name)]));
    }
    assert!(limiter.remembered() <= 200);
}

fn basic(user: &str, password: &str) -> String {
    use base64::Engine as _;
    let pair = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    format!("Basic {pair}")
}

fn auth() -> BasicAuth {
    let digest = bcrypt::hash_with_salt("secret", 4, [7; 16]).unwrap().to_string();
    let keys = json!({ "users": { "alice": digest }, "realm": "team", "user_header": "x-user" });
    let Value::Object(keys) = keys else { unreachable!() };
    let mut options = Options::new(keys);
    let auth = BasicAuth::read(&mut options);
    assert_eq!(options.finish(), []);
    auth.unwrap()
}

#[test]
fn the_right_password_passes_and_tells_the_service_who_it_is() {
    on_workers(async |_| {
        let gate = chain([seat_slow(auth())]);
        let right = basic("alice", "secret");
        let fields = [("authorization", right.as_str()), ("x-user", "root"), ("x_user", "root")];
        let (plugged, answer) = asked(&gate, head(&fields)).await;
        assert!(answer.is_none());
        assert_eq!(plugged.request.principal.as_deref(), Some("alice"));
        let headers = &plugged.request.headers;
        assert_eq!((headers.len(), &headers["x-user"]), (1, &HeaderValue::from_static("alice")));
    });
}

#[test]
fn no_password_or_a_wrong_one_is_asked_for() {
    on_workers(async |_| {
        let gate = chain([seat_slow(auth())]);
        let wrong = basic("alice", "Secret");
        let nobody = basic("bob", "secret");
        let bearer = basic("alice", "secret").replace("Basic", "Bearer");
        for value in [wrong.as_str(), &nobody, &bearer, "Basic ???", "Basic", ""] {
            let (plugged, answer) = asked(&gate, head(&[("authorization", value)])).await;
            let answer = answer.unwrap();
            assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{value}");
            assert_eq!(answer.headers()[WWW_AUTHENTICATE], "Basic realm=\"team\", charset=\"UTF-8\"");
            assert_eq!(answer.headers()["x-tunnel-error"], "denied");
            assert_eq!(plugged.request.principal, None);
        }
        // Two are none: which of them a service takes is its affair.
        let right = basic("alice", "secret");
        let two = [("authorization", right.as_str()), ("authorization", right.as_str())];
        assert!(asked(&gate, head(&two)).await.1.is_some());
        assert!(asked(&gate, head(&[])).await.1.is_some());
    });
}

#[test]
fn a_page_with_fifty_pictures_costs_one_verification() {
    on_workers(async |_| {
        let auth = Arc::new(auth());
        let gate = chain([Arc::new(Seat::new(
            "gate".into(),
            "basic-auth".into(),
            OnFailure::Closed,
            Duration::from_secs(20),
            auth.clone(),
        ))]);
        for (password, welcome) in [("secret", true), ("wrong", false)] {
            let value = basic("alice", password);
            let fields = [("authorization", value.as_str())];
            let at_once = futures_util::future::join_all((0..50).map(|_| asked(&gate, head(&fields)))).await;
            assert!(at_once.iter().all(|(_, answer)| answer.is_none() == welcome));
            assert_eq!(asked(&gate, head(&fields)).await.1.is_none(), welcome);
        }
        assert_eq!(auth.verifications(), 2);
    });
}

fn seat_slow(plugin: impl Plugin) -> Arc<Seat> {
    let limit = Duration::from_secs(20);
    Arc::new(Seat::new("gate".into(), "test".into(), OnFailure::Closed, limit, Arc::new(plugin)))
}

#[test]
fn a_preflight_is_answered_at_the_ingress() {
    on_workers(async |_| {
        let keys = json!({
            "origins": ["https://app.example.com", "https://*.example.org:8443"],
            "credentials": true, "max_age": "10m", "headers": ["x-token"],
        });
        let cors = chain([built("cors", keys)]);
        let preflight = |origin: &'static str| {
            let head = head(&[("origin", origin), ("access-control-request-method", "PUT")]);
            RequestHead::new(
                Method::OPTIONS,
                head.scheme(),
                head.host().clone(),
                head.path.clone(),
                head.visitor(),
            )
            .with(None, head.headers, TRACE.trace_id)
        };
        for origin in ["https://app.example.com", "https://a.example.org:8443"] {
            let (_, answer) = asked(&cors, preflight(origin)).await;
            let answer = answer.unwrap();
            assert_eq!(answer.status(), StatusCode::NO_CONTENT);
            let headers = answer.headers();
            assert_eq!(headers["access-control-allow-origin"], origin);
            assert_eq!(headers["access-control-allow-credentials"], "true");
            assert_eq!(headers["access-control-max-age"], "600");
            assert_eq!(headers["access-control-allow-headers"], "x-token");
            assert!(headers["access-control-allow-methods"].to_str().unwrap().contains("PUT"));
            assert!(headers[VARY].to_str().unwrap().starts_with("Origin"));
            assert!(!headers.contains_key("x-tunnel-error"));
        }
        for origin in [
            "http://app.example.com",
            "https://app.example.com:444",
            "https://app.example.com.evil.test",
            "https://a.b.example.org:8443",
            "null",
        ] {
            let (_, answer) = asked(&cors, preflight(origin)).await;
            assert!(!answer.unwrap().headers().contains_key("access-control-allow-origin"), "{origin}");
        }
    });
}

#[test]
fn a_page_of_an_allowed_origin_may_read_the_answer() {
    on_workers(async |_| {
        let keys = json!({ "origins": ["https://app.example.com"], "expose": ["x-total"] });
        let cors = chain([built("cors", keys)]);
        for (origin, allowed) in [("https://app.example.com", true), ("https://other.example.com", false)] {
            let (mut plugged, answer) = asked(&cors, head(&[("origin", origin)])).await;
            assert!(answer.is_none());
            let mut response = Response::new(());
            // The word of the service does not count beside this one.
            response.headers_mut().insert("access-control-allow-origin", HeaderValue::from_static("*"));
            plugged.on_response(&mut response).await.unwrap();
            let headers = response.headers();
            assert_eq!(
                headers.get("access-control-allow-origin").map(|it| it == origin),
                allowed.then_some(true)
            );
            assert_eq!(headers.contains_key("access-control-expose-headers"), allowed);
            assert_eq!(headers[VARY], "Origin");
        }
        let any = chain([built("cors", json!({ "origins": ["*"] }))]);
        let (mut plugged, _) = asked(&any, head(&[("origin", "https://x.test")])).await;
        let mut response = Response::new(());
        plugged.on_response(&mut response).await.unwrap();
        assert_eq!(response.headers()["access-control-allow-origin"], "*");
        assert!(!response.headers().contains_key(VARY));
    });
    let Value::Object(keys) = json!({ "origins": ["*"], "credentials": true }) else { unreachable!() };
    assert!(Kinds::built_in().build("c", "cors", keys).is_err());
}
