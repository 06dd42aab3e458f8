//! Apps that live as long as their opener.
//!
//! One stream to the node is one app. A task beats on it so that the node knows this side lives; answers come in
//! the order of the questions, so one lock holds both directions.

use super::deploy::{CLIENT, Code};
use super::model::Deployed;
use crate::blobs::to_bytes;
use crate::client::Client;
use crate::error::{Error, Result};
use lydian_api::v1::open_request::Part as Ask;
use lydian_api::v1::open_response::Part as Said;
use lydian_api::v1::{
    AppCode, Close, Detach, Heartbeat, OpenApp, OpenRequest, OpenResponse, OpenedApp,
};
use std::fmt;
use std::time::Duration;
use tokio::sync::{Mutex, mpsc};
use tokio::task::AbortHandle;
use tonic::{Code as Grpc, Streaming};

/// How often the node hears of this side; it forgets an app it did not hear of for 30 s.
const BEAT_EVERY: Duration = Duration::from_secs(10);
/// Requests that may wait for the connection.
const QUEUED_REQUESTS: usize = 4;

/// An app that exists as long as this value does, and some seconds more: see [`Client::open_app`].
pub struct EphemeralApp {
    client: Client,
    name: String,
    opened: Swapped,
    conversation: Mutex<Conversation>,
    _beat: Beat,
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

/// Beats until it is dropped; the stream ends with it, for it holds the other end of the questions.
struct Beat(AbortHandle);

impl Drop for Beat {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Conversation {
    requests: mpsc::Sender<OpenRequest>,
    responses: Streaming<OpenResponse>,
    /// Answers to questions whose asker went away before they came.
    owed: usize,
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
        };
        let (requests, queue) = mpsc::channel(QUEUED_REQUESTS);
        requests
            .try_send(Ask::Open(open).into())
            .map_err(|_| Error::broken("a new channel has no room"))?;
        let queue = tokio_stream::wrappers::ReceiverStream::new(queue);
        let responses = self.once(self.apps_api().open(queue)).await?;
        let mut conversation = Conversation {
            requests: requests.clone(),
            responses,
            owed: 1,
        };
        let opened = match conversation.answer(self).await? {
            Said::Opened(opened) => opened,
            _ => return Err(unexpected()),
        };
        Ok(EphemeralApp {
            client: self.clone(),
            name: opened.name.clone(),
            opened: opened.try_into()?,
            conversation: Mutex::new(conversation),
            _beat: Beat(tokio::spawn(beat(requests)).abort_handle()),
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
        let said = self.ask(Ask::Code(code)).await;
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
        self.ask(Ask::Detach(Detach {})).await?;
        Ok(self.name)
    }

    /// Removes the app at once; answers how many of its calls still run.
    ///
    /// # Errors
    /// [`Error::Unreachable`] when the node went away, and the app with it.
    pub async fn close(self) -> Result<u64> {
        let said = self.ask(Ask::Close(Close {})).await?;
        self.client.forget_app(&self.name);
        match said {
            Said::Closed(closed) => Ok(closed.calls_running),
            _ => Err(unexpected()),
        }
    }

    async fn ask(&self, ask: Ask) -> Result<Said> {
        let mut conversation = self.conversation.lock().await;
        // A closed channel means that the stream has ended; why is the next thing to read.
        if conversation.requests.send(ask.into()).await.is_ok() {
            conversation.owed += 1;
        }
        conversation.answer(&self.client).await
    }
}

impl Conversation {
    /// The answer to the newest question; older ones' askers went away.
    async fn answer(&mut self, client: &Client) -> Result<Said> {
        loop {
            let response = match self.responses.message().await {
                Ok(Some(response)) => response,
                Ok(None) => return Err(Error::broken("the node ended the stream")),
                Err(status) => return Err(client.error(status)),
            };
            self.owed = self.owed.saturating_sub(1);
            if self.owed > 0 {
                continue;
            }
            return match response.part {
                Some(Said::Refused(refused)) => {
                    let detail = refused.detail.unwrap_or_default();
                    let code =
                        Grpc::from(i32::try_from(refused.code).unwrap_or(Grpc::Unknown as i32));
                    let status = lydian_api::error::status(code, refused.message, &detail);
                    Err(client.error(status))
                }
                Some(said) => Ok(said),
                None => Err(unexpected()),
            };
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

fn unexpected() -> Error {
    Error::broken("the node's answer is not one to this question")
}

/// Until the stream is over.
async fn beat(requests: mpsc::Sender<OpenRequest>) {
    loop {
        tokio::time::sleep(BEAT_EVERY).await;
        if requests
            .send(Ask::Heartbeat(Heartbeat {}).into())
            .await
            .is_err()
        {
            return;
        }
    }
}
