//! A compile worker seen from the engine: started, fed, listened to, and killed in the end whatever happens.
//!
//! One thread owns one worker from start to end. It must: the worker asks to be killed when the *thread* that started it dies
//! (`PR_SET_PDEATHSIG`), so that thread has to outlive it.

use std::io::{self, ErrorKind, PipeReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use lydian_value::Digest;
use rustix::event::{PollFd, PollFlags, Timespec};

use super::Error;
use super::protocol::{
    Confinement, ENVIRONMENT, Incoming, PROGRAM_NAME, Request, Tag, Task, receive,
};
use crate::artifact::Configuration;
use crate::config::Concurrency;
use crate::interface::{self, Unusable};

/// The program itself, even when its file was replaced by an update.
const THIS_PROGRAM: &str = "/proc/self/exe";

/// Bytes of the worker's stderr that are kept, from the end: a panic message with its place.
const STDERR_BYTES: usize = 4 << 10;

/// What an unprivileged process may ask for (`/proc/sys/fs/pipe-max-size`).
const PIPE_BYTES: libc::c_int = 1 << 20;

/// Bytes of a worker's message other than an artifact.
const TEXT_BYTES: u64 = 1 << 20;

/// What is told of why a component is refused.
const REASON_CHARS: usize = 2_000;

/// A deadline must be a point in time, however long the timeout.
const LONGEST_TIMEOUT: Duration = Duration::from_hours(24);

/// Bytes read from a worker in one go.
const READ_BYTES: u64 = 1 << 20;

/// How long a worker that said goodbye may take to be gone.
const EXIT_PATIENCE: Duration = Duration::from_secs(5);

/// What one worker is given.
pub(super) struct Job<'a> {
    pub(super) task: Task,
    pub(super) payload: &'a [u8],
    /// Which one the payload is, for what is said of it.
    pub(super) component: Digest,
    pub(super) configuration: Configuration,
    pub(super) concurrency: Concurrency,
    pub(super) memory_bytes: u64,
    /// Native code it may answer with.
    pub(super) artifact_bytes: u64,
    pub(super) timeout: Duration,
    pub(super) threads: usize,
    pub(super) niceness: u8,
    /// Closed at the other end when nobody waits for the answer any more.
    pub(super) cancelled: &'a PipeReader,
}

/// What a worker gave.
pub(super) struct Done {
    /// None when it was only to describe.
    pub(super) artifact: Vec<u8>,
    /// Its description, as JSON; what it says is to be checked.
    pub(super) interface: String,
    /// Why the worker's system calls were not filtered; empty when they were.
    pub(super) unfiltered: String,
    /// Still to be reaped, which takes as long as freeing its memory; dropping it does.
    pub(super) worker: Worker,
}

/// How a worker stopped short of an answer.
pub(super) enum Stopped {
    /// Nobody waits for the answer.
    Cancelled,
    Failed(Error),
}

