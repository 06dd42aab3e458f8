//! How many sandboxes fit, and how their memory is put back in order after each.
//!
//! The pool is sized from the machine: memory, `vm.max_map_count`, address space. It never falls back to allocating on
//! demand: a pool that cannot be had is an error that says what to change.
//!
//! One sandbox is one *slot*: a memory, a stack, [`TABLES_PER_SLOT`] tables. A component that declares more takes as
//! many slots as it needs, so a call that was admitted always finds its memories.

use crate::checks::{Check, CheckStatus};
use crate::machine::Machine;

/// How the pool is sized.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolOptions {
    /// Sandboxes alive at once; `None`: as many as the machine carries.
    pub max_sandboxes: Option<u32>,
}

impl PoolOptions {
    /// A pool of exactly this many sandboxes. A small one starts faster: a thousand cost about a millisecond.
    pub fn sized(max_sandboxes: u32) -> PoolOptions {
        PoolOptions {
            max_sandboxes: Some(max_sandboxes),
        }
    }
}

/// More than this and bookkeeping outgrows what one node can run.
const MOST_SANDBOXES: u64 = 10_000;
/// Fewer than this is no node.
const FEWEST_SANDBOXES: u64 = 16;
/// Mappings a live sandbox takes: two for its stack, up to three for its memory.
const MAPPINGS_PER_SANDBOX: u64 = 5;
/// The pool of concurrent components has this part of the other one's sandboxes, on top of them.
const CONCURRENT_PART: u32 = 8;
/// Mappings left to the rest of the process: libraries, heaps, artifacts, thread stacks.
const MAPPINGS_RESERVED: u64 = 4_096;
/// What a live, idle sandbox keeps resident (33 KiB measured), doubled for what it does not share.
const RESIDENT_BYTES_PER_SANDBOX: u64 = 64 << 10;
/// Address space of one slot: memory and guard, stack, tables.
const ADDRESS_SPACE_PER_SANDBOX: u64 = (4 << 30) + (40 << 20);
/// Half of what a process has on x86-64 and most of AArch64, 47 bits; the second pool takes an eighth of that.
const ADDRESS_SPACE: u64 = 64 << 40;
/// Stacks beyond those of the sandboxes: some are still being put back.
const SPARE_STACKS: u32 = 8;
/// Instances of components in one component, at most: in the pool of concurrent components each may
/// keep a stack while it waits, so that many are there besides.
const STACKS_OF_ONE: u32 = 256;
/// Slots that keep the mapping of what they last ran, at most.
const WARM_SLOTS: u32 = 256;
/// Tables in a slot. A Rust component for WASI 0.2 has two to four.
pub(crate) const TABLES_PER_SLOT: u32 = 4;

/// The pool, decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pool {
    pub(crate) sandboxes: u32,
    pub(crate) instances_per_sandbox: u32,
    pub(crate) memories: u32,
    pub(crate) tables: u32,
    pub(crate) stacks: u32,
    /// Slots that keep the mapping of the component they last ran.
    pub(crate) warm_slots: u32,
    pub(crate) pagemap_scan: bool,
    /// Dirty bytes per memory that are rewritten rather than given back to the kernel.
    pub(crate) keep_resident_bytes: usize,
    pub(crate) table_keep_resident_bytes: usize,
    pub(crate) stack_keep_resident_bytes: usize,
}

impl Pool {
    /// A pool that was not asked for by size shrinks to no less than this.
    pub(crate) const FEWEST: u32 = FEWEST_SANDBOXES as u32;

    /// Sizes the pool for `machine`.
    pub(crate) fn new(options: &PoolOptions, machine: &Machine) -> Pool {
        let sandboxes = options
            .max_sandboxes
            .map_or_else(|| fitting(machine), |asked| asked.max(1));
        // A swapped-out dirty page is not seen by the scan, so it would survive into the next sandbox
        // (bytecodealliance/wasmtime#14357).
        let pagemap_scan = machine.pagemap_scan && !machine.swap;
        Pool {
            sandboxes,
            instances_per_sandbox: 32,
            memories: sandboxes,
            tables: sandboxes.saturating_mul(TABLES_PER_SLOT),
            // One runs at a time in a sandbox; some to spare while one is being put back.
            stacks: sandboxes.saturating_add(SPARE_STACKS),
            warm_slots: sandboxes.min(WARM_SLOTS),
            pagemap_scan,
            // Without the scan the kernel is told to drop every page, which costs faults but never copies clean ones.
            keep_resident_bytes: if pagemap_scan {
                keep_resident(machine.memory_bytes, sandboxes)
            } else {
                0
            },
            table_keep_resident_bytes: if pagemap_scan { 64 << 10 } else { 0 },
            stack_keep_resident_bytes: 16 << 10,
        }
    }

