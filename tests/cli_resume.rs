//! Training that is stopped, gently or not, and goes on.

#![cfg(feature = "cli")]

#[path = "common/command.rs"]
mod command;

use std::time::Duration;

use command::{Place, assert_says};

/// So many epochs that only an interrupt ends the run.
const ENDLESS: &str = "--epochs 100000";

/// Runs `line` until it has done an epoch, interrupts it, and returns the epochs and steps that it says it did.
fn interrupt(place: &Place, line: &str) -> (u64, u64) {
    let mut run = place.start(line);
    run.wait_for("epoch");
    run.interrupt();
    let (code, said) = run.end();
    assert_eq!(code, Some(130), "{said}");
    assert_says(&said, &["To resume: tch-spiking train --resume run\n"]);
    let position = said.split("after epoch ").nth(1).unwrap();
    let mut numbers = position.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok());
    (numbers.next().unwrap(), numbers.next().unwrap())
}

/// The whole epochs in the newest checkpoint of `run`.
fn epochs_done(place: &Place) -> u64 {
    place.succeed("inspect run --json").json()["metadata"]["epochs"].as_str().unwrap().parse().unwrap()
}

/// The run `run` is, but for the clock, the one that `line` makes without a stop.
fn assert_same_as_straight(place: &Place, line: &str) {
    place.succeed(&format!("{line} --out straight"));
    assert_eq!(place.tensors("run/last.safetensors"), place.tensors("straight/last.safetensors"));
    assert_eq!(place.bytes("run/best.safetensors"), place.bytes("straight/best.safetensors"));
    assert_eq!(place.timeless_metrics("run"), place.timeless_metrics("straight"));
    assert_eq!(place.text("run/config.toml"), place.text("straight/config.toml"));
    assert_eq!(place.names("run"), place.names("straight"));
}

/// The network has dropout, and each of these optimisers a state.
fn interrupted_runs_end_as_straight_ones(optimizer: &str) {
    let place = Place::new();
    // Small batches, so that most of an epoch is steps and the interrupt falls between two of them.
    let line =
        format!("train --config experiment.toml --set training.batch_size=3 --set training.optimizer={optimizer}");
    let mut position = interrupt(&place, &format!("{line} --out run {ENDLESS}"));
    let mut within_epoch = position.1 > 0;
    let mut stops = 1;
    while stops < 3 || (!within_epoch && stops < 15) {
        place.succeed("inspect run");
        let next = interrupt(&place, "train --resume run");
        assert!(next > position, "{next:?} after {position:?}");
        position = next;
        within_epoch |= position.1 > 0;
        stops += 1;
    }
    assert!(within_epoch, "no interrupt of {stops} fell between two steps");
    let epochs = position.0 + 1;
    place.edit("run/config.toml", "epochs = 100000", &format!("epochs = {epochs}"));
    place.succeed("train --resume run");
    assert_same_as_straight(&place, &format!("{line} --epochs {epochs}"));
}

#[test]
fn interrupted_runs_of_adam_end_as_straight_ones() {
    interrupted_runs_end_as_straight_ones("{type=\"adam\",weight_decay=0.01}");
}

#[test]
fn interrupted_runs_of_sgd_with_momentum_and_augmentation_end_as_straight_ones() {
    let augmented = "--set training.augmentation={rotation=10,shift=2,flip=0.5,erase={}}";
    interrupted_runs_end_as_straight_ones(&format!("{{type=\"sgd\",momentum=0.9,nesterov=true}} {augmented}"));
}

#[test]
fn an_interrupt_before_the_first_step_is_no_loss() {
    let place = Place::new();
    let mut run = place.start(&format!("train --config experiment.toml --out run {ENDLESS}"));
    run.wait_for("run ");
    run.interrupt();
    let (code, said) = run.end();
    assert_eq!(code, Some(130), "{said}");
    let epochs = epochs_done(&place) + 2;
    place.succeed(&format!("train --resume run --epochs {epochs}"));
    assert_same_as_straight(&place, &format!("train --config experiment.toml --epochs {epochs}"));
}

#[test]
fn a_finished_run_goes_on_to_more_epochs() {
    let place = Place::new();
    place.succeed("train --config experiment.toml --out run --epochs 1");
    let said = place.succeed("train --resume run --epochs 3 --json");
    assert_says(&said.stderr, &["resumed   after epoch 1, step 0"]);
    assert_eq!((&said.json()["epochs"], said.json()["metrics"].as_array().unwrap().len()), (&3.into(), 3));
    assert_same_as_straight(&place, "train --config experiment.toml --epochs 3");
}

