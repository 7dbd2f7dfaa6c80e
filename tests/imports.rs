//! The rooms of the sources: a folder or file of `src/` imports only what stands below it.
//!
//! `error.rs`, which names every room's error, and tests are exempt.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A crate whose imports are checked.
struct Sources {
    folder: &'static str,
    /// From low to high: a room may import those before it.
    rooms: &'static [&'static str],
    /// Files that import a room above theirs, until that is mended. None is to be added.
    known: &'static [(&'static str, &'static str)],
}

const SOURCES: [Sources; 2] = [
    Sources {
        folder: "core/src",
        rooms: &["simd", "threads", "names", "synapse", "neuron", "spec", "probe", "file", "event"],
        known: &[],
    },
    Sources {
        folder: "src",
        rooms: &[
            "atomic_file",
            "text_file",
            "registry",
            "native",
            "device",
            "kernels",
            "operation",
            "network",
            "engine",
            "formats",
            "data",
            "report",
            "train",
            "evaluate",
            "convert",
            "pretrained",
            "run",
            "cli",
        ],
        known: &[],
    },
];

#[test]
fn rooms_import_only_what_stands_below_them() {
    for sources in SOURCES {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(sources.folder);
        if root.is_dir() {
            let faults = sources.check(&root);
            assert!(faults.is_empty(), "{}:\n{}", sources.folder, faults.join("\n"));
        }
    }
}

#[test]
fn imports_are_found_however_they_are_written() {
    let aliases =
        aliases("pub use formats::weights;\npub use far::{\n    self as core,\n    near::Synapse,\n    spec,\n};\n");
    assert_eq!(
        aliases.iter().map(|(name, from)| format!("{name} {from}")).collect::<Vec<_>>(),
        ["Synapse far", "core far", "spec far", "weights formats"]
    );
    let rooms = |text: &str, module: &[&str]| Vec::from_iter(rooms_of(text, module, &aliases));
    let inside = ["network", "layer"];
    assert_eq!(rooms("use crate::{neuron::Lif, engine::{self, dense}};", &inside), ["engine", "neuron"]);
    assert_eq!(rooms("use crate::weights::{load, save};", &inside), ["formats"]);
    assert_eq!(rooms("let x = super::super::device::resolve();", &inside), ["device"]);
    assert_eq!(rooms("use super::{\n    device,\n    train,\n};", &["synapse"]), ["device", "train"]);
    assert_eq!(rooms("pub(in crate::network) use super::shape; // crate::train", &inside), ["network"]);
    assert!(rooms("/// [`crate::train`]\nuse xcrate::train;", &inside).is_empty());
    let tested = "use crate::data;\n#[cfg(test)]\nmod more_tests;\nuse crate::kernels;\n#[cfg(all(test, unix))]\n\
                  #[allow(dead_code)]\nmod tests {\n    use crate::train;\n}\n";
    assert_eq!(rooms(tested, &inside), ["data", "kernels"]);
}

impl Sources {
    fn check(&self, root: &Path) -> Vec<String> {
        let library = fs::read_to_string(root.join("lib.rs")).unwrap();
        let aliases = aliases(&library);
        let rank = |room: &str| self.rooms.iter().position(|known| *known == room);
        let mut unused: BTreeSet<_> = self.known.iter().collect();
        let mut faults = Vec::new();
        for file in rust_files(root) {
            let name = file.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
            let module = module_of(&name);
            let is_test = name.ends_with("tests.rs");
            let Some(&room) = module.first().filter(|room| **room != "error" && !is_test) else { continue };
            let Some(own) = rank(room) else {
                faults.push(format!("{room} is in no order yet: put it into the list of rooms in tests/imports.rs"));
                continue;
            };
            for used in rooms_of(&fs::read_to_string(&file).unwrap(), &module, &aliases) {
                let above = rank(&used).is_some_and(|other| other > own);
                if above && !self.known.contains(&(name.as_str(), used.as_str())) {
                    faults.push(format!("{name} imports {used}, which stands above {room}"));
                } else if above {
                    unused.retain(|(file, room)| *file != name || *room != used);
                }
            }
        }
        faults.extend(unused.iter().map(|(file, room)| {
            format!("{file} does not import {room} any more: take it off the known ones in tests/imports.rs")
        }));
        faults.sort();
        faults.dedup();
        faults
    }
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries
        .flat_map(|path| match path.is_dir() {
            true => rust_files(&path),
            false => vec![path],
        })
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect();
    files.sort();
    files
}

/// `kernels/cuda/mod.rs` holds the module `kernels::cuda`.
fn module_of(file: &str) -> Vec<&str> {
    let mut module: Vec<&str> = file.trim_end_matches(".rs").split('/').collect();
    if module.last().is_some_and(|last| ["mod", "lib", "main"].contains(last)) {
        module.pop();
    }
    module
}

/// What `lib.rs` exports under a name of its own, and the room or crate that it comes from.
fn aliases(library: &str) -> BTreeMap<String, String> {
    let mut aliases = BTreeMap::new();
    for export in library.split("pub use ").skip(1) {
        let (Some(from), Some(export)) = (first_names(export).pop(), export.split(';').next()) else { continue };
        let names = export.split_once('{').map_or(export, |(_, group)| group);
        for path in names.split([',', '}']).map(str::trim).filter(|path| !path.is_empty()) {
            let name = path.rsplit([':', ' ']).next().unwrap_or(path);
            aliases.insert(name.to_string(), from.clone());
        }
    }
    aliases
}

/// The rooms (and root items that are none) that the text of `module` names by `crate::` or `super::`.
fn rooms_of(text: &str, module: &[&str], aliases: &BTreeMap<String, String>) -> BTreeSet<String> {
    let text = without_tests_and_comments(text);
    let mut names = BTreeSet::new();
    for (start, _) in text.match_indices("crate::") {
        if !text[..start].ends_with(|before: char| before.is_alphanumeric() || before == '_') {
            names.extend(first_names(&text[start + "crate::".len()..]));
        }
    }
    // As many times as leads to the root of the crate.
    let up = "super::".repeat(module.len());
    for (start, _) in text.match_indices(&up).filter(|_| !module.is_empty()) {
        let (before, after) = (&text[..start], &text[start + up.len()..]);
        if !before.ends_with("super::") && !after.starts_with("super::") {
            names.extend(first_names(after));
        }
    }
    names.into_iter().map(|name| aliases.get(&name).cloned().unwrap_or(name)).collect()
}

/// The first name of a path, or of every path in braces.
fn first_names(path: &str) -> Vec<String> {
    let name = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let Some(group) = path.strip_prefix('{') else { return vec![name(path)] };
    let (mut depth, mut names, mut start) = (0, Vec::new(), 0);
    for (index, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                names.push(name(group[start..index].trim_start()));
                start = index + 1;
                if character == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

fn without_tests_and_comments(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect();
    let begins_tests = |index: &usize| {
        let condition = lines[*index];
        let item = lines[*index..].iter().find(|line| !line.starts_with("#[")).copied().unwrap_or_default();
        condition.starts_with("#[cfg(") && condition.contains("test") && item.starts_with("mod ") && item.ends_with('{')
    };
    let end = (0..lines.len()).find(begins_tests).unwrap_or(lines.len());
    lines[..end].join("\n")
}
