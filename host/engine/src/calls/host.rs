//! `lydian:calls` as a guest sees it: `wit/calls` says what each function does.

use super::no_room;
use super::{
    Calling, Calls, Error, ErrorKind, MAX_PENDING, MapItem, MapOptions, Mapping, Open, Target,
};
use crate::ledger::{Account, Charge};
use crate::sandbox::Ctx;
use bytes::Bytes;
use lydian::calls::invoke as wit;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use wasmtime::Result;
use wasmtime::component::{HasData, Linker, Resource};

wasmtime::component::bindgen!({
    path: "../../wit/calls",
    world: "caller",
    imports: { default: async | trappable },
    with: {
        "lydian:calls/invoke.pending": PendingCall,
        "lydian:calls/invoke.mapping": OpenMapping,
    },
});

/// Most results of a map given at once, whatever the guest asks for.
const MAX_ITEMS: usize = 1_024;

/// Makes `lydian:calls` importable.
pub(crate) fn link(linker: &mut Linker<Ctx>) -> Result<()> {
    wit::add_to_linker::<Ctx, Invoke>(linker, |ctx| Host(ctx))
}

struct Invoke;

impl HasData for Invoke {
    type Data<'a> = Host<'a>;
}

struct Host<'a>(&'a mut Ctx);

/// A map of a guest.
#[allow(
    unreachable_pub,
    reason = "the generated code gives it another name, publicly"
)]
pub struct OpenMapping(Box<dyn Mapping>);

/// A call of a guest, under way or done. Dropped, it is cancelled.
#[allow(
    unreachable_pub,
    reason = "the generated code gives it another name, publicly"
)]
pub struct PendingCall {
    cancel: CancellationToken,
    answer: Arc<Answer>,
    open: Arc<Open>,
}

#[derive(Default)]
struct Answer {
    result: OnceLock<std::result::Result<(Bytes, Charge), Error>>,
    there: Notify,
}

type Answered = std::result::Result<Bytes, Error>;

impl PendingCall {
    /// Begins the call on the threads that run guests.
    fn start(calling: &Calling, target: Target, args: Vec<u8>) -> std::result::Result<Self, Error> {
        let open = calling.open.clone();
        if open.pending.fetch_add(1, Ordering::Relaxed) >= MAX_PENDING {
            open.pending.fetch_sub(1, Ordering::Relaxed);
            let text = format!("{MAX_PENDING} calls are under way, or done and not dropped");
            return Err(Error::new(ErrorKind::Budget, text)
                .hint("take results and drop their calls, or use a map"));
        }
        let request = calling.request(target, args).inspect_err(|_| {
            open.pending.fetch_sub(1, Ordering::Relaxed);
        })?;
        let pending = PendingCall {
            cancel: request.cancel.clone(),
            answer: Arc::default(),
            open,
        };
        calling.count(1);
        let (answer, account) = (pending.answer.clone(), calling.account.clone());
        let call = calling.calls.call(request);
        tokio::spawn(async move { answer.give(call.await, &account) });
        Ok(pending)
    }

    fn drop_result(&self) {
        // Whatever comes later finds the place taken and is dropped.
        let gone = || Err(Error::new(ErrorKind::Cancelled, "the call was dropped"));
        self.answer.result.get_or_init(gone);
    }
}

