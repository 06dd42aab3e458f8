//! Apps that live as long as their opener.
//!
//! One stream to the node is one app; [`conversation`](super::conversation) holds it, and makes it again when the
//! connection breaks.

use super::conversation::{self, Asker, unexpected};
use super::deploy::{CLIENT, Code};
use super::model::Deployed;
use crate::blobs::to_bytes;
use crate::client::Client;
use crate::error::{Error, Result};
use lydian_api::v1::open_request::Part as Ask;
use lydian_api::v1::open_response::Part as Said;
use lydian_api::v1::{AppCode, Close, Detach, OpenApp, OpenedApp};
use std::fmt;
use std::time::Duration;

/// An app that exists as long as this value does, and some seconds more: see [`Client::open_app`].
///
/// A connection that breaks does not end it, if the node can be reached again within those seconds.
pub struct EphemeralApp {
    client: Client,
    name: String,
    opened: Swapped,
    asker: Asker,
}

/// What an ephemeral app runs since it was opened or replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Swapped {
    /// The version, what differs from the one before, what can be called.
    pub deployed: Deployed,
    /// From the request's arrival at the node until new calls ran on it, compiling included.
    pub swap: Duration,
}

impl fmt::Debug for EphemeralApp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EphemeralApp")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Runs a component as an app that lives in the node's memory as long as the returned value, under a name that
    /// begins with `name`: `hello~7f3a2c`. It is called, described and listed like any other app.
    ///
    /// `manifest` is `lydian.toml` as JSON, over the one in the component.
    ///
    /// # Errors
    /// As of [`Client::deploy`].
    ///
    /// ```no_run
    /// # async fn example(client: lydian_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let app = client.open_app(std::fs::read("hello.wasm")?, None, "hello").await?;
    /// let text: String = client.function(app.name(), "greet").await?.call(("World".to_owned(),)).await?;
    /// let swapped = app.replace(std::fs::read("hello.wasm")?, None).await?;
    /// println!("version {} after {:?}", swapped.deployed.version, swapped.swap);
    /// app.close().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn open_app(
        &self,
        code: impl Into<Code>,
        manifest: Option<&serde_json::Value>,
        name: &str,
    ) -> Result<EphemeralApp> {
        let open = OpenApp {
            environment: self.environment().to_owned(),
            name: name.to_owned(),
            code: Some(self.app_code(code.into(), manifest).await?),
            client: CLIENT.to_owned(),
            resume: String::new(),
        };
        let (opened, asker) = conversation::begin(self, open).await?;
        Ok(EphemeralApp {
            client: self.clone(),
            name: opened.name.clone(),
            opened: opened.try_into()?,
            asker,
        })
    }

    async fn app_code(&self, code: Code, manifest: Option<&serde_json::Value>) -> Result<AppCode> {
        let digest = match code {
            Code::Bytes(bytes) => self.put(bytes).await?,
            Code::Digest(digest) => digest,
        };
        Ok(AppCode {
            component: to_bytes(&digest),
            manifest: manifest
                .map(|json| json.to_string().into_bytes().into())
                .unwrap_or_default(),
        })
    }
}

impl EphemeralApp {
    /// The name to call it by: `hello~7f3a2c`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it ran when it was opened.
    pub fn opened(&self) -> &Swapped {
        &self.opened
    }

    /// Runs other code from now on, as a new version; calls in flight finish on the old one. Code that cannot run
    /// is refused, and the app goes on with what it has.
    ///
    /// # Errors
    /// As of [`Client::deploy`]; [`Error::Unreachable`] when the node went away, and the app with it.
    pub async fn replace(
        &self,
        code: impl Into<Code>,
        manifest: Option<&serde_json::Value>,
    ) -> Result<Swapped> {
        let code = self.client.app_code(code.into(), manifest).await?;
        let said = self.asker.ask(Ask::Code(code)).await;
        self.client.forget_app(&self.name);
        match said? {
            Said::Opened(opened) => opened.try_into(),
            _ => Err(unexpected()),
        }
    }

    /// Leaves the app where it is until somebody stops it; answers its name.
    ///
    /// # Errors
    /// [`Error::Unreachable`] when the node went away, and the app with it.
    pub async fn detach(self) -> Result<String> {
        self.asker.ask(Ask::Detach(Detach {})).await?;
        Ok(self.name)
    }

    /// Removes the app at once; answers how many of its calls still run.
    ///
    /// # Errors
    /// [`Error::Unreachable`] when the node went away, and the app with it.
    pub async fn close(self) -> Result<u64> {
        let said = self.asker.ask(Ask::Close(Close {})).await?;
        self.client.forget_app(&self.name);
        match said {
            Said::Closed(closed) => Ok(closed.calls_running),
            _ => Err(unexpected()),
        }
    }
}

impl TryFrom<OpenedApp> for Swapped {
    type Error = Error;

    fn try_from(opened: OpenedApp) -> Result<Self> {
        let deployed = opened.deployed.ok_or_else(unexpected)?;
        Ok(Self {
            deployed: deployed.try_into()?,
            swap: Duration::from_micros(opened.swap_micros),
        })
    }
}
