//! Every way in which a file under an artifact's name can be something else.

use std::os::unix::fs::{PermissionsExt, symlink};

use lydian_value::Digest;
use tempfile::TempDir;

use super::*;

const PLENTY: u64 = 1 << 30;

fn store(directory: &TempDir) -> Store {
    Store::open(directory.path(), PLENTY).unwrap()
}

fn key(name: &str) -> Key {
    let engine = wasmtime::Engine::default();
    Key::new(&Digest::of(name.as_bytes()), &Configuration::of(&engine))
}

fn contents(stored: Stored) -> Vec<u8> {
    use std::io::Read;
    use std::os::fd::AsRawFd;
    let mut bytes = Vec::new();
    // As wasmtime opens it: from the start, whatever was read or written before.
    File::open(format!("/proc/self/fd/{}", stored.file.as_raw_fd()))
        .unwrap()
        .read_to_end(&mut bytes)
        .unwrap();
    bytes
}

/// The next start must find what this one compiled, byte for byte and from the first byte on.
#[test]
fn saved_artifact_loads_after_a_restart() {
    let directory = TempDir::new().unwrap();
    let artifact: Vec<u8> = (0..1_000_000_u32).map(|i| (i * 7) as u8).collect();
    let saved = store(&directory).save(&key("a"), &artifact).unwrap();
    assert_eq!(saved.bytes, contents(saved_again(&directory)).len() as u64);
    assert_eq!(
        contents(saved_again(&directory))[..artifact.len()],
        artifact
    );
    assert_eq!(contents(saved)[..artifact.len()], artifact);
    assert!(store(&directory).load(&key("b")).unwrap().is_none());
}

