//! From a visitor through the server to this machine and back: a tunnel to a page with a number in it that nobody else knows.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use axum::Router;
use bytes::BytesMut;
use futures_util::{SinkExt, StreamExt};
use ops::doctor::{Findings, Page, against};
use ops::drain::Drain;
use ops::metrics::Metrics;
use ops::spawn::Spawner;
use protocol::control::{
    Close, CloseReason, Control, Heartbeat, HeartbeatAck, Outcome, PartAnswer, Pieces, Register,
    RegisterCode, Registration, RegistrationKind, Unregister,
};
use protocol::join::HostPort;
use protocol::limits::CONTROL_FRAME_MAX;
use protocol::service_name::ServiceName;
use protocol::text::Text;
use proxy::access::LogSink;
use proxy::context::{Context, Waits};
use proxy::outside::{Outside, OutsideError};
use proxy::service::{KnownServers, Service, ServiceTable, ServiceTarget, labels_of};
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::codec::Framed;
use transport::frames::FrameCodec;
use transport::handshake::LoggedIn;
use transport::session::{Session, Substream};

use crate::tunnel::{Tunnel, TunnelKind};

const CHECK: &str = "public url";
/// What the tunnel is called in status and logs of the server.
const NAME: &str = "doctor";
/// From a question to its answer.
const LIMIT: Duration = Duration::from_secs(5);
/// For the end of the session; longer than its own limits are together.
const FAREWELL: Duration = Duration::from_secs(3);

/// Why there is nothing to visit.
enum NoTunnel {
    /// The server said no.
    Refused(RegisterCode, Text),
    /// The conversation with it broke.
    Broken(String),
}

/// Opens a tunnel on the session that has begun, and visits it. Of `tunnels`, which nobody serves at the moment, the hosts may
/// be used if the server picks none.
pub(super) async fn round_trip(
    logged_in: LoggedIn,
    server: &HostPort,
    tunnels: &[Tunnel],
    spawner: &Spawner,
    findings: &mut Findings,
) {
    let LoggedIn { session, inbound, .. } = logged_in;
    let drain = Drain::new();
    let nonce = format!("{:032x}", rand::random::<u128>());
    let mut closed = None;
    match serve(&nonce, spawner, &drain).await {
        Ok((services, context)) => {
            let serving = proxy::responder::serve(inbound, session.worker(), services, context);
            spawner.spawn(session.worker(), "responder", serving);
            match open(&session, tunnels).await {
                Ok((mut desk, url)) => {
                    // Both at once: the server asks for signs of life meanwhile.
                    tokio::select! {
                        () = look(&url, server, &nonce, findings) => {}
                        broken = desk.listen() => findings.bad(CHECK, broken, "try again; the log of tunneld may say more"),
                    }
                    desk.close().await;
                    closed = Some(desk);
                }
                Err(NoTunnel::Refused(code, text)) => {
                    let code = code.name().unwrap_or("refused");
                    findings
                        .skip(CHECK, format_args!("the server gives no name to try with: {code}: {text}"));
                }
                Err(NoTunnel::Broken(error)) => {
                    findings.bad(CHECK, error, "try again; the log of tunneld may say more");
                }
            }
        }
        Err(error) => findings.skip(CHECK, format_args!("this machine gives no port to try with: {error}")),
    }
    session.close();
    // This process ends in a moment, and the server is to have heard before what is given back: a control substream that goes
    // earlier takes with it what has not left yet.
    let _ = timeout(FAREWELL, session.closed()).await;
    drop(closed);
    drain.now.cancel();
}

/// A page on this machine that says the nonce, and what leads there: every number of a registration that is tried.
async fn serve(
    nonce: &str,
    spawner: &Spawner,
    drain: &Drain,
) -> std::io::Result<(Arc<ServiceTable>, Context)> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let target =
        ServiceTarget::parse_http(&listener.local_addr()?.to_string()).map_err(std::io::Error::other)?;
    let page = nonce.to_owned();
    let pages = Router::new().fallback(async move || page);
    let (at, stop) = (spawner.clone(), drain.now.clone());
    spawner.spawn(spawner.here(), "nonce", async move {
        // The date of its answers is to be the server's.
        ops::ops_listener::serve_undated(listener, pages, &at, &stop).await;
    });
    let context = Context {
        spawner: spawner.clone(),
        metrics: Metrics::new(crate::VERSION),
        sink: Arc::new(LogSink),
        drain: drain.clone(),
        drain_connections: false,
        waits: Waits::default(),
        servers: KnownServers::default(),
    };
    let service = Service::http(labels_of("", NAME, &context), &target, None, &context);
    let service = Arc::new(service.map_err(std::io::Error::other)?);
    let services = ServiceTable::new();
    (0..=HOSTS_TRIED).for_each(|id| services.insert(ServiceName::Own(id), service.clone()));
    Ok((Arc::new(services), context))
}

