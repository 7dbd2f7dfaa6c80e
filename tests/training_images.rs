//! What training makes of its images: augmentation and standardisation.

#[cfg(feature = "cli")]
#[path = "common/command.rs"]
mod command;
mod common;

use std::sync::atomic::AtomicBool;

use common::{bits, distance, mixed, numbers};
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor};
use tch_spiking::data::{Augmentation, Labelled};
use tch_spiking::network::{Builder, NeuronSpec, Standardize};
use tch_spiking::neuron::Lif;
use tch_spiking::train::{Trainer, TrainingConfig};
use tch_spiking::weights::{self, Provenance};
use tch_spiking::{Experiment, Network};

fn images(count: i64) -> Labelled {
    let pixels = mixed(0.0, 255.0, &[count, 2, 6, 6], Kind::Float);
    let images = pixels * Tensor::from_slice(&[1.0_f32, 0.2]).reshape([1, 2, 1, 1]);
    Labelled { images, labels: Tensor::arange(count, (Kind::Int64, Device::Cpu)).remainder(3) }
}

fn build(builder: Builder) -> Network {
    builder.build(&VarStore::new(Device::Cpu).root(), 1).unwrap()
}

fn network() -> Network {
    let lif = NeuronSpec::new(Lif { amplitude: 0.01, ..Lif::default() }).tuned(100.0, 0.0);
    build(Builder::new([2, 6, 6]).layer(Standardize::measured()).flatten().linear(10).layer(lif).linear(3))
}

/// Metrics of an epoch whose steps do nothing to the weights.
fn epoch(augmentation: Option<Augmentation>, batch_size: usize) -> tch_spiking::train::EpochMetrics {
    let config =
        TrainingConfig { epochs: 1, batch_size, learning_rate: 1e-30, augmentation, ..TrainingConfig::default() };
    let mut trainer = Trainer::new(network(), config, 5, images(60)).unwrap().with_validation(images(30)).unwrap();
    trainer.run(&mut (), &AtomicBool::new(false)).unwrap();
    trainer.position().history[0].clone()
}

#[test]
fn training_images_are_augmented_and_validation_images_are_not() {
    let augmentation = Augmentation { rotation: 30.0, shift: 1.0, ..Augmentation::default() };
    let (plain, augmented) = (epoch(None, 20), epoch(Some(augmentation), 20));
    assert_ne!(plain.loss, augmented.loss);
    assert_eq!(plain.validation_loss, augmented.validation_loss);
    assert_eq!(plain.loss, epoch(Some(Augmentation::default()), 20).loss);
    // The same images in batches of another size.
    assert!((augmented.loss - epoch(Some(augmentation), 7).loss).abs() < 1e-6 * augmented.loss);
}

#[test]
fn statistics_of_the_training_images_go_into_the_network_and_its_file() {
    let data = images(700);
    let all = data.images.to_kind(Kind::Double);
    let (mean, std) =
        (all.mean_dim(&[0_i64, 2, 3][..], false, Kind::Double), all.std_dim(&[0_i64, 2, 3][..], false, false));
    let trainer = Trainer::new(network(), TrainingConfig::default(), 0, data).unwrap();
    let network = trainer.into_network();
    let parameter = |network: &Network, name: &str| network.parameter(&format!("standardize1.{name}")).unwrap();
    assert!(!parameter(&network, "mean").requires_grad());
    assert!(distance(&parameter(&network, "mean").to_kind(Kind::Double), &mean) < 1e-4);
    assert!(distance(&parameter(&network, "std").to_kind(Kind::Double), &std) < 1e-4);

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("network.safetensors");
    weights::save_network(&path, &network, &Provenance::default()).unwrap();
    let loaded = weights::load_network(&path, Device::Cpu).unwrap().network;
    let given = Standardize::new(numbers(&parameter(&network, "mean")), numbers(&parameter(&network, "std")));
    let alone = build(Builder::new([2, 6, 6]).layer(given));
    let input = images(4).images;
    let expected =
        (&input - parameter(&network, "mean").reshape([2, 1, 1])) / parameter(&network, "std").reshape([2, 1, 1]);
    assert_eq!(bits(&alone.forward_rates(&input).unwrap()), bits(&expected));
    assert_eq!(bits(&loaded.forward_rates(&input).unwrap()), bits(&network.forward_rates(&input).unwrap()));
}