#[test]
fn runs_that_cannot_go_on_are_told_and_stay_as_they_are() {
    let place = Place::trained();
    place.write("empty/readme.txt", "");
    place.write("foreign/config.toml", place.bytes("experiment.toml"));
    place.write("foreign/last.safetensors", place.bytes("run/best.safetensors"));
    place.write("damaged/config.toml", place.bytes("experiment.toml"));
    place.write("damaged/last.safetensors", &place.bytes("run/last.safetensors")[..1000]);
    place.write("lost/config.toml", place.bytes("run/config.toml"));
    place.write("lost/metrics.jsonl", place.bytes("run/metrics.jsonl"));
    let before = place.bytes("run/last.safetensors");
    for (line, expected) in [
        ("--resume run", &["already completed 2 epochs", "--epochs 3"][..]),
        ("--resume run --epochs 1", &["already completed 2 epochs", "--epochs 3"]),
        ("--resume run --epochs 3 --seed 4", &["has the seed 3", "--seed 4"]),
        ("--resume nowhere", &["nowhere is not a run", "no config.toml"]),
        ("--resume empty", &["empty is not a run", "no config.toml"]),
        ("--resume experiment.toml", &["experiment.toml is not a run"]),
        ("--resume lost", &["lost is not a run", "no last.safetensors"]),
        ("--resume foreign", &["foreign is not a run", "last.safetensors is not a checkpoint"]),
        ("--resume damaged", &["damaged/last.safetensors", "cut off", "found 1000"]),
        ("--config experiment.toml --out run", &["run already contains a run", "--resume run", "--out"]),
    ] {
        assert_says(&place.fail(&format!("train {line}")), expected);
    }
    for option in ["--config experiment.toml", "--dataset digits", "--set seed=1", "--out other"] {
        let said = place.refused(2, &format!("train --resume run {option}"));
        assert_says(&said, &["cannot be used with", "--resume"]);
    }
    // The same seed again is fine.
    assert_eq!(place.bytes("run/last.safetensors"), before);
    place.succeed("train --resume run --epochs 3 --seed 3");
}

#[test]
fn a_checkpoint_of_another_network_is_refused() {
    let place = Place::trained();
    place.edit("run/config.toml", "out_features = 10", "out_features = 12");
    let said = place.fail("train --resume run --epochs 3");
    assert_says(&said, &["network.layers.4.out_features = 10 then, 12 now", "--force"]);
    let said = place.fail("train --resume run --epochs 3 --force");
    assert_says(&said, &["linear1.weight: expected 12x256, found 10x256", "linear1.bias"]);
}

#[test]
fn a_run_goes_on_as_it_began_or_by_force() {
    let place = Place::trained();
    let config = place.text("run/config.toml");
    for (from, to, expected) in [
        ("seed = 3", "seed = 4", "seed = 3 then, 4 now"),
        ("learning_rate = 0.003", "learning_rate = 0.1", "training.learning_rate = 0.003 then, 0.1 now"),
        ("batch_size = 100", "batch_size = 50", "training.batch_size = 100 then, 50 now"),
        ("p = 0.2", "p = 0.3", "network.layers.2.p = 0.2 then, 0.3 now"),
        ("train_images = 410", "train_images = 400", "data.train_images = 410 then, 400 now"),
        ("\"adam\"", "\"rmsprop\"", "training.optimizer.type = \"adam\" then, \"rmsprop\" now"),
    ] {
        let changed = config.replace(from, to);
        assert_ne!(changed, config, "{from}");
        let changed = if from == "\"adam\"" {
            // Of its own keys the other optimiser has one.
            let keys = ["beta1", "beta2", "weight_decay"];
            let kept = changed.lines().filter(|line| !keys.iter().any(|key| line.starts_with(key)));
            kept.collect::<Vec<_>>().join("\n")
        } else {
            changed
        };
        place.write("run/config.toml", &changed);
        let said = place.fail("train --resume run --epochs 3");
        assert_says(&said, &["run/last.safetensors was made by another configuration", expected, "--force"]);
        assert_eq!(place.text("run/config.toml"), changed);
    }
    // More epochs, other data folders and other reports are no other run.
    place.write("run/config.toml", config.replace("sample = 40", "sample = 30"));
    place.succeed("train --resume run --epochs 3");
    place.edit("run/config.toml", "learning_rate = 0.003", "learning_rate = 0.001");
    place.succeed("train --resume run --epochs 4 --force");
    // From there on, that is the run.
    place.succeed("train --resume run --epochs 5");

    let mut command = std::process::Command::new(place.command("").get_program());
    command.args("train --resume run --epochs 6 --device cpu --threads 2".split(' ')).current_dir(place.path("."));
    let output = command.output().unwrap();
    if std::thread::available_parallelism().unwrap().get() > 1 {
        assert_eq!(output.status.code(), Some(1));
        assert_says(
            &String::from_utf8(output.stderr).unwrap(),
            &["with 1 threads then, 2 now (--threads 1)", "--force"],
        );
    }
}

