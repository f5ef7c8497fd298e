//! What a request says, refused as everything else is where it says nothing that is understood.

use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::response::Json;
use http::StatusCode;
use http::request::Parts;
use serde::de::DeserializeOwned;

use super::problem::Problem;

/// The word for a mistake in what was asked: the command exits as for wrong usage.
pub const WRONG_USAGE: &str = "wrong-usage";

/// The body, in JSON.
#[derive(Debug)]
pub struct Said<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Said<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let said = Json::from_request(request, state).await;
        said.map(|Json(said)| Self(said))
            .map_err(|rejection| not_understood(rejection.status(), &rejection.body_text()))
    }
}

/// What is behind the `?`.
#[derive(Debug)]
pub struct Asked<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let asked = Query::from_request_parts(parts, state).await;
        asked
            .map(|Query(asked)| Self(asked))
            .map_err(|rejection| not_understood(rejection.status(), &rejection.body_text()))
    }
}

fn not_understood(status: StatusCode, why: &str) -> Problem {
    Problem::new(status, WRONG_USAGE, format!("the request is not understood: {why}"))
}
