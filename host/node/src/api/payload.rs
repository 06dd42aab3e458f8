//! Counts what requests bring against the node's byte budget, before it is read from the network.
//!
//! A gRPC message says its length in its first five bytes. Here that prefix is read as it passes, and the
//! message's bytes are let through once the budget has room for them; until then nothing more is taken from
//! the connection, so its sender waits. The room is given back when the request was answered, or, in a stream of
//! requests, when the next message begins. Small messages pass untouched.
//!
//! Maps take the room over with their inputs ([`Held::take`]), because those outlive their message.

use crate::budget::{ByteBudget, Charge, FREE_BYTES, Held};
use crate::error::Error;
use axum::body::{Body, HttpBody};
use axum::http::{Request, Response};
use bytes::Bytes;
use futures::future::BoxFuture;
use http_body::Frame;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tonic::Status;
use tower::{Layer, Service};

/// Compressed flag and length.
const PREFIX_BYTES: usize = 5;

/// Adds the counting to a service.
#[derive(Clone)]
pub(crate) struct PayloadLayer(pub(crate) ByteBudget);

impl<S> Layer<S> for PayloadLayer {
    type Service = Counting<S>;

    fn layer(&self, inner: S) -> Counting<S> {
        Counting {
            inner,
            budget: self.0.clone(),
        }
    }
}

#[derive(Clone)]
pub(crate) struct Counting<S> {
    inner: S,
    budget: ByteBudget,
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
        let counted = |body| Counted::new(body, self.budget.clone(), held.clone());
        let answer = self
            .inner
            .call(request.map(|body| Body::new(counted(body))));
        Box::pin(async move {
            // A unary request is done with when it is answered; the body of a streamed one holds on.
            let answer = answer.await;
            drop(held);
            answer
        })
    }
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
    charging: Option<BoxFuture<'static, Result<Charge, Error>>>,
    ended: bool,
}

impl Counted {
    fn new(body: Body, budget: ByteBudget, held: Held) -> Self {
        Self {
            body,
            budget,
            held,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            admitted: 0,
            charging: None,
            ended: false,
        }
    }

    /// The message that begins what waits: let through if it is small, else to be charged for.
    fn admit(&mut self) {
        let length = self
            .prefix()
            .iter()
            .skip(1)
            .fold(0u64, |length, byte| length << 8 | u64::from(*byte));
        let whole = length + PREFIX_BYTES as u64;
        // A message longer than memory can hold is refused by its reader, whatever is let through of it.
        self.admitted = usize::try_from(whole).unwrap_or(usize::MAX);
        if length >= FREE_BYTES {
            let budget = self.budget.clone();
            self.charging = Some(Box::pin(async move { budget.charge(length).await }));
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
                    Ok(charge) => this.held.put(charge),
                    Err(error) => return Poll::Ready(Some(Err(Status::from(error).into()))),
                }
            }
            if this.admitted > 0
                && let Some(piece) = this.next_piece(this.admitted)
            {
                this.admitted -= piece.len();
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
            match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                None => this.ended = true,
                Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if data.is_empty() => {}
                    Ok(data) => {
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
        (Counted::new(body, budget.clone(), held.clone()), held)
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
            let budget = ByteBudget::new(1 << 20, std::time::Duration::from_millis(50));
            let (body, held) = counted(&bytes, piece, &budget);
            assert_eq!(read(body).await.unwrap(), bytes, "pieces of {piece}");
            assert_eq!(budget.used(), large as u64);
            drop(held);
            assert_eq!(budget.used(), 0);
        }
    }

    /// The sum is bounded before anything is read, and the sender is told why.
    #[tokio::test]
    async fn a_large_message_waits_for_room_and_is_refused_in_time() {
        let budget = ByteBudget::new(1 << 20, std::time::Duration::from_millis(50));
        let taken = budget.charge(1 << 20).await.unwrap();
        let (body, _held) = counted(&message(1 << 19), 4096, &budget);
        let error = read(body).await.unwrap_err();
        let status = Status::from_error(error.into());
        assert_eq!(status.code(), tonic::Code::ResourceExhausted);
        drop(taken);
        let (body, _held) = counted(&message(1 << 19), 4096, &budget);
        assert!(read(body).await.is_ok());
    }
}
