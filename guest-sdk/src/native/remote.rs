//! Calls over whichever back end is current, by the Rust types of the function.

use super::backend::{Backend, Inner};
use super::threads::{self, Threads};
use crate::map::Options;
use crate::name::Name;
use crate::target::{Arguments, Returned};
use crate::{Error, ErrorKind, Result, Stream};
use futures::StreamExt;
use futures::stream::BoxStream;
use lydian_client::Call;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// A future that may wait on any thread.
pub(crate) type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The plain function.
#[derive(Debug)]
pub(crate) struct Local<A, R>(fn(A) -> R);

impl<A, R> Clone for Local<A, R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<A, R> Copy for Local<A, R> {}

/// Keeps the plain function for threads.
pub(crate) const fn local<A, R>(function: fn(A) -> R) -> Local<A, R> {
    Local(function)
}

/// One call on a thread: the plain function, or one of an app that was added.
async fn on_thread<A: Arguments, R: Returned>(
    threads: &Threads,
    name: &Name,
    local: Option<Local<A, R>>,
    args: A,
) -> Result<R> {
    match local {
        Some(Local(function)) => threads::run(move || Ok(function(args))).await,
        None => {
            let function = threads.find(name.app(), name.function())?;
            threads::run(move || threads::decode(&function(&threads::encode(&args))?)).await
        }
    }
}

/// Calls a function and waits for its result.
pub(crate) async fn call<A: Arguments, R: Returned>(
    name: &Name,
    local: Option<Local<A, R>>,
    args: A,
) -> Result<R> {
    match Backend::current().await?.0 {
        Inner::Node(node) => Ok(node.function(name).await?.call(args).await?),
        Inner::Threads(threads) => on_thread(&threads, name, local, args).await,
    }
}

/// What a recorded call is asked through.
#[derive(Debug, Clone)]
pub(crate) struct Handle(Backend);

impl Handle {
    /// The back end that is current now.
    pub(crate) async fn current() -> Result<Self> {
        Backend::current().await.map(Self)
    }
}

/// Records a call.
pub(crate) async fn spawn<A: Arguments, R: Returned>(
    name: &Name,
    local: Option<Local<A, R>>,
    args: A,
) -> Result<(String, Handle)> {
    let backend = Backend::current().await?;
    let id = match &backend.0 {
        Inner::Node(node) => {
            let call = node.function(name).await?.spawn(args).await?;
            call.id().to_owned()
        }
        Inner::Threads(threads) => {
            let (name, others) = (name.clone(), Arc::clone(threads));
            threads.spawn(async move {
                let result = on_thread(&others, &name, local, args).await?;
                Ok(threads::encode(&result))
            })
        }
    };
    Ok((id, Handle(backend)))
}

/// The result of a recorded call; none when it is not there in time.
pub(crate) async fn get<R: Returned>(
    handle: &Handle,
    call: &str,
    timeout: Option<Duration>,
) -> Result<Option<R>> {
    match &handle.0.0 {
        Inner::Node(node) => match Call::from_id(&node.client, call).get(timeout).await {
            Ok(result) => Ok(Some(result)),
            Err(lydian_client::Error::Timeout { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        },
        Inner::Threads(threads) => {
            let bytes = match timeout {
                None => threads.get(call).await?,
                Some(timeout) => match tokio::time::timeout(timeout, threads.get(call)).await {
                    Ok(bytes) => bytes?,
                    Err(_) => return Ok(None),
                },
            };
            threads::decode(&bytes).map(Some)
        }
    }
}

/// Stops a recorded call.
pub(crate) async fn cancel(handle: &Handle, call: &str) -> Result<()> {
    match &handle.0.0 {
        Inner::Node(node) => {
            Call::from_id(&node.client, call).cancel().await?;
            Ok(())
        }
        Inner::Threads(threads) => threads.cancel(call),
    }
}

/// One input's index and outcome; an error is the map's own.
type Item<R> = Result<(u64, Result<R>)>;

/// A map that is under way.
pub(crate) struct Running<'a, R> {
    items: BoxStream<'a, Item<R>>,
    result: PhantomData<fn() -> R>,
}

impl<R> Running<'_, R> {
    /// The next input's outcome.
    pub(crate) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Item<R>>> {
        self.items.as_mut().poll_next(context)
    }
}

