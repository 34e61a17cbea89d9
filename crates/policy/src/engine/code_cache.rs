//! Machine code that survives a restart, sealed.
//!
//! Whoever can write what wasmtime's own cache reads can run code in this process: it trusts its directory. So that
//! directory is one which only this process knows (mode 0700, a fresh name, gone when it ends) and which holds nothing
//! but what has just been unsealed. What survives lies in another, one file per module, each under an HMAC whose key is
//! not on that disk. A file whose seal does not hold is as good as none: the module is compiled again.

use ring::hmac;
use std::fmt;
use std::fs;
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;
use tempfile::TempDir;
use wasmtime::{Cache, CacheConfig};

/// Where compiled code survives a restart, and what seals it.
#[derive(Clone)]
pub struct CodeCacheConfig {
    /// The directory; it is made when it is missing.
    pub dir: PathBuf,
    /// What seals each file. Whoever has it can have any code run here.
    pub seal: hmac::Key,
    /// How much is kept; what was used longest ago goes first.
    pub max_bytes: u64,
}

impl fmt::Debug for CodeCacheConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CodeCacheConfig({})", self.dir.display())
    }
}

/// No compiled policy comes near; a file beyond it is not one.
const MAX_FILE_BYTES: u64 = 64 << 20;
const SEAL_BYTES: usize = 32;
/// Changes when the layout of a sealed file does.
const LABEL: &[u8] = b"caracal compiled policy, layout 1";

/// See the module.
pub(super) struct CodeCache {
    config: CodeCacheConfig,
    private: TempDir,
    wasmtime: Cache,
}

impl CodeCache {
    /// Makes both directories.
    pub(super) fn open(config: CodeCacheConfig) -> wasmtime::Result<Self> {
        fs::create_dir_all(&config.dir)?;
        let private = TempDir::with_prefix("caracal-code-")?;
        let mut cache = CacheConfig::new();
        cache.with_directory(private.path());
        let wasmtime = Cache::new(cache)?;
        Ok(Self {
            config,
            private,
            wasmtime,
        })
    }

    /// The cache that wasmtime is to use.
    pub(super) fn wasmtime(&self) -> Cache {
        self.wasmtime.clone()
    }

    /// Runs `compile` with the module's stored code, if there is any that we sealed, where wasmtime looks for it; then
    /// seals what was compiled anew. Only one call at a time.
    pub(super) fn around<T>(&self, module: &str, compile: impl FnOnce() -> T) -> T {
        let offered = self.offer(module);
        let hits = self.wasmtime.cache_hits();
        let outcome = compile();
        let used = self.wasmtime.cache_hits() > hits;
        if !used && let Err(error) = self.keep(module) {
            tracing::warn!(module, %error, "compiled code could not be kept; a restart will compile it again");
        }
        if let (Ok(Some(file)), true) = (&offered, used) {
            // For the order in which files are given up. Failing to note it costs nothing but that.
            let _ = fs::File::open(file).and_then(|file| file.set_modified(now()));
        }
        if let Err(error) = offered {
            tracing::warn!(module, %error, "stored code was not used");
        }
        // wasmtime's own statistics stay, since it goes on writing them; the code has served.
        for (_, code) in code_files(self.private.path()).unwrap_or_default() {
            let _ = fs::remove_file(code);
        }
        outcome
    }

    /// Puts the module's sealed code where wasmtime looks for it.
    fn offer(&self, module: &str) -> Result<Option<PathBuf>> {
        let file = self.file(module)?;
        let mut sealed = Vec::new();
        match fs::File::open(&file) {
            Ok(file) => file.take(MAX_FILE_BYTES).read_to_end(&mut sealed)?,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let (path, code) = self.unseal(module, &sealed)?;
        let path = self.private.path().join(path);
        fs::create_dir_all(path.parent().unwrap_or(self.private.path()))?;
        fs::write(path, code)?;
        Ok(Some(file))
    }

    /// Seals what wasmtime has just written.
    fn keep(&self, module: &str) -> Result<()> {
        let file = self.file(module)?;
        let Some((_, written)) = code_files(self.private.path())?.into_iter().max() else {
            return Ok(());
        };
        let code = fs::read(&written)?;
        let path = written.strip_prefix(self.private.path()).map_err(Error::other)?;
        let sealed = self.seal(module, path, &code)?;
        // Whole or not at all: other replicas may share the directory.
        let mut fresh = tempfile::NamedTempFile::new_in(&self.config.dir)?;
        fresh.write_all(&sealed)?;
        fresh.persist(file)?;
        self.make_room()
    }

    /// Seal ‖ length of the path ‖ path ‖ code.
    fn seal(&self, module: &str, path: &Path, code: &[u8]) -> Result<Vec<u8>> {
        let path = path.to_str().ok_or_else(|| invalid("a path that is not text"))?;
        let length = u16::try_from(path.len()).map_err(Error::other)?.to_be_bytes();
        let body = [&length, path.as_bytes(), code].concat();
        let tag = hmac::sign(&self.config.seal, &bound(module, &body));
        Ok([tag.as_ref(), &body].concat())
    }

    fn unseal<'a>(&self, module: &str, sealed: &'a [u8]) -> Result<(&'a Path, &'a [u8])> {
        let broken = || invalid("a seal that does not hold");
        let (tag, body) = sealed.split_at_checked(SEAL_BYTES).ok_or_else(broken)?;
        hmac::verify(&self.config.seal, &bound(module, body), tag).map_err(|_| broken())?;
        let (length, rest) = body.split_first_chunk().ok_or_else(broken)?;
        let (path, code) = rest
            .split_at_checked(usize::from(u16::from_be_bytes(*length)))
            .ok_or_else(broken)?;
        let path = Path::new(std::str::from_utf8(path).map_err(Error::other)?);
        let inside = path.components().all(|part| matches!(part, Component::Normal(_)));
        if inside { Ok((path, code)) } else { Err(broken()) }
    }

