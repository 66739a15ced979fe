"""How fast training, inference, input and start-up are, next to PyTorch on the same machine.

    python benchmarks/speed.py --out benchmarks/results/speed.json

Every contestant runs in its own process; `fit` and its bare step share one. In each round all
contestants of a row take their turn, and a ratio is between times of one round: other load on the
machine affects both. --part and --network measure only some rows and leave the others in the file
as they are, if they are from the same machine; without them the file is replaced at the end. Every
command that measures rows first measures the peak of the matrix products. --quick is a rehearsal.
Needs the extras parity, onnx and openvino, and for the compiled PyTorch a C++ compiler.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

# On one GPU this process and the contestants share its memory; JAX would take three quarters.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import keras

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.child import ENVIRONMENT, ROOT, Child
from benchmarks.contestants import CONTESTANTS
from benchmarks.record import add_out, record
from benchmarks.rows import rows_in
from keras_wrn.machine import versions
from keras_wrn.training.devices import resolve_precision

SIDES = (1024, 2048, 4096)
PRECISIONS = ("float32", "bfloat16")
TRAINING = (
    *((name, 32, batch) for name in ("wrn_16_4", "wrn_40_2", "wrn_28_10") for batch in (32, 128)),
    ("wrn_40_1", 32, 32),
    ("wide_resnet50_2", 224, 32),
)
FLOAT32 = (("wrn_16_4", 32, 32), ("wrn_40_1", 32, 32))  # the training steps in float32 too
INFERENCE = (
    ("wrn_28_10", 32, 1), ("wrn_28_10", 32, 32),
    ("wide_resnet50_2", 224, 1), ("wide_resnet50_2", 224, 32),
)  # fmt: skip
QUICK = (("wrn_10_1", 32, 8),)
RUNTIMES = "timm", "ai-edge-litert", "onnxruntime", "openvino", "nncf"
CALL_SECONDS = 2.0  # about how long a contestant's turn takes
START = (
    ("import keras_wrn", "import keras_wrn"),
    ("build WRN-40-10", "import keras_wrn; keras_wrn.WideResNet(40, 10)"),
    (
        "first step of WRN-16-4, batch 32",
        "import sys; sys.path.insert(0, '.'); from benchmarks.contestants import our_step; "
        "our_step(dict(network='wrn_16_4', size=32, batch=32, precision='float32'))()",
    ),
)


def compete(kind, row, rounds, names=None):
    """Let the contestants of a kind take turns; a dict from name to times, or to an error."""
    names = list(names or CONTESTANTS[kind])
    children, calls, times, found = {}, {}, {name: [] for name in names}, {}

    def each(act):
        for name in names:
            if name in found:
                continue  # it failed before
            try:
                act(name)
            except RuntimeError as error:
                found[name] = failure(row, error)

    def begin(name):
        children[name] = Child(kind, name, row)

    def count_calls(name):
        begun = time.perf_counter()
        children[name].seconds(1)
        once = time.perf_counter() - begun
        calls[name] = max(1, min(200, round(CALL_SECONDS / once)))

    def end(name):
        memory = round(children[name].end())
        found[name] = {
            "rounds": times[name], "seconds": min(times[name]), "peak_memory_mb": memory
        }  # fmt: skip

    each(begin)
    each(count_calls)
    for _ in range(rounds):
        each(lambda name: times[name].append(min(children[name].seconds(calls[name]))))
    each(end)
    return found


def failure(row, error):
    """What replaces the times of a contestant that failed."""
    last = str(error).strip().splitlines()[-1]
    print(f"{row} {last}", file=sys.stderr)
    return {"error": last}


def contestants_in(kind, precision):
    """Who takes part: nobody in bfloat16 if the row is in float32, which may be all there is."""
    return [n for n in CONTESTANTS[kind] if precision != "float32" or "bfloat16" not in n]


def macs_of(network, size):
    import keras_wrn

    shape = (size, size, 3)
    return keras_wrn.models.count_macs(keras_wrn.create_model(network, input_shape=shape))


def matmul(rounds, quick, precisions):
    """The machine's best matrix product in GFLOP/s, by precision."""
    peak = {}
    for precision in precisions:
        for side in SIDES[: 1 if quick else None]:
            found = compete("matmul", {"side": side, "precision": precision}, rounds)
            for name, result in found.items():
                if "error" in result:
                    continue
                rate = 2 * side**3 / result["seconds"] / 1e9
                if rate > peak.get(precision, {"gflops": 0})["gflops"]:
                    peak[precision] = {"gflops": round(rate, 1), "of": f"{name}, {side}"}
    return peak


def rows_of(kind, rounds, settings, peak):
    """Measure training or inference for some (network, size, batch, precision); yield each row."""
    per_mac = 6 if kind == "training" else 2
    for network, size, batch, precision in settings:
        load = os.getloadavg()[0]
        row = {"network": network, "size": size, "batch": batch, "precision": precision}
        found = compete(kind, row, rounds, contestants_in(kind, precision))
        row["flops"] = per_mac * batch * macs_of(network, size)
        yield {**row, "contestants": found, "peak": peak, **now(load)}


def with_row(rows, row):
    """The rows of a part, with one of them replaced or added."""

    def same(old):
        return all(old[key] == row[key] for key in ("network", "size", "batch", "precision"))

    if not any(map(same, rows)):
        return [*rows, row]
    return [row if same(old) else old for old in rows]


