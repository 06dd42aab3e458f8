//! Several calls in one sandbox, with resources that live between them.
//!
//! A [`Session`] is one sandbox for as long as any clone of it lives. Calls in it share its memory; a
//! resource that a call returns is a handle that later calls take. One task reads the node's answers and
//! gives each to the call that waits for it.

use crate::client::Client;
use crate::error::{Error, Refusal, Result};
use crate::failure::Failure;
use crate::forms::{Input, Output, without_self};
use crate::limits::Limits;
use crate::logs::LogChunk;
use crate::lookup::{Bound, Functions, Place};
use bytes::{BufMut, Bytes, BytesMut};
use futures::StreamExt;
use lydian_api::v1::session_response::Part;
use lydian_api::v1::{self, SessionRequest, session_request};
use lydian_value::{Digest, Handle, Type};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tonic::Streaming;

/// Requests that may wait for the connection before callers wait for them.
const QUEUED_REQUESTS: usize = 16;

/// Shows what the sandbox writes.
type OnLog = Box<dyn FnMut(LogChunk) + Send>;
/// Gives a call's outcome to whoever waits for it.
type Waiting = HashMap<u64, oneshot::Sender<Result<Bytes>>>;

/// One sandbox and what lives in it. Cheap to clone; the sandbox goes with the last clone and the last
/// [`Resource`].
///
/// ```no_run
/// # async fn example(client: lydian_client::Client, png: Vec<u8>) -> lydian_client::Result<()> {
/// let session = client.session("img").await?;
/// let image = session.construct("acme:img/resize#image.new", (png,)).await?;
/// image.call::<_, ()>("scale", (0.5f32,)).await?;
/// let (width, height): (u32, u32) = image.call("size", ()).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Session {
    inner: Arc<Inner>,
}

struct Inner {
    functions: Arc<Functions>,
    call: String,
    requests: mpsc::Sender<SessionRequest>,
    /// Handles given up where nobody can wait for room in `requests`.
    dropped: Mutex<Vec<u32>>,
    next_id: AtomicU64,
    shared: Arc<Shared>,
    reader: AbortHandle,
}

/// What calls and the reading task have in common.
#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    /// Why the session is over.
    over: Mutex<Option<Over>>,
    on_log: Mutex<Option<OnLog>>,
}

/// How a session ended; every later call is told.
#[derive(Clone)]
enum Over {
    Closed,
    Broken(String),
    /// The component could not be started at all.
    Failed(Failure),
}

/// The answer that belongs to no call: the node gives it when the sandbox did not start.
const START: u64 = 0;

impl Drop for Inner {
    fn drop(&mut self) {
        // Drops the response stream, which tells the node to end the sandbox now.
        self.reader.abort();
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("call", &self.inner.call)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Opens a session with the current version of an app, and stays with that version.
    ///
    /// # Errors
    /// [`Error::NotFound`]: no such app.
    ///
    /// ```no_run
    /// # async fn example(client: lydian_client::Client) -> lydian_client::Result<()> {
    /// let session = client.session("img").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn session(&self, app: &str) -> Result<Session> {
        self.session_with(app, Limits::new()).await
    }

    /// As [`Client::session`], with lower limits; the wall time is that of each call in it.
    ///
    /// # Errors
    /// [`Error::NotFound`]: no such app.
    ///
    /// ```no_run
    /// # async fn example(client: lydian_client::Client) -> lydian_client::Result<()> {
    /// let limits = lydian_client::Limits::new().memory_bytes(64 << 20);
    /// let session = client.session_with("img", limits).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn session_with(&self, app: &str, limits: Limits) -> Result<Session> {
        self.session_at(app, 0, limits).await
    }

    /// As [`Client::session_with`], of one version; zero is the current one.
    ///
    /// # Errors
    /// [`Error::NotFound`]: no such app or version.
    ///
    /// ```no_run
    /// # async fn example(client: lydian_client::Client) -> lydian_client::Result<()> {
    /// let session = client.session_at("img", 3, Default::default()).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn session_at(&self, app: &str, version: u64, limits: Limits) -> Result<Session> {
        let place = Place::App {
            environment: self.environment().into(),
            app: app.into(),
            version,
        };
        Session::open(self, &place, limits).await
    }

    /// Opens a session with a component that is not deployed; it has no grants.
    ///
    /// # Errors
    /// [`Error::NotFound`]: the node does not have it.
    ///
    /// ```no_run
    /// # async fn example(client: lydian_client::Client, digest: lydian_client::Digest) -> lydian_client::Result<()> {
    /// let session = client.component_session(digest, Default::default()).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn component_session(&self, component: Digest, limits: Limits) -> Result<Session> {
        Session::open(self, &self.component_place(component), limits).await
    }
}

