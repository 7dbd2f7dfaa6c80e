//! Runs that share a machine: one folder holds one run at a time, and what a process leaves behind, others handle.

#![cfg(all(feature = "cli", unix))]

#[path = "common/command.rs"]
mod command;

use std::collections::BTreeMap;
use std::process::Command;

use command::{Place, Started, assert_says, real_data, through};
use serde_json::Value;

/// So many epochs that only a signal ends the run.
const ENDLESS: &str = "--epochs 100000";

/// Starts `line` once for each seed, all at the same time.
fn at_once(place: &Place, line: &str, seeds: u64) -> Vec<Started> {
    (0..seeds).map(|seed| place.start(&format!("{line} --seed {seed}"))).collect()
}

/// The seed in the configuration of the run, which must be that of its weights.
fn seed_of(place: &Place, run: &str) -> u64 {
    let config: toml::Table = place.text(&format!("{run}/config.toml")).parse().unwrap();
    let seed = config["seed"].as_integer().unwrap().unsigned_abs();
    for file in ["last", "best", "weights"] {
        let metadata = &place.succeed(&format!("inspect {run}/{file}.safetensors --json")).json()["metadata"];
        assert_eq!(metadata["seed"], seed.to_string(), "{run}/{file}");
    }
    seed
}

#[test]
fn runs_that_start_at_once_share_no_folder() {
    let place = Place::new();
    let line = "train --config experiment.toml --epochs 1";
    let outcomes: Vec<_> = at_once(&place, line, 4).into_iter().map(Started::end).collect();
    assert!(outcomes.iter().all(|(code, _)| *code == Some(0)), "{outcomes:?}");
    let mut seeds: Vec<u64> = (1..=4).map(|number| seed_of(&place, &format!("runs/{number}"))).collect();
    seeds.sort_unstable();
    assert_eq!((seeds, place.names("runs").len()), (vec![0, 1, 2, 3], 4));

    let outcomes: Vec<_> = at_once(&place, &format!("{line} --out run"), 4).into_iter().map(Started::end).collect();
    let winners: Vec<u64> =
        (0..).zip(&outcomes).filter(|(_, (code, _))| *code == Some(0)).map(|(seed, _)| seed).collect();
    assert_eq!(winners, [seed_of(&place, "run")], "{outcomes:?}");
    for (code, said) in outcomes.iter().filter(|(code, _)| *code != Some(0)) {
        assert_eq!(*code, Some(1));
        assert!(said.contains("run is in use by process ") || said.contains("run already contains a run"), "{said}");
    }
}

#[test]
fn a_run_in_use_is_left_alone_and_a_killed_one_is_free() {
    let place = Place::new();
    let mut run = place.start(&format!("train --config experiment.toml --out run {ENDLESS}"));
    run.wait_for("epoch");
    let holder = format!("run is in use by process {}", run.id());
    let config = place.bytes("run/config.toml");
    for line in ["--resume run", "--resume run --epochs 3", "--config experiment.toml --seed 9 --out run"] {
        assert_says(&place.fail(&format!("train {line}")), &[&holder, "wait for it to end", "--out"]);
    }
    assert_eq!(place.bytes("run/config.toml"), config);
    // Reading is allowed.
    place.succeed("inspect run");
    run.wait_for("epoch");
    run.kill();
    let mut again = place.start("train --resume run");
    again.wait_for("resumed");
    again.interrupt();
    let (code, said) = again.end();
    assert_eq!(code, Some(130), "{said}");
    assert!(!place.path("run/run.lock").exists());
}

#[test]
fn parts_of_a_run_are_not_overwritten() {
    for part in ["best.safetensors", "weights.safetensors", "summary.json", "metrics.jsonl", "last.safetensors"] {
        let place = Place::new();
        place.write(&format!("run/{part}"), "precious");
        let said = place.fail("train --config experiment.toml --out run");
        assert_says(&said, &["run already contains a part of a run", part, "--out"]);
        assert_eq!(
            (place.names("run"), place.text(&format!("run/{part}"))),
            (vec![part.to_string()], "precious".into())
        );
    }
}

