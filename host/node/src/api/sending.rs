//! How answers leave: large values without a copy, in pieces, and not for ever.
//!
//! What a call results in counts against the engine's budget until its bytes are dropped. Encoded
//! into a message they would be copied, and the copy, which HTTP/2 holds as long as its reader
//! pleases, would count against nothing. So a large value is taken out of its message ([`Carry`])
//! and travels behind it: a field of a message may come in parts, and the part with the value is
//! written by hand. The value's own bytes are kept here and copied piece by piece, each when the
//! connection has room for it.
//!
//! An answer that waits for its reader longer than it may is given up: what is left of it is
//! dropped. The request itself ends when its reader looks for the rest, or with the connection.

use axum::body::{Body, HttpBody};
use bytes::{BufMut, Bytes, BytesMut};
use futures::{Stream, StreamExt};
use http_body::Frame;
use lydian_api::v1::{self, map_response, outcome, run_event, session_response};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio_util::task::AbortOnDropHandle;
use tonic::{Response, Status};

/// Values from this size on travel apart from their message: smaller ones count against nothing.
const LARGE_BYTES: usize = crate::budget::FREE_BYTES as usize;

/// The most that the connection is given in one go. It counts against nothing while HTTP/2 has it.
const PIECE_BYTES: usize = 64 << 10;

/// Compressed flag and length.
const PREFIX_BYTES: usize = 5;

/// A streamed answer may wait so much longer for its reader than a single one: people read, and
/// page.
const STREAM_PATIENCE: u32 = 5;

/// The kind of protobuf field that has a length.
const LENGTH_DELIMITED: u32 = 2;

/// How an answer is to be sent; left in its extensions for
/// [`PayloadLayer`](super::payload::PayloadLayer).
#[derive(Clone)]
pub(crate) enum Apart {
    /// The answer is small and goes as it is.
    Nothing,
    /// What travels behind each of its messages, first to last.
    Parts(Parts),
}

/// The parts of messages that travel behind them.
#[derive(Clone, Default)]
pub(crate) struct Parts {
    queue: Arc<Mutex<VecDeque<Option<Tail>>>>,
    /// Whether there is more than one message.
    streamed: bool,
}

/// The rest of a message: headers of fields, and their values.
type Tail = Vec<Bytes>;

/// A message with values that may be large.
pub(crate) trait Carry {
    /// Takes them out; what is returned, written behind the message, is the rest of it.
    fn carry(&mut self) -> Option<Tail>;
}

/// A single answer, whose large value travels apart.
pub(crate) fn single<T: Carry>(mut message: T) -> Response<T> {
    let tail = message.carry();
    let apart = match tail {
        None => Apart::Nothing,
        tail => Apart::Parts(Parts {
            queue: Arc::new(Mutex::new(VecDeque::from([tail]))),
            streamed: false,
        }),
    };
    let mut response = Response::new(message);
    response.extensions_mut().insert(apart);
    response
}

/// A streamed answer, whose large values travel apart.
pub(crate) fn streamed<T, S>(messages: S) -> Response<super::Streamed<T>>
where
    T: Carry + Send + 'static,
    S: Stream<Item = Result<T, Status>> + Send + 'static,
{
    let parts = Parts {
        streamed: true,
        ..Parts::default()
    };
    let queue = parts.queue.clone();
    let messages = messages.map(move |message| {
        let mut message = message?;
        queue.lock().push_back(message.carry());
        Ok(message)
    });
    let mut response = Response::new(messages.boxed());
    response.extensions_mut().insert(Apart::Parts(parts));
    response
}

impl Carry for v1::InvokeResponse {
    fn carry(&mut self) -> Option<Tail> {
        let value = self.outcome.as_mut().and_then(take_value);
        let mut tail = Tail::new();
        // outcome, value
        tail.extend(value.into_iter().flat_map(|it| field(&[2, 1], &[], it)));
        let stdout = take_large(&mut self.stdout);
        tail.extend(stdout.into_iter().flat_map(|it| field(&[3], &[], it)));
        let stderr = take_large(&mut self.stderr);
        tail.extend(stderr.into_iter().flat_map(|it| field(&[4], &[], it)));
        (!tail.is_empty()).then_some(tail)
    }
}

