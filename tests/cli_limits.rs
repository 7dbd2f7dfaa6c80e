//! What would exhaust a machine or give a meaningless result: it is refused before it runs, with the reason.

#![cfg(feature = "cli")]

#[path = "common/command.rs"]
mod command;

use command::{Place, assert_says};
use serde_json::Value;
use tch::nn::VarStore;
use tch::{Device, Tensor};
use tch_spiking::engine::{Activity, Engine, Simulation};
use tch_spiking::weights::{self, Provenance, save_network};
use tch_spiking::{NetworkSpec, SpikingSequential};

/// A few lines of TOML that ask for gigabytes: 4028 x 4028 pixels from 28 x 28.
const BLOWN_UP: &str = r#"
input = [1, 28, 28]
layers = [
    { type = "conv2d", out_channels = 8, kernel = 5, padding = 2000 },
    { type = "lif", amplitude = 0.01, max_rate = 100.0 },
    { type = "conv2d", out_channels = 8, kernel = 5 },
    { type = "max_pool", kernel = 2000 },
    { type = "flatten" },
    { type = "linear", out_features = 10 },
]
"#;

/// A weights file of `spec`, with parameters from a seed.
fn save(place: &Place, name: &str, spec: &str) {
    let spec: NetworkSpec = toml::from_str(spec).unwrap();
    // Neurons are not built: the file of such a network is smaller than the network.
    let network = SpikingSequential::new(&VarStore::new(Device::Cpu).root(), &spec, 0).unwrap();
    save_network(&place.path(name), &network, &Provenance::default()).unwrap();
}

#[test]
fn networks_larger_than_the_memory_are_refused_before_they_run() {
    let place = Place::new();
    let train = "train --config experiment.toml --out run";
    for (setting, expected) in [
        (
            "--memory 64 --set network.layers.0.out_channels=2000",
            [
                "training the network on a batch of 100 samples needs about",
                "activations",
                "the limit of 64.0 MiB",
                "--memory",
            ],
        ),
        (
            "--memory 64 --set network.layers.4.out_features=100000",
            ["the network needs about", "parameters", "the limit of 64.0 MiB", "--memory"],
        ),
        (
            "--set network.layers.0.padding=2000 --set network.layers.0.stride=20 --set network.layers.0.kernel=2000 \
             --set network.layers.0.out_channels=64",
            ["network: a timestep of one sample needs", "multiplications", "at most 1000000000000", "smaller layers"],
        ),
        ("--set network.steps=1000000000000000000", ["network: steps = 1000000000000000000", "1 to 1000000", "", ""]),
        ("--epochs 18446744073709551615", ["training: epochs = 18446744073709552000", "1 to 1000000000", "", ""]),
    ] {
        assert_says(&place.fail(&format!("{train} {setting}")), &expected);
    }
    assert_eq!(place.names("."), ["experiment.toml"]);
    place.succeed(&format!("{train} --memory 4000 --epochs 1 --set network.layers.0.out_channels=64"));
}

#[test]
fn simulations_larger_than_the_memory_are_refused_before_they_run() {
    let place = Place::trained();
    let line = "simulate --weights run/best.safetensors --dataset digits --memory 128";
    let said = place.fail(&format!("{line} --steps 100000"));
    assert_says(&said, &["a simulation of 100000 timesteps of 1 samples", "recordings", "the limit of 128.0 MiB"]);
    assert!(!place.names(".").iter().any(|name| name.starts_with("spikes")));
    place.succeed(&format!("{line} --steps 1000"));

    let small = BLOWN_UP.replace("{ type = \"lif\", amplitude = 0.01, max_rate = 100.0 },", "{ type = \"relu\" },");
    save(&place, "large", &small);
    for line in ["evaluate --limit 10", "simulate", "evaluate --limit 10 --engine dense"] {
        let said = place.fail(&format!("{line} --weights large --dataset digits --memory 500"));
        assert_says(&said, &["needs about", "the limit of 500.0 MiB", "--memory"]);
    }

    // What a file claims is checked as what a configuration does.
    let mut file = weights::read(&place.path("run/best.safetensors")).unwrap();
    let spec = file.metadata.get_mut("spec").unwrap();
    *spec = spec.replace("steps = 10", "steps = 1000000000000000000");
    let tensors: Vec<_> = file.tensors.into_iter().collect();
    weights::write(&place.path("endless"), &tensors, &file.metadata).unwrap();
    assert_says(
        &place.fail("evaluate --weights endless --dataset digits"),
        &["steps = 1000000000000000000", "1 to 1000000"],
    );
}

