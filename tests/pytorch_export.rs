//! Networks that `scripts/export_pytorch.py` made of PyTorch's give what PyTorch gives.
//!
//! The committed files of `tests/fixtures/pytorch` are compared everywhere. What runs the scripts needs a Python with torch
//! (`common/python.rs`); without one it says so and checks nothing.

#![cfg(feature = "cli")]

#[path = "common/command.rs"]
mod command;
#[path = "common/python.rs"]
mod python;

use std::path::Path;

use command::{Place, assert_says};
use python::{fixtures, python, root, run, script, succeed};
use tch::Device;
use tch_spiking::network::{LayerKind, Origin};
use tch_spiking::weights;

const ARCHITECTURES: [&str; 6] = ["tutorial", "normalized", "grouped", "functional", "features", "residual"];

/// By how much logits of order 1 may differ from PyTorch's.
const TOLERANCE: f64 = 1e-5;

/// Compares the logits of `name.safetensors` in `folder` with PyTorch's, and says how many images there were.
fn compare(folder: &Path, name: &str) -> i64 {
    let loaded = weights::load_network(&folder.join(format!("{name}.safetensors")), Device::Cpu).unwrap();
    let about = weights::read(&folder.join(format!("{name}.images.safetensors"))).unwrap();
    let (images, expected) = (&about.tensors["images"], &about.tensors["logits"]);
    let logits = loaded.network.forward_rates(images).unwrap();
    assert_eq!(logits.size(), expected.size());
    let largest = expected.abs().max().double_value(&[]);
    let spread = expected.std_dim(0, true, false).max().double_value(&[]);
    assert!((0.3..10.0).contains(&largest) && spread > 0.1, "{name}: are these logits? {largest}, {spread}");
    let difference = (&logits - expected).abs().max().double_value(&[]);
    assert!(difference <= TOLERANCE, "{name}: {difference}");
    println!(
        "{name}: {} images, largest logit {largest:.2}, spread {spread:.2}, difference {difference:.1e}",
        images.size()[0]
    );
    images.size()[0]
}

#[test]
fn exported_networks_give_the_logits_of_pytorch() {
    for name in ARCHITECTURES {
        assert_eq!(compare(&fixtures(), name), 8);
    }
}

#[test]
fn the_specification_is_that_of_the_model() {
    let load = |name: &str| {
        weights::load_network(&fixtures().join(format!("{name}.safetensors")), Device::Cpu).unwrap().network
    };
    let kinds = |name| load(name).layers().iter().map(|layer| layer.kind().type_name().to_string()).collect::<Vec<_>>();
    assert_eq!(kinds("tutorial"), ["conv2d", "relu", "max_pool", "dropout", "flatten", "linear"]);
    assert_eq!(kinds("features"), ["linear", "batch_norm", "relu", "dropout", "linear"]);
    let grouped = load("grouped");
    let LayerKind::Conv2d(first) = grouped.layers()[0].kind() else { panic!("{grouped:?}") };
    assert_eq!((first.kernel.0, first.kernel.1, first.groups, first.bias), (3, 5, 2, true));
    assert_eq!((first.stride.0, first.stride.1, first.padding.0, first.padding.1), (2, 1, 1, 2));
    assert_eq!(grouped.layers().last().unwrap().named_parameters().len(), 1, "a readout without bias");
    // `same` of a kernel of 3 whose elements are 2 apart.
    let functional = load("functional");
    let LayerKind::Conv2d(first) = functional.layers()[0].kind() else { panic!("{functional:?}") };
    assert_eq!((first.padding.0, first.dilation.0), (2, 2));
}

