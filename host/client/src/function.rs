//! Functions: found by name, called once.

use crate::apps::FunctionInfo;
use crate::call::Call;
use crate::client::Client;
use crate::error::{Error, Result};
use crate::failure::{Failure, Usage};
use crate::forms::{Input, Output, Values, Wire};
use crate::limits::Limits;
use crate::lookup::{Bound, FRESH, Place};
use crate::map::Map;
use crate::run::Run;
use crate::stream::ResultStream;
use bytes::Bytes;
use futures::stream::{self, StreamExt};
use lydian_api::v1;
use lydian_value::{Digest, FuncType, Value};
use parking_lot::RwLock;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A function on a node. Cheap to clone.
///
/// Found by [`Client::function`], which asks for its type once. Every call checks its arguments
/// against that type before anything is sent. A function of an app follows the app: a second after
/// another program deployed a new version, and at once when this client did, calls go there.
///
/// Arguments are a tuple of Rust types, or one of the [dynamic forms](crate::forms).
///
/// ```no_run
/// # async fn example(client: lydian_client::Client) -> lydian_client::Result<()> {
/// use futures::TryStreamExt;
///
/// let square = client.function("math", "square").await?;
/// let one: u64 = square.call((4u64,)).await?;
/// let many: Vec<u64> = square.map((0..1000u64).map(|x| (x,))).await?;
/// let later = square.spawn((5u64,)).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Function {
    client: Client,
    place: Place,
    name: Arc<str>,
    known: Arc<RwLock<Known>>,
    options: CallOptions,
}

/// What this function was when it was last looked up.
struct Known {
    at: Instant,
    changes: u64,
    bound: Arc<Bound>,
}

/// What the caller sets for its calls.
#[derive(Debug, Clone, Default)]
pub(crate) struct CallOptions {
    pub(crate) limits: Limits,
    pub(crate) idempotency_key: String,
    pub(crate) traceparent: String,
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Function")
            .field("place", &self.place)
            .field("name", &self.name())
            .finish_non_exhaustive()
    }
}

impl Client {
    /// The function `name` of an app; an empty name is the only function.
    ///
    /// # Errors
    /// [`Error::NotFound`]: no such app or function, with the names there are.
    ///
    /// ```no_run
    /// # async fn example(client: lydian_client::Client) -> lydian_client::Result<()> {
    /// let square = client.function("math", "square").await?;
    /// println!("{}", square.ty().signature());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn function(&self, app: &str, name: &str) -> Result<Function> {
        self.function_at(app, 0, name).await
    }

    /// As [`Client::function`], of one version for ever; zero follows the current one.
    ///
    /// # Errors
    /// [`Error::NotFound`]: no such app, version or function.
    ///
    /// ```no_run
    /// # async fn example(client: lydian_client::Client) -> lydian_client::Result<()> {
    /// let old = client.function_at("math", 3, "square").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn function_at(&self, app: &str, version: u64, name: &str) -> Result<Function> {
        let place = Place::App {
            environment: self.environment().into(),
            app: app.into(),
            version,
        };
        self.find_function(place, name).await
    }

    /// A function of a component that was [put](Client::put) but not deployed. It runs without grants.
    ///
    /// # Errors
    /// - [`Error::NotFound`]: the node does not have the component, or it has no such function.
    /// - [`Error::InvalidArgument`]: the blob is not a component, or no name was given and it has
    ///   several functions, which the hints list.
    ///
    /// ```no_run
    /// # async fn example(client: lydian_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let digest = client.put(std::fs::read("math.wasm")?).await?;
    /// let square = client.component_function(digest, "square").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn component_function(&self, component: Digest, name: &str) -> Result<Function> {
        self.find_function(self.component_place(component), name)
            .await
    }

    pub(crate) async fn find_function(&self, place: Place, name: &str) -> Result<Function> {
        let changes = self.lookups().changes();
        let bound = self.lookup(&place).await?.find(name)?;
        let known = Known {
            at: Instant::now(),
            changes,
            bound: bound.clone(),
        };
        Ok(Function {
            client: self.clone(),
            place,
            name: bound.info.name.as_str().into(),
            known: Arc::new(RwLock::new(known)),
            options: CallOptions::default(),
        })
    }
}

