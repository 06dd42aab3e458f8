//! Counts what requests bring against the node's byte budget, as it arrives.
//!
//! A gRPC message says its length in its first five bytes. Here that prefix is read as it passes,
//! and of a large message each piece that has arrived is let through once the budget has room for
//! it; until then nothing more is taken from the connection, so its sender waits. What is announced
//! and not sent takes no room. The room is given back when the request was answered, or, in a
//! stream of requests, when the next message begins. Small messages pass untouched.
//!
//! A message that has begun must go on arriving, and be whole in time; so must the first one of a
//! request, without which nothing is done. Between the messages of a stream the sender may take its
//! time.
//!
//! Maps take the room over with their inputs ([`Held::take`]), because those outlive their message.
//! How answers leave, and what they count against, is [`sending`](super::sending)'s.

use super::sending::{Apart, Sending};
use crate::budget::{Arrival, ByteBudget, Charge, FREE_BYTES, Held};
use crate::error::Error;
use crate::serve::Peer;
use crate::serve::front::is_grpc;
use axum::body::{Body, HttpBody};
use axum::http::{Request, Response};
use bytes::Bytes;
use futures::future::BoxFuture;
use http_body::Frame;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep};
use tonic::Status;
use tower::{Layer, Service};

/// Compressed flag and length.
const PREFIX_BYTES: usize = 5;

/// What is charged for in one go.
const STEP_BYTES: usize = 256 << 10;

/// A message that arrives more slowly than this, over all its length, is not worth the room it
/// takes.
const LEAST_BYTES_PER_SECOND: u64 = 16 << 10;

/// Adds the counting to a service.
#[derive(Clone)]
pub(crate) struct PayloadLayer {
    pub(crate) budget: ByteBudget,
    pub(crate) clocks: PayloadClocks,
}

/// How long the other side may be silent.
#[derive(Clone, Copy)]
pub(crate) struct PayloadClocks {
    /// In the middle of a message it sends.
    pub(crate) receive: Duration,
    /// While an answer waits for it to read.
    pub(crate) send: Duration,
}

impl<S> Layer<S> for PayloadLayer {
    type Service = Counting<S>;

    fn layer(&self, inner: S) -> Counting<S> {
        Counting {
            inner,
            budget: self.budget.clone(),
            clocks: self.clocks,
        }
    }
}

#[derive(Clone)]
pub(crate) struct Counting<S> {
    inner: S,
    budget: ByteBudget,
    clocks: PayloadClocks,
}

impl<S> Service<Request<Body>> for Counting<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let held = Held::default();
        request.extensions_mut().insert(held.clone());
        // Callers in this process read and write as they like: nobody else waits for their room.
        let outside = request.extensions().get::<Peer>().is_some();
        let patience = outside.then_some(self.clocks.receive);
        let counted = |body| Counted::new(body, self.budget.clone(), held.clone(), patience);
        let answer = self
            .inner
            .call(request.map(|body| Body::new(counted(body))));
        let patience = outside.then_some(self.clocks.send);
        Box::pin(async move {
            // A unary request is done with when it is answered; the body of a streamed one holds on.
            let answer = answer.await;
            drop(held);
            answer.map(|answer| send(answer, patience))
        })
    }
}

/// The answer as it leaves: small ones as they are, and pages.
fn send(mut answer: Response<Body>, patience: Option<Duration>) -> Response<Body> {
    let apart = answer.extensions_mut().remove::<Apart>();
    if matches!(apart, Some(Apart::Nothing)) || !is_grpc(answer.headers()) {
        return answer;
    }
    answer.map(|body| Body::new(Sending::new(body, apart, patience)))
}

/// A request's body that lets messages through as there is room.
struct Counted {
    body: Body,
    budget: ByteBudget,
    held: Held,
    /// Received and not yet let through.
    waiting: VecDeque<Bytes>,
    waiting_bytes: usize,
    /// What is left of the message that is being let through.
    admitted: usize,
    /// How much of that there is room for.
    paid: usize,
    /// The large message that is under way.
    arrival: Option<Arrival>,
    charging: Option<BoxFuture<'static, Result<(Charge, Arrival), Error>>>,
    clock: Option<Clock>,
    ended: bool,
}

