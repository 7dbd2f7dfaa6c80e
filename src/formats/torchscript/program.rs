//! Prints the code of a module: rates and spikes of a network, layer by layer.

use crate::network::{Layer, LayerKind, NeuronSpec, Neurons, Origin, Parameters, SpikingSequential, SynapseSpec};
use crate::neuron::{Formula, Initial, Trained};
use tch_spiking_core::synapse::{Coefficients, Synapse};

use super::expression::{number, stateless};
use super::formula::statements;
use super::module::CLASS;

/// The statements of all layers for one batch, and the variable of each layer's output.
pub(super) struct Program {
    constants: Vec<f64>,
    /// Statements that run once: values that are constant over time.
    once: Vec<String>,
    each_step: Vec<String>,
    /// The input, then the output of each layer so far.
    values: Vec<Value>,
}

/// A variable of the program.
#[derive(Clone)]
struct Value {
    name: String,
    /// Whether it varies over time: whether a layer with state precedes it.
    varying: bool,
}

/// A layer, the name of its submodule, and its inputs.
struct Named<'a> {
    layer: &'a Layer,
    name: &'a str,
    inputs: Vec<Value>,
}

impl Named<'_> {
    /// Returns the input of a layer that accepts one.
    fn input(&self) -> &Value {
        &self.inputs[0]
    }

    fn stateless(&self) -> String {
        let inputs: Vec<_> = self.inputs.iter().map(|input| input.name.as_str()).collect();
        stateless(self.layer, self.name, &inputs)
    }

    fn varying(&self) -> bool {
        self.inputs.iter().any(|input| input.varying)
    }
}

impl Program {
    /// Prints the network as rates.
    pub fn rates(network: &SpikingSequential, names: &[String]) -> Self {
        Self::print(network, names, |program, named| match (named.layer.kind(), &named.layer.parameters) {
            (LayerKind::Neuron(spec), Parameters::Neurons(neurons)) => {
                let current = program.current(named, spec);
                // `Module::new` prints another method for networks with a model without a rate.
                let formula = neurons.model.rate().map(|rate| rate.formula());
                let output = formula.map_or(current.clone(), |formula| {
                    program.formula(named, &formula, &[current], 1, named.varying()).remove(0)
                });
                (output, named.varying())
            }
            _ => (named.stateless(), named.varying()),
        })
    }

    /// Prints the network as spikes, one timestep after the other.
    pub fn spikes(network: &SpikingSequential, names: &[String]) -> Self {
        let dt = network.spec().dt;
        Self::print(network, names, |program, named| match (named.layer.kind(), &named.layer.parameters) {
            (LayerKind::Neuron(spec), Parameters::Neurons(neurons)) => {
                (program.neurons(named, spec, neurons, dt), true)
            }
            (LayerKind::Synapse(synapse), _) => (program.filter(named, synapse, dt), true),
            _ => (named.stateless(), named.varying()),
        })
    }

    /// Prints all layers; `layer` returns the expression of a layer's output and whether it varies over time.
    fn print(
        network: &SpikingSequential,
        names: &[String],
        mut layer: impl FnMut(&mut Self, &Named) -> (String, bool),
    ) -> Self {
        let image = Value { name: "checked".to_string(), varying: false };
        let (constants, once, each_step) = (Vec::new(), Vec::new(), Vec::new());
        let mut program = Self { constants, once, each_step, values: vec![image] };
        for (of_network, name) in network.layers().iter().zip(names) {
            let inputs = program.inputs(of_network);
            let (output, varying) = layer(&mut program, &Named { layer: of_network, name, inputs });
            let value = Value { name: format!("x_{name}"), varying };
            program.push(varying, format!("{} = {output}", value.name));
            program.values.push(value);
        }
        program
    }

    /// Returns the inputs of a layer. (`Module::new` has rejected delayed inputs.)
    fn inputs(&self, layer: &Layer) -> Vec<Value> {
        let place = |from: Origin| match from {
            Origin::Input => 0,
            Origin::Node(index) => index + 1,
        };
        layer.inputs().iter().map(|edge| self.values[place(edge.from)].clone()).collect()
    }

    fn output(&self) -> &str {
        &self.values[self.values.len() - 1].name
    }

    fn push(&mut self, varying: bool, statement: String) {
        if varying { &mut self.each_step } else { &mut self.once }.push(statement);
    }

