//! The code of a module: both faces of a network, printed layer by layer.

use crate::network::{Layer, LayerKind, NeuronSpec, Pair, Parameters, Pool, SpikingSequential};
use crate::neuron::{Formula, Neuron};
use crate::synapse::{Coefficients, Synapse};

use super::formula::statements;
use super::module::CLASS;

/// What all layers together do to one batch: statements, and what the output is called.
pub(super) struct Program {
    constants: Vec<f64>,
    /// Done once: everything before the first layer with a state, whose input does not change.
    once: Vec<String>,
    each_step: Vec<String>,
    /// Whether the activity, as of the last statement, changes over time.
    varying: bool,
    output: String,
}

/// A layer and what its submodule is called.
struct Named<'a> {
    layer: &'a Layer,
    name: &'a str,
    index: usize,
}

impl Program {
    /// The network as rates.
    pub fn rates(network: &SpikingSequential, names: &[String]) -> Self {
        Self::print(network, names, |program, named| match (named.layer.kind(), &named.layer.parameters) {
            (LayerKind::Neuron(spec), Parameters::Neurons(neurons)) => {
                let current = program.current(named, spec);
                program.formula(named, &neurons.model.rate_formula(), &[current], 1).remove(0)
            }
            _ => stateless(named, &program.output),
        })
    }

    /// The network as spikes, one timestep after the other.
    pub fn spikes(network: &SpikingSequential, names: &[String]) -> Self {
        let dt = network.spec().dt;
        Self::print(network, names, |program, named| match (named.layer.kind(), &named.layer.parameters) {
            (LayerKind::Neuron(spec), Parameters::Neurons(neurons)) => {
                program.neurons(named, spec, neurons.model.as_ref(), dt)
            }
            (LayerKind::Synapse(synapse), _) => program.filter(named, *synapse, dt),
            _ => stateless(named, &program.output),
        })
    }

    fn print(
        network: &SpikingSequential,
        names: &[String],
        mut layer: impl FnMut(&mut Self, &Named) -> String,
    ) -> Self {
        let (constants, once, each_step) = (Vec::new(), Vec::new(), Vec::new());
        let mut program = Self { constants, once, each_step, varying: false, output: "checked".to_string() };
        for (index, (of_network, name)) in network.layers().iter().zip(names).enumerate() {
            let output = layer(&mut program, &Named { layer: of_network, name, index });
            program.output = format!("out{index}");
            program.push(format!("out{index} = {output}"));
        }
        program
    }

    fn push(&mut self, statement: String) {
        if self.varying { &mut self.each_step } else { &mut self.once }.push(statement);
    }

    /// The name of the current of a layer of neurons.
    fn current(&mut self, Named { name, index, .. }: &Named, spec: &NeuronSpec) -> String {
        let bias = match spec.firing_rate_scale {
            1.0 => format!("self.{name}.bias"),
            scale => format!("torch.mul(self.{name}.bias, {})", number(scale)),
        };
        self.push(format!("current{index} = torch.add(torch.mul({}, self.{name}.gain), {bias})", self.output));
        format!("current{index}")
    }

    /// Prints a formula; the expressions of its first `outputs` outputs.
    fn formula(&mut self, named: &Named, formula: &Formula, inputs: &[String], outputs: usize) -> Vec<String> {
        let constants = &mut self.constants;
        let constant = |value: f64| {
            let known = constants.iter().position(|constant| constant.to_bits() == value.to_bits());
            let index = known.unwrap_or_else(|| {
                constants.push(value);
                constants.len() - 1
            });
            format!("constant{index}")
        };
        let (lines, outputs) = statements(formula, inputs, outputs, &format!("v{}_", named.index), constant);
        lines.into_iter().for_each(|line| self.push(line));
        outputs
    }

    /// A layer of neurons in time: its output.
    fn neurons(&mut self, named: &Named, spec: &NeuronSpec, model: &dyn Neuron, dt: f64) -> String {
        let shape = batch_of(named.layer);
        let mut inputs = vec![self.current(named, spec)];
        for variable in 0..model.state_names().len() {
            let state = format!("state{}_{variable}", named.index);
            self.once.push(match variable {
                0 => format!("{state} = torch.expand(self.{}.initial_voltage, {shape})", named.name),
                _ => format!("{state} = {}", zeros(&shape)),
            });
            inputs.push(state);
        }
        self.varying = true;
        let mut outputs = self.formula(named, &model.step_formula(dt), &inputs, inputs.len());
        let output = outputs.remove(0);
        self.assign(&inputs[1..], &outputs);
        output
    }

    /// A filter in time: its output.
    fn filter(&mut self, named: &Named, synapse: Synapse, dt: f64) -> String {
        self.varying = true;
        let states: Vec<_> =
            (0..synapse.state_len()).map(|variable| format!("state{}_{variable}", named.index)).collect();
        for state in &states {
            self.once.push(format!("{state} = {}", zeros(&batch_of(named.layer))));
        }
        let Coefficients { transition, input } = synapse.coefficients(dt);
        let term = |name: &str, factor: f64| format!("torch.mul({name}, {})", number(factor));
        let next = (0..states.len()).map(|row| {
            let from_states = states.iter().zip(transition[row]).map(|(state, factor)| term(state, factor));
            let terms = from_states.chain([term(&self.output, input[row])]);
            terms.reduce(|sum, term| format!("torch.add({sum}, {term})")).unwrap_or_default()
        });
        let next: Vec<_> = next.collect();
        self.assign(&states, &next);
        states[states.len() - 1].clone()
    }