/// What it is, and how it is called.
impl Function {
    /// Its name as a target: `square`, `acme:img/resize#thumbnail`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its parameters and result, as last seen.
    ///
    /// ```no_run
    /// # fn example(square: lydian_client::Function) {
    /// assert_eq!(square.ty().signature(), "func(x: u64) -> u64");
    /// # }
    /// ```
    pub fn ty(&self) -> Arc<FuncType> {
        self.known.read().bound.info.ty.clone()
    }

    /// Type, docs, limits and grants, as last seen.
    pub fn info(&self) -> FunctionInfo {
        self.known.read().bound.info.clone()
    }

    /// The client it was found by.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The same function with lower limits for its calls.
    ///
    /// ```no_run
    /// # fn example(square: lydian_client::Function) {
    /// use lydian_client::Limits;
    /// use std::time::Duration;
    ///
    /// let quick = square.with_limits(Limits::new().timeout(Duration::from_secs(1)));
    /// # }
    /// ```
    #[must_use]
    pub fn with_limits(&self, limits: Limits) -> Self {
        let mut function = self.clone();
        function.options.limits = limits;
        function
    }

    /// The same function, whose [`spawn`](Function::spawn) answers the first call made with this key
    /// instead of making another. A key that was used with other arguments is refused.
    ///
    /// ```no_run
    /// # async fn example(charge: lydian_client::Function) -> lydian_client::Result<()> {
    /// let call = charge.with_idempotency_key("order-17").spawn((1999u64,)).await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with_idempotency_key(&self, key: impl Into<String>) -> Self {
        let mut function = self.clone();
        function.options.idempotency_key = key.into();
        function
    }

    /// The same function, whose calls belong to this trace: a W3C `traceparent` header.
    ///
    /// ```no_run
    /// # fn example(square: lydian_client::Function) {
    /// let traced = square.with_traceparent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    /// # }
    /// ```
    #[must_use]
    pub fn with_traceparent(&self, traceparent: impl Into<String>) -> Self {
        let mut function = self.clone();
        function.options.traceparent = traceparent.into();
        function
    }

    /// The version to call now and its types, looked up again when they are not fresh.
    pub(crate) async fn bind(&self) -> Result<Arc<Bound>> {
        let changes = self.client.lookups().changes();
        {
            let known = self.known.read();
            if known.changes == changes && known.at.elapsed() < FRESH {
                return Ok(known.bound.clone());
            }
        }
        let bound = self.client.lookup(&self.place).await?.find(&self.name)?;
        *self.known.write() = Known {
            at: Instant::now(),
            changes,
            bound: bound.clone(),
        };
        Ok(bound)
    }

    pub(crate) fn options(&self) -> &CallOptions {
        &self.options
    }

    /// The function as it is now, if it takes and gives these forms.
    pub(crate) async fn check_types<A: Input, R: Output>(&self) -> Result<Arc<Bound>> {
        let bound = self.bind().await?;
        bound.needs_no_session()?;
        bound.matched_once::<A, R>(|| {
            A::check(bound.ty())?;
            R::check(bound.ty().result.as_ref())
        })?;
        Ok(bound)
    }

    /// Checks and encodes everything that can be wrong before a byte is sent.
    async fn prepare<A: Input, R: Output>(&self, args: A) -> Result<(Arc<Bound>, Bytes)> {
        let bound = self.check_types::<A, R>().await?;
        let args = args.encode(bound.ty(), &bound.value_limits())?;
        Ok((bound, args))
    }

    fn request(&self, bound: &Bound, args: Bytes) -> v1::InvokeRequest {
        v1::InvokeRequest {
            target: Some(bound.target.clone()),
            args,
            limits: self.options.limits.to_wire(),
            depth: 0,
            traceparent: self.options.traceparent.clone(),
            want_output: false,
        }
    }
}