    /// The pool of concurrent components: as large when a size was asked for, else a part of this one.
    pub(crate) fn concurrent(&self, options: &PoolOptions) -> Pool {
        let sandboxes = match options.max_sandboxes {
            Some(_) => self.sandboxes,
            None => (self.sandboxes / CONCURRENT_PART).max(Pool::FEWEST),
        };
        Pool {
            memories: sandboxes,
            tables: sandboxes.saturating_mul(TABLES_PER_SLOT),
            // Each call has a fiber of its own besides those of its tasks.
            stacks: sandboxes
                .saturating_mul(2)
                .saturating_add(SPARE_STACKS + STACKS_OF_ONE),
            warm_slots: sandboxes.min(WARM_SLOTS),
            sandboxes,
            ..self.clone()
        }
    }

    /// What the pool reserves.
    pub(crate) fn address_space_gib(&self) -> u64 {
        self.address_space_bytes() >> 30
    }

    pub(crate) fn address_space_bytes(&self) -> u64 {
        u64::from(self.sandboxes) * ADDRESS_SPACE_PER_SANDBOX
    }

    /// Stacks that a concurrent component of so many slots is counted for: each of its memories has
    /// an instance, which may wait in a call of another and keeps the stack it waits on; so does
    /// the call itself, and the store's own worker. One that has more instances than memories may
    /// take more, of those that are there besides.
    pub(crate) fn stacks(slots: u32) -> u32 {
        slots.saturating_add(2)
    }

    /// Slots taken by a component with this many memories and tables.
    pub(crate) fn slots(memories: u32, tables: u32) -> u32 {
        memories.max(tables.div_ceil(TABLES_PER_SLOT)).max(1)
    }

    /// What to say about the machine.
    pub(crate) fn checks(&self, machine: &Machine) -> Vec<Check> {
        vec![
            self.scan_check(machine),
            swap_check(machine),
            self.map_check(machine),
            self.size_check(machine),
            files_check(machine),
        ]
    }

    fn scan_check(&self, machine: &Machine) -> Check {
        let (status, detail, fix) = match (self.pagemap_scan, machine.pagemap_scan) {
            (true, _) => (CheckStatus::Ok, "on: memories are reset page by page", ""),
            (false, true) => (
                CheckStatus::Warn,
                "off, because swap is on: starting a sandbox takes twice as long",
                "run `swapoff -a`",
            ),
            (false, false) => (
                CheckStatus::Warn,
                "the kernel has none: starting a sandbox takes twice as long",
                "run Linux 6.7 or newer",
            ),
        };
        Check {
            name: "pagemap-scan",
            status,
            detail: detail.into(),
            fix: fix.into(),
        }
    }

    fn map_check(&self, machine: &Machine) -> Check {
        let wanted = MOST_SANDBOXES * 9 / 8 * MAPPINGS_PER_SANDBOX + MAPPINGS_RESERVED;
        let enough = u64::from(self.sandboxes) <= fitting_maps(machine);
        let count = machine.max_map_count;
        Check {
            name: "max-map-count",
            status: if enough {
                CheckStatus::Ok
            } else {
                CheckStatus::Warn
            },
            detail: format!(
                "{count} mappings, for {} sandboxes at once",
                fitting_maps(machine)
            ),
            fix: if enough {
                String::new()
            } else {
                format!("run `sysctl -w vm.max_map_count={wanted}`")
            },
        }
    }

    fn size_check(&self, machine: &Machine) -> Check {
        Check {
            name: "pool",
            status: CheckStatus::Ok,
            detail: format!(
                "{} sandboxes at once on {} MiB of memory",
                self.sandboxes,
                machine.memory_bytes >> 20
            ),
            fix: String::new(),
        }
    }
}

fn swap_check(machine: &Machine) -> Check {
    let (status, detail, fix) = if machine.swap {
        (
            CheckStatus::Warn,
            "on: memory of guests may reach the disk",
            "run `swapoff -a`",
        )
    } else {
        (CheckStatus::Ok, "off", "")
    };
    Check {
        name: "swap",
        status,
        detail: detail.into(),
        fix: fix.into(),
    }
}

