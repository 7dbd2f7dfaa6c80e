//! From layers to stages.
//!
//! A layer without state waits for its reader, if it has only one, and becomes part of that stage: what it computes then never
//! leaves the first-level cache. Sums wait too, so that the branches of a residual block and the neurons behind them are one
//! stage. What several layers read, or what is the same at every timestep, is a stage of its own. So is what comes into a cycle:
//! it is computed over a whole stretch of time, the cycle's own stages step by step.

use std::ops::Range;
use std::sync::Arc;

use super::join::moves;
use super::layers::{Does, Laid};
use super::plan::{Flow, Input, Operation, Place, Plan, Shape, Sink, Stage, Tuning};
use crate::kernels::Number;
use crate::spec::{Graph, Node, Origin, Section};

/// Arranges the layers in stages, for a network's input that flows like this.
pub(super) fn compile<R: Number>(graph: &Graph, layers: &[Laid<R>], dt: f64, input_flow: Flow<R>) -> Plan<R> {
    let input = Shape::of(&graph.input);
    let plan = Plan { input, input_flow, stages: Vec::new(), cycles: Vec::new(), places: Vec::new(), output: 0, dt };
    let held = graph.nodes.iter().map(|_| Held::nothing()).collect();
    let mut compiler = Compiler { graph, layers, readers: graph.readers(), plan, held, delays: Vec::new() };
    for section in graph.sections() {
        match section {
            Section::Node(index) => compiler.node(index),
            Section::Cycle(nodes) => compiler.cycle(&nodes),
        }
    }
    if let Some(last) = graph.nodes.len().checked_sub(1) {
        compiler.plan.output = compiler.activity(Origin::Node(last));
    }
    compiler.resolve_delays();
    compiler.plan
}

struct Compiler<'a, R> {
    graph: &'a Graph,
    layers: &'a [Laid<R>],
    readers: Vec<Vec<usize>>,
    plan: Plan<R>,
    /// Of each layer so far what became of it.
    held: Vec<Held<R>>,
    /// The stages that delay, and what.
    delays: Vec<(usize, Origin)>,
}

enum Held<R> {
    /// It is computed: an activity of the plan.
    Activity(usize),
    /// It waits for its only reader.
    Pending(Pending<R>),
}

/// A sum of operations that is yet to become a stage.
struct Pending<R> {
    inputs: Vec<Input<R>>,
    /// The layers that it stands for, each the sum of a few inputs.
    layers: Vec<(usize, Range<usize>)>,
}

impl<R> Held<R> {
    fn nothing() -> Self {
        Self::Pending(Pending { inputs: Vec::new(), layers: Vec::new() })
    }
}

impl<R> Pending<R> {
    fn is_constant(&self) -> bool {
        self.inputs.iter().all(Input::is_constant)
    }
}

