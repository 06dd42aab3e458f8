//! Files of a guest: each counts for as long as anything holds it, and for everything that does.

use crate::support::{engine_with, failure, invocation, prepare};
use lydian_engine::{
    Directory, Engine, FailureKind, Function, Grants, Invocation, Limits, Mount, Outcome,
};
use lydian_value::Value;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const TYPES_2: &str = r#"
  (import "wasi:io/streams@0.2.6" (instance $streams (export "input-stream" (type (sub resource)))))
  (alias export $streams "input-stream" (type $istream))
  (import "wasi:filesystem/types@0.2.6" (instance $types
    (alias outer 1 $istream (type $is))
    (export "input-stream" (type $is2 (eq $is)))
    (export "descriptor" (type $d (sub resource)))
    (type $ec (enum "access" "would-block" "already" "bad-descriptor" "busy" "deadlock" "quota" "exist" "file-too-large" "illegal-byte-sequence" "in-progress" "interrupted" "invalid" "io" "is-directory" "loop" "too-many-links" "message-size" "name-too-long" "no-device" "no-entry" "no-lock" "insufficient-memory" "insufficient-space" "not-directory" "not-empty" "not-recoverable" "unsupported" "no-tty" "no-such-device" "overflow" "not-permitted" "pipe" "read-only" "invalid-seek" "text-file-busy" "cross-device"))
    (export "error-code" (type $ec2 (eq $ec)))
    (type $pf (flags "symlink-follow"))
    (export "path-flags" (type $pf2 (eq $pf)))
    (type $of (flags "create" "directory" "exclusive" "truncate"))
    (export "open-flags" (type $of2 (eq $of)))
    (type $df (flags "read" "write" "file-integrity-sync" "data-integrity-sync" "requested-write-sync" "mutate-directory"))
    (export "descriptor-flags" (type $df2 (eq $df)))
    (export "[method]descriptor.open-at" (func (param "self" (borrow $d)) (param "path-flags" $pf2) (param "path" string) (param "open-flags" $of2) (param "flags" $df2) (result (result (own $d) (error $ec2)))))
    (export "[method]descriptor.read-via-stream" (func (param "self" (borrow $d)) (param "offset" u64) (result (result (own $is2) (error $ec2)))))))
  (alias export $types "descriptor" (type $desc))
  (import "wasi:filesystem/preopens@0.2.6" (instance $pre
    (alias outer 1 $desc (type $d))
    (export "descriptor" (type $d2 (eq $d)))
    (export "get-directories" (func (result (list (tuple (own $d2) string)))))))"#;

const TYPES_3: &str = r#"
  (import "wasi:filesystem/types@0.3.0" (instance $types
    (export "descriptor" (type $d (sub resource)))
    (type $dt (variant (case "block-device") (case "character-device") (case "directory") (case "fifo") (case "symbolic-link") (case "regular-file") (case "socket") (case "other" (option string))))
    (export "descriptor-type" (type $dt2 (eq $dt)))
    (type $de (record (field "type" $dt2) (field "name" string)))
    (export "directory-entry" (type $de2 (eq $de)))
    (type $ec (variant (case "access") (case "already") (case "bad-descriptor") (case "busy") (case "deadlock") (case "quota") (case "exist") (case "file-too-large") (case "illegal-byte-sequence") (case "in-progress") (case "interrupted") (case "invalid") (case "io") (case "is-directory") (case "loop") (case "too-many-links") (case "message-size") (case "name-too-long") (case "no-device") (case "no-entry") (case "no-lock") (case "insufficient-memory") (case "insufficient-space") (case "not-directory") (case "not-empty") (case "not-recoverable") (case "unsupported") (case "no-tty") (case "no-such-device") (case "overflow") (case "not-permitted") (case "pipe") (case "read-only") (case "invalid-seek") (case "text-file-busy") (case "cross-device") (case "other" (option string))))
    (export "error-code" (type $ec2 (eq $ec)))
    (type $pf (flags "symlink-follow"))
    (export "path-flags" (type $pf2 (eq $pf)))
    (type $of (flags "create" "directory" "exclusive" "truncate"))
    (export "open-flags" (type $of2 (eq $of)))
    (type $df (flags "read" "write" "file-integrity-sync" "data-integrity-sync" "requested-write-sync" "mutate-directory"))
    (export "descriptor-flags" (type $df2 (eq $df)))
    (export "[method]descriptor.open-at" (func async (param "self" (borrow $d)) (param "path-flags" $pf2) (param "path" string) (param "open-flags" $of2) (param "flags" $df2) (result (result (own $d) (error $ec2)))))
    (export "[method]descriptor.read-via-stream" (func (param "self" (borrow $d)) (param "offset" u64) (result (tuple (stream u8) (future (result (error $ec2)))))))
    (export "[method]descriptor.read-directory" (func (param "self" (borrow $d)) (result (tuple (stream $de2) (future (result (error $ec2)))))))))
  (alias export $types "descriptor" (type $desc))
  (alias export $types "error-code" (type $code))
  (alias export $types "directory-entry" (type $entry))
  (import "wasi:filesystem/preopens@0.3.0" (instance $pre
    (alias outer 1 $desc (type $d))
    (export "descriptor" (type $d2 (eq $d)))
    (export "get-directories" (func (result (list (tuple (own $d2) string)))))))"#;