/// A node needs a descriptor per connection and per mapped artifact.
fn files_check(machine: &Machine) -> Check {
    const WANTED: u64 = 4_096;
    let enough = machine.open_files.is_none_or(|limit| limit >= WANTED);
    Check {
        name: "open-files",
        status: if enough {
            CheckStatus::Ok
        } else {
            CheckStatus::Warn
        },
        detail: machine.open_files.map_or_else(
            || "not limited".into(),
            |limit| format!("{limit} descriptors"),
        ),
        fix: if enough {
            String::new()
        } else {
            format!("run `ulimit -n {WANTED}`")
        },
    }
}

/// Dirty bytes that an idle slot keeps: all that were in use at once keep a small share of the
/// machine's memory together, for nothing takes it from them while nothing runs. A guest in Rust
/// dirties a few pages.
fn keep_resident(memory_bytes: u64, sandboxes: u32) -> usize {
    /// Of the machine's memory, kept by idle slots.
    const SHARE: u64 = 512;
    /// Slots in use at once, on a busy node.
    const BUSY_SLOTS: u64 = 768;
    let each = memory_bytes / SHARE / u64::from(sandboxes).min(BUSY_SLOTS);
    (each & !0xffff).clamp(32 << 10, 1 << 20) as usize
}

fn fitting(machine: &Machine) -> u32 {
    let memory = machine.memory_bytes / 2 / RESIDENT_BYTES_PER_SANDBOX;
    let space = machine
        .address_space_bytes
        .map_or(ADDRESS_SPACE, |limit| limit / 2)
        .min(ADDRESS_SPACE)
        / ADDRESS_SPACE_PER_SANDBOX;
    let most = memory
        .min(space)
        .min(fitting_maps(machine))
        .clamp(FEWEST_SANDBOXES, MOST_SANDBOXES);
    most as u32
}

fn fitting_maps(machine: &Machine) -> u64 {
    let mappings = machine.max_map_count.saturating_sub(MAPPINGS_RESERVED);
    mappings / MAPPINGS_PER_SANDBOX * 8 / 9
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Machine {
        Machine {
            memory_bytes: 16 << 30,
            max_map_count: 65_530,
            swap: false,
            address_space_bytes: None,
            open_files: None,
            pagemap_scan: true,
        }
    }

    fn sized(machine: &Machine) -> Pool {
        Pool::new(&PoolOptions::default(), machine)
    }

    #[test]
    fn a_large_machine_carries_ten_thousand() {
        assert_eq!(sized(&machine()).sandboxes, 10_000);
    }

    #[test]
    fn a_one_gigabyte_machine_gets_a_smaller_pool() {
        let small = sized(&Machine {
            memory_bytes: 1 << 30,
            ..machine()
        });
        assert!(
            (1_000..10_000).contains(&small.sandboxes),
            "{}",
            small.sandboxes
        );
    }

    #[test]
    fn few_mappings_make_a_smaller_pool() {
        let few = Machine {
            max_map_count: 16_384,
            ..machine()
        };
        assert_eq!(sized(&few).sandboxes, (16_384 - 4_096) / 5 * 8 / 9);
        let check = Pool::new(&PoolOptions::sized(10_000), &few).map_check(&few);
        assert_eq!(check.status, CheckStatus::Warn);
        assert!(check.fix.contains("vm.max_map_count"));
    }

    /// What a burst of calls has dirtied must not stay resident when it is over.
    #[test]
    fn idle_slots_keep_a_small_share_of_memory() {
        let large = Machine {
            memory_bytes: 24 << 30,
            ..machine()
        };
        let kept = sized(&large).keep_resident_bytes as u64;
        assert!(kept * 600 <= 50 << 20, "{kept} bytes each");
        let small = Pool::new(&PoolOptions::sized(16), &large);
        assert_eq!(small.keep_resident_bytes, 1 << 20);
    }

    /// A swapped-out page escapes the scan and would carry one tenant's bytes to the next.
    #[test]
    fn swap_turns_the_scan_off() {
        assert!(sized(&machine()).pagemap_scan);
        let swapping = Machine {
            swap: true,
            ..machine()
        };
        assert!(!sized(&swapping).pagemap_scan);
        assert!(
            sized(&swapping)
                .scan_check(&swapping)
                .fix
                .contains("swapoff")
        );
    }

    #[test]
    fn a_limited_address_space_makes_a_smaller_pool() {
        let limited = Machine {
            address_space_bytes: Some(1 << 40),
            ..machine()
        };
        assert!(sized(&limited).sandboxes < 200);
    }

    #[test]
    fn a_component_of_many_memories_takes_many_slots() {
        assert_eq!(Pool::slots(0, 0), 1);
        assert_eq!(Pool::slots(1, 4), 1);
        assert_eq!(Pool::slots(3, 9), 3);
        assert_eq!(Pool::slots(1, 64), 16);
    }
}
