//! What a compile worker gives up before it looks at a component.
//!
//! The compiler is a million lines that were not written against attackers; whoever takes it over must find nothing to do.
//! In this order, each step as early as the ones after it allow:
//!
//! 1. [`alone`]: dies with its parent, holds no other descriptors, gains no rights, leaves no core dump.
//! 2. (The engine and its threads are made: that needs files and `clone`.)
//! 3. [`lock`]: memory, processor time and files are limited; then system calls are filtered down to memory, locks,
//!    clocks, and reading and writing what is open.
//!
//! A kernel without seccomp leaves the limits alone standing; the greeting says so, and so does `lydian doctor`.

use std::collections::BTreeMap;
use std::io;

use rustix::process::{DumpableBehavior, Pid, Resource, Rlimit, Signal};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

use super::protocol::Confinement;

/// Address space that glibc reserves for each thread's allocations without using it.
const ARENA_BYTES: u64 = 128 << 20;

/// First descriptor that is not stdin, stdout or stderr.
const FIRST_INHERITED: u32 = 3;

/// Cuts the process off from where it came from.
pub(super) fn alone(confinement: &Confinement) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    // The parent may have died before the signal was asked for.
    let parent = rustix::process::getppid()
        .map(Pid::as_raw_nonzero)
        .map_or(0, |pid| pid.get());
    if u32::try_from(parent) != Ok(confinement.parent) {
        return Err(io::Error::other(
            "the process that started this worker is gone",
        ));
    }
    rustix::thread::set_no_new_privs(true)?;
    // Nobody but root may attach to it or read its memory.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    limit(Resource::Core, 0)?;
    let _ = rustix::process::nice(confinement.niceness.into());
    be_killed_first();
    close_inherited();
    Ok(())
}

/// Should the machine run out of memory, the kernel takes a compilation that can be done again, not the node.
fn be_killed_first() {
    // Without it, as where `/proc` is not mounted, the kernel judges by size, which often comes to the same.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
}

fn close_inherited() {
    // SAFETY: the process has just started and this is its only thread; nothing has been opened yet that could be closed
    // from under its owner. A kernel without the call leaves descriptors that are close-on-exec anyway.
    unsafe { libc::syscall(libc::SYS_close_range, FIRST_INHERITED, u32::MAX, 0) };
}

/// Sets the limits and filters system calls, for all threads.
///
/// # Errors
/// The outer error: a limit could not be set, and nothing may be compiled. The inner one: the kernel does not filter.
pub(super) fn lock(confinement: &Confinement) -> io::Result<Result<(), String>> {
    let usage = Usage::now()?;
    let memory = confinement.memory_bytes;
    let reserved = ARENA_BYTES.saturating_mul(confinement.threads.saturating_add(1));
    limit(Resource::Data, usage.data_bytes.saturating_add(memory))?;
    limit(
        Resource::As,
        usage
            .address_space_bytes
            .saturating_add(memory)
            .saturating_add(reserved),
    )?;
    // At the soft limit comes a signal that says so; at the hard one only `SIGKILL`.
    let soft = confinement.cpu_seconds;
    set(Resource::Cpu, soft, soft.saturating_add(1))?;
    limit(Resource::Fsize, 0)?;
    limit(Resource::Nofile, 0)?;
    limit(Resource::Nproc, 0)?;
    Ok(filter_system_calls())
}

fn limit(resource: Resource, value: u64) -> io::Result<()> {
    set(resource, value, value)
}

fn set(resource: Resource, soft: u64, hard: u64) -> io::Result<()> {
    let limit = Rlimit {
        current: Some(soft),
        maximum: Some(hard),
    };
    Ok(rustix::process::setrlimit(resource, limit)?)
}

/// What the program takes before it compiles anything.
struct Usage {
    address_space_bytes: u64,
    data_bytes: u64,
}

impl Usage {
    /// Reads `/proc/self/statm`: size, resident, shared, text, library, data, dirty, in pages (proc(5)).
    fn now() -> io::Result<Self> {
        let statm = std::fs::read_to_string("/proc/self/statm")?;
        let pages: Vec<u64> = statm
            .split_whitespace()
            .filter_map(|number| number.parse().ok())
            .collect();
        let [size, _, _, _, _, data, ..] = pages[..] else {
            return Err(io::Error::other("`/proc/self/statm` is not as expected"));
        };
        let page = rustix::param::page_size() as u64;
        Ok(Self {
            address_space_bytes: size * page,
            data_bytes: data * page,
        })
    }
}

fn filter_system_calls() -> Result<(), String> {
    let program = filter().map_err(|error| error.to_string())?;
    seccompiler::apply_filter_all_threads(&program).map_err(|error| error.to_string())
}

/// What is left over. No path, no socket, no process, no new thread, no executable memory, no way to another process.
fn filter() -> Result<BpfProgram, seccompiler::BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        FREE.iter().map(|call| (*call, Vec::new())).collect();
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        rules.insert(
            call,
            vec![argument(
                2,
                SeccompCmpOp::MaskedEq(libc::PROT_EXEC as u64),
                0,
            )?],
        );
    }
    // `abort` sends its signal so; to itself only.
    rules.insert(
        libc::SYS_tgkill,
        vec![argument(
            0,
            SeccompCmpOp::Eq,
            u64::from(std::process::id()),
        )?],
    );
    let arch = std::env::consts::ARCH.try_into()?;
    // Refused rather than killed: the allocator asks for things it can do without.
    SeccompFilter::new(
        rules,
        SeccompAction::Errno(libc::EPERM as u32),
        SeccompAction::Allow,
        arch,
    )?
    .try_into()
}

fn argument(
    index: u8,
    operator: SeccompCmpOp,
    value: u64,
) -> Result<SeccompRule, seccompiler::BackendError> {
    SeccompRule::new(vec![SeccompCondition::new(
        index,
        SeccompCmpArgLen::Dword,
        operator,
        value,
    )?])
}

/// Calls that are allowed whatever their arguments.
const FREE: &[i64] = &[
    // What is open: stdin, stdout, stderr and their copies.
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_close,
    // Memory.
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    // Threads that exist: locks, sleep, their end.
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_restart_syscall,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_membarrier,
    libc::SYS_exit,
    libc::SYS_exit_group,
    // Clocks and randomness (hash maps' seeds).
    libc::SYS_clock_gettime,
    libc::SYS_gettimeofday,
    libc::SYS_getrandom,
    // What `abort` and a panic need.
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
];
