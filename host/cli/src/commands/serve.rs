//! `lydian serve`: an app that follows its source.
//!
//! ```text
//! save -> noticed -> cargo builds -> component sent, compiled, swapped in -> told
//! ```
//!
//! Builds run on a thread of their own: the app's heartbeat must not wait for them. Nothing is swapped that
//! did not build or that the node refuses; the app then goes on with what it has.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::{DefaultHasher, Hasher as _};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use lydian_client::{Client, Digest, EphemeralApp, Error, Swapped, Tail};
use serde_json::{Value as Json, json};

use super::opened::{Kind, Opened};
use super::source::{Ready, Source};
use super::{Ctx, connect, limits, load, logs, ship};
use crate::args::serve::Args;
use crate::build::{self, Built, Narration};
use crate::exit::Exit;
use crate::manifest;
use crate::output::error::CliError;
use crate::output::progress::Progress;
use crate::output::signature;
use crate::signals::Interrupt;
use crate::units;
use crate::watch::{self, Change, Changes, Watch};

pub(super) async fn run(ctx: &Ctx, args: Args) -> Result<Exit, CliError> {
    let source = Source::find(&args.path)?;
    let mut interrupt = Interrupt::listen()?;
    let mut serving = Serving::start(ctx, source, limits::manifest(&args.limits))?;
    let (client, url) = connect::listening(ctx, args.listen).await?;
    let Some(opened) = serving.first(&client, &url, &mut interrupt).await? else {
        return Ok(Exit::Interrupted);
    };
    let exit = serving.follow(&client, &opened, &mut interrupt).await;
    opened.close().await;
    exit
}

/// An app and its source.
struct Serving<'a> {
    ctx: &'a Ctx,
    source: Source,
    /// What the options set, as a manifest.
    settings: Json,
    progress: Arc<Progress>,
    watch: Watch,
    changes: Changes,
    /// What runs.
    now: Option<(Digest, Json)>,
    builds: Builds,
}

/// What the last build was made of, so that what it wrote itself is not taken for a save.
#[derive(Default)]
struct Builds {
    /// When the last one began and ended.
    last: Option<(Instant, Instant)>,
    /// The files that matter, as they were when it began; none for one that was not there.
    before: HashMap<PathBuf, Option<u64>>,
    /// What was written anew during each of the last builds, and how many they were.
    again: HashMap<PathBuf, u32>,
    /// What every build writes anew into the sources, a build script that notes the time, say.
    written: HashSet<PathBuf>,
}

/// So many builds in a row that write a file, each made for what the one before wrote, and it is
/// the builds that write it.
const BUILDS_IN_A_ROW: u32 = 3;
/// Times of files are those of the kernel's last tick.
const TICK: Duration = Duration::from_millis(20);

/// One build.
struct Round {
    built: Result<Ready, CliError>,
    rebuild: Duration,
    /// When the build was over.
    at: Instant,
}

impl<'a> Serving<'a> {
    fn start(ctx: &'a Ctx, source: Source, settings: Json) -> Result<Self, CliError> {
        let (watch, changes) = Watch::start().map_err(not_watching)?;
        if let Some(dir) = source.crate_dir() {
            build::outputs(dir).iter().for_each(|dir| watch.ignore(dir));
        }
        watch_source(&watch, &source)?;
        Ok(Self {
            ctx,
            source,
            settings,
            progress: Arc::new(ctx.output.progress()),
            watch,
            changes,
            now: None,
            builds: Builds::default(),
        })
    }

    /// The first build that the node takes; none when the user gives up.
    async fn first(
        &mut self,
        client: &Client,
        url: &str,
        interrupt: &mut Interrupt,
    ) -> Result<Option<Opened>, CliError> {
        loop {
            let round = tokio::select! {
                round = self.round() => round?,
                // The build had the same Ctrl-C.
                () = interrupt.pressed() => return Ok(None),
            };
            let error = match round.built {
                Ok(ready) => {
                    let said = self.said(client, &ready).await?;
                    self.watch_inputs(&ready);
                    match self.open(client, &ready, said, url).await {
                        Ok(opened) => return Ok(Some(opened)),
                        Err(error) if error.exit == Exit::NotFound => return Err(error),
                        Err(error) => error,
                    }
                }
                // Nothing to build, or nothing to build with: a save will not help.
                Err(error) if error.exit != Exit::Failed || error.code == "no-cargo" => {
                    return Err(error);
                }
                Err(error) => error,
            };
            self.progress.finish();
            error.show(&self.ctx.output);
            self.ctx.output.note("waiting for a save");
            tokio::select! {
                change = self.saved() => {
                    if change.is_none() {
                        return Ok(None);
                    }
                }
                () = interrupt.pressed() => return Ok(None),
            }
        }
    }

