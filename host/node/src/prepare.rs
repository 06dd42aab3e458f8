//! Stored components made ready to run, and why some are not.

use crate::error::Error;
use crate::manifest::{Manifest, bare, section};
use crate::serve;
use futures::FutureExt;
use lydian_engine::{Component, Engine, compile};
use lydian_store::Store;
use lydian_value::Digest;
use parking_lot::Mutex;
use std::sync::Arc;

/// The component of this digest: from memory, from its artifact, or compiled from its blob.
///
/// # Errors
/// [`Error::ComponentNotFound`], [`Error::ComponentDamaged`], [`Error::ComponentRefused`],
/// [`Error::NotPrepared`].
pub(crate) async fn component(
    engine: &Engine,
    store: &Store,
    digest: Digest,
    tenant: impl FnOnce() -> String,
) -> Result<Arc<Component>, Error> {
    let blobs = store.blobs().clone();
    // The engine passes a source's error on as text; which one it was is kept here.
    let failed: Arc<Mutex<Option<lydian_store::Error>>> = Arc::default();
    let told = failed.clone();
    let source = move || {
        let get = async move {
            blobs
                .get(&digest)
                .await
                .inspect_err(|error| *told.lock() = Some(error.clone()))
        };
        get.boxed()
    };
    let error = match engine.prepare_for(tenant, digest, source).await {
        Ok(component) => return Ok(component),
        Err(error) => error,
    };
    let cause = failed.lock().take();
    use lydian_engine::Error as Engine;
    Err(match (cause, error) {
        (Some(cause), _) => unreadable(digest, cause),
        // Whoever asked for the bytes first knows why they were not there; this call asks for itself.
        (None, error @ Engine::Compile(compile::Error::Source { .. })) => {
            match store.blobs().get(&digest).await {
                Err(cause) => unreadable(digest, cause),
                Ok(_) => refusal(digest, error),
            }
        }
        (None, error) => refusal(digest, error),
    })
}

/// What holds of a component's own manifest where it is called by its digest.
///
/// # Errors
/// [`Error::Manifest`], and what keeps its bytes from being read.
pub(crate) async fn bare_manifest(store: &Store, component: &Component) -> Result<Manifest, Error> {
    if !bare::has_classes(component.interface()) {
        return Ok(Manifest::default());
    }
    let digest = component.digest();
    let bytes = store.blobs().get(&digest).await;
    let bytes = bytes.map_err(|error| unreadable(digest, error))?;
    Manifest::of_bare(section::find(&bytes)?, component.interface())
}

/// Who a component is compiled for, as far as its turn is concerned: its app, or whoever asks when it has none.
pub(crate) fn tenant(environment: &str, app: &str) -> String {
    match (app, serve::caller()) {
        ("", Some(caller)) => caller,
        _ => format!("{environment}/{app}"),
    }
}

/// Why a stored component's bytes could not be had.
pub(crate) fn unreadable(digest: Digest, error: lydian_store::Error) -> Error {
    match error {
        lydian_store::Error::BlobNotFound { .. } => Error::ComponentNotFound { digest },
        lydian_store::Error::CorruptEntry { .. } => {
            tracing::warn!(%digest, %error, "a stored component is damaged");
            Error::ComponentDamaged { digest }
        }
        other => other.into(),
    }
}

/// Why the engine does not run a component.
pub(crate) fn refusal(digest: Digest, error: lydian_engine::Error) -> Error {
    use lydian_engine::Error as Engine;
    let (reason, hints) = (error.to_string(), error.hints());
    let refused = |code| Error::ComponentRefused {
        digest,
        code,
        reason: reason.clone(),
        hints: hints.clone(),
    };
    match &error {
        Engine::Compile(compile::Error::WrongDigest { .. }) => Error::ComponentDamaged { digest },
        Engine::Compile(compile::Error::Refused(_)) => refused("not-a-component"),
        Engine::Compile(compile::Error::Invalid { .. }) => refused("invalid-component"),
        Engine::Compile(compile::Error::Crowded { waiting }) => {
            Error::TooManyCompilations { waiting: *waiting }
        }
        Engine::Compile(error) if error.is_components_fault() => refused("component-not-compiled"),
        Engine::Interface { .. } => refused("invalid-interface"),
        Engine::MissingImports { .. } => refused("missing-import"),
        Engine::Link { .. } => refused("component-not-linked"),
        Engine::TooLarge { .. } => refused("component-too-large"),
        _ => {
            tracing::warn!(digest = %digest.short(), error = &error as &dyn std::error::Error, "cannot prepare");
            Error::NotPrepared {
                digest,
                code: "not-prepared",
                reason,
                hints,
            }
        }
    }
}