impl Drop for PendingCall {
    fn drop(&mut self) {
        self.cancel.cancel();
        self.drop_result();
        self.open.pending.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Answer {
    /// Keeps what came of the call, on the account of the sandbox that made it.
    fn give(&self, result: Answered, account: &Account) {
        let kept = result.and_then(|bytes| {
            let charge = account.charge(bytes.len() as u64).map_err(no_room)?;
            Ok((bytes, charge))
        });
        // A call that was dropped in the meantime has its place taken; what came late goes.
        let _ = self.result.set(kept);
        self.there.notify_waiters();
    }

    async fn wait(&self) -> &std::result::Result<(Bytes, Charge), Error> {
        loop {
            let mut there = std::pin::pin!(self.there.notified());
            // Registered before looking, so an answer in between is not missed.
            there.as_mut().enable();
            if let Some(result) = self.result.get() {
                return result;
            }
            there.await;
        }
    }
}

impl Host<'_> {
    fn calling(&self) -> std::result::Result<&Calling, Error> {
        self.0.calling.as_deref().ok_or_else(|| {
            let text = "this sandbox was started by a program that carries out no calls";
            Error::new(ErrorKind::Unavailable, text)
        })
    }

    fn calls(&self) -> std::result::Result<Arc<dyn Calls>, Error> {
        Ok(self.calling()?.calls.clone())
    }

    fn answer(&mut self, pending: &Resource<PendingCall>) -> Result<Arc<Answer>> {
        Ok(self.0.table.get(pending)?.answer.clone())
    }

    /// Carries `action` out, or says why it cannot be.
    async fn with<T>(
        action: std::result::Result<impl Future<Output = std::result::Result<T, Error>>, Error>,
    ) -> Result<std::result::Result<T, wit::Error>> {
        Ok(match action {
            Ok(action) => action.await.map_err(Into::into),
            Err(error) => Err(error.into()),
        })
    }
}

impl wit::Host for Host<'_> {
    async fn type_of(
        &mut self,
        target: wit::Target,
    ) -> Result<std::result::Result<String, wit::Error>> {
        let asked = self.calls().map(|calls| calls.type_of(target.into()));
        Self::with(asked).await
    }

    async fn start(
        &mut self,
        target: wit::Target,
        args: Vec<u8>,
    ) -> Result<std::result::Result<Resource<PendingCall>, wit::Error>> {
        let started = self
            .calling()
            .and_then(|calling| PendingCall::start(calling, target.into(), args));
        Ok(match started {
            Ok(pending) => Ok(self.0.table.push(pending)?),
            Err(error) => Err(error.into()),
        })
    }

    async fn spawn(
        &mut self,
        target: wit::Target,
        args: Vec<u8>,
    ) -> Result<std::result::Result<String, wit::Error>> {
        let spawned = self.calling().map(|calling| {
            calling.count(1);
            let request = calling.request(target.into(), args)?;
            Ok(calling.calls.spawn(request))
        });
        let spawned = spawned.and_then(|spawned| spawned);
        Self::with(spawned).await
    }

    async fn get(
        &mut self,
        call: String,
        timeout_ms: u64,
    ) -> Result<std::result::Result<Option<Vec<u8>>, wit::Error>> {
        let wait = Duration::from_millis(timeout_ms);
        let got = self.calls().map(|calls| calls.get(call, wait));
        let result = Self::with(got).await?;
        Ok(result.map(|result| result.map(Vec::from)))
    }

    async fn cancel(&mut self, call: String) -> Result<std::result::Result<(), wit::Error>> {
        let cancelled = self.calls().map(|calls| calls.cancel(call));
        Self::with(cancelled).await
    }

    async fn map(
        &mut self,
        target: wit::Target,
        options: wit::MapOptions,
    ) -> Result<std::result::Result<Resource<OpenMapping>, wit::Error>> {
        let begun = self.calling().map(|calling| {
            let request = calling.request(target.into(), Vec::new())?;
            Ok(calling.calls.map(request, options.into()))
        });
        let begun = begun.and_then(|begun| begun);
        Ok(match Self::with(begun).await? {
            Ok(mapping) => Ok(self.0.table.push(OpenMapping(mapping))?),
            Err(error) => Err(error),
        })
    }
}

impl wit::HostPending for Host<'_> {
    async fn get(
        &mut self,
        pending: Resource<PendingCall>,
    ) -> Result<std::result::Result<Vec<u8>, wit::Error>> {
        let answer = self.answer(&pending)?;
        Ok(given(answer.wait().await))
    }

    async fn poll(
        &mut self,
        pending: Resource<PendingCall>,
        timeout_ms: u64,
    ) -> Result<std::result::Result<Option<Vec<u8>>, wit::Error>> {
        let answer = self.answer(&pending)?;
        let there = match timeout_ms {
            0 => answer.result.get(),
            wait => tokio::time::timeout(Duration::from_millis(wait), answer.wait())
                .await
                .ok(),
        };
        Ok(there.map(given).transpose())
    }

    async fn cancel(&mut self, pending: Resource<PendingCall>) -> Result<()> {
        self.0.table.get(&pending)?.cancel.cancel();
        Ok(())
    }

    async fn drop(&mut self, pending: Resource<PendingCall>) -> Result<()> {
        self.0.table.delete(pending)?;
        Ok(())
    }
}