/// Begins a map, once it is polled.
pub(crate) fn map<'a, A: Arguments, R: Returned>(
    name: Name,
    local: Option<Local<A, R>>,
    inputs: Box<dyn Iterator<Item = A> + Send + 'a>,
    options: Options,
) -> Running<'a, R> {
    let opened = async move {
        let items: BoxStream<'a, Item<R>> = match Backend::current().await {
            Err(error) => futures::stream::once(std::future::ready(Err(error))).boxed(),
            Ok(Backend(Inner::Node(node))) => match node.function(&name).await {
                Err(error) => futures::stream::once(std::future::ready(Err(error))).boxed(),
                Ok(function) => on_node(&function, inputs, options),
            },
            Ok(Backend(Inner::Threads(threads))) => {
                on_threads(threads, name, local, inputs, options)
            }
        };
        items
    };
    Running {
        items: futures::stream::once(opened).flatten().boxed(),
        result: PhantomData,
    }
}

fn on_node<'a, A: Arguments, R: Returned>(
    function: &lydian_client::Function,
    inputs: Box<dyn Iterator<Item = A> + Send + 'a>,
    options: Options,
) -> BoxStream<'a, Item<R>> {
    let map = function
        .map::<A, R, _>(inputs)
        .max_parallel(options.max_parallel);
    let map = if options.ordered {
        map
    } else {
        map.unordered()
    };
    if options.return_errors {
        let items = map.return_errors().with_index();
        items
            .map(|item| {
                let (index, outcome) = item?;
                Ok((index, outcome.map_err(Error::from)))
            })
            .boxed()
    } else {
        let items = map.with_index();
        items
            .map(|item| {
                let (index, result) = item?;
                Ok((index, Ok(result)))
            })
            .boxed()
    }
}

/// As many at once as there are processors, unless less were asked for.
fn on_threads<'a, A: Arguments, R: Returned>(
    threads: Arc<Threads>,
    name: Name,
    local: Option<Local<A, R>>,
    inputs: Box<dyn Iterator<Item = A> + Send + 'a>,
    options: Options,
) -> BoxStream<'a, Item<R>> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let parallel = match options.max_parallel as usize {
        0 => processors,
        most => most.min(processors),
    };
    let calls = futures::stream::iter((0u64..).zip(inputs)).map(move |(index, args)| {
        let (threads, name) = (Arc::clone(&threads), name.clone());
        async move {
            let outcome = on_thread(&threads, &name, local, args).await;
            match outcome {
                Err(error) if !options.return_errors => Err(error),
                outcome => Ok((index, outcome)),
            }
        }
    });
    if options.ordered {
        calls.buffered(parallel).boxed()
    } else {
        calls.buffer_unordered(parallel).boxed()
    }
}

/// A function whose result is a stream: its items as they come.
pub async fn stream<A: Arguments, T: Returned>(
    name: &Name,
    local: fn(A) -> Stream<T>,
    args: A,
) -> Result<Stream<Result<T>>> {
    match Backend::current().await?.0 {
        Inner::Node(node) => {
            let items = node.function(name).await?.stream::<A, T>(args).await?;
            Ok(Stream::new(items.map(|item| item.map_err(Error::from))))
        }
        Inner::Threads(_) => {
            // The source stays on its thread; a reader that is slow holds it up, one that is gone ends it.
            let (sender, mut items) = tokio::sync::mpsc::channel(1);
            let failed = sender.clone();
            let work = tokio::spawn(threads::run(move || {
                let mut source = local(args);
                super::runtime::block_here(async move {
                    while let Some(item) = source.next().await {
                        if sender.send(Ok(item)).await.is_err() {
                            break;
                        }
                    }
                });
                Ok(())
            }));
            tokio::spawn(async move {
                let ended = work.await.unwrap_or_else(|_| {
                    Err(Error::new(ErrorKind::Interrupted, "the thread was lost"))
                });
                if let Err(error) = ended {
                    let _ = failed.send(Err(error)).await;
                }
            });
            Ok(Stream::new(futures::stream::poll_fn(move |context| {
                items.poll_recv(context)
            })))
        }
    }
}