const LIBC: &str = r#"
  (core module $libc (memory (export "memory") 4) (global $at (mut i32) (i32.const 8192))
    (data (i32.const 512) "a.txt")
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (local $r i32)
      (local.set $r (i32.and (i32.add (global.get $at) (i32.const 7)) (i32.const -8)))
      (global.set $at (i32.add (local.get $r) (local.get 3))) (local.get $r)))
  (core instance $libc (instantiate $libc))
  (alias core export $libc "memory" (core memory $memory))
  (alias core export $libc "realloc" (core func $realloc))
  (core func $dirs (canon lower (func $pre "get-directories") (memory $memory) (realloc $realloc)))
  (core func $open (canon lower (func $types "[method]descriptor.open-at") (memory $memory) (realloc $realloc)))
  (core func $rvs (canon lower (func $types "[method]descriptor.read-via-stream") (memory $memory) (realloc $realloc)))
  (core func $dd (canon resource.drop $desc))"#;

/// Opens `a.txt`; what is done with it follows.
const OPEN: &str = r#"
        (call $open (local.get $dir) (i32.const 0) (i32.const 512) (i32.const 5) (i32.const 0) (i32.const 1) (i32.const 16))
        (if (i32.load8_u (i32.const 16)) (then (unreachable)))
        (local.set $f (i32.load (i32.const 20)))"#;

/// Opens a file `n` times. `keep`: drops the descriptor and keeps its stream; else drops both. With
/// `spin`, never ends.
fn guest_2() -> String {
    format!(
        r#"(component {TYPES_2} {LIBC}
  (core func $ds (canon resource.drop $istream))
  (core module $m
    (import "libc" "memory" (memory 4))
    (import "" "dirs" (func $dirs (param i32)))
    (import "" "open" (func $open (param i32 i32 i32 i32 i32 i32 i32)))
    (import "" "rvs" (func $rvs (param i32 i64 i32)))
    (import "" "dd" (func $dd (param i32)))
    (import "" "ds" (func $ds (param i32)))
    (func (export "go") (param $n i32) (param $keep i32) (param $spin i32) (result i32)
      (local $i i32) (local $dir i32) (local $f i32)
      (call $dirs (i32.const 0))
      (local.set $dir (i32.load (i32.load (i32.const 0))))
      (loop $l {OPEN}
        (call $rvs (local.get $f) (i64.const 0) (i32.const 16))
        (call $dd (local.get $f))
        (if (i32.eqz (local.get $keep)) (then (call $ds (i32.load (i32.const 20)))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $l (i32.lt_u (local.get $i) (local.get $n))))
      (if (local.get $spin) (then (loop $spin (br $spin))))
      (local.get $i)))
  (core instance $i (instantiate $m (with "libc" (instance $libc)) (with "" (instance
    (export "dirs" (func $dirs)) (export "open" (func $open)) (export "rvs" (func $rvs)) (export "dd" (func $dd))
    (export "ds" (func $ds))))))
  (func (export "go") (param "n" u32) (param "keep" bool) (param "spin" bool) (result u32)
    (canon lift (core func $i "go"))))"#
    )
}