impl Session {
    pub(crate) async fn open(client: &Client, place: &Place, limits: Limits) -> Result<Self> {
        let functions = client.lookup(place).await?;
        let (requests, queue) = mpsc::channel(QUEUED_REQUESTS);
        let open = session_request::Part::Open(v1::SessionOpen {
            target: Some(functions.any_target()),
            limits: limits.to_wire(),
            ..v1::SessionOpen::default()
        });
        requests
            .try_send(open.into())
            .map_err(|_| Error::broken("a new channel has no room"))?;
        let queue = tokio_stream::wrappers::ReceiverStream::new(queue);
        let mut responses = client.once(client.calls_api().session(queue)).await?;
        let call = opened(client, &mut responses).await?;
        let shared = Arc::new(Shared::default());
        let reader = tokio::spawn(read(client.clone(), responses, shared.clone()));
        Ok(Self {
            inner: Arc::new(Inner {
                functions,
                call,
                requests,
                dropped: Mutex::default(),
                next_id: AtomicU64::new(1),
                shared,
                reader: reader.abort_handle(),
            }),
        })
    }

    /// The id of the session's call, for `lydian calls explain`.
    pub fn id(&self) -> &str {
        &self.inner.call
    }

    /// Calls `show` with everything the sandbox writes from now on.
    ///
    /// ```no_run
    /// # fn example(session: lydian_client::Session) {
    /// session.on_log(|chunk| eprint!("{}", chunk.text()));
    /// # }
    /// ```
    pub fn on_log(&self, show: impl FnMut(LogChunk) + Send + 'static) {
        *self.inner.shared.on_log.lock() = Some(Box::new(show));
    }

