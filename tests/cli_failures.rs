//! What goes wrong on the way: usage, configuration, weights, folders, devices, streams. Exit code and words are
//! checked.

#![cfg(feature = "cli")]

#[path = "common/command.rs"]
mod command;

use std::process::{Command, Stdio};

use command::{Place, assert_says};
use tch::Tensor;
use tch_spiking::weights;

#[test]
fn wrong_usage_exits_with_2() {
    let place = Place::new();
    for (line, expected) in [
        ("", "Usage"),
        ("trian", "'train'"),
        ("train --epoch 3", "'--epochs'"),
        ("train --epochs 0", "0 is not in 1.."),
        ("train --epochs many", "many"),
        ("train --dataset cifar", "possible values: auto, mnist, fashion, digits"),
        ("train --seed -1", "-1"),
        ("train --resume run --out other", "cannot be used with"),
        ("train -q -v", "cannot be used with"),
        ("evaluate --steps 0", "0 is not in 1.."),
        ("evaluate --limit 0", "0 is not in 1.."),
        ("evaluate --weights a --pretrained b", "cannot be used with"),
        ("simulate --index 1 --image a.png", "cannot be used with"),
        ("simulate --invert", "--image"),
        ("simulate --index -1", "-1"),
        ("inspect", "FILE"),
        ("convert a.pt", "OUT"),
        ("convert a.pt b --format onnx", "possible values: safetensors, npz"),
        ("data", "Usage"),
        ("data fetch cifar", "possible values: mnist, fashion"),
        ("doctor --device cuda:x", "expected auto, cpu, cuda or cuda:N"),
        ("doctor --device gpu", "unknown device \"gpu\""),
    ] {
        let output = place.command(line).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{line}: {said}");
        assert_says(&said, &[expected]);
    }
    let output = place.command("doctor --threads 0").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn unknown_keys_are_named_with_the_nearest_valid_one() {
    let place = Place::new();
    for (from, to, expected) in [
        ("epochs = 2", "epoch = 2", &["experiment.toml", "unknown field `epoch`", "line 11", "mean `epochs`?"][..]),
        ("[training]", "[trainng]", &["unknown field `trainng`", "did you mean `training`?"]),
        ("train_images", "trian_images", &["did you mean `train_images`?"]),
        ("stride = 3", "strides = 3", &["did you mean `stride`?"]),
        ("\"conv2d\"", "\"conv\"", &["did you mean `conv2d`?"]),
        ("smoothing", "smothing", &["did you mean `smoothing`?"]),
        ("\"adam\"", "\"adma\"", &["did you mean `adam`?"]),
        ("epochs = 2", "epochs = \"two\"", &["experiment.toml", "\"two\"", "line 11"]),
        ("kernel = 5", "kernel = \"five\"", &["expected a whole number, or a pair such as [3, 3]"]),
        ("max_rate = 100.0", "max_rate = \"fast\"", &["expected a number, or { uniform = [low, high] }"]),
        ("seed = 3", "seed = ", &["experiment.toml", "line 2"]),
        ("seed = 3", "seed = 3\nseed = 4", &["experiment.toml", "duplicate key"]),
    ] {
        let wrong = Place::new();
        wrong.edit("experiment.toml", from, to);
        assert_says(&wrong.fail("train --config experiment.toml"), expected);
        assert_eq!(wrong.names("."), ["experiment.toml"]);
    }
    for (setting, expected) in [
        ("training.epoch=3", "did you mean `epochs`?"),
        ("data.trainimages=3", "did you mean `train_images`?"),
        ("network.layers.1.amplitud=3", "did you mean `amplitude`?"),
        ("training.epochs=many", "\"many\""),
        ("training.epochs=-1", "-1"),
        ("seed", "expected key=value"),
        ("seed.x=1", "`seed` is a value, not a section"),
        ("network.layers.9.p=1", "network.layers"),
    ] {
        assert_says(&place.fail(&format!("train --config experiment.toml --set {setting}")), &[expected]);
    }
    place.edit("experiment.toml", "epochs", "epoch");
    assert_says(&place.fail("inspect experiment.toml"), &["did you mean `epochs`?"]);
    assert_says(&place.fail("train --config none.toml"), &["cannot read none.toml", "No such file"]);
    assert_says(&place.fail("train --config ."), &["cannot read ."]);
    place.write("binary.toml", [0xff, 0xfe, 0]);
    assert_says(&place.fail("train --config binary.toml"), &["binary.toml", "UTF-8"]);
}

#[test]
fn values_that_cannot_work_are_named() {
    let place = Place::new();
    for (setting, expected) in [
        ("training.epochs=0", "training: epochs = 0"),
        ("training.batch_size=0", "training: batch_size = 0"),
        ("training.learning_rate=-1", "learning_rate = -1"),
        ("training.learning_rate=nan", "learning_rate = NaN"),
        ("training.optimizer={type=\"sgd\",momentum=1.5}", "training.optimizer: momentum = 1.5"),
        ("training.schedule={type=\"step\",every=0,factor=0.5}", "training.schedule: every = 0"),
        ("data.train_images=0", "there are no training images"),
        ("network.steps=0", "steps = 0"),
        ("network.dt=0", "dt = 0"),
        ("network.layers.0.kernel=30", "layer 1 (conv2d): input 28x28 is smaller than the 30x30 kernel"),
        ("network.layers.4.out_features=5", "only 5 outputs"),
        ("network.input=[3,28,28]", "network.input is 3x28x28"),
        ("network.layers.1.tau_rc=-1", "tau_rc"),
        ("network.layers.2.p=2", "layer 3 (dropout)"),
    ] {
        assert_says(&place.fail(&format!("train --config experiment.toml --out run --set {setting}")), &[expected]);
    }
    assert_eq!(place.names("."), ["experiment.toml"]);
}

#[test]
fn weights_that_cannot_be_used_are_told_from_each_other() {
    let place = Place::trained();
    let good = place.bytes("run/best.safetensors");
    place.write("cut", &good[..good.len() / 2]);
    place.write("empty", "");
    place.write("garbage", (0..2000_u32).map(|i| ((i * 7919) >> 3) as u8 | 0x80).collect::<Vec<_>>());
    place.write("page", "<html>not found</html>");
    let file = weights::read(&place.path("run/best.safetensors")).unwrap();
    let foreign = [("fc.weight".to_string(), Tensor::from_slice(&[1.0_f32]))];
    weights::write(&place.path("foreign"), &foreign, &Default::default()).unwrap();
    let mut tensors: Vec<_> = file.tensors.into_iter().filter(|(name, _)| name != "lif1.bias").collect();
    let weight = tensors.iter_mut().find(|(name, _)| name == "linear1.weight").unwrap();
    weight.1 = weight.1.narrow(1, 0, 255).contiguous();
    weights::write(&place.path("misfit"), &tensors, &file.metadata).unwrap();
    for (file, expected) in [
        ("cut", &["the file is cut off", "found"][..]),
        ("empty", &["the file is empty"]),
        ("garbage", &["expected weights (safetensors, PyTorch"]),
        ("page", &["expected weights (safetensors, PyTorch", "a web page"]),
        ("experiment.toml", &["expected weights (safetensors, PyTorch"]),
        ("foreign", &["does not say what network", "fc.weight"]),
        ("misfit", &["linear1.weight: expected 10x256, found 10x255", "lif1.bias: missing, expected 4x8x8"]),
        ("none", &["cannot read none", "No such file"]),
        ("run", &["this is a folder"]),
    ] {
        let said = place.fail(&format!("evaluate --dataset digits --weights {file}"));
        assert_says(&said, expected);
        assert_says(&said, &[file]);
    }
    assert_says(&place.fail("simulate --weights cut"), &["cut: the file is cut off"]);
}

#[test]
fn networks_and_images_that_are_not_there() {
    let place = Place::trained();
    place.write("pretrained/tiny-net/weights.safetensors", place.bytes("run/best.safetensors"));
    let said = place.fail("evaluate --pretrained tiny");
    assert_says(&said, &["no pretrained network \"tiny\"", "available: ", "tiny-net"]);
    assert_says(&place.fail("simulate --pretrained ../pretrained/tiny-net"), &["no pretrained network"]);
    place.succeed("evaluate --pretrained tiny-net --limit 5");
    assert_says(&place.succeed("doctor").stdout, &["tiny-net"]);

    let simulate = "simulate --pretrained tiny-net";
    let said = place.fail(&format!("{simulate} --index 0 5000"));
    assert_says(&said, &["there is no test image 5000: expected 0 to 4999"]);
    place.fail(&format!("{simulate} --index {}", usize::MAX));
    assert_says(&place.fail(&format!("{simulate} --image experiment.toml")), &["experiment.toml is not a PNG"]);
    assert_says(&place.fail(&format!("{simulate} --image none.png")), &["cannot read none.png"]);
    place.write("cut.png", &place.bytes("run/learning_curve.png")[..500]);
    assert_says(&place.fail(&format!("{simulate} --image cut.png")), &["cut.png"]);
    assert!(!place.names(".").iter().any(|name| name.starts_with("spikes")));
}

#[test]
fn cuda_that_is_absent_is_explained() {
    let place = Place::new();
    let cuda = &place.succeed("doctor --json").json()["cuda"];
    let Some(cause) = cuda["why_not"].as_str() else {
        return eprintln!("skipped: this machine has CUDA");
    };
    for line in ["train --config experiment.toml --out run", "evaluate", "simulate"] {
        let said = place.fail(&format!("{line} --device cuda"));
        assert_eq!(said, format!("error: {cause}\n"));
        assert_says(&said, &["--device cpu"]);
    }
    place.fail(&format!("train --config experiment.toml --device cuda:{}", usize::MAX));
    assert_eq!(place.names("."), ["experiment.toml"]);
    // What doctor finds out it says all the same.
    let output = place.command("doctor --device cuda").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_says(&String::from_utf8(output.stdout).unwrap(), &["CUDA         none: ", "device       none"]);
}

#[test]
fn a_reader_that_leaves_is_no_failure() {
    let place = Place::new();
    for line in ["doctor", "inspect experiment.toml --json", "train --config experiment.toml", "train --help"] {
        let mut child = place.command(line).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && !said.contains("panic") && !said.contains("error"), "{line}: {said}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn results_that_cannot_be_written_are_a_failure() {
    let place = Place::new();
    for line in ["doctor", "inspect experiment.toml --json"] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = place.command(line).stdout(full).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert_says(
            &String::from_utf8(output.stderr).unwrap(),
            &["cannot write the result to stdout", "No space left"],
        );
    }
}

#[test]
fn folders_that_cannot_be_made_or_used_are_named() {
    let place = Place::trained();
    let said = place.fail("train --config experiment.toml --out experiment.toml/run");
    assert_says(&said, &["cannot create the folder experiment.toml/run", "Not a directory"]);
    let said = place.fail("simulate --weights run/best.safetensors --out experiment.toml");
    assert_says(&said, &["cannot create the folder experiment.toml"]);
    let said = place.fail("data preview --dataset digits --out nowhere/digits.png");
    assert_says(&said, &["cannot write nowhere/digits.png", "No such file"]);
}

/// Runs `line`, which uses the folder `small`, with a file system of its own mounted there: what it said, its exit
/// code, and what it left. `None` where the system allows no such mount.
#[cfg(target_os = "linux")]
fn with_mount(place: &Place, options: &str, line: &str) -> Option<(String, i32, String)> {
    let script = format!(
        "mount -t tmpfs -o {options} tmpfs small || exit 77; \"$@\" 2>said; code=$?; ls -A small small/run; exit $code"
    );
    std::fs::create_dir_all(place.path("small")).unwrap();
    let inner = place.command(line);
    let mut outer = Command::new("unshare");
    outer.args(["--user", "--map-root-user", "--mount", "sh", "-c", &script, "sh"]);
    outer.arg(inner.get_program()).args(inner.get_args()).current_dir(place.path("."));
    match outer.output() {
        Ok(output) if place.path("said").exists() => {
            Some((place.text("said"), output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap()))
        }
        outcome => {
            eprintln!("skipped: no file system can be mounted here ({outcome:?})");
            None
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_leaves_whole_files_only() {
    let place = Place::new();
    // Room for the config, the best weights and not the checkpoint; then for all but the picture.
    for (size, last) in [("28k", false), ("80k", true)] {
        let line = "train --config experiment.toml --out small/run";
        let Some((said, code, left)) = with_mount(&place, &format!("size={size}"), line) else { return };
        assert_eq!(code, 1, "{said}");
        assert_says(&said, &["error: ", "cannot write small/run/", "No space left"]);
        assert!(left.contains("config.toml") && left.contains("last.safetensors") == last, "{size}: {left}");
        assert!(!left.contains(".tmp"), "{left}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_read_only_folder_is_told() {
    let place = Place::new();
    let Some((said, code, _)) = with_mount(&place, "ro", "train --config experiment.toml --out small/run") else {
        return;
    };
    assert_eq!(code, 1, "{said}");
    assert_says(&said, &["cannot create the folder small/run", "Read-only file system"]);
}
