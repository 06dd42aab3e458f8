//! The calls this node remembers: all that run, and the newest that ended.
//!
//! A call's number leads straight to its slot, so a synchronous call costs one short lock on a slot nobody
//! else uses and no map. A call that still runs when its slot is needed again moves to a side map; its end
//! removes it there. What is remembered is bounded in calls and in bytes of logs.

use crate::calls::id::CallId;
use crate::calls::log::LogRing;
use crate::calls::record::Call;
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Calls by id.
pub(crate) struct Recent {
    /// A power of two many, so a number's slot is a mask away.
    slots: Box<[Mutex<Option<Arc<Call>>>]>,
    outlived: Mutex<HashMap<CallId, Arc<Call>>>,
    outlived_count: AtomicUsize,
    logs: Mutex<KeptLogs>,
    max_log_bytes: usize,
}

/// Logs of calls that ended, oldest first.
#[derive(Default)]
struct KeptLogs {
    rings: VecDeque<(Arc<LogRing>, usize)>,
    bytes: usize,
}

impl Recent {
    /// Remembers about `calls` calls and `max_log_bytes` of what ended ones printed.
    pub(crate) fn new(calls: usize, max_log_bytes: usize) -> Self {
        Self {
            slots: (0..calls.next_power_of_two())
                .map(|_| Mutex::new(None))
                .collect(),
            outlived: Mutex::default(),
            outlived_count: AtomicUsize::new(0),
            logs: Mutex::default(),
            max_log_bytes,
        }
    }

    pub(crate) fn add(&self, call: Arc<Call>) {
        let before = self.slot(call.id).lock().replace(call);
        let Some(before) = before.filter(|before| before.running()) else {
            return;
        };
        self.outlived.lock().insert(before.id, before.clone());
        self.outlived_count.fetch_add(1, Ordering::SeqCst);
        // It may have ended between the two looks, and `ended` have found nothing to remove.
        if !before.running() {
            self.forget_outlived(before.id);
        }
    }

    /// To be told after the call's end was recorded in it.
    pub(crate) fn ended(&self, call: &Call) {
        if self.outlived_count.load(Ordering::SeqCst) > 0 {
            self.forget_outlived(call.id);
        }
        if let Some(log) = call.log_if_any() {
            self.keep_log(log.clone());
        }
    }

    pub(crate) fn find(&self, id: CallId) -> Option<Arc<Call>> {
        let slot = self.slot(id).lock().clone();
        slot.filter(|call| call.id == id)
            .or_else(|| self.outlived.lock().get(&id).cloned())
    }

    /// Forgets a call, as if it had not begun.
    pub(crate) fn forget(&self, id: CallId) {
        let mut slot = self.slot(id).lock();
        if slot.as_ref().is_some_and(|call| call.id == id) {
            *slot = None;
        }
        drop(slot);
        self.forget_outlived(id);
    }

    /// Everything remembered, newest first.
    pub(crate) fn all(&self) -> Vec<Arc<Call>> {
        let mut calls: Vec<_> = self
            .slots
            .iter()
            .filter_map(|slot| slot.lock().clone())
            .collect();
        calls.extend(self.outlived.lock().values().cloned());
        calls.sort_unstable_by_key(|call| std::cmp::Reverse(call.id));
        calls
    }

    /// Those that have not ended.
    pub(crate) fn running(&self) -> Vec<Arc<Call>> {
        let mut calls = self.all();
        calls.retain(|call| call.running());
        calls
    }

    fn slot(&self, id: CallId) -> &Mutex<Option<Arc<Call>>> {
        // The mask keeps the index inside the slots, whose count is a power of two.
        &self.slots[id.number() as usize & (self.slots.len() - 1)]
    }

    fn forget_outlived(&self, id: CallId) {
        if self.outlived.lock().remove(&id).is_some() {
            self.outlived_count.fetch_sub(1, Ordering::SeqCst);
        }
    }

    fn keep_log(&self, log: Arc<LogRing>) {
        let bytes = log.bytes();
        let mut logs = self.logs.lock();
        logs.bytes += bytes;
        logs.rings.push_back((log, bytes));
        while logs.bytes > self.max_log_bytes {
            let Some((oldest, bytes)) = logs.rings.pop_front() else {
                return;
            };
            logs.bytes -= bytes;
            oldest.clear();
        }
    }
}
