//! A service that counts the requests that it has seen whole.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;

use super::fixture::ByHand;

/// The paths of whole requests, in the order of their ends.
#[derive(Debug, Default, Clone)]
pub(super) struct Backend(Arc<Mutex<Vec<String>>>);

impl Backend {
    /// Serves until the runtime of the test ends.
    #[expect(clippy::disallowed_methods, reason = "a service of the test, which nobody counts")]
    pub(super) fn serve(service: ByHand) -> Self {
        let backend = Self::default();
        let seen = backend.clone();
        tokio::spawn(async move {
            let listener = service.listen();
            while let Ok((stream, _)) = listener.accept().await {
                let seen = seen.clone();
                let service = service_fn(move |request| seen.clone().answer(request));
                // An ingress adds a few fields to as many as a visitor may send.
                let connection =
                    http1::Builder::new().max_headers(200).serve_connection(TokioIo::new(stream), service);
                tokio::spawn(connection);
            }
        });
        backend
    }

    /// A request that is not whole gets no answer. `/status/403` asks for a status.
    async fn answer(self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
        let (parts, body) = request.into_parts();
        body.collect().await?;
        let path = parts.uri.path();
        self.0.lock().push(path.to_owned());
        let asked = path.strip_prefix("/status/").and_then(|status| status.parse().ok());
        let status = asked.unwrap_or(StatusCode::OK);
        let mut response = Response::new(Full::from("ok"));
        *response.status_mut() = status;
        Ok(response)
    }

    /// What was seen since the last call.
    pub(super) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock())
    }

    /// So many requests were seen since the last [`Self::take`].
    pub(super) fn count(&self) -> usize {
        self.0.lock().len()
    }
}
