//! What a listener for operators shows now.

use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::Router;
use axum::extract::Request;
use tower_service::Service;

/// What a listener for operators shows now: another configuration may ask for another token. A clone is the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Operators(Arc<ArcSwap<Router>>);

impl Operators {
    /// From now on these pages, for connections that are there too.
    pub(super) fn show(&self, pages: Router) {
        self.0.store(Arc::new(pages));
    }

    /// Pages that are always those of now.
    pub(super) fn pages(&self) -> Router {
        let shown = self.0.clone();
        Router::new().fallback(move |request: Request| {
            let mut pages = Router::clone(&shown.load());
            // A router is always ready.
            async move { pages.call(request).await }
        })
    }
}
