//! `basic-auth`: a user and a password (RFC 7617), checked against digests.

mod digest;
mod recent;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, HeaderMap, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, StatusCode};
use tokio::sync::Semaphore;

use super::{Call, Flow, Options, Plugin, PluginError, Reply, RequestHead};
use digest::Digest;
use recent::Recent;

/// Verifications at once, in the process: each keeps a core busy.
static VERIFYING: LazyLock<Arc<Semaphore>> = LazyLock::new(|| {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Arc::new(Semaphore::new(cores.div_ceil(2)))
});
/// Requests that wait for a verification, in the process; those above are told to come again.
static WAITING: Semaphore = Semaphore::const_new(64);
/// A longer user and password is not worth a verification.
const CREDENTIALS_MAX: usize = 1_024;

pub(super) struct BasicAuth {
    users: Arc<BTreeMap<String, Digest>>,
    /// What `WWW-Authenticate` says.
    challenge: HeaderValue,
    /// Where the service finds the user.
    user_header: Option<HeaderName>,
    keep_authorization: bool,
    recent: Recent,
}

/// A user and a password, not verified.
struct Credentials {
    user: String,
    password: Vec<u8>,
}

pub(super) fn build(options: &mut Options) -> Option<Arc<dyn Plugin>> {
    Some(Arc::new(BasicAuth::read(options)?))
}

impl BasicAuth {
    pub(super) fn read(options: &mut Options) -> Option<Self> {
        let mut users = BTreeMap::new();
        let given = options.table("users");
        if given.is_empty() && !options.is_wrong("users") {
            options.wrong(
                "users",
                "is empty: add users = { NAME = \"$2y$…\" }, as `htpasswd -nB NAME` prints it",
            );
        }
        for (user, digest) in given {
            if user.is_empty() || user.contains(':') || HeaderValue::try_from(&user).is_err() {
                options.wrong("users", format_args!("holds {user:?}, which is no name of a user"));
            }
            match Digest::parse(digest) {
                Ok(digest) => drop(users.insert(user, digest)),
                Err(error) => {
                    options.wrong("users", format_args!("has no good digest for {user:?}: {error}"))
                }
            }
        }
        let realm = options.text("realm").unwrap_or_else(|| "restricted".to_owned());
        let plain = realm.bytes().all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\'));
        if !plain {
            options.wrong("realm", "is plain text without quotation marks");
        }
        let challenge = HeaderValue::try_from(format!("Basic realm=\"{realm}\", charset=\"UTF-8\"")).ok();
        let user_header = options.field_name("user_header");
        let keep_authorization = options.flag("keep_authorization", false);
        let recent = Recent::new();
        Some(Self { users: Arc::new(users), challenge: challenge?, user_header, keep_authorization, recent })
    }

    async fn decide(&self, request: &mut RequestHead) -> Result<Flow, PluginError> {
        if let Some(name) = &self.user_header {
            // Only what is found out here counts.
            request.take_over(name);
        }
        let Some(credentials) = Credentials::of(&request.headers) else { return Ok(self.challenged()) };
        let user = credentials.user.clone();
        let Some(accepted) = self.verify(credentials).await? else {
            let sentence = "Too many passwords have to be checked at the moment.";
            let after = Duration::from_secs(1);
            let reply = Reply::over_limit(StatusCode::SERVICE_UNAVAILABLE, sentence, after);
            return Ok(Flow::Answer(Box::new(reply)));
        };
        if !accepted {
            return Ok(self.challenged());
        }
        if !self.keep_authorization {
            request.headers.remove(AUTHORIZATION);
        }
        if let Some(name) = &self.user_header {
            let user =
                HeaderValue::try_from(&user).map_err(|_| PluginError::new("a user is no header value"))?;
            request.headers.insert(name, user);
        }
        request.principal = Some(user.into());
        Ok(Flow::Pass)
    }

    fn challenged(&self) -> Flow {
        let sentence = "A user and a password are needed here.";
        let reply = Reply::denied(StatusCode::UNAUTHORIZED, sentence);
        Flow::Answer(Box::new(reply.with(WWW_AUTHENTICATE, self.challenge.clone())))
    }

    /// Whether user and password are right, from memory if they were seen a moment ago. None: too many wait for that.
    async fn verify(&self, credentials: Credentials) -> Result<Option<bool>, PluginError> {
        let fingerprint = self.recent.fingerprint(&credentials.user, &credentials.password);
        if let Some(known) = self.recent.get(&fingerprint) {
            return Ok(Some(known));
        }
        let Ok(_waiting) = WAITING.try_acquire() else { return Ok(None) };
        // One verification for all who ask for the same at the same time.
        self.recent.find(&fingerprint, self.verify_anew(credentials)).await.map(Some)
    }

    async fn verify_anew(&self, credentials: Credentials) -> Result<bool, PluginError> {
        let users = self.users.clone();
        let turn = VERIFYING.clone().acquire_owned().await.map_err(|_| PluginError::new("it is closed"))?;
        let verified = tokio::task::spawn_blocking(move || {
            // Held until it is over, whether or not somebody still waits for it.
            let _turn = turn;
            let Credentials { user, password } = credentials;
            match (users.get(&user), users.values().next()) {
                (Some(digest), _) => digest.verify(&password),
                // Whether there is such a user is not to be seen from the time this takes.
                (None, Some(other)) => {
                    other.verify(&password);
                    false
                }
                (None, None) => false,
            }
        });
        verified.await.map_err(|_| PluginError::new("a verification did not end"))
    }

    /// How many users and passwords were verified, rather than remembered.
    #[cfg(test)]
    pub(super) fn verifications(&self) -> u64 {
        self.recent.misses()
    }
}

impl Credentials {
    /// Those of a request; none if it has none, or has them twice.
    fn of(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else { return None };
        let (scheme, encoded) = value.to_str().ok()?.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") || encoded.len() > CREDENTIALS_MAX {
            return None;
        }
        let mut decoded = STANDARD.decode(encoded.trim()).ok()?;
        let colon = decoded.iter().position(|byte| *byte == b':')?;
        let password = decoded.split_off(colon.checked_add(1)?);
        decoded.truncate(colon);
        Some(Self { user: String::from_utf8(decoded).ok()?, password })
    }
}

impl Plugin for BasicAuth {
    fn on_request<'a>(&'a self, request: &'a mut RequestHead) -> Call<'a, Flow> {
        Call::later(self.decide(request))
    }
}