    /// Calls a function in this sandbox. Calls of one session run one after another. Dropping the
    /// future forgets the call but does not stop it.
    ///
    /// # Errors
    /// - As of [`Function::call`](crate::Function::call).
    /// - [`Error::Conflict`]: the session is over, for instance because an earlier call trapped.
    ///
    /// ```no_run
    /// # async fn example(session: lydian_client::Session) -> lydian_client::Result<()> {
    /// session.call::<_, ()>("remember", (7u64,)).await?;
    /// let seven: u64 = session.call("recall", ()).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn call<A: Input, R: Output>(&self, function: &str, args: A) -> Result<R> {
        let bound = self.inner.functions.find(function)?;
        bound.matched_once::<A, R>(|| {
            A::check(bound.ty())?;
            R::check(bound.ty().result.as_ref())
        })?;
        let args = args.encode(bound.ty(), &bound.value_limits())?;
        self.call_bound(&bound, args).await
    }

    async fn call_bound<R: Output>(&self, bound: &Bound, args: Bytes) -> Result<R> {
        bound.returns_at_once()?;
        let bytes = self.call_wire(&bound.info.name, args).await?;
        R::decode(bound.ty().result.as_ref(), bytes, &bound.value_limits())
    }

    /// Calls a function whose result is a resource: a constructor `pkg:name/interface#image.new`, or
    /// any other.
    ///
    /// # Errors
    /// As of [`call`](Session::call); [`Error::InvalidArgument`] also when the result is no resource.
    ///
    /// ```no_run
    /// # async fn example(session: lydian_client::Session) -> lydian_client::Result<()> {
    /// let counter = session.construct("demo:count/api#counter.new", (0u32,)).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn construct<A: Input>(&self, function: &str, args: A) -> Result<Resource> {
        let handle: Handle = self.call(function, args).await?;
        let bound = self.inner.functions.find(function)?;
        let name = match &bound.ty().result {
            Some(Type::Own(name)) => name.clone(),
            _ => "".into(),
        };
        // With its version, which tells two versions of one interface apart.
        let interface = bound.info.name.split_once('#').map(|(path, _)| path);
        Ok(self.adopt(handle, interface, &name))
    }

    /// A handle that came inside another result, as a resource of this session, which drops it in the
    /// end. `resource` is its name, `image`, and `interface` the one that exports it.
    ///
    /// ```no_run
    /// # async fn example(session: lydian_client::Session) -> lydian_client::Result<()> {
    /// use lydian_client::Handle;
    /// let handles: Vec<Handle> = session.call("acme:img/resize#open-all", ()).await?;
    /// let images: Vec<_> = handles
    ///     .into_iter()
    ///     .map(|handle| session.adopt(handle, Some("acme:img/resize"), "image"))
    ///     .collect();
    /// # Ok(())
    /// # }
    /// ```
    pub fn adopt(&self, handle: Handle, interface: Option<&str>, resource: &str) -> Resource {
        let prefix = match interface {
            Some(interface) => format!("{interface}#{resource}"),
            None => resource.to_owned(),
        };
        Resource {
            session: self.clone(),
            prefix: prefix.into(),
            handle,
            owned: true,
        }
    }

    async fn call_wire(&self, function: &str, args: Bytes) -> Result<Bytes> {
        let inner = &self.inner;
        self.send_dropped().await?;
        let id = inner.next_id.fetch_add(1, Ordering::Relaxed);
        let (answer, waiting) = oneshot::channel();
        inner.shared.waiting.lock().insert(id, answer);
        // Looked at after the insertion: whoever ends the session looks the other way round.
        if let Some(over) = inner.shared.over.lock().clone() {
            inner.shared.waiting.lock().remove(&id);
            return Err(over.error());
        }
        let call = session_request::Part::Call(v1::SessionCall {
            id,
            function: function.to_owned(),
            args,
        });
        if inner.requests.send(call.into()).await.is_err() {
            inner.shared.waiting.lock().remove(&id);
        }
        match waiting.await {
            Ok(outcome) => outcome,
            Err(_) => Err(inner.shared.why_over().error()),
        }
    }

    async fn send_dropped(&self) -> Result<()> {
        let dropped = std::mem::take(&mut *self.inner.dropped.lock());
        for handle in dropped {
            let sent = self.inner.requests.send(self.inner.drop_request(handle));
            if sent.await.is_err() {
                return Err(self.inner.shared.why_over().error());
            }
        }
        Ok(())
    }
}

impl Inner {
    fn drop_request(&self, handle: u32) -> SessionRequest {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        session_request::Part::Drop(v1::SessionDrop { id, handle }).into()
    }
}

/// Waits for the node to name the session.
async fn opened(client: &Client, responses: &mut Streaming<v1::SessionResponse>) -> Result<String> {
    while let Some(response) = responses.next().await {
        match response.map_err(|status| client.error(status))?.part {
            Some(Part::Opened(opened)) => return Ok(opened.call),
            _ => continue,
        }
    }
    Err(Error::broken("the node ended a session without opening it"))
}

/// Gives every answer to its call, until the node ends the session.
async fn read(client: Client, mut responses: Streaming<v1::SessionResponse>, shared: Arc<Shared>) {
    let over = loop {
        match responses.next().await {
            Some(Ok(response)) => shared.receive(response),
            Some(Err(status)) => {
                let error = client.error(status);
                let text = error.report().to_string();
                // The first who waits gets the error itself, the others its text.
                let first = shared.waiting.lock().keys().next().copied();
                if let Some(id) = first {
                    shared.answer(id, Err(error));
                }
                break Over::Broken(text);
            }
            None => break Over::Closed,
        }
    };
    shared.over.lock().get_or_insert(over);
    let waiting = std::mem::take(&mut *shared.waiting.lock());
    // Dropping their senders wakes them, and they read why.
    drop(waiting);
}

