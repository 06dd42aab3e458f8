//! Sizes both ends of a connection agree on. All in bytes.

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Arguments or a result, each, unless a limit says less. DESIGN's payload bound.
pub const MAX_PAYLOAD_BYTES: usize = 64 * MIB;

/// One gRPC message: a whole payload, plus room for what travels around it (call id, failure text,
/// usage, captured output).
pub const MAX_MESSAGE_BYTES: usize = MAX_PAYLOAD_BYTES + 4 * MIB;

/// One piece of a blob. The schema's bound on `PutRequest.data`.
pub const BLOB_CHUNK_BYTES: usize = MIB;

/// HTTP/2 window a client gives one stream: a result of a few MiB is received without a pause.
pub const STREAM_WINDOW_BYTES: u32 = 4 * 1024 * 1024;

/// HTTP/2 frame: large enough that a payload is not cut into thousands of 16 KiB pieces.
pub const MAX_FRAME_BYTES: u32 = 256 * 1024;

/// Where a `MapInputs` or `MapResults` message is closed and sent, even if more is at hand: one
/// message of small values stays within a frame.
pub const MAP_BATCH_BYTES: usize = 128 * KIB;

/// As [`MAP_BATCH_BYTES`], counted in inputs or results.
pub const MAP_BATCH_ITEMS: usize = 1024;