impl Carry for v1::GetCallResponse {
    fn carry(&mut self) -> Option<Tail> {
        let value = take_value(self.outcome.as_mut()?)?;
        // outcome, value
        Some(field(&[2, 1], &[], value))
    }
}

impl Carry for v1::SessionResponse {
    fn carry(&mut self) -> Option<Tail> {
        let Some(session_response::Part::Result(result)) = &mut self.part else {
            return None;
        };
        let value = take_value(result.outcome.as_mut()?)?;
        // result, outcome, value
        Some(field(&[2, 2, 1], &[], value))
    }
}

impl Carry for v1::RunEvent {
    fn carry(&mut self) -> Option<Tail> {
        match &mut self.event {
            // outcome, value
            Some(run_event::Event::Outcome(outcome)) => {
                take_value(outcome).map(|value| field(&[4, 1], &[], value))
            }
            // items, items
            Some(run_event::Event::Items(items)) => {
                take_large(&mut items.items).map(|items| field(&[3, 2], &[], items))
            }
            _ => None,
        }
    }
}

impl Carry for v1::MapResponse {
    /// The results from the first large one on: each as an element of its own, so that their order
    /// stays.
    fn carry(&mut self) -> Option<Tail> {
        let Some(map_response::Part::Results(results)) = &mut self.part else {
            return None;
        };
        let is_large = |result: &v1::MapResult| match &result.result {
            Some(v1::map_result::Result::Value(value)) => value.len() >= LARGE_BYTES,
            _ => false,
        };
        let first = results.results.iter().position(is_large)?;
        let mut tail = Tail::new();
        for mut result in results.results.split_off(first) {
            let value = match &mut result.result {
                Some(v1::map_result::Result::Value(value)) => std::mem::take(value),
                _ => Bytes::new(),
            };
            let is_value = matches!(result.result, Some(v1::map_result::Result::Value(_)));
            if is_value {
                result.result = None;
            }
            let head = prost::Message::encode_to_vec(&result);
            // results, results, and of the element the value
            tail.extend(match is_value {
                true => field(&[3, 1, 2], &head, value),
                false => field(&[3, 1], &[], head.into()),
            });
        }
        Some(tail)
    }
}

fn take_value(outcome: &mut v1::Outcome) -> Option<Bytes> {
    let Some(outcome::Result::Value(value)) = &mut outcome.result else {
        return None;
    };
    let value = take_large(value)?;
    outcome.result = None;
    Some(value)
}

fn take_large(value: &mut Bytes) -> Option<Bytes> {
    (value.len() >= LARGE_BYTES).then(|| std::mem::take(value))
}

/// A field within fields: the numbers outermost first, the last one's value `value`. `head` is what
/// the innermost message has before it.
fn field(path: &[u32], head: &[u8], value: Bytes) -> Tail {
    let Some((last, outer)) = path.split_last() else {
        return Tail::new();
    };
    let mut header = head.to_vec();
    header.extend(key(*last, value.len()));
    for number in outer.iter().rev() {
        let mut all = key(*number, header.len() + value.len());
        all.extend_from_slice(&header);
        header = all;
    }
    vec![header.into(), value]
}

/// What stands before a field with a length.
fn key(number: u32, length: usize) -> Vec<u8> {
    let mut key = Vec::with_capacity(2 * 10);
    let tag = number << 3 | LENGTH_DELIMITED;
    prost::encoding::encode_varint(u64::from(tag), &mut key);
    prost::encoding::encode_varint(length as u64, &mut key);
    key
}

/// An answer's body on its way.
pub(crate) struct Sending {
    shared: Arc<Shared>,
    _watch: Option<AbortOnDropHandle<()>>,
}

struct Shared {
    began: Instant,
    /// None once it was given up.
    rest: Mutex<Option<Rest>>,
}

/// What is not sent yet.
struct Rest {
    body: Body,
    parts: Option<Parts>,
    ready: VecDeque<Piece>,
    /// Since when the reader could have taken more; `None` while there is nothing to take.
    offered: Option<Duration>,
}