/// Projection, `+=`, a ReLU in two places, and `torch.cat`.
#[test]
fn a_residual_network_gives_pytorchs_logits() {
    assert_eq!(compare(&fixtures(), "residual"), 8);
    let file = fixtures().join("residual.safetensors");
    let network = weights::load_network(&file, Device::Cpu).unwrap().network;
    let sources = |name: &str| {
        let inputs = network.layer(name).unwrap().inputs().iter();
        let name = |from| match from {
            Origin::Input => "input",
            Origin::Node(index) => network.layers()[index].name(),
        };
        inputs.map(|edge| name(edge.from)).collect::<Vec<_>>()
    };
    assert_eq!(sources("add1"), ["batch_norm3", "relu1"], "the identity");
    assert_eq!(sources("add2"), ["batch_norm5", "batch_norm6"], "the projection");
    assert_eq!(sources("concat1"), ["pool1", "pool2"]);

    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (export, out) = (script("export_pytorch.py"), folder.path().join("net"));
    let line = "import models, torch; torch.manual_seed(0); torch.save(models.residual().state_dict(), 'state.pt')";
    succeed(&python, &["-c", line], folder.path());
    let line = ["models:residual", "--input", "1,12,12", "--weights", "state.pt", "--out", "net"];
    let said = succeed(&python, &[&[export.as_str()], &line[..]].concat(), folder.path());
    assert_says(&said, &["add1", "concat1", "blocks.1.shortcut.0"]);
    let again = weights::load_network(&out, Device::Cpu).unwrap().network;
    assert_eq!(toml::to_string(again.spec()).unwrap(), toml::to_string(network.spec()).unwrap());
}

#[test]
fn an_exported_network_is_inspected_and_converted_without_configuration() {
    let place = Place::new();
    std::fs::copy(fixtures().join("tutorial.safetensors"), place.path("tutorial")).unwrap();
    assert_says(
        &place.succeed("inspect tutorial").stdout,
        &["conv1", "5x5, stride 2", "6x12x12", "export_pytorch.py", "2,326"],
    );
    let evaluated = place.succeed("evaluate --weights tutorial --dataset digits --limit 20 --json").json();
    assert_eq!(evaluated["images"], 20);
    let said = place.succeed("convert-network tutorial spiking --max-to-avg-pool --dataset digits --limit 20");
    assert_says(&said.stdout, &["to rectified_linear", "written to spiking"]);
    assert_says(&place.succeed("inspect spiking").stdout, &["rectified_linear"]);
}

#[test]
fn freshly_trained_models_give_the_logits_of_pytorch_on_a_thousand_images() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let make = fixtures().join("make.py").display().to_string();
    succeed(&python, &[&make, ".", "1000"], folder.path());
    for name in ARCHITECTURES {
        assert_eq!(compare(folder.path(), name), 1000);
    }
}

#[test]
fn a_state_dict_goes_out_and_comes_back() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let line = "import models, torch; torch.save(models.normalized().state_dict(), 'state.pt')";
    succeed(&python, &["-c", line], folder.path());
    let export = script("export_pytorch.py");
    let line =
        ["models:normalized", "--input", "3,12,12", "--out", "net", "--weights", "state.pt", "--dataset", "mnist"];
    let said = succeed(&python, &[&[export.as_str()], &line[..]].concat(), folder.path());
    assert_says(&said, &["features.0.norm (BatchNorm2d)", "conv2", "8x6x6", "written to net"]);
    let loaded = weights::load_network(&folder.path().join("net"), Device::Cpu).unwrap();
    assert_eq!(loaded.provenance.dataset.as_deref(), Some("mnist"));

    let back = format!(
        "import sys; sys.path.insert(0, {:?})\nimport models, torch\nfrom load_in_pytorch import *\n\
         model = models.normalized(); load_into(model, read_safetensors('net')[0])\nstate = torch.load('state.pt')\n\
         assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())",
        root().join("scripts")
    );
    succeed(&python, &["-c", &back], folder.path());
}