    /// Sets all `names`, after all `values` have been computed of what they were.
    fn assign(&mut self, names: &[String], values: &[String]) {
        for (name, value) in names.iter().zip(values) {
            self.push(format!("next_{name} = {value}"));
        }
        for name in names {
            self.push(format!("{name} = next_{name}"));
        }
    }

    fn constants(&self) -> Vec<String> {
        let tensor = |(index, value): (usize, &f64)| {
            let options = "dtype=ops.prim.dtype(checked), device=ops.prim.device(checked)";
            format!("constant{index} = torch.tensor({}, {options})", number(*value))
        };
        self.constants.iter().enumerate().map(tensor).collect()
    }

    /// The method `forward`.
    pub fn forward(&self) -> String {
        format!(
            "  def forward(self: __torch__.{CLASS},
    x: Tensor) -> Tensor:
    checked = (self).checked(x, )
{}{}    return {}
",
            lines("    ", &self.constants()),
            lines("    ", &self.once),
            self.output
        )
    }

    /// The method `simulate`.
    pub fn simulate(&self) -> String {
        format!(
            "  def simulate(self: __torch__.{CLASS},
    x: Tensor,
    steps: int) -> Tensor:
    checked = (self).checked(x, )
    if torch.lt(steps, 1):
      ops.prim.RaiseException(torch.format(\"expected 1 timestep or more, got {{}}\", steps), \"builtins.ValueError\")
    else:
      pass
    batch = torch.size(checked, 0)
{}{}    outputs = annotate(List[Tensor], [])
    for step in range(steps):
{}      _0 = torch.append(outputs, {})
    return torch.stack(outputs)
",
            lines("    ", &self.constants()),
            lines("    ", &self.once),
            lines("      ", &self.each_step),
            self.output
        )
    }
}

/// The method that returns its input, if that is a batch of images of the network's shape.
pub(super) fn checked(input: &[i64]) -> String {
    let shape = input.iter().map(i64::to_string).collect::<Vec<_>>().join(" x ");
    format!(
        "  def checked(self: __torch__.{CLASS},
    x: Tensor) -> Tensor:
    if torch.ne(torch.slice(torch.size(x), 1), {input:?}):
      _0 = torch.format(\"the network takes batch x {shape}, got {{}}\", torch.size(x))
      ops.prim.RaiseException(_0, \"builtins.ValueError\")
    else:
      pass
    return x
"
    )
}

fn lines(indentation: &str, statements: &[String]) -> String {
    statements.iter().map(|statement| format!("{indentation}{statement}\n")).collect()
}

/// What a layer without a state makes of the variable `input`; that itself, if nothing.
fn stateless(Named { layer, name, .. }: &Named, input: &str) -> String {
    let optional = |tensor: &str, is_there: bool| match is_there {
        true => format!("self.{name}.{tensor}"),
        false => "None".to_string(),
    };
    match layer.kind() {
        LayerKind::Conv2d(conv) => format!(
            "torch.conv2d({input}, self.{name}.weight, {}, {}, {}, {}, {})",
            optional("bias", conv.bias),
            list(conv.stride),
            list(conv.padding),
            list(conv.dilation),
            conv.groups
        ),
        LayerKind::Linear(linear) => {
            format!("torch.linear({input}, self.{name}.weight, {})", optional("bias", linear.bias))
        }
        LayerKind::AvgPool(pool) => format!("torch.avg_pool2d({input}, {}, False, True, None)", windows(pool)),
        LayerKind::MaxPool(pool) => format!("torch.max_pool2d({input}, {}, [1, 1], False)", windows(pool)),
        LayerKind::Flatten => format!("torch.flatten({input}, 1, -1)"),
        LayerKind::Relu => format!("torch.relu({input})"),
        LayerKind::LeakyRelu(relu) => format!("torch.leaky_relu({input}, {})", number(relu.negative_slope)),
        LayerKind::BatchNorm(norm) => format!(
            "torch.batch_norm({input}, {}, {}, self.{name}.running_mean, self.{name}.running_var, False, {}, {}, True)",
            optional("weight", norm.affine),
            optional("bias", norm.affine),
            number(norm.momentum),
            number(norm.eps)
        ),
        LayerKind::Dropout(_) | LayerKind::Neuron(_) | LayerKind::Synapse(_) | LayerKind::Custom(_) => {
            input.to_string()
        }
    }
}

/// Size, step and padding.
fn windows(pool: &Pool) -> String {
    format!("{}, {}, {}", list(pool.kernel), list(pool.stride.unwrap_or(pool.kernel)), list(pool.padding))
}

fn list(pair: Pair) -> String {
    format!("{:?}", pair.to_array())
}

/// The shape of a batch of a layer's outputs.
fn batch_of(layer: &Layer) -> String {
    let sizes = layer.output_shape().iter().map(|size| format!(", {size}")).collect::<String>();
    format!("[batch{sizes}]")
}

fn zeros(shape: &str) -> String {
    format!("torch.zeros({shape}, dtype=ops.prim.dtype(checked), layout=None, device=ops.prim.device(checked))")
}

/// The number, read back to the same bits.
fn number(value: f64) -> String {
    if value.is_nan() { "nan".to_string() } else { format!("{value:?}") }
}