#[test]
fn a_flipped_bit_in_the_weights_is_found() {
    let place = Place::trained();
    for file in ["best", "last", "weights"] {
        let name = format!("run/{file}.safetensors");
        let whole = place.bytes(&name);
        for position in [whole.len() - 1, whole.len() - 2000] {
            let mut damaged = whole.clone();
            damaged[position] ^= 4;
            place.write(&name, &damaged);
            let said = place.fail(&format!("evaluate --dataset digits --limit 1 --weights {name}"));
            assert_says(&said, &[&name, "the file is damaged", "checksum"]);
            if file == "last" {
                assert_says(&place.fail("train --resume run --epochs 3"), &["last.safetensors", "checksum"]);
            }
        }
        place.write(&name, whole);
    }
    place.succeed("train --resume run --epochs 3");
}

#[test]
fn a_kill_at_any_moment_leaves_a_checkpoint_to_go_on_from() {
    let place = Place::new();
    let mut line = format!("train --config experiment.toml --out run {ENDLESS}");
    for milliseconds in [0, 3, 90, 20, 150, 47, 5, 240, 61, 110] {
        let mut run = place.start(&line);
        run.wait_for("run ");
        std::thread::sleep(Duration::from_millis(milliseconds));
        run.kill();
        // What a kill in the middle of a file leaves.
        place.write("run/.tch-spiking-left.tmp", "half a checkp");
        if place.path("run/last.safetensors").exists() {
            place.succeed("inspect run");
            place.succeed("evaluate --weights run/last.safetensors --limit 1");
        }
        line = "train --resume run".to_string();
    }
    // On a machine so busy that no checkpoint came about, the run is still one that begins.
    let epochs = if place.path("run/last.safetensors").exists() { epochs_done(&place) + 1 } else { 1 };
    place.succeed(&format!("train --resume run --epochs {epochs}"));
    assert_same_as_straight(&place, &format!("train --config experiment.toml --epochs {epochs}"));
}

#[test]
fn a_kill_before_the_first_checkpoint_is_made_good() {
    let place = Place::trained();
    // The best weights are saved before the checkpoint.
    let [config, best] = ["config.toml", "best.safetensors"].map(|name| place.bytes(&format!("run/{name}")));
    std::fs::remove_dir_all(place.path("run")).unwrap();
    place.write("run/config.toml", config);
    place.write("run/best.safetensors", best);
    place.succeed("train --resume run");
    assert_same_as_straight(&place, "train --config experiment.toml");
}

#[test]
fn a_kill_between_two_files_is_made_good() {
    let place = Place::new();
    place.succeed("train --config experiment.toml --out run --epochs 1");
    let summary = place.bytes("run/summary.json");
    let metrics = place.bytes("run/metrics.jsonl");
    place.succeed("train --resume run --epochs 2");
    // As if killed right after the last checkpoint: metrics and summary are those of the epoch before.
    place.write("run/summary.json", summary);
    place.write("run/metrics.jsonl", metrics);
    place.succeed("train --resume run");
    assert_same_as_straight(&place, "train --config experiment.toml --epochs 2");
    assert_says(&place.text("run/summary.json"), &["\"epochs\": 2"]);
}

#[test]
fn a_loss_that_is_no_number_stops_the_run_and_keeps_the_checkpoint() {
    let place = Place::new();
    place.succeed("train --config experiment.toml --out run --set training.optimizer={type=\"sgd\"}");
    let checkpoint = place.bytes("run/last.safetensors");
    let config = place.text("run/config.toml");
    place.edit("run/config.toml", "learning_rate = 0.003", "learning_rate = 1e38");
    let said = place.fail("train --resume run --epochs 4 --force");
    assert_says(&said, &["NaN in epoch 3, step ", "conv1", "Lower training.learning_rate", "run/last.safetensors"]);
    assert_eq!(place.bytes("run/last.safetensors"), checkpoint);
    place.write("run/config.toml", config);
    place.succeed("train --resume run --epochs 4");
}