    /// Gives up the files used longest ago until the rest fits.
    fn make_room(&self) -> Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.config.dir)? {
            let entry = entry?;
            let about = entry.metadata()?;
            if about.is_file() {
                files.push((about.modified()?, about.len(), entry.path()));
            }
        }
        files.sort_unstable();
        let mut total: u64 = files.iter().map(|(_, size, _)| size).sum();
        for (_, size, path) in files {
            if total <= self.config.max_bytes {
                break;
            }
            fs::remove_file(path)?;
            total -= size;
        }
        Ok(())
    }

    /// Module names are hashes; anything else has no file.
    fn file(&self, module: &str) -> Result<PathBuf> {
        let plain = !module.is_empty() && module.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let file = self.config.dir.join(module).with_extension("code");
        if plain {
            Ok(file)
        } else {
            Err(invalid("a name that is no hash"))
        }
    }
}

/// What the seal covers: the file's content is good for this module only.
fn bound(module: &str, body: &[u8]) -> Vec<u8> {
    [LABEL, &[0], module.as_bytes(), &[0], body].concat()
}

/// The files of code below `dir`, each with when it was written; statistics lie beside them, with an extension. wasmtime
/// goes on writing and renaming those meanwhile: what is gone by the time it is looked at was none of code.
fn code_files(dir: &Path) -> Result<Vec<(SystemTime, PathBuf)>> {
    let (mut found, mut folders) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let about = match entry.metadata() {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                about => about?,
            };
            if about.is_dir() {
                folders.push(entry.path());
            } else if entry.path().extension().is_none() {
                found.push((about.modified()?, entry.path()));
            }
        }
    }
    Ok(found)
}

#[expect(
    clippy::disallowed_methods,
    reason = "a file's time of use is no part of any decision"
)]
fn now() -> SystemTime {
    SystemTime::now()
}

fn invalid(what: &'static str) -> Error {
    Error::new(ErrorKind::InvalidData, format!("the file has {what}"))
}

impl fmt::Debug for CodeCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.config.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(dir: &Path, key: u8) -> CodeCache {
        CodeCache::open(CodeCacheConfig {
            dir: dir.to_owned(),
            seal: hmac::Key::new(hmac::HMAC_SHA256, &[key; 32]),
            max_bytes: 1 << 20,
        })
        .unwrap()
    }

    #[test]
    fn only_what_was_sealed_for_this_module_under_this_key_is_unsealed() {
        let dir = tempfile::tempdir().unwrap();
        let (ours, theirs) = (cache(dir.path(), 1), cache(dir.path(), 2));
        let sealed = ours.seal("aa", Path::new("modules/x/y"), b"code").unwrap();
        assert_eq!(
            ours.unseal("aa", &sealed).unwrap(),
            (Path::new("modules/x/y"), &b"code"[..])
        );
        assert!(ours.unseal("ab", &sealed).is_err(), "another module's");
        assert!(theirs.unseal("aa", &sealed).is_err(), "another key's");
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(ours.unseal("aa", &changed).is_err(), "byte {at}");
            assert!(ours.unseal("aa", &sealed[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn nothing_is_written_outside() {
        let dir = tempfile::tempdir().unwrap();
        let cache = cache(dir.path(), 1);
        for path in ["../x", "/tmp/x", "a/../../x"] {
            let sealed = cache.seal("aa", Path::new(path), b"code").unwrap();
            assert!(cache.unseal("aa", &sealed).is_err(), "{path}");
        }
        for name in ["", "../aa", "a/b", "a.b"] {
            assert!(cache.file(name).is_err(), "{name}");
        }
    }

    #[test]
    fn what_was_used_longest_ago_makes_room() {
        let dir = tempfile::tempdir().unwrap();
        let cache = cache(dir.path(), 1);
        let old = SystemTime::UNIX_EPOCH;
        for (name, age) in [("a", 1), ("b", 2), ("c", 3)] {
            let path = dir.path().join(name);
            fs::write(&path, vec![0; 600 << 10]).unwrap();
            let file = fs::File::options().write(true).open(path).unwrap();
            file.set_modified(old + std::time::Duration::from_secs(age))
                .unwrap();
        }
        cache.make_room().unwrap();
        let left: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert_eq!(left, ["c"]);
    }
}