impl From<Error> for Stopped {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Runs one worker to its answer.
pub(super) fn run(job: &Job<'_>) -> Result<Done, Stopped> {
    let deadline = Instant::now() + job.timeout.min(LONGEST_TIMEOUT);
    let mut conversation = Conversation::start(job)?;
    loop {
        if let Some(artifact) = conversation.hear(job)? {
            let Conversation {
                worker,
                unfiltered,
                interface,
                ..
            } = conversation;
            return Ok(Done {
                artifact,
                interface,
                unfiltered,
                worker,
            });
        }
        conversation.wait(job, deadline)?;
    }
}

/// Starts a worker and hears whether its system calls are filtered, without giving it anything to do.
pub(super) fn greet(job: &Job<'_>) -> Result<String, Stopped> {
    let deadline = Instant::now() + job.timeout.min(LONGEST_TIMEOUT);
    let mut conversation = Conversation::start(job)?;
    loop {
        conversation.hear(job)?;
        if conversation.greeted {
            return Ok(conversation.unfiltered);
        }
        conversation.wait(job, deadline)?;
    }
}

/// Gets a worker going and forgets it, as a process that dies does. Returns its process id.
#[cfg(test)]
pub(super) fn abandon(job: &Job<'_>) -> u32 {
    let mut conversation = Conversation::start(job).unwrap();
    while conversation.stdin.is_some() {
        assert!(conversation.hear(job).unwrap().is_none());
        std::thread::sleep(Duration::from_millis(1));
    }
    let pid = conversation.worker.0.id();
    std::mem::forget(conversation);
    pid
}

/// A child that is killed and reaped when it is dropped.
pub(super) struct Worker(Child);

impl Worker {
    fn start(job: &Job<'_>) -> io::Result<Self> {
        let threads = job.threads as u64;
        let confinement = Confinement {
            memory_bytes: job.memory_bytes,
            // A second line of defence behind the wall clock, so rounded up.
            cpu_seconds: job
                .timeout
                .as_secs()
                .saturating_add(1)
                .saturating_mul(threads),
            threads,
            parent: std::process::id(),
            niceness: job.niceness,
            concurrency: job.concurrency,
        };
        // No `pre_exec`: without it the child is made by `posix_spawn`, which does not copy the engine's page tables.
        Command::new(THIS_PROGRAM)
            .arg0(PROGRAM_NAME)
            .env_clear()
            .env(ENVIRONMENT, confinement.to_string())
            .env("RAYON_NUM_THREADS", threads.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map(Self)
    }

    /// Kills it unless it ends by itself within [`EXIT_PATIENCE`]; says how it ended.
    fn end(&mut self) -> io::Result<ExitStatus> {
        let patience = Instant::now() + EXIT_PATIENCE;
        while Instant::now() < patience {
            if let Some(status) = self.0.try_wait()? {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        self.0.kill()?;
        self.0.wait()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Both fail only for a child that was reaped already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Conversation<'a> {
    worker: Worker,
    stdin: Option<ChildStdin>,
    stdout: ChildStdout,
    /// `None` when the worker has closed it, so that nobody polls it any more.
    stderr: Option<ChildStderr>,
    /// What is still to be written. Nothing is before the greeting: a program that is no worker must not get the component.
    head: Vec<u8>,
    payload: &'a [u8],
    received: Vec<u8>,
    complaints: Vec<u8>,
    greeted: bool,
    unfiltered: String,
    interface: String,
}

impl<'a> Conversation<'a> {
    fn start(job: &Job<'a>) -> Result<Self, Error> {
        let started = || -> io::Result<Self> {
            let mut worker = Worker::start(job)?;
            let missing = || io::Error::other("a pipe is missing");
            let stdin = worker.0.stdin.take().ok_or_else(missing)?;
            let stdout = worker.0.stdout.take().ok_or_else(missing)?;
            let stderr = worker.0.stderr.take().ok_or_else(missing)?;
            widen(&stdin);
            widen(&stdout);
            rustix::io::ioctl_fionbio(&stdin, true)?;
            rustix::io::ioctl_fionbio(&stdout, true)?;
            rustix::io::ioctl_fionbio(&stderr, true)?;
            Ok(Self {
                worker,
                stdin: Some(stdin),
                stdout,
                stderr: Some(stderr),
                head: Request::head(job.task, &job.configuration, job.payload),
                payload: job.payload,
                received: Vec::new(),
                complaints: Vec::new(),
                greeted: false,
                unfiltered: String::new(),
                interface: String::new(),
            })
        };
        started().map_err(|error| Error::Start {
            source: error.into(),
        })
    }

    /// Moves bytes both ways as far as they go now. Returns the artifact when it, or all that was
    /// asked for, is whole.
    fn hear(&mut self, job: &Job<'_>) -> Result<Option<Vec<u8>>, Error> {
        self.read_complaints();
        let ended = read_available(&mut self.stdout, &mut self.received).map_err(start_error)?;
        loop {
            match receive(&mut self.received) {
                Incoming::Message(Tag::Greeting, text) => {
                    self.greeted = true;
                    self.unfiltered = String::from_utf8_lossy(&text).into_owned();
                }
                Incoming::Message(Tag::Interface, json) => {
                    self.interface = String::from_utf8(json).map_err(|_| nonsense())?;
                    if job.task == Task::Describe {
                        return Ok(Some(Vec::new()));
                    }
                }
                Incoming::Message(Tag::Artifact, artifact) => return Ok(Some(artifact)),
                Incoming::Message(tag, text) => return Err(failure(tag, &text, job)),
                Incoming::Garbage if !self.greeted => return Err(Error::NotAWorker),
                Incoming::Garbage => return Err(nonsense()),
                Incoming::Partial { announced } => {
                    if let Some((tag, bytes)) = announced {
                        check_size(tag, bytes, job)?;
                    }
                    break;
                }
            }
        }
        if ended {
            return Err(self.autopsy(job));
        }
        if self.greeted {
            self.write_available();
        }
        Ok(None)
    }

    /// Blocks until there is something to hear or to say, or no reason to go on.
    fn wait(&self, job: &Job<'_>, deadline: Instant) -> Result<(), Stopped> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Error::OutOfTime { limit: job.timeout }.into());
        }
        let mut watched = vec![
            PollFd::from_borrowed_fd(job.cancelled.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.stdout.as_fd(), PollFlags::IN),
        ];
        if let Some(stderr) = &self.stderr {
            watched.push(PollFd::from_borrowed_fd(stderr.as_fd(), PollFlags::IN));
        }
        if let (Some(stdin), true) = (&self.stdin, self.greeted) {
            watched.push(PollFd::from_borrowed_fd(stdin.as_fd(), PollFlags::OUT));
        }
        let left =
            Timespec::try_from(left).map_err(|error| start_error(io::Error::other(error)))?;
        match rustix::event::poll(&mut watched, Some(&left)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(start_error(error.into()).into()),
        }
        if watched[0].revents().is_empty() {
            Ok(())
        } else {
            Err(Stopped::Cancelled)
        }
    }

    fn write_available(&mut self) {
        let Some(stdin) = &mut self.stdin else { return };
        let done = write_available(stdin, &mut self.head, &mut self.payload);
        if done {
            self.stdin = None;
        }
    }

    fn read_complaints(&mut self) {
        // What it complains about is worth nothing without an answer, so errors here are none.
        let Some(stderr) = &mut self.stderr else {
            return;
        };
        if read_available(stderr, &mut self.complaints).unwrap_or(true) {
            self.stderr = None;
        }
        let excess = self.complaints.len().saturating_sub(STDERR_BYTES);
        self.complaints.drain(..excess);
    }

    /// Why the worker closed its stdout without an answer.
    fn autopsy(&mut self, job: &Job<'_>) -> Error {
        let status = self.worker.end();
        self.read_complaints();
        let complaints = String::from_utf8_lossy(&self.complaints);
        let complaints = complaints.trim();
        tracing::warn!(?status, complaints, "a compile worker died");
        let Ok(status) = status else {
            return Error::Crashed {
                how: "its end was not seen".to_owned(),
            };
        };
        match (status.signal(), status.code()) {
            (Some(libc::SIGXCPU), _) => Error::OutOfTime { limit: job.timeout },
            (Some(libc::SIGABRT), _) if complaints.contains(ALLOCATION_FAILED) => {
                Error::OutOfMemory {
                    limit_bytes: job.memory_bytes,
                }
            }
            (Some(libc::SIGKILL), _) => Error::Crashed {
                how: "killed, as when the machine runs out of memory".to_owned(),
            },
            (Some(signal), _) => Error::Crashed {
                how: format!("signal {signal}"),
            },
            (None, _) if !self.greeted && complaints.is_empty() => Error::NotAWorker,
            (None, _) if !self.greeted => start_error(io::Error::other(complaints.to_owned())),
            (None, code) => Error::Crashed {
                how: format!("exit code {}", code.unwrap_or_default()),
            },
        }
    }
}

/// Makes a pipe hold [`PIPE_BYTES`] instead of 64 KiB, so that a component crosses in a few turns and not in fifty. The system
/// may refuse, which costs a millisecond.
fn widen(pipe: &impl AsFd) {
    use std::os::fd::AsRawFd;
    // SAFETY: the descriptor is open for the length of the call, which touches no memory.
    unsafe { libc::fcntl(pipe.as_fd().as_raw_fd(), libc::F_SETPIPE_SZ, PIPE_BYTES) };
}

/// What Rust prints before it aborts for want of memory.
const ALLOCATION_FAILED: &str = "memory allocation of ";

fn failure(tag: Tag, text: &[u8], job: &Job<'_>) -> Error {
    let text = String::from_utf8_lossy(text).into_owned();
    match tag {
        Tag::Invalid => Error::Invalid {
            message: shortened(text),
        },
        Tag::OutOfMemory => Error::OutOfMemory {
            limit_bytes: job.memory_bytes,
        },
        Tag::Mismatch => Error::Mismatch,
        Tag::Unusable => match Unusable::from_text(&text) {
            Some(Unusable { reason, hints, .. }) => Error::Interface {
                component: job.component,
                reason: shortened(reason),
                hints,
            },
            None => nonsense(),
        },
        Tag::Panicked | Tag::Artifact | Tag::Interface | Tag::Greeting => {
            Error::Crashed { how: text }
        }
    }
}

/// Names in it are the component's, and as long as its author likes; the reason is sent to whoever
/// asks.
fn shortened(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(REASON_CHARS) {
        text.truncate(end);
        text.push('…');
    }
    text
}

/// A worker that was taken over must not fill the engine's memory.
fn check_size(tag: Tag, bytes: u64, job: &Job<'_>) -> Result<(), Error> {
    match tag {
        Tag::Artifact if bytes > job.artifact_bytes => Err(Error::ArtifactTooLarge {
            bytes,
            limit_bytes: job.artifact_bytes,
        }),
        Tag::Artifact => Ok(()),
        Tag::Interface if bytes <= interface::MAX_BYTES => Ok(()),
        _ if bytes > TEXT_BYTES => Err(nonsense()),
        _ => Ok(()),
    }
}

fn nonsense() -> Error {
    Error::Crashed {
        how: "it answered nonsense".to_owned(),
    }
}

fn start_error(error: io::Error) -> Error {
    Error::Start {
        source: error.into(),
    }
}

/// Reads what is there, [`READ_BYTES`] at most, so that a worker which never stops talking is looked at in between. Says
/// whether nothing more will come.
fn read_available(from: &mut impl Read, to: &mut Vec<u8>) -> io::Result<bool> {
    match from.take(READ_BYTES).read_to_end(to) {
        Ok(read) => Ok((read as u64) < READ_BYTES),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Writes as much as the pipe takes. Says whether nothing more will be written: all is, or nobody reads.
fn write_available(to: &mut impl Write, head: &mut Vec<u8>, payload: &mut &[u8]) -> bool {
    loop {
        let next = if head.is_empty() {
            *payload
        } else {
            head.as_slice()
        };
        if next.is_empty() {
            return true;
        }
        match to.write(next) {
            Ok(written) if !head.is_empty() => drop(head.drain(..written)),
            Ok(written) => *payload = payload.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            // The worker is gone or going; its answer or its end says why.
            Err(_) => return true,
        }
    }
}