/// Hosts of the configuration that are tried, if need be.
const HOSTS_TRIED: u32 = 8;

/// A tunnel, and its URL: one whose name the server picks, or else one of the hosts of `tunnels`.
async fn open(session: &Session, tunnels: &[Tunnel]) -> Result<(Desk, String), NoTunnel> {
    let mut desk = Desk::open(session)?;
    let mut refused = match desk.register(0, None).await {
        Err(refused @ NoTunnel::Refused(RegisterCode::NOT_GRANTED, _)) => refused,
        answer => return answer.map(|url| (desk, url)),
    };
    let hosts = tunnels.iter().filter_map(|tunnel| match &tunnel.kind {
        TunnelKind::Http { host: Some(host), .. } if tunnel.group.is_none() => Some(host),
        _ => None,
    });
    for (id, host) in (1..=HOSTS_TRIED).zip(hosts) {
        match desk.register(id, Some(host.clone())).await {
            Ok(url) => return Ok((desk, url)),
            Err(broken @ NoTunnel::Broken(_)) => return Err(broken),
            Err(more) => refused = more,
        }
    }
    Err(refused)
}

/// The control substream, of which little is used.
struct Desk {
    control: Framed<Substream, FrameCodec>,
    pieces: Pieces,
    ids: Vec<u32>,
}

impl Desk {
    fn open(session: &Session) -> Result<Self, NoTunnel> {
        let mut first = BytesMut::new();
        let hello = Control::from(Heartbeat { nonce: 0 }).encode(&mut first);
        hello.map_err(|error| NoTunnel::Broken(error.to_string()))?;
        let substream = session.open(first.freeze());
        let substream = substream.map_err(|error| NoTunnel::Broken(error.to_string()))?;
        let control = Framed::new(substream, FrameCodec::new(CONTROL_FRAME_MAX));
        Ok(Self { control, pieces: Pieces::default(), ids: Vec::new() })
    }

    /// Asks for a host and waits for the URL that it has.
    async fn register(&mut self, id: u32, host: Option<String>) -> Result<String, NoTunnel> {
        let kind = RegistrationKind::Http { host };
        let item = Registration { id, name: NAME.to_owned(), kind, group: None, allow: Vec::new() };
        self.ids.push(id);
        self.say(Register { items: vec![item] }).await.map_err(NoTunnel::Broken)?;
        let answered = async {
            loop {
                if let Control::Registered(answer) = self.hear().await? {
                    return Ok(answer.results.into_iter().find(|result| result.id == id));
                }
            }
        };
        let answer = timeout(LIMIT, answered).await;
        let answer =
            answer.unwrap_or_else(|_| Err("the server does not answer to a registration".to_owned()));
        match answer.map_err(NoTunnel::Broken)?.map(|result| result.outcome) {
            Some(Outcome::Granted { url, .. }) => Ok(url),
            Some(Outcome::Refused { code, text }) => Err(NoTunnel::Refused(code, text)),
            None => Err(NoTunnel::Broken("the server answers to another registration".to_owned())),
        }
    }

    /// Answers the server for as long as it asks; says how that ended.
    async fn listen(&mut self) -> String {
        loop {
            if let Err(error) = self.hear().await {
                return error;
            }
        }
    }

    /// The next message, after what has to be answered to it.
    async fn hear(&mut self) -> Result<Control, String> {
        let frame = match self.control.next().await {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => return Err(error.to_string()),
            None => return Err("the server ended the session".to_owned()),
        };
        let message = Control::decode(&frame).map_err(|error| error.to_string())?;
        let Some(message) = message else { return Box::pin(self.hear()).await };
        match &message {
            Control::Heartbeat(Heartbeat { nonce }) => self.say(HeartbeatAck { nonce: *nonce }).await?,
            Control::Close(Close { reason, text }) => {
                return Err(format!(
                    "the server ended the session: {} {text}",
                    reason.name().unwrap_or_default()
                ));
            }
            Control::Part(piece) => {
                if let Ok(Some(whole)) = self.pieces.take(piece.clone()) {
                    let refusal = Some(Text::new("tunnelc doctor serves nothing"));
                    self.say(PartAnswer { of: whole.of, refusal }).await?;
                }
            }
            _ => {}
        }
        Ok(message)
    }

