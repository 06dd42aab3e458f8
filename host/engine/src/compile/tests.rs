//! Real workers on good, bad and hostile components. The programs that are started again are these tests themselves.

use std::sync::atomic::{AtomicUsize, Ordering};

use tempfile::TempDir;

use super::*;
use crate::scan;

/// The engine, its compiler and the directory they use, gone with the test.
struct Bench {
    engine: wasmtime::Engine,
    compiler: Compiler,
    directory: TempDir,
}

fn bench(adjust: impl FnOnce(&mut Options)) -> Bench {
    let engine = wasmtime::Engine::new(&wasmtime_config(Concurrency::Off, None)).unwrap();
    let directory = TempDir::new().unwrap();
    let mut options = Options {
        workers: 2,
        threads: 2,
        ..Options::default()
    };
    adjust(&mut options);
    let compiler = Compiler::new(directory.path(), &engine, options).unwrap();
    Bench {
        engine,
        compiler,
        directory,
    }
}

impl Bench {
    async fn compile(&self, bytes: &[u8]) -> Result<Artifact, Error> {
        self.compile_for("", bytes).await
    }

    async fn compile_for(&self, tenant: &str, bytes: &[u8]) -> Result<Artifact, Error> {
        let bytes = Bytes::copy_from_slice(bytes);
        self.compiler
            .artifact(tenant.into(), Digest::of(&bytes), move || source(bytes))
            .await
    }

    /// A component that must not be asked for, because its artifact or its failure is known.
    async fn recall(&self, bytes: &[u8]) -> Result<Artifact, Error> {
        let unasked = || -> BoxFuture<'static, Result<Bytes, std::io::Error>> {
            panic!("asked for the bytes again")
        };
        self.compiler
            .artifact("".into(), Digest::of(bytes), unasked)
            .await
    }

    fn attempt(&self, name: &str) -> Result<Vec<u8>, Error> {
        let (cancelled, _open) = std::io::pipe().unwrap();
        match process::run(&self.compiler.0.job(
            Task::Attempt,
            self.compiler.0.target(Concurrency::Off).unwrap(),
            Digest::of(b""),
            name.as_bytes(),
            &cancelled,
        )) {
            Ok(done) => Ok(done.artifact),
            Err(Stopped::Failed(error)) => Err(error),
            Err(Stopped::Cancelled) => panic!("nobody cancelled"),
        }
    }
}

fn source(bytes: Bytes) -> BoxFuture<'static, Result<Bytes, std::io::Error>> {
    async { Ok(bytes) }.boxed()
}

