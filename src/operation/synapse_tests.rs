use super::*;

const SYNAPSES: [Synapse; 4] = [
    Synapse::Lowpass { tau: 0.004 },
    Synapse::Alpha { tau: 0.003 },
    Synapse::Lowpass { tau: 0.0 },
    Synapse::Alpha { tau: 1e-5 },
];
const DT: f64 = 0.001;

fn numbers(shape: &[i64], phase: f64, kind: Kind) -> Tensor {
    let count: i64 = shape.iter().product();
    (Tensor::arange(count, (Kind::Double, Device::Cpu)) * 0.7 + phase).sin().to_kind(kind).reshape(shape)
}

/// Values that a filter computes from, each requiring a gradient.
struct Leaves {
    input: Tensor,
    state: Vec<Tensor>,
    log_tau: Option<Tensor>,
}

impl Leaves {
    fn new(synapse: Synapse, shape: &[i64], kind: Kind, learned: bool) -> Self {
        let leaf = |shape: &[i64], phase| numbers(shape, phase, kind).set_requires_grad(true);
        let state = (0..synapse.state_len()).map(|variable| leaf(&shape[1..], variable as f64)).collect();
        let log_tau =
            learned.then(|| Tensor::full([1], synapse.tau().ln(), (kind, Device::Cpu)).set_requires_grad(true));
        Self { input: leaf(shape, 0.3), state, log_tau }
    }

    fn all(&self) -> Vec<&Tensor> {
        [&self.input].into_iter().chain(&self.state).chain(&self.log_tau).collect()
    }

    fn filter<'a>(&'a self, synapse: Synapse) -> Filter<'a> {
        let tau = self.log_tau.as_ref().map_or(synapse.tau(), |log_tau| log_tau.double_value(&[0]).exp());
        Filter { synapse: synapse.with_tau(tau), log_tau: self.log_tau.as_ref(), dt: DT }
    }

    fn start(&self) -> Vec<Tensor> {
        self.state.iter().map(Tensor::shallow_clone).collect()
    }
}

/// Output and last state.
fn outputs(run: impl FnOnce(&mut [Tensor]) -> Tensor, mut state: Vec<Tensor>) -> Vec<Tensor> {
    let output = run(&mut state);
    [output].into_iter().chain(state).collect()
}

/// A sum in which every value has a weight of its own.
fn loss(outputs: &[Tensor]) -> Tensor {
    let weighted = |(index, output): (usize, &Tensor)| {
        (output * numbers(&output.size(), index as f64 + 0.5, output.kind())).sum(output.kind())
    };
    outputs.iter().enumerate().map(weighted).sum()
}

#[test]
fn one_node_gives_the_values_of_the_loop_bit_for_bit() {
    for kind in [Kind::Float, Kind::Double] {
        for synapse in SYNAPSES {
            let leaves = Leaves::new(synapse, &[7, 3, 4, 5, 6], kind, false);
            let channels_last = leaves.input.movedim_int(-3, -1).contiguous().movedim_int(-1, -3);
            for input in [&leaves.input, &channels_last] {
                let ours = outputs(|state| leaves.filter(synapse).run(input, state).unwrap(), leaves.start());
                let loops = outputs(|state| leaves.filter(synapse).with_tensors(input, state).unwrap(), leaves.start());
                assert_eq!(ours[0].stride(), input.stride());
                for (ours, loops) in ours.iter().zip(&loops) {
                    assert!(ours.equal(loops), "{synapse:?} {kind:?}");
                }
            }
        }
    }
}