/// What is mapped is run: nobody else may put a file there, even one that will not be believed.
#[test]
fn the_directory_is_closed_to_others() {
    let directory = TempDir::new().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let _store = store(&directory);
    let mode = fs::metadata(directory.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

fn saved_again(directory: &TempDir) -> Stored {
    store(directory).load(&key("a")).unwrap().unwrap()
}

/// Writes `artifact` properly, lets `damage` change the file, and says whether it still loads, after a restart.
fn loads_after(damage: impl FnOnce(&Path, &mut Vec<u8>)) -> bool {
    let directory = TempDir::new().unwrap();
    let path = {
        let store = store(&directory);
        store.save(&key("a"), &[7; 300]).unwrap();
        store.path(&key("a"))
    };
    let mut bytes = fs::read(&path).unwrap();
    damage(directory.path(), &mut bytes);
    fs::write(&path, bytes).unwrap();
    let loaded = store(&directory).load(&key("a")).unwrap().is_some();
    assert_eq!(
        path.exists(),
        loaded,
        "what is not loaded must be gone, to be compiled again"
    );
    loaded
}

/// One flipped bit in native code is other native code.
#[test]
fn flipped_bit_anywhere_is_found() {
    assert!(loads_after(|_, _| {}));
    for place in 0..300 + 80 {
        assert!(
            !loads_after(|_, bytes| bytes[place] ^= 1 << (place % 8)),
            "{place}"
        );
    }
}

/// A crash or a full disk cuts files short; a later write must not make one longer either.
#[test]
fn file_of_another_length_is_found() {
    for size in [0, 1, 79, 80, 81, 300, 379] {
        assert!(!loads_after(|_, bytes| bytes.truncate(size)), "{size}");
    }
    assert!(!loads_after(|_, bytes| bytes.push(0)));
    assert!(!loads_after(|_, bytes| drop(bytes.splice(0..0, [0]))));
}

/// Artifacts copied from another machine were not compiled here, whoever says so.
#[test]
fn artifact_of_another_installation_is_refused() {
    let (ours, theirs) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (our_store, their_store) = (store(&ours), store(&theirs));
    their_store.save(&key("a"), b"their native code").unwrap();
    fs::copy(their_store.path(&key("a")), our_store.path(&key("a"))).unwrap();
    assert!(our_store.load(&key("a")).unwrap().is_none());
    assert!(their_store.load(&key("a")).unwrap().is_some());
}

/// A rename must not turn one component's code into another's, nor one engine's into another's.
#[test]
fn artifact_under_another_name_is_refused() {
    let directory = TempDir::new().unwrap();
    let store = store(&directory);
    let mut config = wasmtime::Config::new();
    config.epoch_interruption(true);
    let other_engine = Configuration::of(&wasmtime::Engine::new(&config).unwrap());
    for other in [key("b"), Key::new(&Digest::of(b"a"), &other_engine)] {
        assert_ne!(other, key("a"));
        store.save(&key("a"), b"native code").unwrap();
        fs::rename(store.path(&key("a")), store.path(&other)).unwrap();
        assert!(store.load(&other).unwrap().is_none());
    }
}

/// What `wasmtime compile` writes is valid native code; only the MAC tells it from ours.
#[test]
fn uploaded_cwasm_under_a_components_name_is_refused() {
    let directory = TempDir::new().unwrap();
    let store = store(&directory);
    let component = wat::parse_str("(component)").unwrap();
    let cwasm = wasmtime::Engine::default()
        .precompile_component(&component)
        .unwrap();
    fs::write(store.path(&key("a")), &cwasm).unwrap();
    assert!(store.load(&key("a")).unwrap().is_none());
    assert!(!store.path(&key("a")).exists());
}

/// The first check must not excuse what happens to the file afterwards.
#[test]
fn file_changed_after_its_check_is_checked_again() {
    let directory = TempDir::new().unwrap();
    let store = store(&directory);
    store.save(&key("a"), b"native code").unwrap();
    assert!(store.load(&key("a")).unwrap().is_some());
    let path = store.path(&key("a"));
    let mut bytes = fs::read(&path).unwrap();
    bytes[0] ^= 1;
    // A change within one tick of the file system's clock would keep the old time.
    std::thread::sleep(Duration::from_millis(20));
    fs::write(&path, bytes).unwrap();
    assert!(store.load(&key("a")).unwrap().is_none());
}

/// What one process has checked, the next need not; but only what was checked, and as it was then.
#[test]
fn checks_are_noted_for_the_next_start() {
    let directory = TempDir::new().unwrap();
    let path = {
        let store = store(&directory);
        let stored = store.save(&key("a"), b"native code").unwrap();
        let noted = |store: &Store| store.is_noted(&key("a"), &Stamp::of(&stored.file).unwrap());
        assert!(!noted(&store), "a power cut may still take it");
        store.sync(&key("a"), &stored);
        assert!(noted(&store));
        assert!(!store.is_noted(&key("b"), &Stamp::of(&stored.file).unwrap()));
        store.path(&key("a"))
    };
    // The note alone excuses the check: bytes that are wrong under a sound note are taken for
    // checked.
    let bytes = fs::read(&path).unwrap();
    let mut wrong = bytes.clone();
    wrong[0] ^= 1;
    // A change within one tick of the file system's clock would keep the old time.
    std::thread::sleep(Duration::from_millis(20));
    fs::write(&path, &wrong).unwrap();
    let wrong_stamp = Stamp::of(&File::open(&path).unwrap()).unwrap();
    let restarted = store(&directory);
    assert!(!restarted.is_noted(&key("a"), &wrong_stamp));
    restarted.note(&key("a"), &wrong_stamp);
    assert!(store(&directory).load(&key("a")).unwrap().is_some());
    // Nobody else can write one.
    let note = restarted.note_path(&key("a"));
    let mut forged = fs::read(&note).unwrap();
    forged[0] ^= 1;
    fs::write(&note, &forged).unwrap();
    assert!(store(&directory).load(&key("a")).unwrap().is_none());
    // A check that was needed leaves one.
    fs::write(&path, &bytes).unwrap();
    assert!(store(&directory).load(&key("a")).unwrap().is_some());
    let stamp = Stamp::of(&File::open(&path).unwrap()).unwrap();
    assert!(store(&directory).is_noted(&key("a"), &stamp));
}

#[test]
fn link_to_another_file_is_not_followed() {
    let directory = TempDir::new().unwrap();
    let store = store(&directory);
    store.save(&key("a"), b"native code").unwrap();
    let elsewhere = directory.path().join("elsewhere");
    fs::rename(store.path(&key("a")), &elsewhere).unwrap();
    symlink(&elsewhere, store.path(&key("a"))).unwrap();
    assert!(store.load(&key("a")).unwrap().is_none());
    assert!(elsewhere.exists());
}

/// A guest that has taken every descriptor must not cost the node what it has compiled.
#[test]
fn artifact_that_cannot_be_read_now_is_kept() {
    let directory = TempDir::new().unwrap();
    let path = {
        let store = store(&directory);
        store.save(&key("a"), b"native code").unwrap();
        store.path(&key("a"))
    };
    let restarted = store(&directory);
    std::thread::scope(|scope| {
        let starved = scope.spawn(|| {
            // SAFETY: this thread alone gets a table of descriptors of its own, which ends with it.
            assert_eq!(unsafe { libc::unshare(libc::CLONE_FILES) }, 0);
            let taken: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
            let refused = restarted.load(&key("a"));
            drop(taken);
            refused
        });
        let refused = starved.join().unwrap();
        assert!(matches!(refused, Err(Error::Io { .. })), "{refused:?}");
    });
    assert!(path.exists());
    assert!(restarted.load(&key("a")).unwrap().is_some());
}

/// Whoever knows the key can write artifacts that will be run.
#[test]
fn key_is_made_once_and_for_its_owner_only() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("mac-key");
    std::thread::scope(|scope| {
        for name in ["a", "b", "c", "d", "e", "f", "g", "h"] {
            let directory = &directory;
            scope.spawn(move || store(directory).save(&key(name), b"native code").unwrap());
        }
    });
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let store = store(&directory);
    for name in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        assert!(
            store.load(&key(name)).unwrap().is_some(),
            "written with another key than the one that stands: {name}"
        );
    }
}

