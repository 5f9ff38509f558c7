//! Who may call which service.
//!
//! Owns the refusal, with a sentence. Must never let a caller through that has shown to be somebody else.

use std::convert::Infallible;
use std::task::{Context, Poll};

use futures::FutureExt;
use futures::future::BoxFuture;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::server::NamedService;
use tonic::{Code, Status};

use super::name::Name;
use super::socket::{Caller, Identity};

/// Who is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Callers {
    /// Other brokers.
    Brokers,
    /// Whoever runs the cluster.
    Operator,
}

/// A service that only those may call. Whoever has connected in plaintext has been let in before.
#[derive(Clone, Debug)]
pub struct Guarded<S> {
    inner: S,
    callers: Callers,
}

impl<S: NamedService> Guarded<S> {
    /// Lets `callers` through to `inner`.
    pub fn new(inner: S, callers: Callers) -> Self {
        Self { inner, callers }
    }

    fn refusal(&self, caller: Option<&Caller>) -> Option<String> {
        let service = S::NAME;
        match (&caller?.identity, self.callers) {
            (Identity::Unknown, _)
            | (Identity::Known(Name::Broker(_)), Callers::Brokers)
            | (Identity::Known(Name::Operator), Callers::Operator) => None,
            (Identity::Known(name), _) => Some(format!("{name} may not call {service}")),
            (Identity::Stranger(sentence), _) => Some(format!("{sentence}; {service} is not for it")),
        }
    }
}

impl<S: NamedService> NamedService for Guarded<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<http::Request<Body>> for Guarded<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible> + NamedService,
    S::Future: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let caller = request.extensions().get::<Caller>();
        if let Some(sentence) = self.refusal(caller) {
            tracing::warn!(remote = ?caller.and_then(|caller| caller.remote), sentence, "a call is refused");
            let refused = Status::new(Code::PermissionDenied, sentence).into_http();
            return std::future::ready(Ok(refused)).boxed();
        }
        self.inner.call(request).boxed()
    }
}