impl Shared {
    fn receive(&self, response: v1::SessionResponse) {
        match response.part {
            Some(Part::Result(result)) => {
                let outcome = result.outcome.unwrap_or_default().into_result();
                let outcome = outcome.map_err(Failure::from);
                if let (START, Err(failure)) = (result.id, &outcome) {
                    *self.over.lock() = Some(Over::Failed(failure.clone()));
                }
                self.answer(
                    result.id,
                    outcome.map_err(|failure| Error::Failed(Box::new(failure))),
                );
            }
            Some(Part::Log(chunk)) => {
                if let Some(show) = &mut *self.on_log.lock() {
                    show(LogChunk::from(chunk));
                }
            }
            Some(Part::Opened(_)) | None => {}
        }
    }

    fn answer(&self, id: u64, outcome: Result<Bytes>) {
        let waiting = self.waiting.lock().remove(&id);
        if let Some(waiting) = waiting {
            // Nobody there any more: the call was forgotten.
            let _ = waiting.send(outcome);
        }
    }

    fn why_over(&self) -> Over {
        self.over.lock().clone().unwrap_or(Over::Closed)
    }
}

impl Over {
    fn error(self) -> Error {
        let refusal = match self {
            Self::Closed => Refusal::new("session-over", "the session is over"),
            Self::Broken(why) => {
                Refusal::new("session-over", format!("the session is over: {why}"))
            }
            Self::Failed(failure) => return Error::Failed(Box::new(failure)),
        };
        Error::Conflict(refusal.hint("open a new one; what lived in the old one is gone"))
    }
}

/// A resource in a session. Dropping it drops the guest's resource before the session's next call.
pub struct Resource {
    session: Session,
    /// `acme:img/resize#image`
    prefix: Arc<str>,
    handle: Handle,
    /// Cleared when a function took it for good.
    owned: bool,
}

impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resource")
            .field("name", &self.prefix)
            .field("handle", &self.handle.0)
            .finish_non_exhaustive()
    }
}

impl Resource {
    /// Calls a method, `scale`, with the resource as its first argument.
    ///
    /// # Errors
    /// As of [`Session::call`].
    ///
    /// ```no_run
    /// # async fn example(counter: lydian_client::Resource) -> lydian_client::Result<()> {
    /// let count: u32 = counter.call("add", (1u32,)).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn call<A: Input, R: Output>(&self, method: &str, args: A) -> Result<R> {
        let name = format!("{}.{method}", self.prefix);
        let bound = self.session.inner.functions.find(&name)?;
        let ty = without_self(bound.ty());
        bound.matched_once::<(Self, A), R>(|| {
            A::check(&ty)?;
            R::check(ty.result.as_ref())
        })?;
        let args = args.encode(&ty, &bound.value_limits())?;
        // Arguments are encoded one after the other, so the resource goes in front.
        let mut all = BytesMut::with_capacity(4 + args.len());
        all.put_u32_le(self.handle.0);
        all.put(args);
        self.session.call_bound(&bound, all.freeze()).await
    }

    /// The handle, to pass the resource as an argument. It stays this resource's: use
    /// [`into_handle`](Resource::into_handle) where the function takes it for good.
    pub fn handle(&self) -> Handle {
        self.handle
    }

    /// The handle, for a function that takes the resource for good; nothing drops it any more.
    pub fn into_handle(mut self) -> Handle {
        self.owned = false;
        self.handle
    }

    /// The session it lives in.
    pub fn session(&self) -> &Session {
        &self.session
    }
}

impl Drop for Resource {
    fn drop(&mut self) {
        if !self.owned {
            return;
        }
        let inner = &self.session.inner;
        let request = inner.drop_request(self.handle.0);
        if inner.requests.try_send(request).is_err() {
            inner.dropped.lock().push(self.handle.0);
        }
    }
}

/// All functions of a session, for those who look before they call.
impl Session {
    /// Names and types of what can be called here.
    pub fn functions(&self) -> Vec<crate::FunctionInfo> {
        self.inner
            .functions
            .iter()
            .map(|bound| bound.info.clone())
            .collect()
    }
}