#[test]
fn a_checkpoint_does_not_grow_with_the_epochs() {
    let place = Place::new();
    let line = "train --config experiment.toml --set data.train_images=20 --set simulation.sample=0";
    place.succeed(&format!("{line} --out short --epochs 1"));
    place.succeed(&format!("{line} --out run --epochs 40"));
    let length = |run: &str| place.bytes(&format!("{run}/last.safetensors")).len();
    // Numbers of more digits, rounded up to 8 bytes.
    assert!(length("run").abs_diff(length("short")) <= 64, "{} and {}", length("run"), length("short"));
    place.succeed("train --resume run --epochs 41");
    let epochs: Vec<u64> = place.metrics("run").iter().map(|metrics| metrics["epoch"].as_u64().unwrap()).collect();
    assert_eq!(epochs, (1..=41).collect::<Vec<_>>());
    // The curve and the summary know all epochs too.
    let summary: Value = serde_json::from_slice(&place.bytes("run/summary.json")).unwrap();
    let seconds: f64 = place.metrics("run").iter().map(|metrics| metrics["seconds"].as_f64().unwrap()).sum();
    assert!((summary["training_seconds"].as_f64().unwrap() - seconds).abs() < 1e-9 * seconds);

    let metrics = place.text("run/metrics.jsonl");
    place.write("run/metrics.jsonl", metrics.replacen("\"loss\":", "\"loss\":oops", 1));
    assert_says(&place.fail("train --resume run --epochs 42"), &["metrics.jsonl, line 1: ", "remove it"]);
    place.write("run/metrics.jsonl", metrics);
    place.succeed("train --resume run --epochs 42");
    assert_eq!(place.metrics("run").len(), 42);
}

#[test]
fn a_checkpoint_with_the_whole_history_still_loads() {
    let place = Place::new();
    let line = "train --config experiment.toml --set training.learning_rate=0.05";
    place.succeed(&format!("{line} --out straight --epochs 8"));
    place.succeed(&format!("{line} --out run --epochs 6"));
    // As version 0.1.0 wrote it: all metrics in the position, and nothing beside it.
    let path = place.path("run/last.safetensors");
    let mut file = tch_spiking::weights::read(&path).unwrap();
    let mut saved: Value = serde_json::from_str(&file.metadata["position"]).unwrap();
    saved["position"]["history"] = place.metrics("run").into();
    let removed = saved["position"].as_object_mut().unwrap().remove("best");
    assert!(removed.is_some() && saved.as_object_mut().unwrap().remove("latest").is_some(), "{saved}");
    file.metadata.insert("position".into(), saved.to_string());
    let tensors: Vec<_> = file.tensors.into_iter().collect();
    tch_spiking::weights::write(&path, &tensors, &file.metadata).unwrap();
    std::fs::remove_file(place.path("run/metrics.jsonl")).unwrap();
    place.succeed("train --resume run --epochs 8");
    assert_eq!(place.timeless_metrics("run"), place.timeless_metrics("straight"));
    assert_eq!(place.tensors("run/best.safetensors"), place.tensors("straight/best.safetensors"));
}

/// The command with the signals of `options` (of `env`) set up.
fn start_with(place: &Place, options: &[&str], line: &str) -> Started {
    place.start_command(through(place.command(line), &[&["env"], options].concat()))
}

#[cfg(target_os = "linux")]
#[test]
fn signals_that_were_ignored_at_the_start_stay_ignored() {
    let place = Place::new();
    let line = format!("train --config experiment.toml --out run {ENDLESS}");
    let mut run = start_with(&place, &["--ignore-signal=HUP", "--default-signal=INT,TERM"], &line);
    run.wait_for("epoch");
    run.signal("HUP");
    for _ in 0..3 {
        run.wait_for("epoch");
    }
    run.signal("TERM");
    assert_eq!(run.end().0, Some(130));

    let mut run = start_with(&place, &["--ignore-signal=INT,HUP"], "train --resume run");
    run.wait_for("epoch");
    run.interrupt();
    run.wait_for("epoch");
    run.wait_for("epoch");
    run.signal("TERM");
    assert_eq!(run.end().0, Some(130));

    let mut run = start_with(&place, &["--ignore-signal=INT,HUP,TERM"], "train --resume run");
    run.wait_for("epoch");
    run.signal("TERM");
    run.wait_for("epoch");
    run.kill();
}

