//! What a compiler that was taken over would try, tried from inside a real worker. In test builds only.

use std::fs::{self, File};
use std::io;
use std::net::{TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::process::Command;

/// Everything the jail must forbid, by the name it is asked for.
pub(super) const FORBIDDEN: &[&str] = &[
    "read a file",
    "list a directory",
    "write a file",
    "look at a file",
    "connect a socket",
    "make a datagram socket",
    "connect to a local socket",
    "make a pair of sockets",
    "start a program",
    "fork",
    "start a thread",
    "kill the parent",
    "kill everyone",
    "trace the parent",
    "read the parent's memory",
    "map executable memory",
    "make memory executable",
    "make a memory file",
    "raise a limit",
    "load kernel code",
];

/// Tries the named thing. Answers `done`, or the error's number.
pub(super) fn attempt(name: &[u8]) -> Vec<u8> {
    let answer = match std::str::from_utf8(name).map(try_it) {
        Ok(Ok(())) => "done".to_owned(),
        Ok(Err(error)) => error
            .raw_os_error()
            .map_or_else(|| error.to_string(), |number| number.to_string()),
        Err(error) => error.to_string(),
    };
    answer.into_bytes()
}

fn try_it(name: &str) -> io::Result<()> {
    match name {
        "read a file" => File::open("/etc/passwd").map(drop),
        "list a directory" => fs::read_dir("/").map(drop),
        "write a file" => File::create("/tmp/lydian-selftest").map(drop),
        "look at a file" => fs::metadata("/etc/passwd").map(drop),
        "connect a socket" => TcpStream::connect("127.0.0.1:1").map(drop),
        "make a datagram socket" => UdpSocket::bind("127.0.0.1:0").map(drop),
        "connect to a local socket" => UnixStream::connect("/run/x").map(drop),
        "make a pair of sockets" => UnixStream::pair().map(drop),
        "start a program" => Command::new("/bin/true").status().map(drop),
        "start a thread" => std::thread::Builder::new().spawn(|| {}).map(drop),
        _ => system_call(name),
    }
}

fn system_call(name: &str) -> io::Result<()> {
    let parent = libc::c_long::from(std::os::unix::process::parent_id() as i32);
    let read_write_execute = i64::from(libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC);
    let anonymous = i64::from(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    let (number, arguments): (libc::c_long, [i64; 6]) = match name {
        "fork" => (libc::SYS_clone, [i64::from(libc::SIGCHLD), 0, 0, 0, 0, 0]),
        "kill the parent" => (libc::SYS_kill, [parent, 0, 0, 0, 0, 0]),
        "kill everyone" => (libc::SYS_tgkill, [parent, parent, 0, 0, 0, 0]),
        "trace the parent" => (
            libc::SYS_ptrace,
            [i64::from(libc::PTRACE_SEIZE), parent, 0, 0, 0, 0],
        ),
        "read the parent's memory" => (libc::SYS_process_vm_readv, [parent, 0, 0, 0, 0, 0]),
        "map executable memory" => (
            libc::SYS_mmap,
            [0, 4096, read_write_execute, anonymous, -1, 0],
        ),
        "make memory executable" => (
            libc::SYS_mprotect,
            [0, 0, i64::from(libc::PROT_EXEC), 0, 0, 0],
        ),
        "make a memory file" => (
            libc::SYS_memfd_create,
            [c"x".as_ptr() as i64, 0, 0, 0, 0, 0],
        ),
        "raise a limit" => (
            libc::SYS_prlimit64,
            [0, i64::from(libc::RLIMIT_AS), 0, 0, 0, 0],
        ),
        "load kernel code" => (libc::SYS_bpf, [0, 0, 0, 0, 0, 0]),
        "burn processor time" => loop {
            std::hint::spin_loop();
        },
        "crash" => std::process::abort(),
        "panic" => panic!("on purpose"),
        "talk for ever" => {
            use std::io::Write;
            loop {
                io::stdout().write_all(&[b'A'; 4096])?;
                io::stderr().write_all(&[b'E'; 4096])?;
            }
        }
        _ => return Err(io::Error::other(format!("unknown attempt `{name}`"))),
    };
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: none of these touches memory of this process: pointers are null or to a static, signals are 0, and the one
    // mapping is new. `fork` gives a child that returns at once into the worker's answer, which is harmless.
    if unsafe { libc::syscall(number, a, b, c, d, e, f) } < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