/// What is next in line.
enum Piece {
    /// Encoded messages, or parts of them.
    Plain(Bytes),
    /// A large value, which counts against a budget until it is dropped.
    Value(Bytes),
}

impl Sending {
    /// `patience`: how long a single answer waits for its reader.
    pub(crate) fn new(body: Body, apart: Option<Apart>, patience: Option<Duration>) -> Self {
        let parts = match apart {
            Some(Apart::Parts(parts)) => Some(parts),
            _ => None,
        };
        let streamed = parts.as_ref().is_none_or(|parts| parts.streamed);
        let shared = Arc::new(Shared {
            began: Instant::now(),
            rest: Mutex::new(Some(Rest {
                body,
                parts,
                ready: VecDeque::new(),
                offered: Some(Duration::ZERO),
            })),
        });
        let watch = patience.map(|patience| {
            let patience = if streamed {
                patience.saturating_mul(STREAM_PATIENCE)
            } else {
                patience
            };
            let shared = Arc::downgrade(&shared);
            AbortOnDropHandle::new(tokio::spawn(watch(shared, patience)))
        });
        Self {
            shared,
            _watch: watch,
        }
    }
}

/// Gives the answer up when its reader takes none of it for this long.
async fn watch(shared: Weak<Shared>, patience: Duration) {
    let mut wait = patience;
    loop {
        tokio::time::sleep(wait).await;
        let Some(shared) = shared.upgrade() else {
            return;
        };
        let given_up = {
            let mut rest = shared.rest.lock();
            let now = shared.began.elapsed();
            let offered = rest.as_ref().and_then(|rest| rest.offered);
            let waited = offered.map_or(Duration::ZERO, |since| now.saturating_sub(since));
            wait = patience.saturating_sub(waited);
            match wait.is_zero() {
                true => rest.take(),
                false => None,
            }
        };
        if given_up.is_some() {
            tracing::debug!("an answer was given up: its reader took none of it for {patience:?}");
            return;
        }
    }
}

impl HttpBody for Sending {
    type Data = Bytes;
    type Error = tonic::codegen::StdError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, tonic::codegen::StdError>>> {
        let mut rest = self.shared.rest.lock();
        let Some(rest) = &mut *rest else {
            let late = Status::deadline_exceeded("the answer was not read in time");
            return Poll::Ready(Some(Err(late.into())));
        };
        let frame = rest.poll_frame(cx);
        rest.offered = frame.is_ready().then(|| self.shared.began.elapsed());
        frame
    }
}

impl Rest {
    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, tonic::codegen::StdError>>> {
        loop {
            if let Some(piece) = self.next_piece() {
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                None => return Poll::Ready(None),
            };
            match frame.into_data() {
                Ok(data) => self.add(data),
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            }
        }
    }

    /// Puts whole messages, and what travels behind them, in line.
    fn add(&mut self, mut data: Bytes) {
        let mut tails = self.tails(&data);
        if tails.iter().all(Option::is_none) {
            self.ready.push_back(Piece::Plain(data));
            return;
        }
        let mut plain = BytesMut::new();
        while let (Some(tail), Some(length)) = (tails.pop_front(), length(&data)) {
            let message = data.split_to(PREFIX_BYTES + length);
            let tail = tail.unwrap_or_default();
            let whole = length + tail.iter().map(Bytes::len).sum::<usize>();
            plain.put_u8(0);
            plain.put_u32(u32::try_from(whole).unwrap_or(u32::MAX));
            plain.extend_from_slice(&message[PREFIX_BYTES..]);
            for part in tail {
                if part.len() < LARGE_BYTES {
                    plain.extend_from_slice(&part);
                    continue;
                }
                self.ready.push_back(Piece::Plain(plain.split().freeze()));
                self.ready.push_back(Piece::Value(part));
            }
        }
        // The messages of a frame are whole; were one not, it would go as it is.
        plain.extend_from_slice(&data);
        self.ready.push_back(Piece::Plain(plain.freeze()));
    }

