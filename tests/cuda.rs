//! CUDA against the processor, where there is a CUDA device; elsewhere every test says that it was skipped.
//! (That the kernels' source is right, `src/kernels/cuda/host_tests.rs` tests without one.)

mod common;

use common::{distance, mixed};
use std::sync::atomic::AtomicBool;
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor};
use tch_spiking::device::{self, DeviceChoice};
use tch_spiking::evaluate::{Labelled, spiking};
use tch_spiking::kernels::cuda;
use tch_spiking::neuron::{Lif, Neuron, RectifiedLinear};
use tch_spiking::operation::{self, SpikingDrive};
use tch_spiking::run::Run;
use tch_spiking::{Experiment, NetworkSpec, SpikingSequential, data};

/// The first CUDA device, or none with a message.
fn cuda_device() -> Option<Device> {
    match device::resolve(DeviceChoice::Cuda(0)) {
        Ok(device) => Some(device),
        Err(cause) => {
            println!("skipped: {cause}");
            None
        }
    }
}

/// The largest difference, relative to the largest number.
fn relative(ours: &Tensor, theirs: &Tensor) -> f64 {
    let (ours, theirs) = (ours.to_device(Device::Cpu), theirs.to_device(Device::Cpu));
    distance(&ours, &theirs) / theirs.abs().max().double_value(&[]).max(1e-30)
}

#[test]
fn kernels_can_be_compiled() {
    let Some(_) = cuda_device() else { return };
    assert_eq!(cuda::status(0), Ok(()));
}

#[test]
fn rates_and_gradients_are_those_of_the_processor() {
    let Some(cuda) = cuda_device() else { return };
    let neurons: [Neuron; 3] = [
        Lif::default().into(),
        Lif { smoothing: 0.1, amplitude: 0.01, ..Lif::default() }.into(),
        RectifiedLinear::default().into(),
    ];
    for (neuron, (kind, tolerance)) in neurons.iter().flat_map(|neuron| {
        [(Kind::Float, 1e-4), (Kind::Double, 1e-11), (Kind::BFloat16, 1e-2)].map(|case| (neuron, case))
    }) {
        let computed = if kind == Kind::BFloat16 { Kind::Float } else { kind };
        let on = |device: Device| {
            let input = mixed(-2.0, 5.0, &[9, 5, 7, 11], kind).to_device(device).set_requires_grad(true);
            let bias = mixed(0.0, 1.5, &[5, 7, 11], computed).to_device(device).set_requires_grad(true);
            let gain = mixed(0.5, 2.0, &[5, 7, 11], computed).to_device(device);
            let rate = operation::rate(neuron, &input, &gain, &bias).unwrap();
            let weights = mixed(-1.0, 1.0, &rate.size(), kind).to_device(device);
            let gradients = Tensor::run_backward(&[(&rate * weights).sum(computed)], &[&input, &bias], false, false);
            [rate.detach(), gradients[0].shallow_clone(), gradients[1].shallow_clone()]
        };
        for (ours, theirs) in on(cuda).iter().zip(&on(Device::Cpu)) {
            let error = relative(ours, theirs);
            assert!(error < tolerance, "{neuron:?} {kind:?}: {error}");
        }
    }
}

#[test]
fn spikes_are_those_of_the_processor() {
    let Some(cuda) = cuda_device() else { return };
    let neurons: [(Neuron, f64); 3] = [
        (Lif::default().into(), 20.0),
        (Lif { min_voltage: f64::NEG_INFINITY, tau_ref: 0.0, ..Lif::default() }.into(), 20.0),
        (RectifiedLinear::default().into(), 2500.0),
    ];
    for (neuron, high) in &neurons {
        for (kind, varying) in [(Kind::Float, false), (Kind::Double, false), (Kind::Double, true)] {
            let shape: &[i64] = if varying { &[50, 3, 71] } else { &[3, 71] };
            let on = |device: Device| {
                let input = mixed(-1.0, *high, shape, kind).to_device(device);
                let (gain, bias) = (mixed(0.5, 2.0, &[71], kind), mixed(0.0, 1.0, &[71], kind));
                let (gain, bias) = (gain.to_device(device), bias.to_device(device));
                let count = neuron.state().len();
                let mut state: Vec<Tensor> = (0..count).map(|_| Tensor::zeros([3, 71], (kind, device))).collect();
                let drive = SpikingDrive::new(&input, &gain, &bias, 50, 0.001);
                let spikes = operation::spike(neuron, &drive, &mut state, &vec![true; count]).unwrap();
                spikes.output.to_device(Device::Cpu)
            };
            let (ours, theirs) = (on(cuda), on(Device::Cpu));
            let different = ours.ne_tensor(&theirs).sum(Kind::Int64).int64_value(&[]);
            let allowed = if kind == Kind::Double { 0 } else { ours.numel() as i64 / 1000 };
            assert!(different <= allowed, "{neuron:?} {kind:?}: {different} of {}", ours.numel());
        }
    }
}

#[test]
fn training_learns_in_every_precision_and_again_alike() {
    let Some(cuda) = cuda_device() else { return };
    let train = |precision: &str| {
        let mut experiment = Experiment::default();
        for assignment in [
            "data.dataset=digits",
            "data.train_images=600",
            "data.validation_images=0",
            "data.test_images=100",
            "simulation.sample=100",
            "training.epochs=2",
            "training.batch_size=50",
            &format!("training.precision={precision}"),
        ] {
            experiment.set(assignment).unwrap();
        }
        let data = data::load(&experiment.data, 0, &mut |_| {}).unwrap();
        let mut trainer = Run::new(experiment, &data, cuda).unwrap().into_trainer();
        let profile = trainer.profile(2).unwrap();
        assert!(profile.step > 0.0 && profile.layers.iter().all(|layer| layer.forward > 0.0));
        trainer.run(&mut (), &AtomicBool::new(false)).unwrap();
        trainer.position().history.iter().map(|metrics| metrics.loss).collect::<Vec<_>>()
    };
    for precision in ["f32", "tf32", "bf16"] {
        let losses = train(precision);
        assert!(losses[1] < losses[0], "{precision}: {losses:?}");
    }
}

#[test]
fn a_network_spikes_as_on_the_processor() {
    let Some(cuda) = cuda_device() else { return };
    let images = mixed(0.0, 255.0, &[64, 1, 28, 28], Kind::Float);
    let on = |device: Device| {
        let vs = VarStore::new(device);
        let net = SpikingSequential::new(&vs.root(), &NetworkSpec::reference(), 3).unwrap();
        let (images, labels) = (images.to_device(device), Tensor::zeros([64], (Kind::Int64, device)));
        let spikes = spiking(&net, &Labelled { images, labels }, 30, 256 << 20, &mut |_| {}).unwrap();
        spikes.spikes_per_image
    };
    let (ours, theirs) = (on(cuda), on(Device::Cpu));
    assert!((ours - theirs).abs() < 1e-3 * theirs, "{ours} {theirs}");
}