#[test]
fn weights_that_are_not_finite_are_named() {
    let place = Place::trained();
    let file = weights::read(&place.path("run/best.safetensors")).unwrap();
    for (name, value) in [("nan", f64::NAN), ("infinite", f64::INFINITY)] {
        let mut tensors: Vec<_> = file.tensors.iter().map(|(name, tensor)| (name.clone(), tensor.copy())).collect();
        let (_, bias) = tensors.iter_mut().find(|(name, _)| name == "linear1.bias").unwrap();
        let _ = bias.narrow(0, 3, 2).fill_(value);
        weights::write(&place.path(name), &tensors, &file.metadata).unwrap();
        for line in [
            format!("evaluate --dataset digits --limit 10 --weights {name}"),
            format!("simulate --dataset digits --weights {name}"),
            format!("convert {name} out.npz"),
            format!("convert-network {name} out.safetensors"),
            format!("export {name} out.pt"),
            format!("train --dataset digits --weights {name} --out new"),
        ] {
            let said = place.fail(&line);
            assert_says(&said, &[name, "linear1.bias: 2 of its 10 numbers are NaN or infinite", "--allow-non-finite"]);
        }
        assert!(
            !place
                .names(".")
                .iter()
                .any(|file| file.starts_with("out.") || file.starts_with("spikes") || file == "new")
        );
        place.succeed(&format!("evaluate --dataset digits --limit 10 --weights {name} --allow-non-finite"));
        place.succeed(&format!("convert {name} out.npz --allow-non-finite"));
        std::fs::remove_file(place.path("out.npz")).unwrap();
        place.succeed(&format!("inspect {name}"));
    }
}

#[test]
fn numbers_that_f32_cannot_hold_are_refused_with_their_range() {
    let place = Place::new();
    for (setting, expected) in [
        (
            "network.layers.1.amplitude=1e300",
            "amplitude = 1e300 is not valid: expected 0 or a number of a magnitude from 1e-30 to 1e30",
        ),
        ("network.layers.1.amplitude=1e-300", "amplitude = 1e-300"),
        ("network.layers.1.amplitude=1e29", "amplitude / dt, the height of a spike, = "),
        ("network.layers.1.tau_rc=1e300", "tau_rc = 1e300"),
        ("network.layers.1={type=\"lif\",gain=0}", "gain = 0 is not valid"),
        ("network.layers.1={type=\"lif\",gain=1e300}", "gain = 1e300"),
        ("network.layers.1={type=\"lif\",bias={uniform=[0,1e300]}}", "bias = 1e300"),
        ("network.layers.1.firing_rate_scale=1e300", "firing_rate_scale"),
        ("network.layers.5.tau=1e300", "up to 1e30 s"),
        ("network.dt=1e300", "dt = 1"),
        ("network.dt=1e-12", "1e-9 to 1e3 s"),
        ("training.optimizer={type=\"adam\",epsilon=1e300}", "1e-38 to 1e30"),
        ("training.learning_rate=1e300", "up to 3.4e38"),
    ] {
        assert_says(&place.fail(&format!("train --config experiment.toml --out run --set {setting}")), &[expected]);
    }
    assert_eq!(place.names("."), ["experiment.toml"]);
}

