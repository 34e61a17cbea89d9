//! What is held in memory: compiled modules by name and their instances, all of them counted against one budget.

use super::EngineMemory;
use super::instance::Instance;
use super::module::Module;
use parking_lot::RwLock;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// When room is made, this part of the budget more is freed than is needed, so that it is not made for each of many.
const SLACK: usize = 32;

/// See the module. Code, waiting instances and busy ones each take their bytes when they come to be and give them back
/// when they are dropped, however they come to that.
pub(super) struct Shelf {
    most: usize,
    taken: AtomicUsize,
    loaded: RwLock<HashMap<String, Arc<Module>>>,
    uses: AtomicU64,
}

impl Shelf {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            taken: AtomicUsize::new(0),
            loaded: RwLock::default(),
            uses: AtomicU64::new(0),
        }
    }

    /// The module, if it is loaded; counts as a use of it.
    pub(super) fn get(&self, name: &str) -> Option<Arc<Module>> {
        let module = self.loaded.read().get(name).map(Arc::clone)?;
        module.used(self.uses.fetch_add(1, Ordering::Relaxed));
        Some(module)
    }

    /// Adds a module and, over budget, gives up what was used longest ago.
    pub(super) fn put(&self, name: &str, module: Arc<Module>) {
        module.used(self.uses.fetch_add(1, Ordering::Relaxed));
        self.loaded.write().insert(name.to_owned(), module);
        self.make_room(0);
    }

    /// Whether there is room for `bytes` more, once what waits has made way for it: first instances, which are made
    /// again in 100 µs, then modules, which are compiled again, those used longest ago first. The module used last stays.
    pub(super) fn make_room(&self, bytes: usize) -> bool {
        if self.has_room(bytes) {
            return true;
        }
        let wanted = (self.taken.load(Ordering::Relaxed) + bytes).saturating_sub(self.most);
        let wanted = wanted + self.most / SLACK;
        // Dropped after the lock: that unmaps memory.
        let gone = self.give_up(wanted);
        drop(gone);
        self.has_room(bytes)
    }

    fn give_up(&self, wanted: usize) -> (Vec<Instance>, Vec<Arc<Module>>) {
        let (mut instances, mut modules) = (Vec::new(), Vec::new());
        let mut loaded = self.loaded.write();
        let mut by_age: Vec<_> = loaded
            .iter()
            .map(|(name, m)| (m.last_use(), name.clone()))
            .collect();
        by_age.sort_unstable();
        let mut freed = 0;
        for module in by_age.iter().filter_map(|(_, name)| loaded.get(name)) {
            if freed >= wanted {
                break;
            }
            let waiting = module.give_up_waiting();
            freed += waiting.iter().map(Instance::bytes).sum::<usize>();
            instances.extend(waiting);
        }
        by_age.pop();
        for (_, name) in by_age {
            if freed >= wanted {
                break;
            }
            // What somebody holds stays: to forget it would free nothing.
            let held = loaded
                .get(&name)
                .is_some_and(|module| Arc::strong_count(module) > 1);
            if held {
                continue;
            }
            if let Some(module) = loaded.remove(&name) {
                freed += module.code_bytes();
                modules.push(module);
            }
        }
        (instances, modules)
    }

    fn has_room(&self, bytes: usize) -> bool {
        self.taken.load(Ordering::Relaxed) + bytes <= self.most
    }

    pub(super) fn take(&self, bytes: usize) {
        self.taken.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn give_back(&self, bytes: usize) {
        self.taken.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(super) fn memory(&self) -> EngineMemory {
        let loaded = self.loaded.read();
        let mut memory = EngineMemory {
            modules: loaded.len(),
            code_bytes: 0,
            instances: 0,
            instance_bytes: 0,
            busy_bytes: 0,
        };
        for module in loaded.values() {
            let (instances, bytes) = module.waiting();
            memory.code_bytes += module.code_bytes();
            memory.instances += instances;
            memory.instance_bytes += bytes;
        }
        let taken = self.taken.load(Ordering::Relaxed);
        memory.busy_bytes = taken.saturating_sub(memory.code_bytes + memory.instance_bytes);
        memory
    }
}

impl std::fmt::Debug for Shelf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shelf")
            .field("loaded", &self.loaded.read().len())
            .field("taken", &self.taken)
            .finish_non_exhaustive()
    }
}