    async fn open(
        &mut self,
        client: &Client,
        ready: &Ready,
        said: Json,
        url: &str,
    ) -> Result<Opened, CliError> {
        let (source, progress) = (&self.source, &self.progress);
        let opened = Opened::on(client.clone(), source, ready, Some(&said), progress).await?;
        self.progress.finish();
        self.now = Some((ready.digest, said));
        if let Kind::Own(app, _) = &opened.kind {
            self.tell_open(app.name(), url, app.opened());
        }
        Ok(opened)
    }

    fn tell_open(&self, app: &str, url: &str, opened: &Swapped) {
        let output = &self.ctx.output;
        if output.json {
            let json = json!({ "event": "open", "app": app, "url": url, "version": opened.deployed.version });
            let _ = output.print(&format!("{json}\n"));
            return;
        }
        let style = output.err;
        output.say(&format!(
            "{} serving {} as {} on {url}",
            style.green("✓"),
            self.source.shown(),
            style.bold(app)
        ));
        if let Some(function) = opened.deployed.functions.first() {
            let example = signature::example(&function.ty, &format!("{app}::{}", function.name));
            output.hint(&format!("call it with `{example}`; Ctrl-C ends it"));
        }
    }

    /// Builds and swaps, save after save, until Ctrl-C.
    async fn follow(
        &mut self,
        client: &Client,
        opened: &Opened,
        interrupt: &mut Interrupt,
    ) -> Result<Exit, CliError> {
        let Kind::Own(app, _) = &opened.kind else {
            return Ok(Exit::Ok);
        };
        // Only what is written from now on: there is nothing before.
        let stream = client.app_logs(app.name(), Tail::lines(0).follow()).await?;
        let mut written = pin!(logs::print(self.ctx, stream, true));
        let mut listening = true;
        loop {
            let change = tokio::select! {
                change = self.saved() => change,
                ended = &mut written, if listening => {
                    listening = false;
                    match ended? {
                        Exit::Interrupted => return Ok(Exit::Ok),
                        _ => continue,
                    }
                }
                () = interrupt.pressed() => return Ok(Exit::Ok),
            };
            let Some(change) = change else {
                return Err(CliError::failed(
                    "not-watching",
                    "the files are not watched any more",
                ));
            };
            let ended = {
                let mut swap = pin!(self.swap(client, app, &change));
                loop {
                    tokio::select! {
                        ended = &mut swap => break ended,
                        // What functions write meanwhile is shown meanwhile.
                        ended = &mut written, if listening => {
                            listening = false;
                            if ended? == Exit::Interrupted {
                                return Ok(Exit::Ok);
                            }
                        }
                        () = interrupt.pressed() => return Ok(Exit::Ok),
                    }
                }
            };
            match ended {
                Err(error) if error.code == "unreachable" => return Err(error),
                Err(error) => {
                    self.progress.finish();
                    error.show(&self.ctx.output);
                    self.ctx.output.note("the version before goes on");
                }
                Ok(()) => {}
            }
        }
    }

    /// One save, from build to swap.
    async fn swap(
        &mut self,
        client: &Client,
        app: &EphemeralApp,
        change: &Change,
    ) -> Result<(), CliError> {
        let noticed = change.at.elapsed();
        let round = self.round().await?;
        let ready = round.built?;
        let said = self.said(client, &ready).await?;
        if self.now.as_ref() == Some(&(ready.digest, said.clone())) {
            return Ok(());
        }
        let swapped = app.replace(ready.bytes.clone(), Some(&said)).await;
        let swapped = swapped.map_err(|error| refused(error, &ready))?;
        self.watch_inputs(&ready);
        self.now = Some((ready.digest, said));
        self.tell(
            &swapped,
            change,
            (noticed, round.rebuild, round.at.elapsed()),
        );
        Ok(())
    }

