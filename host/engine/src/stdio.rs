//! A guest's standard output and error, as WASI 0.2 and 0.3 want them.

use crate::limit::LimitHit;
use crate::output::{Output, OutputStream, Room};
use bytes::Bytes;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::AsyncWrite;
use tokio::time::{Sleep, sleep_until};
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2;

/// One of the two outputs.
#[derive(Clone)]
pub(crate) struct Printer {
    output: Arc<Output>,
    stream: OutputStream,
}

impl Printer {
    pub(crate) fn new(output: Arc<Output>, stream: OutputStream) -> Printer {
        Printer { output, stream }
    }
}

impl IsTerminal for Printer {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Printer {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(Writer {
            printer: self.clone(),
            wait: None,
        })
    }

    fn p2_stream(&self) -> Box<dyn p2::OutputStream> {
        Box::new(Stream(self.clone()))
    }
}

/// Most bytes that WASI 0.2 is told it may write at once.
const CHUNK_BYTES: usize = 64 << 10;

/// WASI 0.2: writes are announced, so waiting happens before them.
struct Stream(Printer);

#[async_trait]
impl p2::Pollable for Stream {
    async fn ready(&mut self) {
        // wasmtime asks a few times only, and then takes a stream that is ready without room for broken.
        while let Room::Later(at) = self.0.output.room() {
            tokio::time::sleep_until(at.into()).await;
        }
    }
}

impl p2::OutputStream for Stream {
    fn write(&mut self, bytes: Bytes) -> p2::StreamResult<()> {
        match self.0.output.write(self.0.stream, &bytes) {
            Some(_) => Ok(()),
            None => Err(p2::StreamError::Trap(LimitHit::Output.into())),
        }
    }

    fn flush(&mut self) -> p2::StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> p2::StreamResult<usize> {
        match self.0.output.room() {
            Room::Bytes(count) => Ok(count.min(CHUNK_BYTES)),
            Room::Later(_) => Ok(0),
            // Found out by the write: what is never written is no excess.
            Room::Never => Ok(1),
        }
    }
}

/// WASI 0.3: writes wait.
struct Writer {
    printer: Printer,
    wait: Option<Pin<Box<Sleep>>>,
}

impl AsyncWrite for Writer {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            if let Some(wait) = &mut self.wait {
                std::task::ready!(wait.as_mut().poll(cx));
                self.wait = None;
            }
            if let Room::Later(at) = self.printer.output.room() {
                self.wait = Some(Box::pin(sleep_until(at.into())));
                continue;
            }
            return Poll::Ready(
                match self.printer.output.write(self.printer.stream, bytes) {
                    Some(count) => Ok(count),
                    None => Err(io::Error::from(io::ErrorKind::BrokenPipe)),
                },
            );
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