    async fn say(&mut self, message: impl Into<Control>) -> Result<(), String> {
        let mut bytes = BytesMut::new();
        message.into().encode(&mut bytes).map_err(|error| error.to_string())?;
        match timeout(LIMIT, self.control.send(bytes)).await {
            Ok(sent) => sent.map_err(|error| error.to_string()),
            Err(_) => Err("the server takes nothing more".to_owned()),
        }
    }

    /// Gives everything back. What can not be said is known by the end of the session.
    async fn close(&mut self) {
        let ids = std::mem::take(&mut self.ids);
        if self.say(Unregister { ids }).await.is_ok() {
            let _ = self.say(Close { reason: CloseReason::SHUTDOWN, text: Text::default() }).await;
        }
    }
}

/// Visits `url` as a visitor does; if its name does not lead there, by the address of the server, to tell which of the two it is.
async fn look(url: &str, server: &HostPort, nonce: &str, findings: &mut Findings) {
    let Some(outside) = Outside::parse(url) else {
        return findings.skip(CHECK, format_args!("{url} is none that could be visited"));
    };
    let path = format!("/doctor-{nonce}");
    let began = Instant::now();
    let error = match visit(&outside, &outside.host, &path).await {
        Ok(page) => {
            let took = began.elapsed();
            if let Some(theirs) = page.date() {
                against(&outside.host, SystemTime::now(), theirs, findings);
            }
            return judge(url, &page, nonce, took, findings);
        }
        Err(error) => error,
    };
    let by_address = match &error {
        OutsideError::Resolve { .. } | OutsideError::Connect { .. } => {
            visit(&outside, server.host(), &path).await.ok()
        }
        _ => None,
    };
    let leads_here = by_address.is_some_and(|page| *page.body == *nonce.as_bytes());
    let todo = match (&error, leads_here) {
        (_, true) => format!(
            "the tunnel itself works: have {} lead to the address of {} (a DNS record; a wildcard for all names under the domain)",
            outside.host,
            server.host()
        ),
        (OutsideError::Resolve { .. }, false) => "add a DNS record for it; a wildcard (*.DOMAIN) serves all names under the domain".to_owned(),
        (OutsideError::Connect { .. }, false) => {
            format!("open port {} at the server, or have `public_url` there say the port that visitors reach", outside.port)
        }
        (OutsideError::Tls { .. } | OutsideError::NoTls(_), _) => {
            "give the server a certificate for this name that browsers trust ([[certificate]]), or correct its `public_url`".to_owned()
        }
        (OutsideError::Visit { .. }, _) => "`public_url` of the server leads to something that is no web server; correct it".to_owned(),
    };
    findings.bad(CHECK, format_args!("{url}: {error}"), todo);
}

async fn visit(outside: &Outside, by: &str, path: &str) -> Result<Page, OutsideError> {
    let addresses = outside.addresses(by, LIMIT).await?;
    outside.visit(&addresses, path, LIMIT).await
}

/// What a page says of the way that it took.
fn judge(url: &str, page: &Page, nonce: &str, took: Duration, findings: &mut Findings) {
    if *page.body == *nonce.as_bytes() {
        let took = took.as_secs_f64() * 1000.0;
        return findings.good(CHECK, format_args!("{url} leads here and back in {took:.1} ms"));
    }
    let status = page.status;
    match page.tunnel_error() {
        Some("no-route") => findings.bad(
            CHECK,
            format_args!("{url} answers {status}, no-route: it leads to another tunnel server, or a proxy in front changes the Host"),
            "have the name lead to this server, and proxies in front pass the Host on",
        ),
        Some(kind) => {
            let todo = "the server answers, and does not reach this machine: the log of tunneld says why, by the trace id of the page";
            findings.bad(CHECK, format_args!("{url} answers {status}, {kind}"), todo);
        }
        None => {
            let who = page.fields.get("server").and_then(|value| value.to_str().ok()).unwrap_or("somebody else");
            let todo = "have the name lead to the tunnel server (DNS, or the proxy in front of it), or correct its `public_url`";
            findings.bad(CHECK, format_args!("{url} answers {status}, and it is {who} who does"), todo);
        }
    }
}