/// Calling it.
impl Function {
    /// Calls the function and waits for its result: one request, nothing recorded. Dropping the future
    /// cancels the call.
    ///
    /// # Errors
    /// - [`Error::InvalidArgument`]: the arguments or the result's type do not fit; names the path.
    /// - [`Error::Failed`]: it ran and failed, or was stopped at a limit.
    /// - [`Error::NotFound`], [`Error::Conflict`]: the app is gone or stopped.
    /// - [`Error::Unreachable`]: the node went away. The call is not repeated, for it may have run.
    ///
    /// ```no_run
    /// # async fn example(resize: lydian_client::Function, image: Vec<u8>) -> lydian_client::Result<()> {
    /// let smaller: Result<Vec<u8>, String> = resize.call((image, 640u32, 480u32)).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn call<A: Input, R: Output>(&self, args: A) -> Result<R> {
        let (bound, args) = self.prepare::<A, R>(args).await?;
        bound.returns_at_once()?;
        let response = self.invoke_raw(&bound, args, false).await?;
        let outcome = response.outcome.unwrap_or_default().into_result();
        let bytes = outcome.map_err(|failure| Error::Failed(Box::new(Failure::from(failure))))?;
        R::decode(bound.ty().result.as_ref(), bytes, &bound.value_limits())
    }

    /// As [`call`](Function::call), and also answers what the call was and cost, and what it printed.
    ///
    /// # Errors
    /// As of [`call`](Function::call), save that a failure is in [`Answer::result`].
    ///
    /// ```no_run
    /// # async fn example(square: lydian_client::Function) -> lydian_client::Result<()> {
    /// let answer = square.invoke::<_, u64>((4u64,)).await?;
    /// println!("{:?} in {:?}", answer.result, answer.usage.run);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn invoke<A: Input, R: Output>(&self, args: A) -> Result<Answer<R>> {
        let (bound, args) = self.prepare::<A, R>(args).await?;
        bound.returns_at_once()?;
        let response = self.invoke_raw(&bound, args, true).await?;
        let outcome = response.outcome.unwrap_or_default();
        let usage = outcome.usage.map(Usage::from).unwrap_or_default();
        let result = match outcome.into_result() {
            Ok(bytes) => Ok(R::decode(
                bound.ty().result.as_ref(),
                bytes,
                &bound.value_limits(),
            )?),
            Err(failure) => Err(Failure::from(failure)),
        };
        Ok(Answer {
            call: response.call,
            result,
            usage,
            stdout: response.stdout,
            stderr: response.stderr,
        })
    }

    async fn invoke_raw(
        &self,
        bound: &Bound,
        args: Bytes,
        want_output: bool,
    ) -> Result<v1::InvokeResponse> {
        let request = v1::InvokeRequest {
            want_output,
            ..self.request(bound, args)
        };
        self.client
            .once(self.client.calls_api().invoke(request))
            .await
    }

    /// [`call`](Function::call) with values instead of Rust types; none when the function has no
    /// result.
    ///
    /// # Errors
    /// As of [`call`](Function::call).
    ///
    /// ```no_run
    /// # async fn example(square: lydian_client::Function) -> lydian_client::Result<()> {
    /// use lydian_client::Value;
    /// let result = square.call_values(&[Value::U64(4)]).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn call_values(&self, args: &[Value]) -> Result<Option<Value>> {
        let Values(mut results) = self.call(Values(args.to_vec())).await?;
        Ok(results.pop())
    }

    /// [`call`](Function::call) with arguments and result in the wire encoding, which the node checks.
    ///
    /// # Errors
    /// As of [`call`](Function::call).
    ///
    /// ```no_run
    /// # async fn example(square: lydian_client::Function) -> lydian_client::Result<()> {
    /// let result = square.call_wire(4u64.to_le_bytes().to_vec()).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn call_wire(&self, args: impl Into<Bytes>) -> Result<Bytes> {
        let Wire(result) = self.call(Wire(args.into())).await?;
        Ok(result)
    }

    /// Calls the function and tells what happens on the way: output as it is written, the result,
    /// stream items. Dropping the run cancels the call.
    ///
    /// # Errors
    /// As of [`call`](Function::call), save that a failure is an event.
    ///
    /// ```no_run
    /// # async fn example(train: lydian_client::Function) -> lydian_client::Result<()> {
    /// use lydian_client::Event;
    ///
    /// let mut run = train.run::<_, f64>((10u32,)).await?;
    /// while let Some(event) = run.next().await? {
    ///     match event {
    ///         Event::Log(chunk) => eprint!("{}", chunk.text()),
    ///         Event::Finished(done) => println!("{:?}", done.result),
    ///         _ => {}
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn run<A: Input, R: Output>(&self, args: A) -> Result<Run<R>> {
        let (bound, args) = self.prepare::<A, R>(args).await?;
        let request = self.request(&bound, args);
        let events = self
            .client
            .once(self.client.calls_api().run(request))
            .await?;
        Ok(Run::new(&self.client, bound, events))
    }

    /// Calls a function whose result is `stream<T>` (or `future<T>`) and gives its items as they come.
    /// Dropping the stream cancels the call.
    ///
    /// # Errors
    /// As of [`call`](Function::call); [`Error::InvalidArgument`] also when the result is no stream, or
    /// one of other items. A failure while the stream is open is the stream's last item.
    ///
    /// ```no_run
    /// # async fn example(primes: lydian_client::Function) -> lydian_client::Result<()> {
    /// use futures::TryStreamExt;
    ///
    /// let mut primes = primes.stream::<_, u64>((100u64,)).await?;
    /// while let Some(prime) = primes.try_next().await? {
    ///     println!("{prime}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn stream<A: Input, T: Output>(&self, args: A) -> Result<ResultStream<T>> {
        let item = self.stream_item::<T>().await?;
        let run = self.run::<A, Wire>(args).await?;
        ResultStream::open(run, item).await
    }

    /// Calls the function for each of many inputs and gives the results as a stream, or all of them
    /// when awaited. Nothing happens before the [`Map`] is polled.
    ///
    /// ```no_run
    /// # async fn example(square: lydian_client::Function) -> lydian_client::Result<()> {
    /// let squares: Vec<u64> = square.map((0..100_000u64).map(|x| (x,))).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn map<'a, A, R, I>(&self, inputs: I) -> Map<'a, A, R>
    where
        A: Input,
        R: Output,
        I: IntoIterator<Item = A>,
        I::IntoIter: Send + 'a,
    {
        self.map_stream(stream::iter(inputs))
    }

    /// As [`map`](Function::map), with inputs that come as a stream: from a file, or from another map.
    ///
    /// ```no_run
    /// # async fn example(parse: lydian_client::Function, score: lydian_client::Function) -> lydian_client::Result<()> {
    /// use futures::{StreamExt, TryStreamExt};
    ///
    /// let pages = ["one", "two"].map(|page| (page.to_owned(),));
    /// let words = parse.map::<_, Vec<String>, _>(pages);
    /// let words = words.filter_map(async |words| words.ok().map(|words| (words,)));
    /// let scores: Vec<f64> = score.map_stream(words).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn map_stream<'a, A, R, S>(&self, inputs: S) -> Map<'a, A, R>
    where
        A: Input,
        R: Output,
        S: futures::Stream<Item = A> + Send + 'a,
    {
        Map::new(self.clone(), inputs.boxed())
    }

    /// Records a call and answers at once. The node runs it at least once, whether or not this
    /// program is still there, and keeps its result; see [`Call`].
    ///
    /// # Errors
    /// As of [`call`](Function::call), save for failures, which [`Call::get`] gives.
    ///
    /// ```no_run
    /// # async fn example(train: lydian_client::Function) -> lydian_client::Result<()> {
    /// let call = train.spawn((10u32,)).await?;
    /// println!("{}", call.id());
    /// let score: f64 = call.get(None).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn spawn<A: Input>(&self, args: A) -> Result<Call> {
        let (bound, args) = self.prepare::<A, Wire>(args).await?;
        bound.returns_at_once()?;
        let given = &self.options.idempotency_key;
        let request = v1::SpawnRequest {
            target: Some(bound.target.clone()),
            args,
            limits: self.options.limits.to_wire(),
            // Always one, so that a request whose answer was lost can be sent again.
            idempotency_key: match given.as_str() {
                "" => unique_key(),
                given => given.to_owned(),
            },
            depth: 0,
            traceparent: self.options.traceparent.clone(),
        };
        let response = self
            .client
            .patiently(Some(Instant::now() + SPAWN_PATIENCE), || {
                let mut calls = self.client.calls_api();
                let request = request.clone();
                async move { calls.spawn(request).await }
            })
            .await?;
        // Of a key that nobody else has, the earlier request was this one.
        let duplicate = response.duplicate && !given.is_empty();
        Ok(Call::spawned(&self.client, response.call, duplicate))
    }
}

/// How long a spawn is sent again while the node cannot be reached: as long as one takes to
/// restart.
const SPAWN_PATIENCE: Duration = Duration::from_secs(15);

/// A key that no other spawn has.
fn unique_key() -> String {
    // Each is keyed with random bits of the machine's and a count.
    let part = || RandomState::new().hash_one(std::process::id());
    format!("once-{:016x}{:016x}", part(), part())
}

/// All there is to know of one finished call.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Answer<R> {
    /// The call's id, for `lydian calls explain`.
    pub call: String,
    /// The result, or why there is none.
    pub result: Result<R, Failure>,
    /// Where its time went.
    pub usage: Usage,
    /// What it wrote to standard output.
    pub stdout: Bytes,
    /// What it wrote to standard error.
    pub stderr: Bytes,
}
