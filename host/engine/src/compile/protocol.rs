//! What the engine and a compile worker say to each other.
//!
//! The worker's limits stand in its environment, so that they hold before it reads anything. On
//! stdin it gets one [`Request`]; on stdout it gives a greeting once it is locked in, then its
//! answer. Both sides are the same program, so there are no versions to tell apart.

use std::fmt;
use std::io::{self, Read, Write};
use std::str::FromStr;

use crate::artifact::Configuration;
use crate::config::Concurrency;

/// Makes the program a worker instead of running `main`; its value is a [`Confinement`].
pub(super) const ENVIRONMENT: &str = "LYDIAN_COMPILE_WORKER";

/// Shown by `ps`.
pub(super) const PROGRAM_NAME: &str = "lydian-compile";

/// What a worker may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Confinement {
    /// Memory on top of what the program itself takes.
    pub(super) memory_bytes: u64,
    /// Processor time, of all threads together.
    pub(super) cpu_seconds: u64,
    /// Threads that compile.
    pub(super) threads: u64,
    /// Process that the worker must not outlive.
    pub(super) parent: u32,
    /// How far it stands back for others, as `nice` counts.
    pub(super) niceness: u8,
    /// What it compiles for.
    pub(super) concurrency: Concurrency,
}

impl fmt::Display for Confinement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            memory_bytes,
            cpu_seconds,
            threads,
            parent,
            niceness,
            concurrency,
        } = self;
        let concurrent = u8::from(*concurrency == Concurrency::On);
        write!(
            f,
            "{memory_bytes} {cpu_seconds} {threads} {parent} {niceness} {concurrent}"
        )
    }
}

impl FromStr for Confinement {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let numbers: Vec<u64> = text
            .split(' ')
            .filter_map(|number| number.parse().ok())
            .collect();
        let [
            memory_bytes,
            cpu_seconds,
            threads,
            parent,
            niceness,
            concurrent,
        ] = numbers[..]
        else {
            return Err(
                "expected six numbers: memory, seconds, threads, parent, niceness, concurrency",
            );
        };
        let concurrency = match concurrent {
            0 => Concurrency::Off,
            _ => Concurrency::On,
        };
        let parent = u32::try_from(parent).map_err(|_| "the parent is not a process id")?;
        let niceness = u8::try_from(niceness).map_err(|_| "the niceness is too large")?;
        Ok(Self {
            memory_bytes,
            cpu_seconds,
            threads,
            parent,
            niceness,
            concurrency,
        })
    }
}

/// What a worker is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// Compile the component that follows, and describe it.
    Compile,
    /// Only describe it.
    Describe,
    /// Try what the jail must forbid ([`super::selftest`]); the payload names the attempt.
    #[cfg(test)]
    Attempt,
}

const TASK_COMPILE: u8 = 0;
const TASK_DESCRIBE: u8 = 1;
#[cfg(test)]
const TASK_ATTEMPT: u8 = 2;

/// The head of a request: task, configuration, length of the payload.
const REQUEST_HEAD_BYTES: usize = 1 + 32 + 8;

pub(super) struct Request {
    pub(super) task: Task,
    pub(super) configuration: Configuration,
    pub(super) payload: Vec<u8>,
}

impl Request {
    /// The head that goes before `payload` on the wire.
    pub(super) fn head(task: Task, configuration: &Configuration, payload: &[u8]) -> Vec<u8> {
        let task = match task {
            Task::Compile => TASK_COMPILE,
            Task::Describe => TASK_DESCRIBE,
            #[cfg(test)]
            Task::Attempt => TASK_ATTEMPT,
        };
        let mut head = Vec::with_capacity(REQUEST_HEAD_BYTES);
        head.push(task);
        head.extend_from_slice(configuration.as_bytes());
        head.extend_from_slice(&(payload.len() as u64).to_le_bytes());
        head
    }

    pub(super) fn read(from: &mut impl Read) -> io::Result<Self> {
        let mut task = [0];
        let mut configuration = [0; 32];
        let mut length = [0; 8];
        from.read_exact(&mut task)?;
        from.read_exact(&mut configuration)?;
        from.read_exact(&mut length)?;
        let task = match task[0] {
            TASK_COMPILE => Task::Compile,
            TASK_DESCRIBE => Task::Describe,
            #[cfg(test)]
            TASK_ATTEMPT => Task::Attempt,
            _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "unknown task")),
        };
        let length = u64::from_le_bytes(length);
        let mut payload = Vec::with_capacity(usize::try_from(length).map_err(io::Error::other)?);
        if from.take(length).read_to_end(&mut payload)? as u64 != length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Self {
            task,
            configuration: Configuration::from_bytes(configuration),
            payload,
        })
    }
}

