//! What a deploy says, and sending it.

use super::model::Deployed;
use crate::blobs::to_bytes;
use crate::client::Client;
use crate::error::Result;
use bytes::Bytes;
use lydian_api::v1;
use lydian_value::Digest;

/// This client, as the history shows who deployed.
pub(super) const CLIENT: &str = concat!("lydian-client ", env!("CARGO_PKG_VERSION"));

/// The node's code for a stored component that is not what was stored.
const DAMAGED: &str = "component-damaged";

/// A component to deploy: its bytes, or the digest of what the node has already.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Code {
    /// The component itself; sent only when the node lacks it.
    Bytes(Bytes),
    /// One that was [put](Client::put) before.
    Digest(Digest),
}

impl From<Vec<u8>> for Code {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes.into())
    }
}

impl From<Bytes> for Code {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<Digest> for Code {
    fn from(digest: Digest) -> Self {
        Self::Digest(digest)
    }
}

/// What to deploy under which name, and what the history says of it.
///
/// ```no_run
/// # async fn example(client: lydian_client::Client) -> Result<(), Box<dyn std::error::Error>> {
/// use lydian_client::Deploy;
///
/// let deploy = Deploy::new("math", std::fs::read("math.wasm")?).message("faster squares");
/// let deployed = client.deploy(deploy).await?;
/// println!("math v{}", deployed.version);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "a deploy does nothing until it is given to `Client::deploy`"]
pub struct Deploy {
    app: String,
    code: Code,
    request: v1::DeployRequest,
}

impl Deploy {
    /// The component `code` as the newest version of `app`, with the manifest the component carries.
    pub fn new(app: impl Into<String>, code: impl Into<Code>) -> Self {
        Self {
            app: app.into(),
            code: code.into(),
            request: v1::DeployRequest {
                client: CLIENT.to_owned(),
                ..v1::DeployRequest::default()
            },
        }
    }

    /// The manifest, `lydian.toml` as JSON, instead of the one in the component.
    pub fn manifest(mut self, json: &serde_json::Value) -> Self {
        self.request.manifest = json.to_string().into_bytes().into();
        self
    }

    /// A line for the history.
    pub fn message(mut self, message: impl Into<String>) -> Self {
        self.request.message = message.into();
        self
    }

    /// The source commit, with `*` at its end when the tree was dirty.
    pub fn commit(mut self, commit: impl Into<String>) -> Self {
        self.request.commit = commit.into();
        self
    }

    /// Name and version of the deploying program, instead of this library's.
    pub fn client(mut self, client: impl Into<String>) -> Self {
        self.request.client = client.into();
        self
    }

    /// Refuse unless this version is the current one, so that two who deploy do not overwrite each other.
    pub fn if_version(mut self, version: u64) -> Self {
        self.request.if_version = version;
        self
    }
}

impl Client {
    /// Makes a component the newest version of an app. The component and manifest the app has already
    /// make no new version. Calls that run finish on the version they started on.
    ///
    /// # Errors
    /// - [`Error::InvalidArgument`](crate::Error::InvalidArgument): not a component, an import that
    ///   nobody provides, a manifest with an unknown key.
    /// - [`Error::Conflict`](crate::Error::Conflict): another version than
    ///   [`if_version`](Deploy::if_version) is current.
    ///
    /// ```no_run
    /// # async fn example(client: lydian_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let deploy = lydian_client::Deploy::new("math", std::fs::read("math.wasm")?);
    /// let deployed = client.deploy(deploy).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn deploy(&self, deploy: Deploy) -> Result<Deployed> {
        let app = deploy.app.clone();
        let deployed = self.send_deploy(deploy, false).await;
        self.forget_app(&app);
        deployed
    }

    /// What [`Client::deploy`] would change; changes nothing. The component is stored, though, for the
    /// node must read it to compare.
    ///
    /// # Errors
    /// As of [`Client::deploy`].
    ///
    /// ```no_run
    /// # async fn example(client: lydian_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let deploy = lydian_client::Deploy::new("math", std::fs::read("math.wasm")?);
    /// for change in client.plan(deploy).await?.changes {
    ///     println!("{} {}", change.kind, change.what);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn plan(&self, deploy: Deploy) -> Result<Deployed> {
        self.send_deploy(deploy, true).await
    }

    async fn send_deploy(&self, deploy: Deploy, dry_run: bool) -> Result<Deployed> {
        let (digest, bytes) = match deploy.code {
            Code::Bytes(bytes) => (self.put(bytes.clone()).await?, Some(bytes)),
            Code::Digest(digest) => (digest, None),
        };
        let request = v1::DeployRequest {
            environment: self.environment().to_owned(),
            app: deploy.app,
            component: to_bytes(&digest),
            dry_run,
            ..deploy.request
        };
        let mut answer = self.once(self.apps_api().deploy(request.clone())).await;
        // The node found its copy damaged only now and has set it aside: these bytes take its place.
        if let (Err(error), Some(bytes)) = (&answer, bytes)
            && error.code() == DAMAGED
        {
            self.put(bytes).await?;
            answer = self.once(self.apps_api().deploy(request)).await;
        }
        Deployed::try_from(answer?)
    }
}
