#!/usr/bin/env bash
# Compares tch-spiking with its peers on the same work, alternating (A B A B ..), and writes a table of medians.
#
#   scripts/bench_peers.sh DATA_DIR [PEERS_PYTHON] [--rounds N] [--tasks training,spiking,latency,layer,bptt] [--out FILE.md]
#
# DATA_DIR contains mnist/. A peer is included if its Python is given (see scripts/peers/README.md):
#   PEERS_PYTHON, or TORCH_PYTHON=/path/to/python    PyTorch (eager; compiled with TORCH_COMPILE=1), snnTorch, SpikingJelly, Norse
#   NENGODL_PYTHON=/path/to/python                   NengoDL and TensorFlow
# Run it on an otherwise idle machine. What is trained through time: --tasks layer,bptt.
set -euo pipefail
unset CDPATH
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [[ $# == 0 || $1 == -h || $1 == --help ]]; then
    sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' scripts/bench_peers.sh
    exit 2
fi
arguments=("$1")
shift
if [[ $# != 0 && $1 != -* ]]; then
    export TORCH_PYTHON=$1
    shift
fi
scripts/setup.sh
cargo build --release --locked --benches --bins
exec python3 scripts/peers/compare.py "${arguments[@]}" "$@"
