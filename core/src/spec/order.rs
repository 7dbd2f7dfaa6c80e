//! The order of computation: layers one by one, and cycles step by step.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::{Edge, Graph, Origin};

/// Nodes that are computed together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Section {
    /// A node that does not depend on its own past: it can be computed over all timesteps at once.
    Node(usize),
    /// Nodes that read each other through delayed edges, sorted, which is the order of a timestep: they are computed step by
    /// step.
    Cycle(Vec<usize>),
}

impl Section {
    /// Returns the nodes, in the order of a timestep.
    pub fn nodes(&self) -> &[usize] {
        match self {
            Self::Node(index) => std::slice::from_ref(index),
            Self::Cycle(nodes) => nodes,
        }
    }
}

impl Graph {
    /// Returns all nodes in an order in which every section reads itself and earlier sections only.
    ///
    /// Cycles are the strongly connected components of the graph. Without cycles the order is that of the nodes.
    ///
    /// ```
    /// use tch_spiking_core::spec::{Graph, NetworkSpec, Section};
    ///
    /// let spec: NetworkSpec = toml::from_str(r#"
    ///     input = [3]
    ///     layers = [
    ///         { type = "add", from = ["input", { node = "back", delayed = true }] },
    ///         { type = "lif" },
    ///         { type = "linear", name = "readout", out_features = 2 },
    ///         { type = "linear", name = "back", from = ["lif1"], out_features = 3 },
    ///         { type = "lowpass", from = ["readout"], tau = 0.01 },
    ///     ]
    /// "#).unwrap();
    /// let sections = Graph::new(&spec)?.sections();
    /// assert_eq!(sections, [Section::Cycle(vec![0, 1, 3]), Section::Node(2), Section::Node(4)]);
    /// # Ok::<(), tch_spiking_core::spec::NetworkError>(())
    /// ```
    pub fn sections(&self) -> Vec<Section> {
        let component = self.components();
        let count = component.iter().max().map_or(0, |highest| highest + 1);
        let mut members = vec![Vec::new(); count];
        component.iter().enumerate().for_each(|(node, &component)| members[component].push(node));
        // Of each component how many edges come in from others that are yet to be computed.
        let mut waits = vec![0; count];
        let between = |edge: &Edge, reader: usize| match edge.from {
            Origin::Node(from) if component[from] != component[reader] => Some(component[from]),
            Origin::Node(_) | Origin::Input => None,
        };
        let mut readers = vec![Vec::new(); count];
        for (reader, node) in self.nodes.iter().enumerate() {
            for from in node.inputs.iter().filter_map(|edge| between(edge, reader)) {
                waits[component[reader]] += 1;
                readers[from].push(component[reader]);
            }
        }
        let key = |component: usize| Reverse((members[component].last().copied(), component));
        let mut ready: BinaryHeap<_> = (0..count).filter(|&component| waits[component] == 0).map(key).collect();
        let mut sections = Vec::with_capacity(count);
        while let Some(Reverse((_, component))) = ready.pop() {
            sections.push(self.section(&members[component]));
            for &reader in &readers[component] {
                waits[reader] -= 1;
                if waits[reader] == 0 {
                    ready.push(key(reader));
                }
            }
        }
        sections
    }

    fn section(&self, members: &[usize]) -> Section {
        match *members {
            [node] if self.nodes[node].inputs.iter().all(|edge| edge.from != Origin::Node(node)) => Section::Node(node),
            _ => Section::Cycle(members.to_vec()),
        }
    }

    /// The strongly connected component of every node (Kosaraju's algorithm).
    fn components(&self) -> Vec<usize> {
        let readers = self.readers();
        let mut seen = vec![false; self.nodes.len()];
        let mut finished = Vec::with_capacity(self.nodes.len());
        for start in 0..self.nodes.len() {
            finish(start, &readers, &mut seen, &mut finished);
        }
        let mut component = vec![usize::MAX; self.nodes.len()];
        let mut count = 0;
        for &start in finished.iter().rev() {
            let mut pending = vec![start];
            let before = count;
            while let Some(node) = pending.pop() {
                if component[node] != usize::MAX {
                    continue;
                }
                component[node] = before;
                count = before + 1;
                let sources = self.nodes[node].inputs.iter().filter_map(|edge| match edge.from {
                    Origin::Node(from) => Some(from),
                    Origin::Input => None,
                });
                pending.extend(sources.filter(|&from| component[from] == usize::MAX));
            }
        }
        component
    }
}

/// Walks along the edges from `start` and appends every node that was not seen after all that it leads to.
fn finish(start: usize, readers: &[Vec<usize>], seen: &mut [bool], finished: &mut Vec<usize>) {
    if std::mem::replace(&mut seen[start], true) {
        return;
    }
    // A node, and how many of its readers were visited; without recursion, as a file may hold a very deep network.
    let mut path = vec![(start, 0)];
    while let Some((node, visited)) = path.last_mut() {
        match readers[*node].get(*visited) {
            Some(&reader) => {
                *visited += 1;
                if !std::mem::replace(&mut seen[reader], true) {
                    path.push((reader, 0));
                }
            }
            None => {
                finished.push(*node);
                path.pop();
            }
        }
    }
}