#[test]
fn at_the_limits_both_engines_agree() {
    for (neurons, dt, tau) in [
        ("amplitude = 1e27", 1e-3, 0.01),
        ("amplitude = 1e-27", 1e3, 0.01),
        ("amplitude = 1e-30", 1e-3, 1e30),
        ("amplitude = 1e21", 1e-9, 1e-30),
        ("gain = 1e30", 1e-3, 0.01),
        ("gain = 1e-30, bias = 1.5", 1e-3, 0.01),
        ("bias = 1e30", 1e-3, 0.01),
        ("bias = -1e30", 1e-3, 0.01),
        ("tau_rc = 1e30, gain = 1e30", 1e-3, 0.01),
        ("tau_rc = 1e-30, tau_ref = 1e30", 1e-3, 0.01),
        ("tau_ref = 1e-30", 1e-3, 0.01),
    ] {
        let spec = format!(
            "input = [4]\ndt = {dt:e}\nsteps = 40\nlayers = [{{ type = 'linear', out_features = 6 }}, {{ type = 'lif', {neurons} }}, \
             {{ type = 'linear', out_features = 3 }}, {{ type = 'lowpass', tau = {tau:e} }}]"
        );
        let spec: NetworkSpec = toml::from_str(&spec).unwrap();
        let network = SpikingSequential::new(&VarStore::new(Device::Cpu).root(), &spec, 1).unwrap();
        let input = Activity::Constant(Tensor::arange(20, (tch::Kind::Float, Device::Cpu)).cos().view([5, 4]) * 3.0);
        let run = |engine| Simulation::new(40).engine(engine).run(&network, &input).unwrap().output;
        let (dense, event) = (run(Engine::Dense), run(Engine::Event));
        let largest = dense.abs().max().double_value(&[]);
        assert!(largest.is_finite(), "{neurons}");
        let difference = (&dense - &event).abs().max().double_value(&[]);
        assert!(difference <= 1e-5 * largest, "{neurons}, dt {dt}: {difference} of {largest}");
    }
}

#[test]
fn files_without_end_are_not_read_to_their_end() {
    if !cfg!(unix) {
        return;
    }
    let place = Place::trained();
    for line in [
        "train --config /dev/zero",
        "evaluate --weights run/best.safetensors --config /dev/zero",
        "evaluate --weights run/best.safetensors --config experiment.toml --map /dev/zero",
    ] {
        assert_says(&place.fail(line), &["cannot read /dev/zero", "more than 1048576 bytes"]);
    }
}

#[test]
fn more_threads_than_cores_are_used_by_force_only() {
    let place = Place::new();
    let doctor = |options: &str| {
        let mut command = std::process::Command::new(place.command("").get_program());
        let output = command.args("doctor --json".split(' ')).args(options.split(' ')).output().unwrap();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        (report["processor"]["threads"].clone(), report["processor"]["cores"].clone(), output.stderr)
    };
    let (threads, cores, said) = doctor("--threads 64");
    assert_eq!(threads, cores);
    assert_says(&String::from_utf8(said).unwrap(), &["--threads 64", "--force"]);
    let (threads, _, said) = doctor("--threads 64 --force");
    assert_eq!(threads, 64);
    assert!(!String::from_utf8(said).unwrap().contains("note: "));
}

#[test]
fn control_characters_of_files_do_not_reach_the_terminal() {
    let place = Place::new();
    let name = "evil\u{1b}[2J\u{9b}31m\u{202e}\nerror: forged";
    let tensors = [(name.to_string(), Tensor::from_slice(&[1.0_f32]))];
    let metadata = [("note".to_string(), "bell \u{7} and \r here".to_string())].into();
    weights::write(&place.path("evil"), &tensors, &metadata).unwrap();
    let raw = |text: &str| text.contains(|c: char| (c.is_control() && c != '\n') || c == '\u{202e}');
    let said = place.succeed("inspect evil");
    assert!(!raw(&said.stdout) && !said.stdout.lines().any(|line| line.starts_with("error:")), "{}", said.stdout);
    assert_says(&said.stdout, &["evil\\u{1b}[2J\\u{9b}31m", "bell \\u{7} and \\r here"]);
    // In JSON they are escaped, and the same for a program.
    let said = place.succeed("inspect evil --json");
    assert!(!raw(&said.stdout), "{}", said.stdout);
    assert_eq!(said.json()["tensors"][0]["name"], name);
    for line in ["evaluate --weights evil", "convert-network evil out"] {
        let output = place.command(line).output().unwrap();
        assert!(!output.status.success() && !raw(&String::from_utf8(output.stderr).unwrap()), "{line}");
    }
}