#[test]
fn an_interrupt_stops_the_test_and_a_resumed_run_does_it() {
    let place = Place::new();
    let slow = "--set data.test_images=5000 --set network.steps=4000 --set simulation.sample=0";
    let mut run = place.start(&format!("train --config experiment.toml --out run --epochs 1 {slow}"));
    run.wait_for("testing");
    run.interrupt();
    let (code, said) = run.end();
    assert_eq!(code, Some(130), "{said}");
    assert_says(&said, &["interrupted after epoch 1, step 0", "To resume: tch-spiking train --resume run\n"]);
    assert!(!place.path("run/summary.json").exists());
    let checkpoint = place.bytes("run/last.safetensors");
    let said = place.succeed("train --resume run").stderr;
    assert!(said.contains("testing") && !said.contains("epoch   1"), "{said}");
    assert_eq!((place.bytes("run/last.safetensors"), place.path("run/summary.json").exists()), (checkpoint, true));
}

#[test]
fn temporary_files_of_killed_processes_are_removed_and_others_are_not() {
    let place = Place::trained();
    place.write("run/.tch-spiking-killed.tmp", "half a checkpoint");
    place.write("run/.tch-spiking-busy.tmp", "of a process that writes");
    place.write("run/mine.tmp", "not ours");
    let busy = std::fs::File::open(place.path("run/.tch-spiking-busy.tmp")).unwrap();
    busy.lock().unwrap();
    place.succeed("train --resume run --epochs 3");
    let names = place.names("run");
    assert!(!names.contains(&".tch-spiking-killed.tmp".into()), "{names:?}");
    assert!(names.contains(&".tch-spiking-busy.tmp".into()) && names.contains(&"mine.tmp".into()), "{names:?}");
}

#[test]
fn data_sets_need_no_temporary_folder() {
    let Some(data) = real_data() else { return };
    let place = Place::trained();
    let line = "evaluate --weights run/best.safetensors --dataset mnist --limit 2 --json";
    let output = place.command(line).env("TCH_SPIKING_DATA", data).env("TMPDIR", place.path("none")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn paths_need_not_be_utf_8() {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;
    let place = Place::trained();
    let odd = |text: &str| OsString::from_vec([text.as_bytes(), b"-\xff"].concat());
    let shown = |text: &str| format!("{text}-\u{fffd}");
    let digits = "--dataset digits";
    let cases: BTreeMap<&str, (String, &str)> = [
        ("weights.npz", ("convert run/best.safetensors --format npz".into(), "output")),
        ("net.pt", ("export run/best.safetensors".into(), "output")),
        ("snn", ("convert-network run/best.safetensors".into(), "output")),
        ("pictures", (format!("simulate --weights run/best.safetensors {digits} --out"), "")),
        ("run", ("train --config experiment.toml --epochs 1 --out".into(), "run")),
    ]
    .into();
    for (name, (line, key)) in cases {
        let mut words = line.split_whitespace().collect::<Vec<_>>();
        let last = words.pop_if(|word| *word == "--out");
        let mut command = place.command("");
        command.args(words).args(last).arg(odd(name)).arg("--json");
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{line}: {said}");
        let result: Value = serde_json::from_slice(&output.stdout).unwrap();
        if !key.is_empty() {
            assert_eq!(result[key], shown(name), "{line}");
        }
        assert!(place.path(".").join(odd(name)).exists(), "{line}");
    }
    // The command that resumes it is one that a shell understands.
    let mut command: Command = place.command("");
    command.args("train --config experiment.toml --epochs 100000 --out".split(' ')).arg(odd("stopped"));
    let mut run = place.start_command(through(command, &["env", "--default-signal=INT"]));
    run.wait_for("epoch");
    run.interrupt();
    assert_says(&run.end().1, &[r"--resume $'stopped-\xff'"]);
}