/// The time the sender has.
struct Clock {
    patience: Duration,
    /// When something last came.
    heard: Instant,
    /// When the message that is under way must be whole, once its length is known.
    whole_by: Option<Instant>,
    /// Whether a first message has come.
    begun: bool,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Clock {
    fn new(patience: Duration) -> Self {
        Self {
            patience,
            heard: Instant::now(),
            whole_by: None,
            begun: false,
            sleep: None,
        }
    }

    /// A message of this length has begun.
    fn begin(&mut self, length: u64) {
        let time = self.patience + Duration::from_secs(length / LEAST_BYTES_PER_SECOND);
        self.begun = true;
        self.heard = Instant::now();
        self.whole_by = self.heard.checked_add(time);
    }

    fn hear(&mut self) {
        self.heard = Instant::now();
    }

    /// Ready when the time is over.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let silent = self.heard + self.patience;
            let until = self.whole_by.map_or(silent, |whole| whole.min(silent));
            if Instant::now() >= until {
                return Poll::Ready(());
            }
            // One that was set for an earlier time is asked first: setting it anew with each piece
            // would cost more.
            let sleep = self
                .sleep
                .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
            ready!(sleep.as_mut().poll(cx));
            sleep.as_mut().reset(until);
        }
    }
}

impl Counted {
    fn new(body: Body, budget: ByteBudget, held: Held, patience: Option<Duration>) -> Self {
        Self {
            body,
            budget,
            held,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            admitted: 0,
            paid: 0,
            arrival: None,
            charging: None,
            clock: patience.map(Clock::new),
            ended: false,
        }
    }

    /// The message that begins what waits: let through if it is small, else to be charged for piece
    /// by piece.
    fn admit(&mut self) {
        let length = self
            .prefix()
            .iter()
            .skip(1)
            .fold(0u64, |length, byte| length << 8 | u64::from(*byte));
        let whole = length + PREFIX_BYTES as u64;
        // A message longer than memory can hold is refused by its reader, whatever is let through of it.
        self.admitted = usize::try_from(whole).unwrap_or(usize::MAX);
        // A message is asked for when the one before has been dealt with.
        drop(self.held.take());
        self.paid = 0;
        self.arrival = None;
        match length < FREE_BYTES {
            true => self.paid = self.admitted,
            false => self.arrival = Some(self.budget.arrive(whole)),
        }
        if let Some(clock) = &mut self.clock {
            clock.begin(length);
        }
    }

    /// Asks for room for the next piece. The last one is never so small that it would be free.
    fn charge(&mut self) {
        let rest = self.admitted;
        let piece = match rest < STEP_BYTES + FREE_BYTES as usize {
            true => rest,
            false => STEP_BYTES,
        };
        self.paid = piece;
        let Some(mut arrival) = self.arrival.take() else {
            return;
        };
        match arrival.try_charge(piece as u64) {
            Some(charge) => {
                self.held.add(charge);
                self.arrival = Some(arrival);
            }
            None => self.charging = Some(Box::pin(arrival.charge(piece as u64))),
        }
    }