    /// What travels behind each of these messages.
    fn tails(&self, mut data: &[u8]) -> VecDeque<Option<Tail>> {
        let mut tails = VecDeque::new();
        let Some(parts) = &self.parts else {
            return tails;
        };
        let mut queue = parts.queue.lock();
        while let Some(length) = length(data) {
            tails.push_back(queue.pop_front().flatten());
            data = &data[PREFIX_BYTES + length..];
        }
        tails
    }

    fn next_piece(&mut self) -> Option<Bytes> {
        loop {
            let (bytes, is_value) = match self.ready.front_mut()? {
                Piece::Plain(bytes) => (bytes, false),
                Piece::Value(bytes) => (bytes, true),
            };
            let piece = bytes.split_to(bytes.len().min(PIECE_BYTES));
            // A part of a value's bytes would keep all of them.
            let piece = match is_value {
                true => Bytes::copy_from_slice(&piece),
                false => piece,
            };
            if bytes.is_empty() {
                self.ready.pop_front();
            }
            if !piece.is_empty() {
                return Some(piece);
            }
        }
    }
}

/// How long the message is that begins here, if all of it is there.
fn length(data: &[u8]) -> Option<usize> {
    let (prefix, rest) = data.split_first_chunk::<PREFIX_BYTES>()?;
    let [_, length @ ..] = *prefix;
    let length = usize::try_from(u32::from_be_bytes(length)).ok()?;
    (rest.len() >= length).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message;

    type Next = Option<Result<Frame<Bytes>, tonic::codegen::StdError>>;

    async fn next(sending: &mut Sending) -> Next {
        std::future::poll_fn(|cx| Pin::new(&mut *sending).poll_frame(cx)).await
    }

    /// What tonic makes of messages: all of them in one frame.
    fn frame<T: Message>(messages: &[T]) -> Bytes {
        let mut frame = BytesMut::new();
        for message in messages {
            frame.put_u8(0);
            frame.put_u32(message.encoded_len() as u32);
            frame.extend(message.encode_to_vec());
        }
        frame.freeze()
    }

    /// The messages that leave when these are sent.
    async fn sent<T: Carry + Message + Default>(messages: Vec<T>) -> Vec<T> {
        let parts = Parts::default();
        let mut messages = messages;
        for message in &mut messages {
            parts.queue.lock().push_back(message.carry());
        }
        let body = Body::from(frame(&messages));
        let mut sending = Sending::new(body, Some(Apart::Parts(parts)), None);
        let mut all = BytesMut::new();
        while let Some(frame) = next(&mut sending).await {
            all.extend(frame.unwrap().into_data().unwrap());
        }
        let mut bytes = all.freeze();
        let mut received = Vec::new();
        while let Some(length) = length(&bytes) {
            let message = bytes.split_to(PREFIX_BYTES + length);
            received.push(T::decode(&message[PREFIX_BYTES..]).unwrap());
        }
        assert!(bytes.is_empty());
        received
    }

    fn large(fill: u8) -> Bytes {
        vec![fill; 3 * PIECE_BYTES + 5].into()
    }

    fn outcome(value: Bytes) -> v1::Outcome {
        v1::Outcome {
            result: Some(outcome::Result::Value(value)),
            usage: Some(v1::Usage {
                run_micros: 7,
                ..Default::default()
            }),
        }
    }

    /// Whatever travels apart is one message again for whoever reads it.
    #[tokio::test]
    async fn answers_arrive_as_they_were() {
        let small = Bytes::from_static(b"small");
        for value in [large(1), small.clone(), Bytes::new()] {
            let message = v1::InvokeResponse {
                call: "c".into(),
                outcome: Some(outcome(value.clone())),
                stdout: value.clone(),
                stderr: value.clone(),
            };
            assert_eq!(sent(vec![message.clone()]).await, [message]);
            let message = v1::GetCallResponse {
                info: Some(v1::CallInfo::default()),
                outcome: Some(outcome(value)),
            };
            assert_eq!(sent(vec![message.clone()]).await, [message]);
        }
        let events: Vec<v1::RunEvent> = [
            run_event::Event::Started(v1::Started::default()),
            run_event::Event::Outcome(outcome(large(2))),
            run_event::Event::Items(v1::StreamItems {
                stream: 3,
                items: large(3),
                end: true,
                failure: None,
            }),
            run_event::Event::Outcome(outcome(small.clone())),
        ]
        .map(|event| v1::RunEvent { event: Some(event) })
        .into();
        assert_eq!(sent(events.clone()).await, events);
        let answer = v1::SessionResponse {
            part: Some(session_response::Part::Result(v1::SessionResult {
                id: 9,
                outcome: Some(outcome(large(4))),
            })),
        };
        assert_eq!(sent(vec![answer.clone()]).await, [answer]);
    }

    /// A map's results keep their order, failures between them included.
    #[tokio::test]
    async fn results_of_maps_keep_their_order() {
        let value = |index, value| v1::MapResult {
            index,
            result: Some(v1::map_result::Result::Value(value)),
        };
        let failed = v1::MapResult {
            index: 3,
            result: Some(v1::map_result::Result::Failure(v1::Failure::default())),
        };
        let results = vec![
            value(1, Bytes::from_static(b"a")),
            value(2, large(1)),
            failed,
            value(4, Bytes::new()),
            value(5, large(2)),
        ];
        let message = v1::MapResponse {
            part: Some(map_response::Part::Results(v1::MapResults { results })),
        };
        let messages = vec![message.clone(), v1::MapResponse::default(), message];
        assert_eq!(sent(messages.clone()).await, messages);
    }

    /// Bytes that say when they are gone.
    fn watched() -> (Bytes, Arc<()>) {
        struct Owner(Vec<u8>, #[allow(dead_code, reason = "held")] Arc<()>);
        impl AsRef<[u8]> for Owner {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }
        let alive = Arc::new(());
        let bytes = Bytes::from_owner(Owner(vec![7; 1 << 20], alive.clone()));
        (bytes, alive)
    }

    fn answer(value: Bytes) -> Sending {
        let mut response = single(v1::InvokeResponse {
            outcome: Some(outcome(value)),
            ..Default::default()
        });
        let apart = response.extensions_mut().remove::<Apart>();
        let body = Body::from(frame(&[response.into_inner()]));
        Sending::new(body, apart, Some(Duration::from_millis(50)))
    }

    /// The budget of results is theirs until the last piece has gone to the connection, and no
    /// longer.
    #[tokio::test]
    async fn a_value_is_kept_until_its_last_piece_is_taken() {
        let (value, alive) = watched();
        let mut sending = answer(value);
        let mut taken = 0;
        while taken < 1 << 20 {
            assert_eq!(Arc::strong_count(&alive), 2, "after {taken} bytes");
            let frame = next(&mut sending).await.unwrap().unwrap();
            let piece = frame.into_data().unwrap();
            assert!(piece.len() <= PIECE_BYTES);
            taken += piece.len();
        }
        while next(&mut sending).await.is_some() {}
        assert_eq!(Arc::strong_count(&alive), 1);
    }

    /// Neither an answer that is not read at all nor one that is read in part keeps its bytes for
    /// ever.
    #[tokio::test]
    async fn an_answer_that_is_not_read_is_given_up() {
        for read in [0, 3] {
            let (value, alive) = watched();
            let mut sending = answer(value);
            for _ in 0..read {
                next(&mut sending).await.unwrap().unwrap();
            }
            while Arc::strong_count(&alive) > 1 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let error = next(&mut sending).await.unwrap().unwrap_err();
            let status = Status::from_error(error);
            assert_eq!(status.code(), tonic::Code::DeadlineExceeded);
        }
    }

    /// An answer that has nothing to say for a while is not its reader's fault.
    #[tokio::test]
    async fn an_answer_with_nothing_to_send_waits() {
        let pieces = futures::stream::once(async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            Ok::<_, std::convert::Infallible>(Bytes::from_static(b"late"))
        });
        let patience = Some(Duration::from_millis(10));
        let mut sending = Sending::new(Body::from_stream(pieces), None, patience);
        let frame = next(&mut sending).await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), "late");
    }
}