/// The same with streams of WASI 0.3. `keep` of 2: lists the directory in place of opening a file.
fn guest_3() -> String {
    format!(
        r#"(component {TYPES_3} {LIBC}
  (core func $list (canon lower (func $types "[method]descriptor.read-directory") (memory $memory) (realloc $realloc)))
  (type $bytes (stream u8))
  (type $entries (stream $entry))
  (type $done (future (result (error $code))))
  (core func $drop-bytes (canon stream.drop-readable $bytes))
  (core func $drop-entries (canon stream.drop-readable $entries))
  (core func $drop-done (canon future.drop-readable $done))
  (core func $read-entries (canon stream.read $entries (memory $memory) (realloc $realloc) async))
  (core func $ws (canon waitable-set.new))
  (core func $join (canon waitable.join))
  (core func $wait (canon waitable-set.wait (memory $memory)))
  (core func $return (canon task.return (result u32)))
  (core module $m
    (import "libc" "memory" (memory 4))
    (import "" "dirs" (func $dirs (param i32)))
    (import "" "open" (func $open (param i32 i32 i32 i32 i32 i32 i32)))
    (import "" "rvs" (func $rvs (param i32 i64 i32)))
    (import "" "list" (func $list (param i32 i32)))
    (import "" "read" (func $read (param i32 i32 i32) (result i32)))
    (import "" "ws" (func $ws (result i32)))
    (import "" "join" (func $join (param i32 i32)))
    (import "" "wait" (func $wait (param i32 i32) (result i32)))
    (import "" "dd" (func $dd (param i32)))
    (import "" "db" (func $db (param i32)))
    (import "" "de" (func $de (param i32)))
    (import "" "df" (func $df (param i32)))
    (import "" "return" (func $return (param i32)))
    (func (export "go") (param $n i32) (param $keep i32) (param $spin i32) (result i32)
      (local $i i32) (local $dir i32) (local $f i32)
      (call $dirs (i32.const 0))
      (local.set $dir (i32.load (i32.load (i32.const 0))))
      (loop $l
        (if (i32.lt_u (local.get $keep) (i32.const 2))
          (then {OPEN}
            (call $rvs (local.get $f) (i64.const 0) (i32.const 16))
            (call $dd (local.get $f))
            (if (i32.eqz (local.get $keep)) (then
              (call $db (i32.load (i32.const 16))) (call $df (i32.load (i32.const 20))))))
          (else
            (call $list (local.get $dir) (i32.const 16))
            ;; The end of a stream is told when the guest waits.
            (if (i32.eq (local.get $keep) (i32.const 3)) (then
              (call $de (i32.load (i32.const 16))) (call $df (i32.load (i32.const 20))) {OPEN}
              (call $dd (local.get $f))))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $l (i32.lt_u (local.get $i) (local.get $n))))
      (if (local.get $spin) (then (loop $spin (br $spin))))
      (call $return (local.get $i))
      (i32.const 0))
    ;; Counts the entries of the directory.
    (func (export "count") (result i32) (local $dir i32) (local $s i32) (local $got i32) (local $sum i32) (local $ws i32)
      (local.set $ws (call $ws))
      (call $dirs (i32.const 0))
      (local.set $dir (i32.load (i32.load (i32.const 0))))
      (call $list (local.get $dir) (i32.const 16))
      (local.set $s (i32.load (i32.const 16)))
      (block $end (loop $l
        (local.set $got (call $read (local.get $s) (i32.const 65536) (i32.const 50)))
        (if (i32.eq (local.get $got) (i32.const -1)) (then
          (call $join (local.get $s) (local.get $ws))
          (drop (call $wait (local.get $ws) (i32.const 32)))
          (local.set $got (i32.load (i32.const 36)))
          (call $join (local.get $s) (i32.const 0))))
        (local.set $sum (i32.add (local.get $sum) (i32.shr_u (local.get $got) (i32.const 4))))
        (br_if $end (i32.and (local.get $got) (i32.const 15)))
        (br $l)))
      (call $return (local.get $sum))
      (i32.const 0))
    (func (export "cb") (param i32 i32 i32) (result i32) (unreachable)))
  (core instance $i (instantiate $m (with "libc" (instance $libc)) (with "" (instance
    (export "dirs" (func $dirs)) (export "open" (func $open)) (export "rvs" (func $rvs)) (export "dd" (func $dd))
    (export "list" (func $list)) (export "read" (func $read-entries))
    (export "ws" (func $ws)) (export "join" (func $join)) (export "wait" (func $wait))
    (export "db" (func $drop-bytes)) (export "de" (func $drop-entries)) (export "df" (func $drop-done))
    (export "return" (func $return))))))
  (func (export "go") async (param "n" u32) (param "keep" u8) (param "spin" bool) (result u32)
    (canon lift (core func $i "go") async (callback (core func $i "cb"))))
  (func (export "count") async (result u32)
    (canon lift (core func $i "count") async (callback (core func $i "cb")))))"#
    )
}