/// What kind of message comes next on a worker's stdout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Tag {
    /// Locked in and listening. Payload: why system calls are not filtered; empty when they are.
    Greeting = b'G',
    /// The component's interface, as JSON; what was asked for, or comes before the artifact.
    Interface = b'D',
    /// The artifact.
    Artifact = b'A',
    /// The component's interface cannot be used. Payload: an
    /// [`Unusable`](crate::interface::Unusable).
    Unusable = b'U',
    /// The component is not valid. Payload: why.
    Invalid = b'I',
    /// Memory ran out in a place that could still say so.
    OutOfMemory = b'M',
    /// The compiler panicked. Payload: where and why.
    Panicked = b'P',
    /// The worker's engine is another one.
    Mismatch = b'X',
}

impl Tag {
    fn from_byte(byte: u8) -> Option<Self> {
        [
            Self::Greeting,
            Self::Interface,
            Self::Artifact,
            Self::Unusable,
            Self::Invalid,
            Self::OutOfMemory,
            Self::Panicked,
            Self::Mismatch,
        ]
        .into_iter()
        .find(|tag| *tag as u8 == byte)
    }
}

const MESSAGE_HEAD_BYTES: usize = 1 + 8;

pub(super) fn send(to: &mut impl Write, tag: Tag, payload: &[u8]) -> io::Result<()> {
    to.write_all(&[tag as u8])?;
    to.write_all(&(payload.len() as u64).to_le_bytes())?;
    to.write_all(payload)?;
    to.flush()
}

/// What the bytes that arrived so far hold.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    /// Not a whole message yet. What it is and how many bytes of payload it has, once that is known.
    Partial { announced: Option<(Tag, u64)> },
    /// One message, taken out of the bytes.
    Message(Tag, Vec<u8>),
    /// Nothing that a worker would say.
    Garbage,
}

/// Takes the first message out of `bytes` if it is whole.
pub(super) fn receive(bytes: &mut Vec<u8>) -> Incoming {
    let Some((head, _)) = bytes.split_at_checked(MESSAGE_HEAD_BYTES) else {
        let plausible = bytes
            .first()
            .is_none_or(|byte| Tag::from_byte(*byte).is_some());
        return if plausible {
            Incoming::Partial { announced: None }
        } else {
            Incoming::Garbage
        };
    };
    let Some(tag) = Tag::from_byte(head[0]) else {
        return Incoming::Garbage;
    };
    let length = head[1..]
        .iter()
        .rev()
        .fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
    let end = usize::try_from(length)
        .ok()
        .and_then(|length| length.checked_add(MESSAGE_HEAD_BYTES));
    match end {
        Some(end) if bytes.len() >= end => {
            let rest = bytes.split_off(end);
            let mut message = std::mem::replace(bytes, rest);
            message.drain(..MESSAGE_HEAD_BYTES);
            Incoming::Message(tag, message)
        }
        _ => Incoming::Partial {
            announced: Some((tag, length)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The worker reads its limits before anything else; a limit lost on the way would not hold.
    #[test]
    fn confinement_survives_the_environment() {
        let confinement = Confinement {
            memory_bytes: 1 << 33,
            cpu_seconds: 7,
            threads: 3,
            parent: 4_000_000,
            niceness: 5,
            concurrency: Concurrency::On,
        };
        assert_eq!(confinement.to_string().parse(), Ok(confinement));
        assert!("1 2 3".parse::<Confinement>().is_err());
        assert!("1 2 x 4".parse::<Confinement>().is_err());
    }

    /// Pipes cut messages anywhere.
    #[test]
    fn messages_are_put_together_from_any_pieces() {
        let mut wire = Vec::new();
        send(&mut wire, Tag::Greeting, b"").unwrap();
        send(&mut wire, Tag::Artifact, b"code").unwrap();
        let (mut arrived, mut messages) = (Vec::new(), Vec::new());
        for byte in wire {
            arrived.push(byte);
            if let Incoming::Message(tag, payload) = receive(&mut arrived) {
                messages.push((tag, payload));
            }
        }
        assert_eq!(
            messages,
            [(Tag::Greeting, vec![]), (Tag::Artifact, b"code".to_vec())]
        );
    }

    /// A program that is not a worker prints something else.
    #[test]
    fn other_output_is_garbage() {
        assert_eq!(receive(&mut b"usage: lydian".to_vec()), Incoming::Garbage);
        assert_eq!(receive(&mut b"u".to_vec()), Incoming::Garbage);
    }
}