#[test]
fn what_the_input_was_normalised_by_goes_into_the_first_layer_or_one_before_it() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let code = format!(
        "import sys; sys.path.insert(0, {:?})\nfrom pathlib import Path\nimport torch\nfrom torch import nn\n\
         from export_pytorch import export, write_safetensors\ntorch.manual_seed(0)\n\
         mean, std = torch.tensor([0.2, 0.4]), torch.tensor([0.3, 0.5])\n\
         for name, first in dict(conv=nn.Conv2d(2, 3, 5, bias=False), flat=nn.Sequential(nn.Flatten(), nn.Linear(50, 3)),\n\
         \x20   padded=nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 3, 5))).items():\n\
         \x20   model = nn.Sequential(first, nn.Flatten(), nn.ReLU(), nn.Linear(3, 10))\n\
         \x20   for weights in model.parameters(): weights.data.mul_(1.5)\n\
         \x20   pixels = torch.randint(256, (50, 2, 5, 5)).float()\n\
         \x20   with torch.no_grad(): logits = model((pixels / 255 - mean.view(2, 1, 1)) / std.view(2, 1, 1))\n\
         \x20   export(model, [2, 5, 5], Path(name + '.safetensors'), {{}}, mean.tolist(), std.tolist())\n\
         \x20   write_safetensors(Path(name + '.images.safetensors'), dict(images=pixels, logits=logits), {{}})",
        root().join("scripts")
    );
    succeed(&python, &["-c", &code], folder.path());
    for (name, layers) in [("conv", 4), ("flat", 4), ("padded", 6)] {
        assert_eq!(compare(folder.path(), name), 50);
        let path = folder.path().join(format!("{name}.safetensors"));
        assert_eq!(weights::load_network(&path, Device::Cpu).unwrap().network.layers().len(), layers, "{name}");
    }
}

#[test]
fn what_cannot_be_exported_is_named_and_nothing_is_written() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let cases = [
        ("branching", &["error: mul: ", "remove arithmetic"][..]),
        ("in_place", &["error: relu (ReLU): it changes its input in place, which the model's result uses afterwards"]),
        ("changed", &["error: relu (ReLU): it changes its input in place, which add uses afterwards"]),
        ("accumulating", &["gives other numbers than the model itself", "x = x + y"]),
        ("rows", &["error: cat: concatenation along dim=2", "dim=1"]),
        ("shifted", &["error: add: the sum with 1"]),
        ("broadcast", &["error: add: the sum of shapes (1, 28, 28) and (1, 1, 1)"]),
        ("scaling", &["truediv: ", "--mean and --std"]),
        ("data_dependent", &["cannot be traced", "control flow"]),
        ("always_dropping", &["dropout: ", "use nn.Dropout"]),
        ("gelu", &["error: 1.1 (GELU): ", "use nn.ReLU"]),
        ("reflecting", &["error: 0 (Conv2d): padding_mode='reflect'", "pad with zeros"]),
        ("even_same", &["0 (Conv2d)", "odd size"]),
        ("untracked", &["1 (BatchNorm2d)", "track_running_stats=False"]),
        ("rounding_up", &["0 (MaxPool2d)", "ceil_mode=True"]),
        ("soft_middle", &["1 (Softmax)", "leave it out"]),
        ("normalized", &["does not take images of [1, 28, 28]", "--input"]),
        ("missing", &["AttributeError", "missing"]),
    ];
    // In one process, since torch takes its time to start.
    let code = format!(
        "import sys; sys.path.insert(0, {:?})\nfrom export_pytorch import main\nfor model in sys.argv[1:]:\n\
         \x20   code = main(['models:' + model, '--input', '1,28,28', '--out', 'net'])\n\
         \x20   print('code', code, file=sys.stderr)",
        root().join("scripts")
    );
    let models = cases.map(|(model, _)| model);
    let output = run(&python, &[&["-c", code.as_str()], &models[..]].concat(), folder.path());
    let said = String::from_utf8(output.stderr).unwrap();
    let said: Vec<&str> = said.split_terminator("code 1\n").collect();
    assert_eq!(said.len(), cases.len(), "{said:?}");
    for ((_, parts), said) in cases.iter().zip(said) {
        assert_says(said, parts);
        assert!(!said.contains("Traceback"), "{said}");
    }
    let export = script("export_pytorch.py");
    let output = run(&python, &[&export, "models:gelu", "--input", "1,28,28", "--out", "net"], folder.path());
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "a file was left");
}