def now(load):
    """The conditions under which a row was measured."""
    found = versions(*RUNTIMES)
    if keras.backend.backend() == "jax":
        import jax

        found["machine"] += f", {jax.devices()[0].device_kind}"
    return {"load_before": round(load, 2), "versions": found}


def fit_overhead(rounds, quick, precision):
    """The time of a step inside `fit` over that of the bare compiled step, for a thin network.

    The difference is small compared with the noise of a busy machine: both take turns every step.
    """
    network = "wrn_10_1" if quick else "wrn_40_1"
    row = {"network": network, "size": 32, "batch": 32, "precision": precision}
    try:
        child = Child("fit", "ours", row)
        columns = zip(("fit", "step"), zip(*child.seconds(rounds), strict=True), strict=True)
        child.end()
    except RuntimeError as error:
        return {**row, "contestants": {name: failure(row, error) for name in ("fit", "step")}}
    found = {name: {"rounds": times, "seconds": min(times)} for name, times in columns}
    return {**row, "contestants": found}


def machines_of(result):
    """The machines on which the parts of a file were measured, with their accelerators."""
    return {row["versions"]["machine"] for row in rows_in(result)}


def input_rate(rounds, quick):
    """Training images of 32x32 per second, cropped, mirrored and normalised."""
    row = {"images": 1024 if quick else 20_000, "batch": 128}
    return {**row, "contestants": compete("input", row, rounds)}


def start_up(rounds):
    """Seconds from the start of Python to the end of a statement: the median of some rounds."""
    times = {name: [] for name, _ in START}
    for _ in range(rounds):
        for name, code in START:
            begun = time.perf_counter()
            subprocess.run(
                [sys.executable, "-c", code], cwd=ROOT, env={**ENVIRONMENT, **os.environ},
                check=True, capture_output=True,
            )  # fmt: skip
            times[name].append(time.perf_counter() - begun)
    return {name: round(statistics.median(values), 2) for name, values in times.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = ("matmul", "training", "fit", "inference", "input", "start_up")
    parser.add_argument("--part", choices=parts, nargs="+", default=parts)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--precision", choices=("auto", *PRECISIONS), default="auto")
    parser.add_argument("--network", help="in place of all, such as wrn_28_10")
    parser.add_argument("--batch-size", type=int, nargs="+", default=(32, 128), help="of --network")
    parser.add_argument("--quick", action="store_true", help="tiny networks, to try the scripts")
    add_out(parser)
    args = parser.parse_args()

    if args.quick and args.out and args.out.exists():
        parser.error(f"--quick is a rehearsal, and would replace what {args.out} has")
    known = args.network in (None, "wide_resnet50_2") or args.network.startswith("wrn_")
    if not known:
        parser.error(f"PyTorch has wide_resnet50_2 and wrn_*. Received: --network {args.network}")
    if args.rounds < 2:
        parser.error(f"--rounds should be 2 or more. Received: {args.rounds}")
    if keras.backend.backend() != "tensorflow" and {"fit", "input", "inference"} & set(args.part):
        parser.error("Without TensorFlow give --part matmul training: the others are of TensorFlow")
    precision = resolve_precision(args.precision)
    training, inference = (QUICK, QUICK) if args.quick else (TRAINING, INFERENCE)
    if args.network:
        size = 224 if args.network == "wide_resnet50_2" else 32
        training = inference = [(args.network, size, batch) for batch in args.batch_size]
    training, inference = ([(*row, precision) for row in part] for part in (training, inference))
    if not args.network and precision != "float32":
        training += [(*row, "float32") for row in (QUICK if args.quick else FLOAT32)]
    result, out, whole = {}, args.out, set(args.part) == set(parts) and not args.network
    if out and out.exists() and whole:
        out = out.with_name(f"{out.name}.part")
    elif out and out.exists():
        result = json.loads(out.read_text())
        theirs, ours = machines_of(result), now(0)["versions"]["machine"]
        if theirs - {ours}:
            parser.error(
                f"{out} has what was measured on {' and '.join(sorted(theirs))}, and this is "
                f"{ours}: give another --out"
            )
    chosen = list(args.part)
    if {"training", "inference"} & set(chosen):
        chosen = ["matmul", *(part for part in chosen if part != "matmul")]
    measure = {
        "matmul": lambda: {
            "peak": matmul(args.rounds, args.quick, dict.fromkeys(("float32", precision)))
        },
        "training": lambda peak: rows_of("training", args.rounds, training, peak),
        "fit": lambda: fit_overhead(args.rounds, args.quick, precision),
        "inference": lambda peak: rows_of("inference", args.rounds, inference, peak),
        "input": lambda: input_rate(args.rounds, args.quick),
        "start_up": lambda: {"seconds": start_up(min(5, args.rounds))},
    }
    for part in chosen:
        if part not in ("training", "inference"):
            load = os.getloadavg()[0]
            result[part] = {**measure[part](), **now(load)}
            record(result, out)
            continue
        for row in measure[part](result["matmul"]["peak"]):  # recorded one by one: they take long
            result[part] = with_row(result.get(part, []), row)
            record(result, out)
    if out != args.out:
        os.replace(out, args.out)


if __name__ == "__main__":
    main()