impl wit::HostMapping for Host<'_> {
    async fn push(
        &mut self,
        mapping: Resource<OpenMapping>,
        inputs: Vec<Vec<u8>>,
    ) -> Result<std::result::Result<(), wit::Error>> {
        if let Ok(calling) = self.calling() {
            calling.count(inputs.len());
        }
        let inputs = match self.calling() {
            Ok(calling) => inputs
                .into_iter()
                .map(|input| calling.charged(input))
                .collect(),
            Err(error) => Err(error),
        };
        let inputs = match inputs {
            Ok(inputs) => inputs,
            Err(error) => return Ok(Err(error.into())),
        };
        let mapping = self.0.table.get_mut(&mapping)?;
        Ok(mapping.0.push(inputs).map_err(Into::into))
    }

    async fn finish(&mut self, mapping: Resource<OpenMapping>) -> Result<()> {
        self.0.table.get_mut(&mapping)?.0.finish();
        Ok(())
    }

    async fn next(
        &mut self,
        mapping: Resource<OpenMapping>,
        max: u32,
    ) -> Result<std::result::Result<Vec<wit::MapItem>, wit::Error>> {
        let mapping = self.0.table.get_mut(&mapping)?;
        let max = usize::try_from(max)
            .unwrap_or(MAX_ITEMS)
            .clamp(1, MAX_ITEMS);
        let items = mapping.0.next(max).await;
        Ok(items
            .map(|items| items.into_iter().map(Into::into).collect())
            .map_err(Into::into))
    }

    async fn drop(&mut self, mapping: Resource<OpenMapping>) -> Result<()> {
        self.0.table.delete(mapping)?;
        Ok(())
    }
}

fn given(
    answer: &std::result::Result<(Bytes, Charge), Error>,
) -> std::result::Result<Vec<u8>, wit::Error> {
    match answer {
        Ok((bytes, _)) => Ok(bytes.to_vec()),
        Err(error) => Err(error.clone().into()),
    }
}

impl From<wit::Target> for Target {
    fn from(target: wit::Target) -> Self {
        Self {
            app: target.app,
            function: target.function,
        }
    }
}

impl From<wit::MapOptions> for MapOptions {
    fn from(options: wit::MapOptions) -> Self {
        Self {
            ordered: options.ordered,
            return_errors: options.return_errors,
            max_parallel: options.max_parallel,
        }
    }
}

impl From<MapItem> for wit::MapItem {
    fn from(item: MapItem) -> Self {
        Self {
            index: item.index,
            outcome: item.outcome.map(Vec::from).map_err(Into::into),
        }
    }
}

impl From<Error> for wit::Error {
    fn from(error: Error) -> Self {
        Self {
            kind: match error.kind {
                ErrorKind::NotFound => wit::ErrorKind::NotFound,
                ErrorKind::NotAllowed => wit::ErrorKind::NotAllowed,
                ErrorKind::InvalidArgument => wit::ErrorKind::InvalidArgument,
                ErrorKind::Failed => wit::ErrorKind::Failed,
                ErrorKind::Timeout => wit::ErrorKind::Timeout,
                ErrorKind::Cancelled => wit::ErrorKind::Cancelled,
                ErrorKind::Depth => wit::ErrorKind::Depth,
                ErrorKind::Budget => wit::ErrorKind::Budget,
                ErrorKind::Interrupted => wit::ErrorKind::Interrupted,
                ErrorKind::Unavailable => wit::ErrorKind::Unavailable,
            },
            message: error.message,
            hints: error.hints,
        }
    }
}