impl<R: Number> Compiler<'_, R> {
    fn node(&mut self, index: usize) {
        let node = &self.graph.nodes[index];
        self.held[index] = self.layer(index, node);
        let mut readers = self.readers[index].iter().flat_map(|&reader| &self.graph.nodes[reader].inputs);
        let is_delayed = readers.any(|edge| edge.delayed && edge.from == Origin::Node(index));
        let alone = self.readers[index].len() == 1 && !is_delayed;
        let waits = matches!(&self.held[index], Held::Pending(pending) if alone && !pending.is_constant());
        if !waits {
            self.activity(Origin::Node(index));
        }
    }

    fn cycle(&mut self, nodes: &[usize]) {
        for edge in nodes.iter().flat_map(|&node| &self.graph.nodes[node].inputs) {
            let inside = matches!(edge.from, Origin::Node(from) if nodes.binary_search(&from).is_ok());
            if !inside {
                self.activity(edge.from);
            }
        }
        let first = self.plan.stages.len();
        nodes.iter().for_each(|&node| self.node(node));
        self.plan.cycles.push(first..self.plan.stages.len());
    }

    /// Adds a stage that passes on what comes from `origin`, which may be compiled later, a timestep later.
    fn delay(&mut self, origin: Origin) -> usize {
        let (shape, height) = match origin {
            Origin::Input => (self.plan.input, None),
            Origin::Node(node) => (self.layers[node].shape, self.layers[node].height),
        };
        let output_flow = height.map_or(Flow::Values, Flow::Spikes);
        self.delays.push((self.plan.stages.len(), origin));
        let (inputs, tuning, sink) = (Vec::new(), Arc::default(), Sink::Delay { from: 0 });
        self.plan.stages.push(Stage { inputs, sink, tuning, output: shape, output_flow });
        self.plan.stages.len()
    }

    fn resolve_delays(&mut self) {
        for (stage, origin) in std::mem::take(&mut self.delays) {
            let from = self.activity(origin);
            self.plan.stages[stage].sink = Sink::Delay { from };
        }
    }

    fn layer(&mut self, index: usize, node: &Node) -> Held<R> {
        let Laid { shape, ref does, .. } = self.layers[index];
        let from = node.inputs.first().map_or(Origin::Input, |edge| edge.from);
        match does {
            Does::PassOn => {
                let mut held = self.take(from);
                match &mut held {
                    Held::Activity(activity) => self.place(index, Place::Activity(*activity)),
                    Held::Pending(pending) => pending.layers.push((index, 0..pending.inputs.len())),
                }
                held
            }
            Does::Operation(operation) => {
                let activity = self.activity(from);
                let inputs = vec![self.input(activity, Arc::clone(operation))];
                Held::Pending(Pending { inputs, layers: vec![(index, 0..1)] })
            }
            Does::Advance(sink, tuning) => {
                let pending = match self.take(from) {
                    Held::Activity(activity) => self.unchanged(activity),
                    Held::Pending(pending) => pending,
                };
                self.stage(Some(index), pending, sink.clone(), Arc::clone(tuning), shape)
            }
            Does::Add => Held::Pending(self.sum(index, node, shape)),
            Does::Concat => {
                let activities: Vec<usize> = node.inputs.iter().map(|edge| self.activity(edge.from)).collect();
                self.join(Some(index), &activities, shape)
            }
        }
    }

    /// The inputs of an add layer, one after the other.
    fn sum(&mut self, index: usize, node: &Node, shape: Shape) -> Pending<R> {
        let mut sum = Pending { inputs: Vec::new(), layers: Vec::new() };
        for edge in &node.inputs {
            let before = sum.inputs.len();
            let fits = self.shape_of(edge.from) == shape;
            let held = match edge.delayed {
                true => Held::Activity(self.delay(edge.from)),
                false => self.take(edge.from),
            };
            match held {
                // A sum can only be the first: another would be added up in another order.
                Held::Pending(pending) if fits && (before == 0 || pending.inputs.len() == 1) => {
                    let shifted = |range: Range<usize>| range.start + before..range.end + before;
                    sum.layers.extend(pending.layers.into_iter().map(|(layer, range)| (layer, shifted(range))));
                    sum.inputs.extend(pending.inputs);
                }
                held => {
                    let mut activity = self.computed(edge.from, held);
                    if !fits && let Held::Activity(stored_alike) = self.join(None, &[activity], shape) {
                        activity = stored_alike;
                    }
                    sum.inputs.extend(self.unchanged(activity).inputs);
                }
            }
        }
        sum.layers.push((index, 0..sum.inputs.len()));
        sum
    }

    /// Activities one after the other, in the order of tensors.
    fn join(&mut self, layer: Option<usize>, activities: &[usize], shape: Shape) -> Held<R> {
        let shapes: Vec<Shape> = activities.iter().map(|&activity| self.plan.activity(activity).1).collect();
        let inputs = activities.iter().flat_map(|&activity| self.unchanged(activity).inputs).collect();
        let pending = Pending { inputs, layers: Vec::new() };
        self.stage(layer, pending, Sink::Join(moves(&shapes, shape)), Arc::default(), shape)
    }

    /// What became of a layer, which is not looked at again if it was pending.
    fn take(&mut self, origin: Origin) -> Held<R> {
        let Origin::Node(node) = origin else { return Held::Activity(0) };
        match self.held[node] {
            Held::Activity(activity) => Held::Activity(activity),
            Held::Pending(_) => std::mem::replace(&mut self.held[node], Held::nothing()),
        }
    }

    /// The activity of a layer, which becomes a stage if it was pending.
    fn activity(&mut self, origin: Origin) -> usize {
        let held = self.take(origin);
        self.computed(origin, held)
    }

    fn computed(&mut self, origin: Origin, held: Held<R>) -> usize {
        match held {
            Held::Activity(activity) => activity,
            Held::Pending(pending) => {
                let shape = self.shape_of(origin);
                let held = self.stage(None, pending, Sink::Values, Arc::default(), shape);
                let activity = self.plan.stages.len();
                if let Origin::Node(node) = origin {
                    self.held[node] = held;
                }
                activity
            }
        }
    }

    fn shape_of(&self, origin: Origin) -> Shape {
        match origin {
            Origin::Input => self.plan.input,
            Origin::Node(node) => self.layers[node].shape,
        }
    }

    fn unchanged(&self, activity: usize) -> Pending<R> {
        Pending { inputs: vec![self.input(activity, Arc::new(Operation::Identity))], layers: Vec::new() }
    }

    fn input(&self, from: usize, operation: Arc<Operation<R>>) -> Input<R> {
        let (flow, shape) = self.plan.activity(from);
        Input { from, flow, shape, operation }
    }

    /// Adds a stage; `layer` is the one that its sink is of.
    fn stage(
        &mut self,
        layer: Option<usize>,
        pending: Pending<R>,
        sink: Sink<R>,
        tuning: Arc<Tuning<R>>,
        output: Shape,
    ) -> Held<R> {
        let Pending { inputs, layers } = pending;
        let (stage, activity) = (self.plan.stages.len(), self.plan.stages.len() + 1);
        for (node, range) in layers {
            let whole = matches!(sink, Sink::Values) && range == (0..inputs.len());
            let place = if whole { Place::Activity(activity) } else { Place::Rows { stage, inputs: range } };
            self.place(node, place);
        }
        if let Some(layer) = layer {
            self.place(layer, Place::Activity(activity));
        }
        let output_flow = match &sink {
            Sink::Values if inputs.iter().all(Input::is_constant) => Flow::Constant,
            Sink::Join(_) => joined(&inputs),
            Sink::Values | Sink::Lif { .. } | Sink::Neurons { .. } | Sink::Synapse { .. } | Sink::Delay { .. } => {
                sink.height(self.plan.dt).map_or(Flow::Values, Flow::Spikes)
            }
        };
        self.plan.stages.push(Stage { inputs, sink, tuning, output, output_flow });
        Held::Activity(activity)
    }

    fn place(&mut self, layer: usize, place: Place) {
        // Layers that are pending are found later than those behind them.
        let places = &mut self.plan.places;
        places.resize(self.graph.nodes.len(), Place::Activity(0));
        places[layer] = place;
    }
}

/// What flows out of inputs side by side.
fn joined<R: Number>(inputs: &[Input<R>]) -> Flow<R> {
    match inputs.first().map(|input| input.flow) {
        Some(first @ (Flow::Constant | Flow::Spikes(_))) if inputs.iter().all(|input| input.flow == first) => first,
        _ => Flow::Values,
    }
}
