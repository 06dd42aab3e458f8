//! The stream of one ephemeral app, whatever happens to the connection under it.
//!
//! A task holds both directions: it beats, so that the node knows this side lives, sends questions and hands out the
//! answers, which come in the order of the questions. When the connection breaks, it opens the stream again with the app's
//! name, as long as the node keeps the app, and asks again what was not answered. Asking twice is harmless: code that
//! runs already is no new version, and what is detached or gone stays so.

use crate::client::Client;
use crate::error::{Error, Result, Unreachable};
use lydian_api::v1::open_request::Part as Ask;
use lydian_api::v1::open_response::Part as Said;
use lydian_api::v1::{Heartbeat, OpenApp, OpenRequest, OpenResponse, OpenedApp};
use std::collections::VecDeque;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

/// How often the node hears of this side; it forgets an app it did not hear of for 30 s.
const BEAT_EVERY: Duration = Duration::from_secs(10);
/// How long it is tried to go on after the connection broke: as long as the node keeps the app.
const RESUME_FOR: Duration = Duration::from_secs(10);
/// Pause between two tries, at first and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Questions on their way at once; more wait for their turn.
const MAX_ASKED: usize = 4;
/// Messages that may wait for the connection: the questions, and beats.
const QUEUED_REQUESTS: usize = 2 * MAX_ASKED;

/// Asks over the stream. The stream ends with it.
pub(super) struct Asker {
    questions: mpsc::Sender<Question>,
    task: AbortHandle,
}

struct Question {
    ask: Ask,
    answer: oneshot::Sender<Result<Said>>,
}

/// The task's side.
struct Conversation {
    client: Client,
    /// Opens the stream again.
    resume: OpenApp,
    stream: Stream,
    questions: mpsc::Receiver<Question>,
    /// Asked and not answered, oldest first.
    asked: VecDeque<Question>,
    beat: Interval,
}

struct Stream {
    requests: mpsc::Sender<OpenRequest>,
    responses: Streaming<OpenResponse>,
}

/// Opens an app and keeps it.
///
/// # Errors
/// As the node refuses it.
pub(super) async fn begin(client: &Client, open: OpenApp) -> Result<(OpenedApp, Asker)> {
    let (environment, name) = (open.environment.clone(), open.client.clone());
    let opened = Stream::open(client, open).await;
    let (stream, opened) = opened.map_err(|status| client.error(status))?;
    let resume = OpenApp {
        environment,
        client: name,
        resume: opened.name.clone(),
        ..OpenApp::default()
    };
    let (sender, questions) = mpsc::channel(MAX_ASKED);
    let mut beat = tokio::time::interval_at(Instant::now() + BEAT_EVERY, BEAT_EVERY);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let conversation = Conversation {
        client: client.clone(),
        resume,
        stream,
        questions,
        asked: VecDeque::new(),
        beat,
    };
    let asker = Asker {
        questions: sender,
        task: tokio::spawn(conversation.run()).abort_handle(),
    };
    Ok((opened, asker))
}

pub(super) fn unexpected() -> Error {
    Error::broken("the node's answer is not one to this question")
}

