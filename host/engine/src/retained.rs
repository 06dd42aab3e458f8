//! What `wasi:http` keeps for a guest: requests, headers and bodies that were filled and not sent.
//!
//! wasmtime holds them in the sandbox's table and counts none of their bytes. So the table is
//! walked now and then, as often as calls can have added something that matters, and what lies in
//! it is put on the sandbox's account. A body is counted with all that its queue can hold, for what
//! is in it cannot be seen.
//!
//! A guest that holds more than it may is ended at the next tick: between two walks it can add
//! [`CALLS_PER_ENTRY`] of the table's entries at most.

use std::any::Any;
use wasmtime::component::ResourceTable;
use wasmtime_wasi_http::p2::bindings::http::types::Method;
use wasmtime_wasi_http::p2::body::HostOutgoingBody;
use wasmtime_wasi_http::p2::types::{HostOutgoingRequest, HostOutgoingResponse};
use wasmtime_wasi_http::{FieldMap, p3};

/// One write of a guest into the body of a request: larger ones are cut.
pub(crate) const BODY_CHUNK_BYTES: usize = 64 << 10;
/// Writes that are queued for whoever sends the body.
pub(crate) const BODY_CHUNKS: usize = 1;
/// What a body may hold: its queue has one place more than is asked for, and one write is on its
/// way into it.
const BODY_BYTES: u64 = (BODY_CHUNKS as u64 + 2) * BODY_CHUNK_BYTES as u64;
/// Entry of the table, with what every resource has around it.
const ENTRY_BYTES: u64 = 256;
/// Headers of one block that are added up one by one; a block of more counts as full.
const COUNTED_HEADERS: usize = 1_024;

/// Walks so often that their cost per call is that of a few entries.
const CALLS_PER_ENTRY: usize = 16;
/// Calls between two walks, at least.
const LEAST_CALLS: usize = 8;

/// When the table was last walked, and what was found.
#[derive(Default)]
pub(crate) struct Retained {
    calls_left: usize,
    pub(crate) bytes: u64,
}

impl Retained {
    /// Takes note of a call; the bytes in the table, when it is time to walk it.
    pub(crate) fn call(&mut self, table: &mut ResourceTable) -> Option<u64> {
        if self.calls_left > 0 {
            self.calls_left -= 1;
            return None;
        }
        let mut entries = 0;
        let mut bytes = 0;
        for entry in table.iter_mut() {
            entries += 1;
            bytes += ENTRY_BYTES + bytes_of(entry);
        }
        self.calls_left = LEAST_CALLS.max(entries / CALLS_PER_ENTRY);
        Some(bytes)
    }
}

fn bytes_of(entry: &dyn Any) -> u64 {
    if let Some(fields) = entry.downcast_ref::<FieldMap>() {
        return headers(fields);
    }
    if let Some(request) = entry.downcast_ref::<HostOutgoingRequest>() {
        let texts = [&request.authority, &request.path_with_query];
        let texts = texts.into_iter().flatten().map(String::len).sum::<usize>();
        let method = match &request.method {
            Method::Other(method) => method.len(),
            _ => 0,
        };
        return (texts + method) as u64 + headers(&request.headers) + body(request.body.is_some());
    }
    // WASI 0.3: bodies are the guest's own streams.
    if let Some(request) = entry.downcast_ref::<p3::Request>() {
        let authority = request.authority.as_ref();
        let path = request.path_with_query.as_ref();
        let texts = authority.map_or(0, |text| text.as_str().len())
            + path.map_or(0, |text| text.as_str().len())
            + request.method.as_str().len();
        return texts as u64 + headers(&request.headers);
    }
    if let Some(response) = entry.downcast_ref::<p3::Response>() {
        return headers(&response.headers);
    }
    if let Some(response) = entry.downcast_ref::<HostOutgoingResponse>() {
        return headers(&response.headers) + body(response.body.is_some());
    }
    body(entry.is::<HostOutgoingBody>())
}

fn body(is_there: bool) -> u64 {
    if is_there { BODY_BYTES } else { 0 }
}

fn headers(fields: &FieldMap) -> u64 {
    if fields.len() > COUNTED_HEADERS {
        return crate::wasi::MAX_HTTP_FIELD_BYTES as u64;
    }
    let sizes = fields
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + size_of::<http::HeaderValue>());
    sizes.sum::<usize>() as u64
}
