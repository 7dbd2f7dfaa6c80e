//! Tests of the rate kernels' CUDA source: compiled for the CPU and compared, through the same launches, with the CPU
//! kernels; and all kernels compiled for a device by NVRTC if that is installed. Neither needs a CUDA device.

use half::bf16;
use tch::{Device, Kind, TchError, Tensor};

use super::host::{Host, assert_close, mixed};
use super::launch::{self, Launch};
use super::scan_tests::Sample;
use super::{compile, scan_source, source};
use crate::kernels::{self, TensorNumber};
use tch_spiking_core::kernels::Drive;
use tch_spiking_core::neuron::{Lif, Neuron, RectifiedLinear};
use tch_spiking_core::surrogate::Surrogate;

/// Compares rates and gradients of `rows` rows of `neurons` between the CUDA source and the CPU kernels.
fn compare_rates<S: TensorNumber>(model: impl Into<Neuron>, rows: i64, neurons: i64, tolerance: f64)
where
    S::Computed: TensorNumber,
{
    let model = &model.into();
    let source = source::rate(model, S::KIND).unwrap();
    let Some(host) = Host::compile(&source, &["rate_forward", "rate_backward"]) else { return };
    let computed = S::Computed::KIND;
    let input = mixed(-2.0, 5.0, &[rows, neurons], S::KIND);
    let (gain, bias) = (mixed(0.5, 2.0, &[neurons], computed), mixed(0.0, 1.5, &[neurons], computed));
    let gradient = mixed(-1.0, 1.0, &[rows, neurons], S::KIND);
    let results = || [input.ones_like(), gradient.copy(), bias.ones_like()];
    let drive = [&input, &gain, &bias];
    let [mut output, mut to_input, mut to_bias] = results();
    launch::rate_forward(&|launch| host.run(launch), drive, &mut output).unwrap();
    launch::rate_backward(&|launch| host.run(launch), drive, &mut to_input, &mut to_bias).unwrap();
    let ours = [output, to_input, to_bias];

    let [mut output, mut to_input, mut to_bias] = results();
    let drive = || Drive::<S::Computed, S> {
        input: kernels::elements(&input).unwrap(),
        gain: kernels::elements(&gain).unwrap(),
        bias: kernels::elements(&bias).unwrap(),
    };
    let rate = model.rate().unwrap();
    kernels::rate_forward(rate, drive(), kernels::elements_mut(&mut output).unwrap());
    kernels::rate_backward(
        rate,
        drive(),
        kernels::elements_mut(&mut to_input).unwrap(),
        kernels::elements_mut(&mut to_bias).unwrap(),
    );
    for ((ours, theirs), what) in ours.iter().zip([output, to_input, to_bias]).zip(["output", "input", "bias"]) {
        assert_close(ours, &theirs, tolerance, &format!("{model:?} {:?} {rows} x {neurons}: {what}", S::KIND));
    }
}

#[test]
fn rates_and_gradients_are_those_of_the_processor() {
    let soft = Lif { smoothing: 0.1, amplitude: 0.01, ..Lif::default() };
    for (rows, neurons) in [(1, 1), (3, 70), (67, 129)] {
        compare_rates::<f32>(Lif::default(), rows, neurons, 1e-4);
        compare_rates::<f64>(Lif::default(), rows, neurons, 1e-11);
        compare_rates::<bf16>(Lif::default(), rows, neurons, 1e-2);
    }
    compare_rates::<f32>(soft.clone(), 5, 131, 1e-4);
    compare_rates::<f64>(soft.clone(), 5, 131, 1e-11);
    compare_rates::<f32>(RectifiedLinear::default(), 5, 131, 1e-6);
}

#[test]
fn tensors_that_do_not_fit_are_refused() {
    let never = |_: Launch| -> Result<(), TchError> { panic!("launched") };
    let numbers = |size: i64| Tensor::zeros([size], (Kind::Float, Device::Cpu));
    let [input, neurons] = [numbers(6), numbers(3)];
    let drive = [&input, &neurons, &neurons];
    assert!(launch::rate_forward(&never, drive, &mut numbers(5)).is_err());
    assert!(launch::rate_forward(&never, [&input, &numbers(2), &neurons], &mut numbers(6)).is_err());
    assert!(launch::rate_forward(&never, drive, &mut numbers(6).to_kind(Kind::Double)).is_err());
    assert!(launch::rate_backward(&never, drive, &mut numbers(6), &mut numbers(2)).is_err());
}

#[test]
fn the_compiler_of_cuda_takes_the_source() {
    if let Err(cause) = compile::compiler() {
        println!("skipped: {cause}");
        return;
    }
    let soft = Neuron::new(Lif { smoothing: 0.1, min_voltage: f64::NEG_INFINITY, ..Lif::default() });
    let sample = Neuron::new(Sample {});
    for kind in [Kind::Float, Kind::Double, Kind::BFloat16] {
        let sources = [
            source::rate(&Lif::default().into(), kind),
            source::rate(&soft, kind),
            scan_source::scan(&soft, 0.001, kind),
            scan_source::scan_backward(&soft, 0.001, &Surrogate::default(), kind),
            scan_source::scan(&sample, 0.001, kind),
            scan_source::scan_backward(&sample, 0.001, &Surrogate::default(), kind),
        ];
        for source in sources.into_iter().flatten() {
            let binary = compile::compile(&source, (9, 0)).unwrap();
            assert_eq!(&binary.bytes()[..4], b"\x7fELF");
        }
    }
    assert!(compile::compile("mistake", (9, 0)).unwrap_err().contains("mistake"));
}