    /// Whether the sender has run out of time: in a message it has begun, or before the first.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let under_way = self.admitted > 0 || self.waiting_bytes > 0;
        match &mut self.clock {
            Some(clock) if under_way || !clock.begun => clock.poll(cx),
            _ => Poll::Pending,
        }
    }

    /// The first bytes of what waits, which may be spread over several pieces.
    fn prefix(&self) -> [u8; PREFIX_BYTES] {
        let mut prefix = [0; PREFIX_BYTES];
        let bytes = self.waiting.iter().flat_map(|piece| piece.iter());
        prefix
            .iter_mut()
            .zip(bytes)
            .for_each(|(place, byte)| *place = *byte);
        prefix
    }

    /// The next piece of at most `most` bytes.
    fn next_piece(&mut self, most: usize) -> Option<Bytes> {
        let mut piece = self.waiting.pop_front()?;
        if piece.len() > most {
            let rest = piece.split_off(most);
            self.waiting.push_front(rest);
        }
        self.waiting_bytes -= piece.len();
        Some(piece)
    }
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = tonic::codegen::StdError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, tonic::codegen::StdError>>> {
        let this = &mut *self;
        loop {
            if let Some(charging) = &mut this.charging {
                let charge = ready!(charging.as_mut().poll(cx));
                this.charging = None;
                match charge {
                    Ok((charge, arrival)) => {
                        this.held.add(charge);
                        this.arrival = Some(arrival);
                        // The wait was for room, not for the sender.
                        if let Some(clock) = &mut this.clock {
                            clock.begin(this.admitted as u64);
                        }
                    }
                    Err(error) => return Poll::Ready(Some(Err(Status::from(error).into()))),
                }
            }
            if this.admitted > 0 && this.paid == 0 && this.waiting_bytes > 0 {
                this.charge();
                continue;
            }
            if this.paid > 0
                && let Some(piece) = this.next_piece(this.paid)
            {
                this.admitted -= piece.len();
                this.paid -= piece.len();
                if this.admitted == 0 {
                    this.arrival = None;
                }
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            if this.admitted == 0 && this.waiting_bytes >= PREFIX_BYTES {
                this.admit();
                continue;
            }
            if this.ended {
                // Less than a prefix: for the reader to complain about.
                return Poll::Ready(
                    this.next_piece(usize::MAX)
                        .map(|piece| Ok(Frame::data(piece))),
                );
            }
            let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) else {
                ready!(this.poll_late(cx));
                let late = "the request stopped arriving, or arrived too slowly";
                return Poll::Ready(Some(Err(Status::deadline_exceeded(late).into())));
            };
            match frame {
                None => this.ended = true,
                Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if data.is_empty() => {}
                    Ok(data) => {
                        if let Some(clock) = &mut this.clock {
                            clock.hear();
                        }
                        this.waiting_bytes += data.len();
                        this.waiting.push_back(data);
                    }
                    // Requests have no trailers that mean anything.
                    Err(_) => this.ended = true,
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::StreamExt;

    fn message(length: usize) -> Vec<u8> {
        let mut bytes = vec![0];
        bytes.extend_from_slice(&(length as u32).to_be_bytes());
        bytes.resize(PREFIX_BYTES + length, 7);
        bytes
    }

    /// A body that arrives in pieces of this size.
    fn counted(bytes: &[u8], piece: usize, budget: &ByteBudget) -> (Counted, Held) {
        let pieces: Vec<_> = bytes
            .chunks(piece)
            .map(|piece| Ok::<_, Infallible>(piece.to_vec()))
            .collect();
        let held = Held::default();
        let body = Body::from_stream(futures::stream::iter(pieces));
        let counted = Counted::new(body, budget.clone(), held.clone(), None);
        (counted, held)
    }

    async fn read(body: Counted) -> Result<Vec<u8>, axum::Error> {
        let mut stream = Body::new(body).into_data_stream();
        let mut all = Vec::new();
        while let Some(piece) = stream.next().await {
            all.extend_from_slice(&piece?);
        }
        Ok(all)
    }

    /// Whatever the network makes of the bytes, the reader gets them unchanged.
    #[tokio::test]
    async fn bytes_pass_unchanged_however_they_are_cut() {
        let large = FREE_BYTES as usize + 100;
        let mut bytes = Vec::new();
        for length in [0, 10, large, 3, large] {
            bytes.extend(message(length));
        }
        bytes.push(9);
        for piece in [1, 4, 5, 6, 1000, bytes.len()] {
            let budget = ByteBudget::alone(1 << 20, std::time::Duration::from_millis(50));
            let (body, held) = counted(&bytes, piece, &budget);
            assert_eq!(read(body).await.unwrap(), bytes, "pieces of {piece}");
            assert_eq!(budget.used(), (large + PREFIX_BYTES) as u64);
            drop(held);
            assert_eq!(budget.used(), 0);
        }
    }

    /// The sum is bounded before anything is read, and the sender is told why.
    #[tokio::test]
    async fn a_large_message_waits_for_room_and_is_refused_in_time() {
        let budget = ByteBudget::alone(1 << 20, std::time::Duration::from_millis(50));
        let taken = budget.charge(1 << 20).await.unwrap();
        let (body, _held) = counted(&message(1 << 19), 4096, &budget);
        let error = read(body).await.unwrap_err();
        let status = Status::from_error(error.into());
        assert_eq!(status.code(), tonic::Code::ResourceExhausted);
        drop(taken);
        let (body, _held) = counted(&message(1 << 19), 4096, &budget);
        assert!(read(body).await.is_ok());
    }

    /// What is announced and not sent takes no room from others, and what was sent no more than
    /// itself.
    #[tokio::test]
    async fn room_is_taken_as_bytes_arrive() {
        let budget = ByteBudget::alone(64 << 20, Duration::from_millis(50));
        let mut bytes = message(60 << 20);
        bytes.truncate(1 << 20);
        let pieces = futures::stream::iter([Ok::<_, Infallible>(bytes)]);
        let stalled = pieces.chain(futures::stream::pending());
        let held = Held::default();
        let body = Body::from_stream(stalled);
        let counted = Counted::new(body, budget.clone(), held.clone(), None);
        let mut stream = Body::new(counted).into_data_stream();
        let mut read = 0;
        while read < 1 << 20 {
            read += stream.next().await.unwrap().unwrap().len();
        }
        assert!(futures::poll!(stream.next()).is_pending());
        let used = budget.used();
        assert!((1 << 20..2 << 20).contains(&used), "{used}");
        drop((stream, held));
        assert_eq!(budget.used(), 0);
    }

    /// A sender that stops in the middle gets a status, and what it sent is dropped. After a whole
    /// message it may take its time about the next.
    #[tokio::test(start_paused = true)]
    async fn a_message_that_stops_arriving_ends_the_request() {
        let budget = ByteBudget::alone(64 << 20, Duration::from_millis(50));
        let sent = |bytes: Vec<u8>| {
            let pieces = futures::stream::iter([Ok::<_, Infallible>(bytes)]);
            let body = Body::from_stream(pieces.chain(futures::stream::pending()));
            let patience = Some(Duration::from_secs(30));
            Counted::new(body, budget.clone(), Held::default(), patience)
        };
        let mut half = message(1 << 20);
        half.truncate(1 << 19);
        for begun in [half, vec![0; 3], Vec::new()] {
            let error = read(sent(begun)).await.unwrap_err();
            let status = Status::from_error(error.into());
            assert_eq!(status.code(), tonic::Code::DeadlineExceeded);
            assert_eq!(budget.used(), 0);
        }
        let hour = Duration::from_secs(3_600);
        let whole = tokio::time::timeout(hour, read(sent(message(1 << 20)))).await;
        assert!(whole.is_err(), "it waits for the next message");
    }

    /// A byte now and then is not progress.
    #[tokio::test(start_paused = true)]
    async fn a_message_that_trickles_ends_the_request() {
        let budget = ByteBudget::alone(64 << 20, Duration::from_millis(50));
        let bytes = message(1 << 20);
        let trickle = futures::stream::iter(bytes).then(|byte| async move {
            tokio::time::sleep(Duration::from_secs(20)).await;
            Ok::<_, Infallible>(vec![byte])
        });
        let body = Body::from_stream(trickle);
        let patience = Some(Duration::from_secs(30));
        let counted = Counted::new(body, budget.clone(), Held::default(), patience);
        let error = read(counted).await.unwrap_err();
        let status = Status::from_error(error.into());
        assert_eq!(status.code(), tonic::Code::DeadlineExceeded);
    }
}