impl Asker {
    /// The node's answer.
    pub(super) async fn ask(&self, ask: Ask) -> Result<Said> {
        let (answer, answered) = oneshot::channel();
        let over = || Error::broken("the task that speaks with the node has ended");
        let question = Question { ask, answer };
        self.questions.send(question).await.map_err(|_| over())?;
        answered.await.map_err(|_| over())?
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Conversation {
    async fn run(mut self) {
        let over = loop {
            let broken = self.talk().await;
            if let Err(over) = self.go_on(broken).await {
                break over;
            }
        };
        // Nothing more comes; each question is told why.
        while let Some(question) = self.asked.pop_front() {
            self.refuse(question, &over);
        }
        while let Some(question) = self.questions.recv().await {
            self.refuse(question, &over);
        }
    }

    /// Until the stream is over; why it is.
    async fn talk(&mut self) -> Status {
        loop {
            tokio::select! {
                Some(question) = self.questions.recv(), if self.asked.len() < MAX_ASKED => {
                    // There is room for it; a stream that has ended says so next.
                    let _ = self.stream.requests.try_send(question.ask.clone().into());
                    self.asked.push_back(question);
                }
                response = self.stream.responses.message() => match response {
                    Ok(Some(response)) => self.answered(response),
                    Ok(None) => return ended(),
                    Err(status) => return status,
                },
                _ = self.beat.tick() => {
                    let beat = Ask::Heartbeat(Heartbeat {}).into();
                    // Without room for a beat there is no connection; the answers' side notices first.
                    if self.stream.requests.capacity() > MAX_ASKED {
                        let _ = self.stream.requests.try_send(beat);
                    }
                }
            }
        }
    }

    fn answered(&mut self, response: OpenResponse) {
        let Some(question) = self.asked.pop_front() else {
            return;
        };
        // Whoever asked may have gone away.
        let _ = question.answer.send(match response.part {
            Some(Said::Refused(refused)) => {
                let detail = refused.detail.unwrap_or_default();
                let code = Code::from(i32::try_from(refused.code).unwrap_or(Code::Unknown as i32));
                let status = lydian_api::error::status(code, refused.message, &detail);
                Err(self.client.error(status))
            }
            Some(said) => Ok(said),
            None => Err(unexpected()),
        });
    }

    /// Opens the stream again if only the connection broke; else, or when the app is gone, says what ended it.
    async fn go_on(&mut self, broken: Status) -> std::result::Result<(), Status> {
        if !self.is_lost(&broken) {
            return Err(broken);
        }
        let until = Instant::now() + RESUME_FOR;
        let mut pause = FIRST_PAUSE;
        loop {
            let opening = Stream::open(&self.client, self.resume.clone());
            match tokio::time::timeout_at(until, opening).await {
                Ok(Ok((stream, _))) => {
                    self.stream = stream;
                    break;
                }
                // Gone, or not to be had; what ended it is what broke the stream.
                Ok(Err(status)) if !may_pass(status.code()) => return Err(broken),
                Ok(Err(_)) if Instant::now() + pause < until => {}
                _ => return Err(broken),
            }
            tokio::time::sleep(pause).await;
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
        // What nobody waits for any more need not be asked again.
        self.asked.retain(|question| !question.answer.is_closed());
        for question in &self.asked {
            let _ = self.stream.requests.try_send(question.ask.clone().into());
        }
        Ok(())
    }

    fn is_lost(&self, status: &Status) -> bool {
        is_ended(status) || matches!(self.client.error(status.clone()), Error::Unreachable(_))
    }

    fn refuse(&self, question: Question, over: &Status) {
        // Whoever asked may have gone away.
        let _ = question.answer.send(match is_ended(over) {
            true => Err(Error::Unreachable(Unreachable::new(
                self.client.url(),
                over,
            ))),
            false => Err(self.client.error(over.clone())),
        });
    }
}

impl Stream {
    async fn open(
        client: &Client,
        open: OpenApp,
    ) -> std::result::Result<(Self, OpenedApp), Status> {
        let (requests, queue) = mpsc::channel(QUEUED_REQUESTS);
        // The channel is new, so there is room.
        let _ = requests.try_send(Ask::Open(open).into());
        let answers = client.apps_api().open(ReceiverStream::new(queue)).await?;
        let mut responses = answers.into_inner();
        match responses.message().await?.and_then(|first| first.part) {
            Some(Said::Opened(opened)) => Ok((
                Self {
                    requests,
                    responses,
                },
                opened,
            )),
            _ => Err(Status::internal(unexpected().to_string())),
        }
    }
}

/// A stream that the node ended without a word, as one does that stops.
fn ended() -> Status {
    Status::unavailable(ENDED)
}

const ENDED: &str = "the node ended the stream";

fn is_ended(status: &Status) -> bool {
    status.code() == Code::Unavailable && status.message() == ENDED
}

/// Whether another try may do better.
fn may_pass(code: Code) -> bool {
    !matches!(
        code,
        Code::NotFound | Code::InvalidArgument | Code::PermissionDenied | Code::Unauthenticated
    )
}
