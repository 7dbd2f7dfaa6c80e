#!/usr/bin/env bash
# Measures training (f32, TF32, bf16) and evaluation on the first CUDA device, and on the CPU for comparison, and prints a table.
#
#   scripts/bench_cuda.sh [DATA_DIR]     the folder that contains mnist/; otherwise as for every command
#
# Skips with a message if there is no CUDA device. The first epoch compiles kernels and selects algorithms: the time of an
# epoch is the median of the following ones.
set -euo pipefail
unset CDPATH
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly epochs=4
[[ $# == 0 ]] || export TCH_SPIKING_DATA=$1

cargo build --locked --release --quiet
readonly program=target/release/tch-spiking
if ! why=$("$program" doctor --device cuda 2>&1 >/dev/null); then
    printf 'skipped: %s\n' "$why"
    exit
fi
command -v python3 >/dev/null || { printf 'bench_cuda: this needs python3\n' >&2; exit 1; }
"$program" doctor --device cuda
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# Trains and evaluates with the given precision and device, and prints one row of the table.
train() {
    local precision=$1 device=$2
    shift 2
    "$program" train --dataset mnist --precision "$precision" --device "$device" --epochs "$epochs" --profile --json --quiet \
        --out "$folder/$device-$precision" "$@" >"$folder/$device-$precision.json"
    "$program" evaluate --weights "$folder/$device-$precision/weights.safetensors" --dataset mnist --device "$device" \
        --tile 4096 --json --quiet >"$folder/$device-$precision-evaluation.json"
    python3 - "$device $precision" "$folder/$device-$precision" <<'PYTHON'
import json, statistics, sys
name, path = sys.argv[1:]
run, evaluation = (json.load(open(path + end)) for end in (".json", "-evaluation.json"))
epoch = statistics.median(metrics["seconds"] for metrics in run["metrics"][1:])
profile = run["profile"]
print("| {} | {:.2f} | {:.2f} | {:.0f} % | {:.2f} | {:.2f} % | {:.2f} % |".format(
    name, epoch, profile["step"], 100 * profile["affine_share"], evaluation["spiking_seconds"],
    100 * run["test_rate_accuracy"], 100 * run["test_spiking_accuracy"]))
PYTHON
}

printf '\n| device, precision | epoch (s) | step (ms) | of it convolutions | 10,000 images x 30 steps (s) | rates | spikes |\n'
printf '|---|---|---|---|---|---|---|\n'
for precision in f32 tf32 bf16; do
    train "$precision" cuda
done
train f32 cpu