#[test]
fn unsafe_key_is_replaced() {
    let flaws: [fn(&Path); 3] = [
        |path| fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap(),
        |path| fs::write(path, [1; 31]).unwrap(),
        |path| fs::write(path, [1; 33]).unwrap(),
    ];
    for flaw in flaws {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("mac-key");
        store(&directory).save(&key("a"), b"native code").unwrap();
        let before = fs::read(&path).unwrap();
        flaw(&path);
        let store = store(&directory);
        assert!(store.load(&key("a")).unwrap().is_none());
        assert_ne!(fs::read(&path).unwrap(), before);
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
}

/// A node that runs for a year must not fill its disk.
#[test]
fn least_recently_used_artifacts_go_first() {
    let directory = TempDir::new().unwrap();
    let store = Store::open(directory.path(), 5_000).unwrap();
    let day = |age: u64| SystemTime::now() - Duration::from_hours(24 * age);
    for (name, age) in [("old", 3), ("older", 4), ("used", 5)] {
        let stored = store.save(&key(name), &[1; 1_000]).unwrap();
        stored
            .file
            .set_times(FileTimes::new().set_modified(day(age)))
            .unwrap();
    }
    // Using it makes it young again.
    assert!(store.load(&key("used")).unwrap().is_some());
    let mapped = store.load(&key("older")).unwrap().unwrap();
    mapped
        .file
        .set_times(FileTimes::new().set_modified(day(4)))
        .unwrap();
    store.save(&key("new"), &[1; 1_000]).unwrap();
    store.save(&key("newer"), &[1; 1_000]).unwrap();
    let kept = ["old", "older", "used", "new", "newer"]
        .map(|name| store.load(&key(name)).unwrap().is_some());
    assert_eq!(kept, [true, false, true, true, true]);
    // What is mapped stays readable.
    assert_eq!(contents(mapped)[..1_000], [1; 1_000]);
}

/// One artifact larger than the whole budget is kept: it was just asked for.
#[test]
fn newest_artifact_survives_any_budget() {
    let directory = TempDir::new().unwrap();
    let store = Store::open(directory.path(), 10).unwrap();
    store.save(&key("a"), &[1; 1_000]).unwrap();
    assert!(store.load(&key("a")).unwrap().is_some());
}

/// A process that dies while it writes leaves its temporary file.
#[test]
fn abandoned_temporary_files_are_taken_away() {
    let directory = TempDir::new().unwrap();
    let (abandoned, fresh) = (
        directory.path().join("x.1-0.tmp"),
        directory.path().join("y.1-0.tmp"),
    );
    fs::write(&abandoned, b"half").unwrap();
    fs::write(&fresh, b"half").unwrap();
    let file = File::options().write(true).open(&abandoned).unwrap();
    file.set_times(FileTimes::new().set_modified(SystemTime::now() - 2 * Duration::from_hours(1)))
        .unwrap();
    store(&directory).save(&key("a"), b"native code").unwrap();
    assert_eq!((abandoned.exists(), fresh.exists()), (false, true));
}

#[test]
fn full_disk_is_called_that() {
    let error = Error::write(Path::new("/data"), io::ErrorKind::StorageFull.into());
    assert_eq!(
        error.to_string(),
        "no room for compiled components in `/data`"
    );
    assert!(error.hint().unwrap().contains("free some space"));
}

/// A failed save must not leave its temporary file, or a full disk would only get fuller.
#[test]
fn failed_save_leaves_nothing_behind() {
    let directory = TempDir::new().unwrap();
    let store = store(&directory);
    // The name is taken by a directory, so that the rename fails.
    fs::create_dir_all(store.path(&key("a")).join("in-the-way")).unwrap();
    assert!(store.save(&key("a"), b"native code").is_err());
    let left: Vec<_> = fs::read_dir(directory.path())
        .unwrap()
        .flatten()
        .map(|file| file.file_name())
        .collect();
    assert!(
        left.iter()
            .all(|name| !name.to_str().unwrap().ends_with(".tmp")),
        "{left:?}"
    );
}

/// What cannot be stored still runs; nobody may write to it either.
#[test]
fn artifact_in_memory_reads_like_a_file_and_cannot_be_changed() {
    let mut stored = in_memory(b"native code").unwrap();
    assert!(stored.file.write_all(b"x").is_err());
    assert_eq!(contents(stored), b"native code");
}