    /// Prints the input current of a layer of neurons and returns its name.
    fn current(&mut self, named: &Named, spec: &NeuronSpec) -> String {
        let Named { name, .. } = named;
        let bias = match spec.firing_rate_scale {
            1.0 => format!("self.{name}.bias"),
            scale => format!("torch.mul(self.{name}.bias, {})", number(scale)),
        };
        let input = &named.input().name;
        self.push(named.varying(), format!("current_{name} = torch.add(torch.mul({input}, self.{name}.gain), {bias})"));
        format!("current_{name}")
    }

    /// Prints a formula and returns the expressions of its first `outputs` outputs. `varying`: whether to compute it
    /// in each timestep.
    fn formula(
        &mut self,
        named: &Named,
        formula: &Formula,
        inputs: &[String],
        outputs: usize,
        varying: bool,
    ) -> Vec<String> {
        let constants = &mut self.constants;
        let constant = |value: f64| constant(constants, value);
        let (lines, outputs) = statements(formula, inputs, outputs, &format!("v_{}_", named.name), constant);
        lines.into_iter().for_each(|line| self.push(varying, line));
        outputs
    }

    /// Prints the values of the parameters that training can change, and returns their names.
    fn learned(&mut self, named: &Named, neurons: &Neurons) -> Vec<String> {
        let mut names = Vec::new();
        for (learned, fixed) in neurons.model.learned().iter().zip(neurons.fixed_values()) {
            let stored = format!("self.{}.{}", named.name, learned.tensor_name());
            names.push(match (fixed, learned.trained) {
                (Some(value), _) => constant(&mut self.constants, value),
                (None, Trained::Value) => stored,
                (None, Trained::Logit) => {
                    let name = format!("{}_{}", learned.name, named.name);
                    self.push(false, format!("{name} = torch.sigmoid({stored})"));
                    name
                }
            });
        }
        names
    }

    /// Prints a layer of spiking neurons and returns its output.
    fn neurons(&mut self, named: &Named, spec: &NeuronSpec, neurons: &Neurons, dt: f64) -> String {
        let model = &neurons.model;
        let shape = batch_of(named.layer);
        let mut inputs = vec![self.current(named, spec)];
        inputs.extend(self.learned(named, neurons));
        let states = states(named, model.state().len());
        for (variable, state) in model.state().iter().zip(&states) {
            self.once.push(match variable.initial {
                Initial::Voltage => format!("{state} = torch.expand(self.{}.initial_voltage, {shape})", named.name),
                Initial::Value(0.0) => format!("{state} = {}", zeros(&shape)),
                Initial::Value(value) => format!("{state} = torch.add({}, {})", zeros(&shape), number(value)),
            });
            inputs.push(state.clone());
        }
        let mut outputs = self.formula(named, &model.step_formula(dt), &inputs, 1 + states.len(), true);
        let output = outputs.remove(0);
        self.assign(&states, &outputs);
        output
    }

    /// Prints a synaptic filter and returns its output.
    fn filter(&mut self, named: &Named, synapse: &SynapseSpec, dt: f64) -> String {
        let states = states(named, synapse.synapse.state_len());
        for state in &states {
            self.once.push(format!("{state} = {}", zeros(&batch_of(named.layer))));
        }
        let [first, second, input] = self.coefficients(named, synapse, dt);
        let transition = [first, second];
        let term = |name: &str, factor: &String| format!("torch.mul({name}, {factor})");
        let next = (0..states.len()).map(|row| {
            let from_states = states.iter().zip(&transition[row]).map(|(state, factor)| term(state, factor));
            let terms = from_states.chain([term(&named.input().name, &input[row])]);
            terms.reduce(|sum, term| format!("torch.add({sum}, {term})")).unwrap_or_default()
        });
        let next: Vec<_> = next.collect();
        self.assign(&states, &next);
        states[states.len() - 1].clone()
    }