#[test]
fn gradients_are_those_of_the_loop() {
    // More columns than a block, and fewer.
    for shape in [&[9, 2, 150, 1, 1][..], &[9, 5], &[1, 3, 2, 2, 2]] {
        for (synapse, learned) in SYNAPSES.into_iter().flat_map(|synapse| [(synapse, false), (synapse, true)]) {
            if learned && synapse.tau() < 1e-3 {
                continue; // A logarithm needs a time above 0.
            }
            let leaves = Leaves::new(synapse, shape, Kind::Double, learned);
            let ours =
                loss(&outputs(|state| leaves.filter(synapse).run(&leaves.input, state).unwrap(), leaves.start()));
            let loops =
                outputs(|state| leaves.filter(synapse).with_tensors(&leaves.input, state).unwrap(), leaves.start());
            let ours = Tensor::run_backward(&[ours], &leaves.all(), false, false);
            let loops = Tensor::run_backward(&[loss(&loops)], &leaves.all(), false, false);
            for (ours, loops) in ours.iter().zip(&loops) {
                assert!(ours.allclose(loops, 1e-9, 1e-12, false), "{synapse:?}, {shape:?}: {ours} {loops}");
            }
        }
    }
}

/// Step by step, with the state carried on attached, a sequence gives the gradients of the whole.
#[test]
fn a_sequence_in_pieces_has_the_gradients_of_the_whole_which_are_central_differences() {
    for synapse in [Synapse::Lowpass { tau: 0.004 }, Synapse::Alpha { tau: 0.003 }] {
        let leaves = Leaves::new(synapse, &[6, 2, 3], Kind::Double, true);
        let log_tau = leaves.log_tau.as_ref().unwrap();
        let whole = |input: &Tensor, state: Vec<Tensor>, log_tau: &Tensor| {
            loss(&outputs(|state| filter_learned(synapse, log_tau, input, DT, state).unwrap(), state))
        };
        let pieces = outputs(
            |state| {
                let step = |t| filter_learned(synapse, log_tau, &leaves.input.narrow(0, t, 1), DT, state).unwrap();
                Tensor::cat(&(0..6).map(step).collect::<Vec<_>>(), 0)
            },
            leaves.start(),
        );
        let of_pieces = Tensor::run_backward(&[loss(&pieces)], &leaves.all(), false, false);
        let of_whole = whole(&leaves.input, leaves.start(), log_tau);
        let of_whole = Tensor::run_backward(&[of_whole], &leaves.all(), false, false);
        for (index, (pieces, whole_gradient)) in of_pieces.iter().zip(&of_whole).enumerate() {
            assert!(pieces.allclose(whole_gradient, 1e-10, 1e-13, false), "{synapse:?}");
            let direction = numbers(&whole_gradient.size(), 2.0, Kind::Double);
            let _without_gradient = tch::no_grad_guard();
            let moved = |by: f64| {
                let mut all: Vec<Tensor> = leaves.all().into_iter().map(Tensor::copy).collect();
                all[index] += &direction * by;
                let log_tau = all.pop().unwrap();
                whole(&all.remove(0), all, &log_tau).double_value(&[])
            };
            let difference = (moved(1e-5) - moved(-1e-5)) / 2e-5;
            let analytic = (whole_gradient * &direction).sum(Kind::Double).double_value(&[]);
            assert!((difference - analytic).abs() <= 1e-6 * analytic.abs().max(1e-3), "{difference} {analytic}");
        }
    }
}

#[test]
fn what_somebody_holds_is_not_written_over() {
    let synapse = Synapse::Lowpass { tau: 0.004 };
    let leaves = Leaves::new(synapse, &[5, 4], Kind::Double, false);
    let before = leaves.state[0].copy();
    let results = outputs(|state| leaves.filter(synapse).run(&leaves.input, state).unwrap(), leaves.start());
    assert!(leaves.state[0].equal(&before), "the old state");
    let weights = numbers(&[5, 4], 1.0, Kind::Double);
    let sum = (&results[0] * &weights).sum(Kind::Double) + results[1].sum(Kind::Double);
    let gradients = Tensor::run_backward(&[sum], &[&results[0], &leaves.input], false, false);
    assert!(gradients[0].equal(&weights), "the output's gradient");
}

#[test]
fn a_time_constant_of_several_elements_is_an_error() {
    let (input, log_tau) =
        (Tensor::ones([2, 1], (Kind::Float, Device::Cpu)), Tensor::zeros([2], (Kind::Float, Device::Cpu)));
    let result = filter_learned(SYNAPSES[0], &log_tau, &input, DT, &mut [input.get(0)]);
    assert!(result.unwrap_err().to_string().contains("one element"));
}