    fn tell(
        &self,
        swapped: &Swapped,
        change: &Change,
        (noticed, rebuild, swap): (Duration, Duration, Duration),
    ) {
        let version = swapped.deployed.version;
        let output = &self.ctx.output;
        if output.json {
            let ms = |time: Duration| time.as_secs_f64() * 1e3;
            let json = json!({
                "event": "swapped",
                "version": version,
                "noticed_ms": ms(noticed),
                "rebuild_ms": ms(rebuild),
                "swap_ms": ms(swap),
                "node_ms": ms(swapped.swap),
            });
            let _ = output.print(&format!("{json}\n"));
            return;
        }
        let (rebuild, swap) = (units::duration(rebuild), units::duration(noticed + swap));
        let built = if self.source.crate_dir().is_some() {
            format!("rebuilt in {rebuild}, ")
        } else {
            String::new()
        };
        let name = change
            .paths
            .first()
            .map(|path| self.relative(path))
            .unwrap_or_default();
        let more = match change.paths.len() {
            0 | 1 => name,
            count => format!("{name} and {} more", count - 1),
        };
        let style = output.err;
        output.say(&format!(
            "{} v{version} is live: {built}swapped in {swap} ({more})",
            style.green("✓")
        ));
    }

    fn relative(&self, path: &Path) -> String {
        let path = path.strip_prefix(self.source.dir()).unwrap_or(path);
        path.display().to_string()
    }

    /// What the app is told about itself. What it mounts is a part of that, so that a file saved there counts.
    async fn said(&self, client: &Client, ready: &Ready) -> Result<Json, CliError> {
        let settings = self.settings.clone();
        ship::manifest(client, &self.source, ready, settings, &self.progress).await
    }

    /// The next save, and what else was saved by then; none when nothing is watched any more. What
    /// the last build wrote itself is none.
    async fn saved(&mut self) -> Option<Change> {
        loop {
            let mut change = self.changes.recv().await?;
            let mut in_build = self.builds.was_under_way(change.at);
            let mut paths = std::mem::take(&mut change.paths);
            while let Ok(more) = self.changes.try_recv() {
                in_build &= self.builds.was_under_way(more.at);
                paths.extend(more.paths);
            }
            paths.sort_unstable();
            paths.dedup();
            paths.retain(|path| !self.watch.ignores(path));
            if in_build {
                paths.retain(|path| self.builds.is_new(path));
            } else {
                self.builds.again.clear();
            }
            if !paths.is_empty() {
                return Some(Change { paths, ..change });
            }
        }
    }

    /// One build, on a thread that may wait for it.
    async fn round(&mut self) -> Result<Round, CliError> {
        let source = self.source.clone();
        let progress = self.progress.clone();
        self.builds.begins();
        let started = Instant::now();
        let work = move || {
            let built = source.build(Narration::Whole, &progress);
            let at = Instant::now();
            (built.and_then(|built: Built| source.read(built)), at)
        };
        let (built, at) = tokio::task::spawn_blocking(work).await.map_err(|error| {
            CliError::failed("build-failed", format!("the build was lost: {error}"))
        })?;
        if self.source.crate_dir().is_some() {
            self.builds.last = Some((started, at));
        }
        if let Ok(ready) = &built {
            self.builds
                .made_of(watch::sources(&ready.file), started.elapsed());
        }
        Ok(Round {
            built,
            rebuild: at.duration_since(started),
            at,
        })
    }

    /// Watches what the build was made of outside the crate. What cannot be watched is only not noticed.
    fn watch_inputs(&self, ready: &Ready) {
        let own = self.source.dir().canonicalize().unwrap_or_default();
        let sources = watch::sources(&ready.file);
        let dirs: BTreeSet<&Path> = sources.iter().filter_map(|file| file.parent()).collect();
        for dir in dirs {
            if !dir.starts_with(&own) && !self.watch.ignores(dir) {
                let _ = self.watch.files(dir, &[]);
            }
        }
        // A crate is watched whole; of what lies beside a file, only the file was until now.
        let whole = self.source.crate_dir().is_some();
        for dir in ship::directories(&self.source, ready) {
            let dir = dir.canonicalize().unwrap_or(dir);
            if !(whole && dir.starts_with(&own)) {
                let _ = self.watch.tree(&dir);
            }
        }
    }
}

impl Builds {
    fn was_under_way(&self, at: Instant) -> bool {
        self.last
            .is_some_and(|(began, ended)| began <= at && at <= ended)
    }

