//! Connections for reading: a few, made when first needed, each used by one reader at a time.

use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::Failed;
use super::schema::connect_to_read;
use crate::{Error, Result};

/// Readers at once. More than cores only helps while the file is not in memory.
const CONNECTIONS: usize = 4;

pub(super) struct Readers {
    path: Arc<Path>,
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
}

impl Readers {
    pub(super) fn new(path: Arc<Path>) -> Self {
        Self {
            path,
            idle: Mutex::default(),
            permits: Arc::new(Semaphore::new(CONNECTIONS)),
        }
    }

    /// Runs `work` in one read transaction, on a thread that may block.
    pub(super) async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Connection) -> Result<T, Failed> + Send + 'static,
    ) -> Result<T> {
        let permit = self
            .permits
            .clone()
            .acquire_owned()
            .await
            .map_err(|_| Error::Closed)?;
        let readers = self.clone();
        let task = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            readers
                .run_here(work)
                .map_err(|failed| failed.at(&readers.path, 0))
        });
        match task.await {
            Ok(result) => result,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Err(Error::Closed),
        }
    }

    fn run_here<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Failed>,
    ) -> Result<T, Failed> {
        let idle = self.idle.lock().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => connect_to_read(&self.path)?,
        };
        connection.execute_batch("BEGIN")?;
        let result = work(&connection);
        // A connection whose transaction cannot be ended is not used again.
        if connection.execute_batch("COMMIT").is_ok() {
            self.idle.lock().push(connection);
        }
        result
    }
}
