//! Observers used by several modules.

use tch::{Kind, TchError, Tensor};
use tch_spiking_core::spec::LayerKind;

use super::{Observer, Probe, Quantity, Visit};
use crate::error::Result;
use crate::network::{Layer, Parameters};

/// Up to this number of timesteps, a sequential sum of spikes in single precision is off by less than half a spike.
const MOST_IN_SINGLE: i64 = 1000;

/// Finds the first layer whose activity contains a NaN or an infinity.
#[derive(Debug, Default)]
pub(crate) struct FirstNonFinite {
    pub(crate) index: Option<usize>,
}

impl Observer for FirstNonFinite {
    fn after(&mut self, visit: &mut Visit) -> Result<()> {
        let finite =
            |tensor: &Tensor| -> Result<bool, TchError> { Ok(tensor.f_isfinite()?.f_all()?.f_int64_value(&[])? != 0) };
        if self.index.is_none() && !finite(visit.output.tensor())? {
            self.index = Some(visit.index);
        }
        Ok(())
    }
}

/// Records the probed quantities.
#[derive(Debug)]
pub(super) struct Recorder<'a> {
    pub(super) probes: &'a [Probe],
    pub(super) recorded: Vec<(Probe, Tensor)>,
}

impl Observer for Recorder<'_> {
    fn records(&self, layer: &Layer, variable: &str) -> bool {
        let wanted = |probe: &Probe| {
            probe.layer == layer.name() && matches!(&probe.quantity, Quantity::State(name) if name == variable)
        };
        self.probes.iter().any(wanted)
    }

    fn after(&mut self, visit: &mut Visit) -> Result<()> {
        for probe in self.probes.iter().filter(|probe| probe.layer == visit.layer.name()) {
            if let Some(tensor) = quantity(&probe.quantity, visit)? {
                self.recorded.push((probe.clone(), tensor));
            }
        }
        Ok(())
    }
}

/// Returns a quantity of the layer just computed.
fn quantity(quantity: &Quantity, visit: &mut Visit) -> Result<Option<Tensor>> {
    let (steps, layer) = (visit.steps, visit.layer);
    Ok(match (quantity, layer.kind(), &layer.parameters) {
        (Quantity::Output, ..) => Some(visit.output.over_time(steps)?),
        (Quantity::Current, _, Parameters::Neurons(neurons)) => {
            let input = &visit.inputs[0];
            let current =
                input.tensor().f_mul(&neurons.gain_like(input.tensor())?)?.f_add(&neurons.resting_current()?)?;
            Some(input.with(current).over_time(steps)?)
        }
        (Quantity::SpikeCount, LayerKind::Neuron(_), Parameters::Neurons(neurons)) => {
            let per_spike = neurons.model.amplitude() / visit.dt;
            let sum = match visit.spikes.as_ref().and_then(|spikes| spikes.total.as_ref()) {
                Some(total) if steps <= MOST_IN_SINGLE => total.f_to_kind(Kind::Double)?,
                _ => visit.output.tensor().f_sum_dim_intlist(0, false, Kind::Double)?,
            };
            // Rounded to integers, to remove the rounding error of amplitude over dt.
            Some(sum.f_div_scalar(per_spike)?.f_round()?.f_to_kind(visit.output.tensor().kind())?)
        }
        (Quantity::State(name), LayerKind::Neuron(spec), _) => {
            let position = spec.model.state().iter().position(|variable| variable.name == name);
            let states = visit.spikes.as_mut().map(|spikes| &mut spikes.states);
            states.zip(position).and_then(|(states, position)| states.get_mut(position)?.take())
        }
        _ => None,
    })
}