    /// Notes what a build will read.
    fn begins(&mut self) {
        for (path, content) in &mut self.before {
            *content = content_of(path);
        }
    }

    /// From now on these count as well. What was written since the build began, so long ago, may
    /// not be what it read.
    fn made_of(&mut self, files: Vec<PathBuf>, took: Duration) {
        let began = SystemTime::now().checked_sub(took + TICK);
        let is_older = |file: &Path| {
            let written = std::fs::metadata(file).and_then(|metadata| metadata.modified());
            written.is_ok_and(|written| began.is_some_and(|began| written < began))
        };
        for file in files {
            if !self.before.contains_key(&file) && is_older(&file) {
                let content = content_of(&file);
                self.before.insert(file, content);
            }
        }
    }

    /// Whether what was written to a file during the build is not what the build was made of.
    fn is_new(&mut self, path: &Path) -> bool {
        if self.written.contains(path) {
            return false;
        }
        let now = content_of(path);
        if self.before.insert(path.to_owned(), now) == Some(now) {
            return false;
        }
        let times = self.again.entry(path.to_owned()).or_default();
        *times += 1;
        // It would be so for ever.
        if *times >= BUILDS_IN_A_ROW {
            self.written.insert(path.to_owned());
            return false;
        }
        true
    }
}

/// What tells one content of a file from another; none for what is not there, or is no file.
fn content_of(path: &Path) -> Option<u64> {
    let bytes = std::fs::read(path).ok()?;
    let mut hasher = DefaultHasher::new();
    hasher.write(&bytes);
    Some(hasher.finish())
}

/// Watches a crate, or a file and the manifest beside it.
fn watch_source(watch: &Watch, source: &Source) -> Result<(), CliError> {
    match source.crate_dir() {
        Some(dir) => watch.tree(dir).map_err(not_watching),
        None => {
            let path = source.shown();
            let name = Path::new(&path).file_name().and_then(|name| name.to_str());
            // Tells what is wrong with it before anything waits for it.
            load::read_component(Path::new(&path))?;
            let names = [name.unwrap_or_default(), manifest::FILE];
            watch.files(source.dir(), &names).map_err(not_watching)
        }
    }
}

fn not_watching(error: std::io::Error) -> CliError {
    CliError::failed("not-watching", format!("cannot watch files: {error}"))
        .hint("the limits are `fs.inotify.max_user_instances` and `fs.inotify.max_user_watches`; look at `sysctl fs.inotify`")
}

fn refused(error: Error, ready: &Ready) -> CliError {
    load::named(error, ready.digest, &ready.file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saved(dir: &Path, name: &str, text: &str) -> PathBuf {
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn aged(path: &Path) {
        let file = std::fs::File::options().write(true).open(path).unwrap();
        let then = SystemTime::now() - Duration::from_secs(60);
        file.set_modified(then).unwrap();
    }

    /// A save during a build is one; what the build wrote and read is none.
    #[test]
    fn what_a_build_was_made_of_is_no_save() {
        let dir = tempfile::TempDir::new().unwrap();
        let (lib, made) = (
            saved(dir.path(), "lib.rs", "1"),
            saved(dir.path(), "made.rs", "1"),
        );
        aged(&lib);
        let mut builds = Builds::default();
        builds.begins();
        builds.made_of(vec![lib.clone(), made.clone()], Duration::from_secs(1));
        assert!(!builds.is_new(&lib), "it is as it was");
        assert!(builds.is_new(&made), "who wrote it is not known yet");
        builds.begins();
        saved(dir.path(), "made.rs", "1");
        assert!(!builds.is_new(&made), "the build wrote it as it was");
        saved(dir.path(), "lib.rs", "2");
        assert!(builds.is_new(&lib), "that was a save");
        std::fs::remove_file(&made).unwrap();
        assert!(builds.is_new(&made));
    }

    #[test]
    fn what_every_build_writes_anew_ends_in_no_loop() {
        let dir = tempfile::TempDir::new().unwrap();
        let mut builds = Builds::default();
        let path = saved(dir.path(), "made.rs", "0");
        let turns = (1..6).map(|turn| {
            builds.begins();
            saved(dir.path(), "made.rs", &turn.to_string());
            builds.is_new(&path)
        });
        assert_eq!(turns.collect::<Vec<_>>(), [true, true, false, false, false]);
    }
}