#[test]
fn a_channel_that_never_changes_is_only_centred() {
    let data = images(10);
    let _ = data.images.narrow(1, 1, 1).fill_(4.0);
    let network = Trainer::new(network(), TrainingConfig::default(), 0, data).unwrap().into_network();
    let last = |name: &str| numbers(&network.parameter(&format!("standardize1.{name}")).unwrap())[1];
    assert_eq!((last("mean"), last("std")), (4.0, 1.0));
}

#[test]
fn standardisations_that_cannot_be_are_told() {
    let layers = |layers: &str| {
        let text = format!(
            "[network]\ninput = [2, 6, 6]\nlayers = [{layers}, {{ type = 'flatten' }}, {{ type = 'linear', out_features = 3 }}]"
        );
        let experiment = Experiment::from_toml(&text).map_err(|error| error.to_string())?;
        let network = Network::new(&VarStore::new(Device::Cpu).root(), &experiment.network, 0)
            .map_err(|error| error.to_string())?;
        Trainer::new(network, TrainingConfig::default(), 0, images(10)).map(|_| ()).map_err(|error| error.to_string())
    };
    assert_eq!(layers("{ type = 'standardize', mean = [1, 2.5], std = 3 }"), Ok(()));
    for (text, expected) in [
        ("{ type = 'standardize', mean = 3.0 }", "both mean and std"),
        ("{ type = 'standardize', mean = [1.0, 2.0, 3.0], std = 1 }", "3 numbers, expected 2"),
        ("{ type = 'standardize', mean = 0, std = 0.0 }", "std = 0 is not valid: expected a number above 0"),
        ("{ type = 'standardize', mean = 'data', std = 1 }", "expected a number, or a list"),
        ("{ type = 'standardize', meen = 1 }", "meen"),
        ("{ type = 'relu' }, { type = 'standardize' }", "does not read the network's input"),
    ] {
        let error = layers(text).unwrap_err();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[cfg(feature = "cli")]
mod on_the_command_line {
    use super::command::{Place, assert_says};

    #[test]
    fn a_run_with_augmentation_and_statistics_of_its_data_is_trained_and_previewed() {
        let place = Place::new();
        place.edit("experiment.toml", "layers = [", "layers = [\n    { type = \"standardize\" },");
        let line = "train --config experiment.toml --set training.augmentation={rotation=15,shift=2,erase={}}";
        place.succeed(&format!("{line} --out run"));
        assert_says(
            &place.text("run/config.toml"),
            &["[training.augmentation]", "rotation = 15.0", "probability = 0.5"],
        );
        let [mean, std] = ["mean", "std"].map(|name| {
            let (shape, bytes) = &place.tensors("run/best.safetensors")[&format!("standardize1.{name}")];
            assert_eq!(shape, &[1]);
            f32::from_le_bytes(bytes[..].try_into().unwrap())
        });
        assert!(mean > 5.0 && std > 20.0, "{mean}, {std}");
        assert_says(&place.succeed("inspect run").stdout, &["standardize1", "by the training samples"]);
        let said = place.succeed("data preview --dataset digits --augment run/config.toml --out sheet.png");
        assert_says(&said.stdout, &["the first 10 training images", "sheet.png"]);
        assert!(place.bytes("sheet.png").starts_with(b"\x89PNG"));

        let error = place.fail(&format!("{line} --set training.augmentation.flip=2 --out other"));
        assert_says(&error, &["training.augmentation: flip = 2 is not valid: expected a probability, 0 to 1"]);
        let error = place.fail("data preview --dataset digits --augment rotation=200");
        assert_says(&error, &["rotation = 200", "0 to 180 degrees"]);
        let error = place.fail("data preview --dataset digits --augment rotate=20");
        assert_says(&error, &["did you mean `rotation`?"]);
        assert_says(
            &place.fail("data preview --dataset digits --augment experiment.toml"),
            &["no section [training.augmentation]"],
        );
    }

    #[test]
    fn features_cannot_be_augmented() {
        let place = Place::new();
        place.edit("experiment.toml", "input = [1, 28, 28]", "input = [784]");
        place.edit("experiment.toml", "    { type = \"conv2d\", out_channels = 4, kernel = 5, stride = 3 },\n", "");
        let error = place.fail("train --config experiment.toml --set training.augmentation.shift=1 --out run");
        assert_says(&error, &["training.augmentation is for images of channels x height x width", "1x784"]);
    }
}
