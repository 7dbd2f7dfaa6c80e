//! `train` by every method and in stages, from the experiment file.

#![cfg(feature = "cli")]

#[path = "common/command.rs"]
mod command;

use command::{Place, assert_says};

/// An experiment of so many stages, written behind the file's own `[training]` keys.
fn with_training(place: &Place, keys: &str) {
    place.edit("experiment.toml", "[simulation]", &format!("{keys}\n[simulation]"));
}

#[test]
fn a_network_learns_by_every_method() {
    for (name, method) in [
        ("rate", "{ type = \"rate\" }"),
        ("spiking_aware", "{ type = \"spiking_aware\", steps = 8 }"),
        (
            "surrogate",
            "{ type = \"surrogate\", steps = 8, surrogate = { type = \"atan\", alpha = 2.0 }, truncate = 4 }",
        ),
    ] {
        let place = Place::new();
        with_training(&place, &format!("method = {method}"));
        place.edit("experiment.toml", "batch_size = 100", "batch_size = 20");
        let said = place.succeed("train --config experiment.toml --out run --epochs 8");
        let metrics = place.metrics("run");
        let number = |epoch: usize, key: &str| metrics[epoch][key].as_f64().unwrap();
        let context = format!("{name}: {metrics:?}");
        assert!(number(7, "loss") < 0.5 * number(0, "loss"), "{context}");
        for key in ["train_accuracy", "validation_accuracy", "spiking_accuracy"] {
            assert!(number(7, key) > 0.7, "{key} of {context}");
        }
        let steps = if name == "rate" { 10.0 } else { 8.0 };
        assert_eq!(number(7, "spiking_steps"), steps);
        assert!(number(7, "spikes_per_image") > 1.0, "{context}");
        assert_says(&said.stderr, &[&format!("after {steps} steps"), " per image "]);
        if name != "rate" {
            assert_says(&said.stderr, &[&format!("method    {name} of 8 steps, 8 epochs, learning rate 0.003")]);
            assert_says(&said.stdout, &["as spikes after the 8 steps of training"]);
        }
        assert!(said.stderr.lines().filter(|line| line.starts_with("epoch")).all(|line| line.chars().count() <= 80));
    }
}

const STAGES: &str = r#"
batch_size = 3
ema = 0.99
clipping = { type = "norm", limit = 5.0 }

[[training.stages]]
epochs = 1

[[training.stages]]
epochs = 1
method = { type = "spiking_aware", steps = 3 }
optimizer = { type = "sgd", momentum = 0.9, weight_decay = 0.001 }
learning_rate = 1e-3

[[training.stages]]
epochs = 100000
learning_rate = 1e-4
method = { type = "surrogate", steps = 4, truncate = 3 }

[[training.stages.regularisers]]
layer = "all"
type = "l2"
target = [5.0, 50.0]
weight = 1e-5
"#;

/// Runs `line` until it has done an epoch, interrupts it, and returns the epochs and steps that it says it did.
fn interrupt(place: &Place, line: &str) -> (u64, u64) {
    let mut run = place.start(line);
    run.wait_for("epoch");
    run.interrupt();
    let (code, said) = run.end();
    assert_eq!(code, Some(130), "{said}");
    let position = said.split("after epoch ").nth(1).unwrap();
    let mut numbers = position.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok());
    (numbers.next().unwrap(), numbers.next().unwrap())
}

#[test]
fn runs_interrupted_in_every_stage_end_as_a_straight_one() {
    let place = Place::new();
    place.edit("experiment.toml", "batch_size = 100\n", "");
    place.edit("experiment.toml", "train_images = 410", "train_images = 130");
    with_training(&place, STAGES);
    let mut position = interrupt(&place, "train --config experiment.toml --out run");
    // Each resumed run does another epoch: over both changes of stages, and within the last.
    while position.0 < 4 {
        let next = interrupt(&place, "train --resume run");
        assert!(next > position, "{next:?} after {position:?}");
        position = next;
    }
    let epochs = position.0 + 1;
    let said = place.succeed(&format!("train --resume run --epochs {epochs}"));
    assert_says(
        &said.stderr,
        &["stage     2: spiking_aware of 3 steps, 1 epochs", &format!("epoch   {epochs}/{epochs}  stage 3/3")],
    );
    place.succeed(&format!("train --config experiment.toml --out straight --epochs {epochs}"));
    assert_eq!(place.tensors("run/last.safetensors"), place.tensors("straight/last.safetensors"));
    for weights in ["best.safetensors", "weights.safetensors"] {
        assert_eq!(place.tensors(&format!("run/{weights}")), place.tensors(&format!("straight/{weights}")));
    }
    assert_eq!(place.timeless_metrics("run"), place.timeless_metrics("straight"));
    assert_eq!(place.text("run/config.toml"), place.text("straight/config.toml"));
    let stages: Vec<u64> = place.metrics("run").iter().map(|metrics| metrics["stage"].as_u64().unwrap()).collect();
    assert_eq!(stages[..4], [1, 2, 3, 3]);
    // The averages are what is saved as weights; the checkpoint has both.
    let (last, weights) = (place.tensors("run/last.safetensors"), place.tensors("run/weights.safetensors"));
    for (name, tensor) in &weights {
        assert_eq!(last[&format!("optimizer.{name}.average")], *tensor, "{name}");
        assert_ne!(last[name], *tensor, "{name}");
    }
}

#[test]
fn spikes_are_trained_from_the_weights_of_rates() {
    let place = Place::new();
    place.succeed("train --config experiment.toml --out rates --epochs 6 --set training.batch_size=20");
    let line = "train --weights rates/weights.safetensors --dataset digits --set data.train_images=410 \
                --set data.validation_images=60 --set data.test_images=50 --epochs 1 \
                --set training.learning_rate=1e-6 --set training.method={type=\"surrogate\",steps=10}";
    place.succeed(&format!("{line} --out spikes"));
    // Steps too small to change an answer: the accuracy is that of the rates' run.
    let accuracy = |run: &str| place.metrics(run).last().unwrap()["validation_accuracy"].as_f64().unwrap();
    assert_eq!(accuracy("spikes"), accuracy("rates"));
    let said = place.fail("train --weights rates/summary.json --out no");
    assert_says(&said, &["summary.json"]);
}

#[test]
fn experiments_that_cannot_be_trained_are_refused_before_a_run_folder_exists() {
    let place = Place::new();
    for (setting, expected) in [
        ("training.method={type=\"surogate\"}", "did you mean `surrogate`?"),
        ("training.method={type=\"surrogate\",step=8}", "did you mean `steps`?"),
        ("training.method={type=\"surrogate\",steps=0}", "training.method: steps = 0 is not valid"),
        ("training.stages=[{epoch=1}]", "did you mean `epochs`?"),
        ("training.stages=[{epochs=1},{learning_rate=-1}]", "stage 2: training: learning_rate = -1"),
        ("training.regularisers=[{layer=\"lif9\",type=\"l1\",weight=1}]", "`lif9`, expected one of `lif1`"),
        ("training.objective={type=\"cross_entropy\",over=\"mena\"}", "did you mean `mean`?"),
    ] {
        let said = place.fail(&format!("train --config experiment.toml --out run --set {setting}"));
        assert_says(&said, &[expected]);
        assert!(!place.path("run").exists(), "{setting}");
    }
}