fn small() -> Vec<u8> {
    wat::parse_str(
        "(component
           (core module $m (func (export \"f\") (result i32) i32.const 42))
           (core instance $i (instantiate $m))
           (func (export \"f\") (result u32) (canon lift (core func $i \"f\"))))",
    )
    .unwrap()
}

/// One valid function that keeps the register allocator busy: `locals` values, all alive across `blocks` blocks.
fn pathological(locals: u32, blocks: u32) -> Vec<u8> {
    use wasm_encoder::{
        BlockType, CodeSection, Component, Function, FunctionSection, Module, ModuleSection,
        TypeSection, ValType,
    };
    let mut types = TypeSection::new();
    types.ty().function([ValType::I32], [ValType::I64]);
    let mut functions = FunctionSection::new();
    functions.function(0);
    let mut body = Function::new([(locals, ValType::I64)]);
    let mut code = body.instructions();
    for block in 0..blocks {
        code.block(BlockType::Empty).local_get(0).br_if(0);
        code.local_get(block % locals + 1)
            .i64_const(i64::from(block))
            .i64_add();
        code.local_set(block.wrapping_mul(7919) % locals + 1).end();
    }
    code.i64_const(0);
    for local in 1..=locals {
        code.local_get(local).i64_xor();
    }
    code.end();
    let mut bodies = CodeSection::new();
    bodies.function(&body);
    let mut module = Module::new();
    module.section(&types).section(&functions).section(&bodies);
    let mut component = Component::new();
    component.section(&ModuleSection(&module));
    component.finish()
}

/// Takes minutes and gigabytes where nothing stops it.
fn endless() -> Vec<u8> {
    pathological(4_000, 60_000)
}

/// The code that comes out of the worker is code for this engine, and it is kept.
#[tokio::test]
async fn compiled_component_runs_and_is_compiled_once() {
    let bench = bench(|_| {});
    let artifact = bench.compile(&small()).await.unwrap();
    assert!(!artifact.cached && artifact.compile_time > Duration::ZERO && artifact.bytes > 0);
    let component = artifact.load(&bench.engine).unwrap();
    assert!(component.get_export_index(None, "f").is_some());

    let again = bench.recall(&small()).await.unwrap();
    assert_eq!(
        (again.cached, again.compile_time, again.bytes),
        (true, Duration::ZERO, artifact.bytes)
    );
    again.load(&bench.engine).unwrap();

    let restarted =
        Compiler::new(bench.directory.path(), &bench.engine, Options::default()).unwrap();
    let again = Bench {
        compiler: restarted,
        ..bench
    }
    .recall(&small())
    .await
    .unwrap();
    assert!(again.cached);
}

/// Whoever takes the compiler over must find nothing to do.
#[test]
fn locked_in_worker_can_reach_nothing() {
    let bench = bench(|_| {});
    for name in selftest::FORBIDDEN {
        let answer = bench.attempt(name).unwrap();
        let refused = [libc::EPERM.to_string(), libc::EACCES.to_string()].map(String::into_bytes);
        assert!(
            refused.contains(&answer),
            "{name}: {}",
            String::from_utf8_lossy(&answer)
        );
    }
}

/// Where the kernel does not filter system calls the limits are all there is, and someone should know.
#[test]
fn doctor_says_that_workers_are_locked_in() {
    let check = bench(|_| {}).compiler.check();
    assert_eq!(
        (check.name, check.status),
        ("compile-jail", CheckStatus::Ok),
        "{}",
        check.detail
    );
}

/// A worker that hangs is killed at its wall time, and its processor time is bounded by the kernel as well.
#[test]
fn spinning_worker_is_stopped() {
    let limit = Duration::from_secs(1);
    let bench = bench(|options| options.timeout = limit);
    let error = bench.attempt("burn processor time").unwrap_err();
    assert!(
        matches!(error, Error::OutOfTime { limit: found } if found == limit),
        "{error:?}"
    );
}

#[test]
fn crash_and_panic_of_the_compiler_are_told_apart_from_the_components_faults() {
    let bench = bench(|_| {});
    let crash = bench.attempt("crash").unwrap_err();
    assert!(
        matches!(&crash, Error::Crashed { how } if how == "signal 6"),
        "{crash:?}"
    );
    assert!(crash.hint().unwrap().contains("report"));
}

/// A worker that was taken over could try to fill the engine's memory.
#[test]
fn babbling_worker_is_cut_off() {
    let bench = bench(|options| options.timeout = Duration::from_secs(20));
    let error = bench.attempt("talk for ever").unwrap_err();
    assert!(matches!(error, Error::ArtifactTooLarge { .. }), "{error:?}");
}

/// Compiling for minutes: killed, told so, and remembered.
#[tokio::test]
async fn component_that_takes_too_long_is_given_up() {
    let limit = Duration::from_millis(700);
    let bench = bench(|options| options.timeout = limit);
    let error = bench.compile(&endless()).await.unwrap_err();
    assert!(
        matches!(error, Error::OutOfTime { limit: found } if found == limit),
        "{error:?}"
    );
    assert!(
        error
            .hint()
            .unwrap()
            .contains("raise the node's compile limits")
    );
    let again = bench.recall(&endless()).await.unwrap_err();
    assert!(matches!(again, Error::OutOfTime { .. }), "{again:?}");
}

/// Compiling into gigabytes: stopped by the kernel at the budget.
#[tokio::test]
async fn component_that_takes_too_much_memory_is_given_up() {
    let bench = bench(|options| options.memory_bytes = 48 << 20);
    let error = bench.compile(&endless()).await.unwrap_err();
    assert!(
        matches!(error, Error::OutOfMemory { limit_bytes } if limit_bytes == 48 << 20),
        "{error:?}"
    );
    assert!(bench.compile(&small()).await.is_ok());
}

/// One hostile component must cost other tenants nothing but its share of the machine.
#[tokio::test]
async fn others_compile_while_a_hostile_component_does() {
    let bench = bench(|_| {});
    let hostile = endless();
    let mut hostile = std::pin::pin!(bench.compile(&hostile));
    assert!((&mut hostile).now_or_never().is_none());
    let component = small();
    tokio::select! {
        ended = &mut hostile => panic!("{ended:?}"),
        artifact = bench.compile_for("other", &component) => assert!(artifact.is_ok()),
    }
}

/// When the last one stops waiting, the worker's slot is free again: there is only one here, and it is taken for two minutes.
#[tokio::test]
async fn worker_that_nobody_waits_for_is_killed() {
    let bench = bench(|options| options.workers = 1);
    let hostile = endless();
    {
        let mut first = std::pin::pin!(bench.compile(&hostile));
        let mut second = std::pin::pin!(bench.compile(&hostile));
        while bench.compiler.0.line.free() > 0 {
            assert!(
                (&mut first).now_or_never().is_none() && (&mut second).now_or_never().is_none()
            );
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    bench.compile(&small()).await.unwrap();
}

/// One who leaves must not take the answer from those who stay.
#[tokio::test]
async fn worker_lives_while_one_still_waits() {
    let bench = bench(|_| {});
    let component = small();
    let stays = bench.compile(&component);
    let mut stays = std::pin::pin!(stays);
    {
        let mut leaves = std::pin::pin!(bench.compile(&component));
        assert!((&mut leaves).now_or_never().is_none());
        assert!((&mut stays).now_or_never().is_none());
    }
    assert!(stays.await.is_ok());
}

/// A thousand first calls to a new function are one compilation.
#[tokio::test]
async fn component_asked_for_by_many_is_compiled_once() {
    let bench = bench(|_| {});
    let asked = Arc::new(AtomicUsize::new(0));
    let bytes = Bytes::from(small());
    let everyone = (0..50).map(|_| {
        let (asked, bytes) = (Arc::clone(&asked), bytes.clone());
        bench
            .compiler
            .artifact("".into(), Digest::of(&small()), move || {
                asked.fetch_add(1, Ordering::Relaxed);
                source(bytes)
            })
    });
    for artifact in futures::future::join_all(everyone).await {
        artifact.unwrap().load(&bench.engine).unwrap();
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

/// The worker's own words reach the author.
#[tokio::test]
async fn invalid_component_is_refused_with_the_reason() {
    let bench = bench(|_| {});
    let wrong_type =
        wat::parse_str("(component (core module (func (result i32) i64.const 1)))").unwrap();
    let error = bench.compile(&wrong_type).await.unwrap_err();
    assert!(
        matches!(&error, Error::Invalid { message } if message.contains("type mismatch")),
        "{error:?}"
    );
    // Types that lead to types: 2,000 lists inside one another, each harmless to the static checks.
    let lists = (1..2_000)
        .map(|i| format!("(type (list {}))", i - 1))
        .collect::<String>();
    let deep = wat::parse_str(format!("(component (type (list u8)) {lists})")).unwrap();
    let error = bench.compile(&deep).await.unwrap_err();
    assert!(
        matches!(&error, Error::Invalid { message } if message.contains("nesting")),
        "{error:?}"
    );
}

/// What the static checks refuse never reaches a worker.
#[tokio::test]
async fn upload_that_is_no_component_is_refused() {
    let bench = bench(|options| options.caps.functions = 0);
    let module = wat::parse_str("(module)").unwrap();
    let error = bench.compile(&module).await.unwrap_err();
    assert!(
        matches!(error, Error::Refused(scan::Error::CoreModule)),
        "{error:?}"
    );
    let error = bench.compile(&small()).await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::Refused(scan::Error::TooMany {
                what: "functions",
                ..
            })
        ),
        "{error:?}"
    );
}

/// A store may be damaged, or a peer may lie.
#[tokio::test]
async fn bytes_with_another_digest_are_refused() {
    let bench = bench(|_| {});
    let bytes = Bytes::from(small());
    let asked = Digest::of(b"something else");
    let error = bench
        .compiler
        .artifact("".into(), asked, || source(bytes))
        .await
        .unwrap_err();
    assert!(
        matches!(error, Error::WrongDigest { expected, .. } if expected == asked),
        "{error:?}"
    );
}

/// What the source says is passed on, and is nobody's fault: the next one may try again.
#[tokio::test]
async fn unreadable_component_may_be_tried_again() {
    let bench = bench(|_| {});
    let digest = Digest::of(&small());
    let broken = || async { Err::<Bytes, _>(std::io::Error::other("blob is missing")) }.boxed();
    let error = bench
        .compiler
        .artifact("".into(), digest, broken)
        .await
        .unwrap_err();
    assert_eq!(
        std::error::Error::source(&error).unwrap().to_string(),
        "blob is missing"
    );
    assert!(bench.compile(&small()).await.is_ok());
}

/// A disk that takes nothing costs the next start its time; this call gets its answer.
#[tokio::test]
async fn component_runs_although_it_cannot_be_stored() {
    let bench = bench(|_| {});
    std::fs::remove_dir_all(bench.directory.path().join(CACHE_DIRECTORY)).unwrap();
    let artifact = bench.compile(&small()).await.unwrap();
    assert!(!artifact.cached);
    artifact.load(&bench.engine).unwrap();
}

/// An artifact that went bad is replaced, not run and not fatal.
#[tokio::test]
async fn damaged_artifact_is_compiled_again() {
    let bench = bench(|_| {});
    bench.compile(&small()).await.unwrap();
    let cache = bench.directory.path().join(CACHE_DIRECTORY);
    let name = |file: &std::fs::DirEntry| {
        file.file_name()
            .to_str()
            .is_some_and(|name| name.ends_with(".artifact"))
    };
    let file = std::fs::read_dir(cache)
        .unwrap()
        .flatten()
        .find(name)
        .unwrap()
        .path();
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    // A file that is written twice within a tick of the file system's clock looks untouched.
    std::thread::sleep(std::time::Duration::from_millis(20));
    std::fs::write(&file, bytes).unwrap();
    let restarted =
        Compiler::new(bench.directory.path(), &bench.engine, Options::default()).unwrap();
    let bench = Bench {
        compiler: restarted,
        ..bench
    };
    let artifact = bench.compile(&small()).await.unwrap();
    assert!(!artifact.cached);
    artifact.load(&bench.engine).unwrap();
}

/// Gets a worker spinning and gives its process id; it lives as long as this thread.
fn spinning(bench: &Bench) -> rustix::process::Pid {
    let (cancelled, _open) = std::io::pipe().unwrap();
    let job = bench.compiler.0.job(
        Task::Attempt,
        bench.compiler.0.target(Concurrency::Off).unwrap(),
        Digest::of(b""),
        b"burn processor time",
        &cancelled,
    );
    let pid = i32::try_from(process::abandon(&job)).unwrap();
    rustix::process::Pid::from_raw(pid).unwrap()
}

fn reap(pid: rustix::process::Pid) -> Option<i32> {
    let options = rustix::process::WaitOptions::empty();
    let (_, status) = rustix::process::waitpid(Some(pid), options)
        .unwrap()
        .unwrap();
    status.terminating_signal()
}

/// The kernel's own view of a worker: each limit is set, whatever else fails.
#[test]
fn worker_is_confined_as_it_was_asked_to_be() {
    let bench = bench(|options| {
        options.timeout = Duration::from_secs(30);
        options.threads = 3;
        options.memory_bytes = 4 << 30;
        options.niceness = 3;
    });
    let pid = spinning(&bench);
    let read = |file: &str| {
        std::fs::read_to_string(format!("/proc/{}/{file}", pid.as_raw_nonzero())).unwrap()
    };
    let (status, limits) = (read("status"), read("limits"));
    assert_eq!(read("oom_score_adj").trim(), "1000");
    // The seventeenth field after the name, proc_pid_stat(5).
    let nice = |stat: String| -> i32 {
        let fields = stat.rsplit(')').next().unwrap();
        fields.split_whitespace().nth(16).unwrap().parse().unwrap()
    };
    let own = nice(std::fs::read_to_string("/proc/self/stat").unwrap());
    assert_eq!(nice(read("stat")), (own + 3).min(19));
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    reap(pid);
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_whitespace().nth(1))
            .unwrap()
    };
    assert_eq!((field("NoNewPrivs:"), field("Seccomp:")), ("1", "2"));
    assert_eq!(
        field("Threads:"),
        "4",
        "three that compile, and the one that waits for them"
    );
    let limit = |name: &str| {
        let line = limits
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap();
        line.split_whitespace().next().unwrap().to_owned()
    };
    for name in [
        "Max core file size",
        "Max file size",
        "Max open files",
        "Max processes",
    ] {
        assert_eq!(limit(name), "0", "{name}");
    }
    assert_eq!(
        limit("Max cpu time"),
        "93",
        "thirty seconds and one, on three threads"
    );
    for name in ["Max data size", "Max address space"] {
        let bytes: u64 = limit(name).parse().unwrap();
        assert!((4 << 30..8 << 30).contains(&bytes), "{name}: {bytes}");
    }
}

/// However many are deployed at once, so many compilers run and the others wait.
#[tokio::test]
async fn components_wait_for_a_free_worker() {
    let bench = bench(|options| options.workers = 3);
    let line = &bench.compiler.0.line;
    let mut taken = Vec::new();
    for (tenant, component) in [("a", "1"), ("a", "2"), ("b", "3")] {
        taken.push(line.turn(tenant, Digest::of(component.as_bytes())).await);
    }
    let component = small();
    let mut waits = std::pin::pin!(bench.compile(&component));
    let early = tokio::time::timeout(Duration::from_millis(300), &mut waits).await;
    assert!(early.is_err(), "compiled without a slot");
    drop(taken);
    waits.await.unwrap();
}

#[tokio::test]
async fn artifacts_stay_within_their_budget() {
    let bench = bench(|options| options.cache_bytes = 1);
    let other = wat::parse_str("(component (core module))").unwrap();
    bench.compile(&small()).await.unwrap();
    bench.compile(&other).await.unwrap();
    assert!(bench.recall(&other).await.is_ok());
    assert!(!bench.compile(&small()).await.unwrap().cached);
}

/// A node that is killed must leave no compilers behind. The thread that starts a worker stands for the node here: its end is
/// what the worker asks the kernel to be told of.
#[test]
fn worker_does_not_outlive_who_started_it() {
    let bench = bench(|_| {});
    let pid = thread::spawn(move || spinning(&bench)).join().unwrap();
    assert_eq!(reap(pid), Some(libc::SIGKILL));
}

/// The scan does not look into types, so a component whose only async is there is compiled at the second attempt.
#[tokio::test(flavor = "multi_thread")]
async fn async_in_a_type_alone_is_found_by_validation() {
    let bench = bench(|_| {});
    let compile = async |text: &str| {
        let bytes = wat::parse_str(text).unwrap();
        let artifact = bench.compile(&bytes).await.unwrap();
        let again = bench.compile(&bytes).await.unwrap();
        assert!(again.cached && again.concurrency == artifact.concurrency);
        artifact.concurrency
    };
    let plain = r#"(component (type (func (result u32))))"#;
    assert_eq!(compile(plain).await, Concurrency::Off);
    let typed = r#"(component (type (func async (result u32))))"#;
    assert_eq!(compile(typed).await, Concurrency::On);
}

/// On a machine of 1 GiB two compilations of 4 GiB each would be the end of the node.
#[test]
fn compilations_take_half_of_the_machine_together() {
    const GIB: u64 = 1 << 30;
    assert_eq!(share(GIB, 4), (1, 512 << 20));
    assert_eq!(share(4 * GIB, 1), (2, GIB));
    assert_eq!(share(8 * GIB, 4), (4, GIB));
    assert_eq!(share(256 * GIB, 16), (16, 4 * GIB));
    // The floor is kept even where it is more than half.
    assert_eq!(share(GIB / 2, 2), (1, 512 << 20));
}