    /// Returns the expressions of a filter's coefficients: both rows of the transition, and the input's.
    fn coefficients(&mut self, named: &Named, spec: &SynapseSpec, dt: f64) -> [[String; 2]; 3] {
        if !spec.learn {
            let Coefficients { transition: [first, second], input } = spec.synapse.coefficients(dt);
            return [first, second, input].map(|row| row.map(number));
        }
        let name = named.name;
        // In double precision: the alpha filter's coefficients are small differences.
        let double = "torch.to(self.{}.log_tau, 7, False, False, None)".replace("{}", name);
        self.once.push(format!("tau_{name} = torch.exp({double})"));
        self.once.push(format!("ratio_{name} = torch.mul(torch.reciprocal(tau_{name}), {})", number(dt)));
        self.once.push(format!("decay_{name} = torch.exp(torch.neg(ratio_{name}))"));
        let (tau, ratio, decay) = (format!("tau_{name}"), format!("ratio_{name}"), format!("decay_{name}"));
        let product = format!("torch.div(torch.mul({decay}, {ratio}), {tau})");
        let last = format!("torch.mul({decay}, torch.add({ratio}, 1.0))");
        let first = format!("torch.mul({decay}, torch.add(torch.neg({ratio}), 1.0))");
        let rows = match spec.synapse {
            Synapse::Lowpass { .. } => {
                let input = format!("torch.neg(torch.expm1(torch.neg({ratio})))");
                [[decay, String::new()], [String::new(), String::new()], [input, String::new()]]
            }
            Synapse::Alpha { .. } => [
                [first, format!("torch.neg({product})")],
                [format!("torch.mul({decay}, {})", number(dt)), last.clone()],
                [product, format!("torch.add(torch.neg({last}), 1.0)")],
            ],
        };
        let mut place = 0;
        rows.map(|row| {
            row.map(|factor| {
                place += 1;
                if factor.is_empty() {
                    return factor;
                }
                let own = format!("torch.to({factor}, ops.prim.dtype(checked), False, False, None)");
                self.once.push(format!("factor_{name}_{place} = {own}"));
                format!("factor_{name}_{place}")
            })
        })
    }

    /// Assigns `values` to `names` in each timestep, after all values have been computed from the old ones.
    fn assign(&mut self, names: &[String], values: &[String]) {
        for (name, value) in names.iter().zip(values) {
            self.push(true, format!("next_{name} = {value}"));
        }
        for name in names {
            self.push(true, format!("{name} = next_{name}"));
        }
    }

    /// Prints one-element tensors. They use `torch.full`, since a scripted `torch.tensor` converts its number to the
    /// default dtype first, usually `f32`, regardless of `dtype`.
    fn constants(&self) -> Vec<String> {
        let tensor = |(index, value): (usize, &f64)| {
            let options = "dtype=ops.prim.dtype(checked), layout=None, device=ops.prim.device(checked)";
            format!("constant{index} = torch.full(annotate(List[int], []), {}, {options})", number(*value))
        };
        self.constants.iter().enumerate().map(tensor).collect()
    }

    /// Prints the method `forward`.
    pub fn forward(&self) -> String {
        format!(
            "  def forward(self: __torch__.{CLASS},
    x: Tensor) -> Tensor:
    checked = (self).checked(x, )
{}{}    return {}
",
            lines("    ", &self.constants()),
            lines("    ", &self.once),
            self.output()
        )
    }

    /// Prints the method `simulate`.
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
            self.output()
        )
    }
}

/// Prints a method `forward` that says that the neurons of a layer have no rate.
pub(super) fn no_rates(layer: &str) -> String {
    let cause = format!("the neurons of layer {layer} have no rate: call simulate");
    format!(
        "  def forward(self: __torch__.{CLASS},
    x: Tensor) -> Tensor:
    ops.prim.RaiseException({cause:?}, \"builtins.ValueError\")
    return x
"
    )
}

/// Prints the method that returns its input if that is a batch of samples of the network's shape.
pub(super) fn checked(input: &[i64]) -> String {
    let shape = input.iter().map(i64::to_string).collect::<Vec<_>>().join(" x ");
    format!(
        "  def checked(self: __torch__.{CLASS},
    x: Tensor) -> Tensor:
    if torch.ne(torch.slice(torch.size(x), 1), {input:?}):
      _0 = torch.format(\"the network expects batch x {shape}, got {{}}\", torch.size(x))
      ops.prim.RaiseException(_0, \"builtins.ValueError\")
    else:
      pass
    return x
"
    )
}

/// Returns the name of the one-element tensor that holds `value`.
fn constant(constants: &mut Vec<f64>, value: f64) -> String {
    let known = constants.iter().position(|constant| constant.to_bits() == value.to_bits());
    let index = known.unwrap_or_else(|| {
        constants.push(value);
        constants.len() - 1
    });
    format!("constant{index}")
}

fn lines(indentation: &str, statements: &[String]) -> String {
    statements.iter().map(|statement| format!("{indentation}{statement}\n")).collect()
}

/// Returns the variables of a layer's state.
fn states(named: &Named, count: usize) -> Vec<String> {
    (0..count).map(|variable| format!("state_{}_{variable}", named.name)).collect()
}

/// Prints the shape of a batch of a layer's outputs.
fn batch_of(layer: &Layer) -> String {
    let sizes = layer.output_shape().iter().map(|size| format!(", {size}")).collect::<String>();
    format!("[batch{sizes}]")
}

fn zeros(shape: &str) -> String {
    format!("torch.zeros({shape}, dtype=ops.prim.dtype(checked), layout=None, device=ops.prim.device(checked))")
}