#[derive(Debug)]
struct Temporary(tempfile::TempDir);

impl Directory for Temporary {
    fn path(&self) -> &Path {
        self.0.path()
    }
}

/// A directory of `files` files, mounted.
struct Bench {
    _data: tempfile::TempDir,
    engine: Engine,
    grants: Arc<Grants>,
}

impl Bench {
    fn with(files: usize) -> Bench {
        let (_data, engine) = engine_with(|options| options.guest_sockets = Some(1_000));
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("a.txt"), "text").unwrap();
        for file in 1..files {
            std::fs::write(directory.path().join(format!("file-{file}")), "").unwrap();
        }
        let mount = Mount {
            at: "/".into(),
            directory: Arc::new(Temporary(directory)),
        };
        let grants = Arc::new(Grants {
            mounts: vec![mount],
            ..Grants::default()
        });
        Bench {
            _data,
            engine,
            grants,
        }
    }

    async fn function(&self, wat: &str, name: &str) -> Function {
        let component = prepare(&self.engine, wat::parse_str(wat).unwrap()).await;
        component.unwrap().function(name).unwrap()
    }

    fn invocation(&self, function: &Function, arguments: &[Value]) -> Invocation {
        Invocation {
            grants: self.grants.clone(),
            limits: Limits {
                open_files: 256,
                ..Limits::UNSET
            },
            ..invocation(function, arguments)
        }
    }

    async fn call(&self, function: &Function, arguments: &[Value]) -> Outcome {
        self.engine
            .invoke(self.invocation(function, arguments))
            .await
    }

    /// Waits until the node says that so many descriptors are open.
    async fn until_open(&self, count: usize) {
        let wanted = format!("{count} of 1000 in use by all functions together");
        let mut said = String::new();
        for _ in 0..300 {
            let checks = self.engine.checks();
            let check = checks.iter().find(|check| check.name == "guest-sockets");
            said = check.unwrap().detail.clone();
            if said == wanted {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("never {wanted}: {said}");
    }
}

fn at_the_limit(outcome: Outcome) {
    let failure = failure(outcome);
    assert_eq!(failure.kind, FailureKind::Handles, "{failure:?}");
    let said = "more open files and sockets than its limit of 256";
    assert!(failure.message.contains(said), "{failure:?}");
}

/// A stream holds the file that its descriptor has closed.
#[tokio::test(flavor = "multi_thread")]
async fn streams_hold_their_files() {
    let bench = Bench::with(1);
    let function = bench.function(&guest_2(), "").await;
    let asked = |n, keep, spin| [Value::U32(n), Value::Bool(keep), Value::Bool(spin)];
    at_the_limit(bench.call(&function, &asked(3_500, true, false)).await);
    let many = bench.call(&function, &asked(3_500, false, false)).await;
    assert!(many.result.is_ok(), "{:?}", many.result);
    // The mounted directory counts for the node.
    let asked = asked(100, true, true);
    let holds = bench.call(&function, &asked);
    let holds =
        async { tokio::select!(_ = holds => panic!("ended"), () = bench.until_open(101) => ()) };
    holds.await;
    bench.until_open(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_of_wasi_0_3_hold_their_files() {
    let bench = Bench::with(1);
    let function = bench.function(&guest_3(), "go").await;
    let asked = |n, keep, spin| [Value::U32(n), Value::U8(keep), Value::Bool(spin)];
    at_the_limit(bench.call(&function, &asked(3_500, 1, false)).await);
    at_the_limit(bench.call(&function, &asked(3_500, 2, false)).await);
    for dropped in [0, 3] {
        let many = bench.call(&function, &asked(3_500, dropped, false)).await;
        assert!(many.result.is_ok(), "{:?}", many.result);
    }
    for kept in [1, 2] {
        let asked = asked(100, kept, true);
        let holds = bench.call(&function, &asked);
        let holds = async {
            tokio::select!(_ = holds => panic!("ended"), () = bench.until_open(101) => ())
        };
        holds.await;
        bench.until_open(0).await;
    }
}

/// Listings that nobody reads hold no threads, which all guests' files are read on.
#[tokio::test(flavor = "multi_thread")]
async fn listings_are_whole_and_wait_on_no_thread() {
    let bench = Bench::with(200);
    let holder = bench.function(&guest_3(), "go").await;
    let counter = holder.sibling("count").unwrap();
    let threads = || std::fs::read_dir("/proc/self/task").unwrap().count();
    let before = threads();
    let holds = bench.call(&holder, &[Value::U32(200), Value::U8(2), Value::Bool(true)]);
    let counted = async {
        bench.until_open(201).await;
        assert!(
            threads() < before + 100,
            "{} threads, {before} before",
            threads()
        );
        bench.call(&counter, &[]).await
    };
    let counted = tokio::select!(_ = holds => panic!("ended"), counted = counted => counted);
    assert_eq!(
        crate::support::value(&counter, &counted),
        Some(Value::U32(200))
    );
}

const SOCKETS_2: &str = r#"
  (import "wasi:sockets/network@0.2.6" (instance $network
    (type $ec (enum "unknown" "access-denied" "not-supported" "invalid-argument" "out-of-memory" "timeout" "concurrency-conflict" "not-in-progress" "would-block" "invalid-state" "new-socket-limit" "address-not-bindable" "address-in-use" "remote-unreachable" "connection-refused" "connection-reset" "connection-aborted" "datagram-too-large" "name-unresolvable" "temporary-resolver-failure" "permanent-resolver-failure"))
    (export "error-code" (type (eq $ec)))
    (type $f (enum "ipv4" "ipv6"))
    (export "ip-address-family" (type (eq $f)))))
  (alias export $network "error-code" (type $code))
  (alias export $network "ip-address-family" (type $family))
  (import "wasi:sockets/@KIND@@0.2.6" (instance $its (export "@KIND@-socket" (type (sub resource)))))
  (alias export $its "@KIND@-socket" (type $socket))
  (import "wasi:sockets/@KIND@-create-socket@0.2.6" (instance $made
    (alias outer 1 $code (type $c)) (export "error-code" (type $c2 (eq $c)))
    (alias outer 1 $family (type $f)) (export "ip-address-family" (type $f2 (eq $f)))
    (alias outer 1 $socket (type $s)) (export "@KIND@-socket" (type $s2 (eq $s)))
    (export "create-@KIND@-socket" (func (param "address-family" $f2) (result (result (own $s2) (error $c2)))))))"#;

const SOCKETS_3: &str = r#"
  (import "wasi:sockets/types@0.3.0" (instance $made
    (export "@KIND@-socket" (type $s (sub resource)))
    (type $ec (variant (case "access-denied") (case "not-supported") (case "invalid-argument") (case "out-of-memory") (case "timeout") (case "invalid-state") (case "address-not-bindable") (case "address-in-use") (case "remote-unreachable") (case "connection-refused") (case "connection-broken") (case "connection-reset") (case "connection-aborted") (case "datagram-too-large") (case "other" (option string))))
    (export "error-code" (type $c2 (eq $ec)))
    (type $f (enum "ipv4" "ipv6"))
    (export "ip-address-family" (type $f2 (eq $f)))
    (export "[static]@KIND@-socket.create" (func (param "address-family" $f2) (result (result (own $s) (error $c2)))))))
  (alias export $made "@KIND@-socket" (type $socket))"#;

/// Makes `n` sockets, and drops each unless it is to `keep` it.
fn sockets(imports: &str, create: &str, kind: &str) -> String {
    let (imports, create) = (
        imports.replace("@KIND@", kind),
        create.replace("@KIND@", kind),
    );
    format!(
        r#"(component {imports}
  (core module $libc (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024)))
  (core instance $libc (instantiate $libc))
  (core func $create (canon lower (func $made "{create}")
    (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (core func $drop (canon resource.drop $socket))
  (core module $m
    (import "libc" "memory" (memory 1))
    (import "" "create" (func $create (param i32 i32)))
    (import "" "drop" (func $drop (param i32)))
    (func (export "go") (param $n i32) (param $keep i32) (result i32) (local $i i32)
      (loop $l
        (call $create (i32.const 0) (i32.const 16))
        (if (i32.load8_u (i32.const 16)) (then (return (local.get $i))))
        (if (i32.eqz (local.get $keep)) (then (call $drop (i32.load (i32.const 20)))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $l (i32.lt_u (local.get $i) (local.get $n))))
      (local.get $i)))
  (core instance $i (instantiate $m (with "libc" (instance $libc)) (with "" (instance
    (export "create" (func $create)) (export "drop" (func $drop))))))
  (func (export "go") (param "n" u32) (param "keep" bool) (result u32) (canon lift (core func $i "go"))))"#
    )
}

/// A socket counts until its resource is gone, and not longer.
#[tokio::test(flavor = "multi_thread")]
async fn sockets_count_until_they_are_dropped() {
    let (_data, engine) = engine_with(|_| ());
    for (imports, create) in [
        (SOCKETS_2, "create-@KIND@-socket"),
        (SOCKETS_3, "[static]@KIND@-socket.create"),
    ] {
        for kind in ["tcp", "udp"] {
            let wasm = wat::parse_str(sockets(imports, create, kind)).unwrap();
            let made = prepare(&engine, wasm).await.unwrap();
            let function = made.function("").unwrap();
            let grants = Arc::new(Grants {
                network: vec!["127.0.0.1:*".parse().unwrap()],
                ..Grants::default()
            });
            let make = async |keep| {
                let invocation = Invocation {
                    grants: grants.clone(),
                    limits: Limits {
                        open_files: 20,
                        ..Limits::UNSET
                    },
                    ..invocation(&function, &[Value::U32(500), Value::Bool(keep)])
                };
                engine.invoke(invocation).await
            };
            let many = make(false).await;
            assert_eq!(
                crate::support::value(&function, &many),
                Some(Value::U32(500)),
                "{kind}"
            );
            let failure = failure(make(true).await);
            assert_eq!(failure.kind, FailureKind::Handles, "{kind}: {failure:?}");
        }
    }
}

const NAMES: &str = r#"(component
  (import "wasi:io/poll@0.2.6" (instance $poll
    (export "pollable" (type $p (sub resource)))
    (export "[method]pollable.block" (func (param "self" (borrow $p))))))
  (alias export $poll "pollable" (type $pollable))
  (import "wasi:sockets/network@0.2.6" (instance $network
    (export "network" (type (sub resource)))
    (type $ec (enum "unknown" "access-denied" "not-supported" "invalid-argument" "out-of-memory" "timeout" "concurrency-conflict" "not-in-progress" "would-block" "invalid-state" "new-socket-limit" "address-not-bindable" "address-in-use" "remote-unreachable" "connection-refused" "connection-reset" "connection-aborted" "datagram-too-large" "name-unresolvable" "temporary-resolver-failure" "permanent-resolver-failure"))
    (export "error-code" (type (eq $ec)))
    (type $four (tuple u8 u8 u8 u8))
    (export "ipv4-address" (type $four2 (eq $four)))
    (type $six (tuple u16 u16 u16 u16 u16 u16 u16 u16))
    (export "ipv6-address" (type $six2 (eq $six)))
    (type $ip (variant (case "ipv4" $four2) (case "ipv6" $six2)))
    (export "ip-address" (type (eq $ip)))))
  (alias export $network "network" (type $net))
  (alias export $network "error-code" (type $code))
  (alias export $network "ip-address" (type $address))
  (import "wasi:sockets/instance-network@0.2.6" (instance $own
    (alias outer 1 $net (type $n)) (export "network" (type $n2 (eq $n)))
    (export "instance-network" (func (result (own $n2))))))
  (import "wasi:sockets/ip-name-lookup@0.2.6" (instance $lookup
    (alias outer 1 $net (type $n)) (export "network" (type $n2 (eq $n)))
    (alias outer 1 $code (type $c)) (export "error-code" (type $c2 (eq $c)))
    (alias outer 1 $address (type $a)) (export "ip-address" (type $a2 (eq $a)))
    (alias outer 1 $pollable (type $p)) (export "pollable" (type $p2 (eq $p)))
    (export "resolve-address-stream" (type $s (sub resource)))
    (export "resolve-addresses" (func (param "network" (borrow $n2)) (param "name" string) (result (result (own $s) (error $c2)))))
    (export "[method]resolve-address-stream.resolve-next-address" (func (param "self" (borrow $s)) (result (result (option $a2) (error $c2)))))
    (export "[method]resolve-address-stream.subscribe" (func (param "self" (borrow $s)) (result (own $p2))))))
  (alias export $lookup "resolve-address-stream" (type $stream))
  (core module $libc (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024)))
  (core instance $libc (instantiate $libc))
  (alias core export $libc "memory" (core memory $memory))
  (alias core export $libc "realloc" (core func $realloc))
  (core func $net (canon lower (func $own "instance-network")))
  (core func $start (canon lower (func $lookup "resolve-addresses") (memory $memory)))
  (core func $next (canon lower (func $lookup "[method]resolve-address-stream.resolve-next-address") (memory $memory)))
  (core func $subscribe (canon lower (func $lookup "[method]resolve-address-stream.subscribe")))
  (core func $block (canon lower (func $poll "[method]pollable.block")))
  (core func $drop-poll (canon resource.drop $pollable))
  (core func $drop (canon resource.drop $stream))
  (core module $m
    (import "libc" "memory" (memory 1))
    (import "" "net" (func $net (result i32)))
    (import "" "start" (func $start (param i32 i32 i32 i32)))
    (import "" "next" (func $next (param i32 i32)))
    (import "" "subscribe" (func $subscribe (param i32) (result i32)))
    (import "" "block" (func $block (param i32)))
    (import "" "drop-poll" (func $drop-poll (param i32)))
    (import "" "drop" (func $drop (param i32)))
    ;; 100 and the code of what was refused; else whether there was an address, or 50 and the code in its place.
    (func (export "go") (param $at i32) (param $len i32) (result i32) (local $s i32) (local $p i32)
      (call $start (call $net) (local.get $at) (local.get $len) (i32.const 16))
      (if (i32.load8_u (i32.const 16)) (then (return (i32.add (i32.const 100) (i32.load8_u (i32.const 20))))))
      (local.set $s (i32.load (i32.const 20)))
      (local.set $p (call $subscribe (local.get $s)))
      (call $block (local.get $p))
      (call $drop-poll (local.get $p))
      (call $next (local.get $s) (i32.const 16))
      (call $drop (local.get $s))
      (if (i32.load8_u (i32.const 16)) (then (return (i32.add (i32.const 50) (i32.load8_u (i32.const 18))))))
      (i32.load8_u (i32.const 18))))
  (core instance $i (instantiate $m (with "libc" (instance $libc)) (with "" (instance
    (export "net" (func $net)) (export "start" (func $start)) (export "next" (func $next))
    (export "subscribe" (func $subscribe)) (export "block" (func $block))
    (export "drop-poll" (func $drop-poll)) (export "drop" (func $drop))))))
  (func (export "go") (param "name" string) (result u32)
    (canon lift (core func $i "go") (memory $memory) (realloc $realloc))))"#;

/// Names are looked up by ours in place of wasmtime's: those that are granted, and what they
/// resolve to is filtered.
#[tokio::test(flavor = "multi_thread")]
async fn names_are_looked_up_where_granted() {
    let (_data, engine) = engine_with(|_| ());
    let made = prepare(&engine, wat::parse_str(NAMES).unwrap()).await;
    let function = made.unwrap().function("").unwrap();
    let look_up = async |name: &str| {
        let invocation = Invocation {
            grants: Arc::new(Grants {
                network: vec![
                    "localhost:80".parse().unwrap(),
                    "no.invalid:80".parse().unwrap(),
                ],
                ..Grants::default()
            }),
            ..invocation(&function, &[Value::String(name.into())])
        };
        crate::support::value(&function, &engine.invoke(invocation).await)
    };
    // It leads to this machine, which takes a literal grant.
    assert_eq!(look_up("localhost").await, Some(Value::U32(0)));
    assert_eq!(look_up("no.invalid").await, Some(Value::U32(50 + 18)));
    assert_eq!(look_up("other.example").await, Some(Value::U32(100 + 1)));
}
