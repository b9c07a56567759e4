//! Clocks that a test sets: a few lines of C stand between a program and the system's wall clock.
//!
//! `faketime` will not do: an Envoy under it hangs at its start.

use std::{
    fs::{self, File},
    os::unix::fs::{FileExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use signet_policies::time::Clock;

use super::Programs;
use crate::clock;

/// Adds the seconds that are in the file of `CLOCK_AHEAD` to the wall clock, and to no other.
const SHIM: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile const long long *ahead;

__attribute__((constructor)) static void find(void) {
    const char *path = getenv("CLOCK_AHEAD");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *page = mmap(0, sizeof *ahead, PROT_READ, MAP_SHARED, file, 0);
    if (page != MAP_FAILED) ahead = page;
    close(file);
}

int clock_gettime(clockid_t id, struct timespec *at) {
    int failed = (int)syscall(SYS_clock_gettime, id, at);
    if (!failed && ahead && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) at->tv_sec += *ahead;
    return failed;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone) {
    struct timespec now;
    int failed = clock_gettime(CLOCK_REALTIME, &now);
    *at = (struct timeval){now.tv_sec, now.tv_nsec / 1000};
    return failed;
}

time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}
"#;

/// A wall clock that is ahead of the system's. What is measured from one moment to another goes on as ever.
#[derive(Debug)]
pub struct FalseClock {
    file: PathBuf,
    library: PathBuf,
    ahead: Arc<AtomicU64>,
}

impl FalseClock {
    /// One that is right so far, and keeps what it needs in `folder`.
    ///
    /// # Errors
    /// There is no C compiler, which Rust links with, too; or a file cannot be written.
    pub fn new(folder: &Path) -> Result<Self> {
        let (source, library) = (folder.join("clock.c"), folder.join("clock.so"));
        fs::write(&source, SHIM)?;
        let compiled =
            Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(&source).output();
        let compiled = compiled.context("cannot run `cc`; install gcc")?;
        ensure!(compiled.status.success(), "cc: {}", String::from_utf8_lossy(&compiled.stderr));
        let clock = Self { file: folder.join("ahead"), library, ahead: Arc::default() };
        clock.set_ahead(Duration::ZERO)?;
        Ok(clock)
    }

    /// Sets it, at once and for every program that lives by it.
    ///
    /// # Errors
    /// Its file cannot be written.
    pub fn set_ahead(&self, ahead: Duration) -> Result<()> {
        let file = File::options().create(true).truncate(false).write(true).open(&self.file)?;
        file.write_all_at(&ahead.as_secs().to_ne_bytes(), 0)?;
        self.ahead.store(ahead.as_secs(), Ordering::SeqCst);
        Ok(())
    }

    /// As this process sees it.
    #[must_use]
    pub fn clock(&self) -> Clock {
        let (ahead, right) = (self.ahead.clone(), clock());
        Arc::new(move || right() + Duration::from_secs(ahead.load(Ordering::SeqCst)))
    }

    /// The real programs, living by this clock.
    ///
    /// # Errors
    /// One is not there, or cannot be wrapped.
    pub fn programs(&self) -> Result<Programs> {
        let Programs { server, agent, envoy } = Programs::real()?;
        Ok(Programs {
            server: self.wrapped("server", &server)?,
            agent: self.wrapped("agent", &agent)?,
            envoy: self.wrapped("envoy", &envoy)?,
        })
    }

    fn wrapped(&self, name: &str, program: &Path) -> Result<PathBuf> {
        let script = self.file.with_file_name(name);
        let (library, file, program) = (self.library.display(), self.file.display(), program.display());
        let text =
            format!("#!/bin/sh\nLD_PRELOAD='{library}' CLOCK_AHEAD='{file}' exec '{program}' \"$@\"\n");
        fs::write(&script, text)?;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
        Ok(script)
    }
}
