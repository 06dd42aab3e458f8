//! What this machine has: memory, mappings, processors, swap, kernel. Read once, at start.

use std::fs;

/// The machine as the pool sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Machine {
    /// Physical memory, or the control group's limit where that is lower.
    pub(crate) memory_bytes: u64,
    /// `vm.max_map_count`: mappings one process may have.
    pub(crate) max_map_count: u64,
    /// Whether any swap is on.
    pub(crate) swap: bool,
    /// `RLIMIT_AS`; `None` when it is not limited.
    pub(crate) address_space_bytes: Option<u64>,
    /// `RLIMIT_NOFILE`, the soft limit; `None` when it is not limited.
    pub(crate) open_files: Option<u64>,
    /// Whether the kernel has the `PAGEMAP_SCAN` ioctl (6.7 and newer).
    pub(crate) pagemap_scan: bool,
}

/// Taken where a figure cannot be read: a small machine, so that the pool stays small.
const UNKNOWN_MEMORY_BYTES: u64 = 1 << 30;
const UNKNOWN_MAP_COUNT: u64 = 65_530;

impl Machine {
    /// Reads `/proc`, the control group and the process limits.
    pub(crate) fn read() -> Machine {
        Machine {
            memory_bytes: memory_bytes(),
            max_map_count: number("/proc/sys/vm/max_map_count").unwrap_or(UNKNOWN_MAP_COUNT),
            swap: swap_on(),
            address_space_bytes: limit(rustix::process::Resource::As),
            open_files: limit(rustix::process::Resource::Nofile),
            pagemap_scan: pagemap_scan_works(),
        }
    }
}

/// Physical memory, or what the control group allows of it.
pub(crate) fn memory_bytes() -> u64 {
    let physical = fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
            line.split_whitespace().nth(1)?.parse::<u64>().ok()
        })
        .map_or(UNKNOWN_MEMORY_BYTES, |kib| kib << 10);
    let group = control_group().and_then(|path| number(&format!("{path}/memory.max")));
    group.map_or(physical, |limit| limit.min(physical))
}

/// The directory of this process's control group, version 2.
fn control_group() -> Option<String> {
    let text = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::"))?;
    Some(format!("/sys/fs/cgroup{path}"))
}

fn number(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// Whether `/proc/swaps` lists a device below its heading. Unreadable counts as on, the careful answer.
fn swap_on() -> bool {
    fs::read_to_string("/proc/swaps").map_or(true, |text| text.lines().count() > 1)
}

fn limit(resource: rustix::process::Resource) -> Option<u64> {
    rustix::process::getrlimit(resource).current
}

/// Asks the kernel the way wasmtime will: a scan of an empty range of this process's own page map.
fn pagemap_scan_works() -> bool {
    /// `struct pm_scan_arg` of `linux/fs.h`.
    #[repr(C)]
    #[derive(Default)]
    struct Scan {
        size: u64,
        flags: u64,
        start: u64,
        end: u64,
        walk_end: u64,
        vec: u64,
        vec_len: u64,
        max_pages: u64,
        category_inverted: u64,
        category_mask: u64,
        category_anyof_mask: u64,
        return_mask: u64,
    }
    /// `_IOWR('f', 16, struct pm_scan_arg)`.
    const PAGEMAP_SCAN: libc::c_ulong = 0xc060_6610;
    let Ok(file) = fs::File::open("/proc/self/pagemap") else {
        return false;
    };
    let mut scan = Scan {
        size: size_of::<Scan>() as u64,
        ..Scan::default()
    };
    use std::os::fd::AsRawFd;
    // SAFETY: the descriptor is open for the length of the call, and `scan` is the structure the request names, its
    // size stated in it; an empty range with no result vector makes the kernel write nothing but `walk_end`.
    unsafe { libc::ioctl(file.as_raw_fd(), PAGEMAP_SCAN, &raw mut scan) == 0 }
}
