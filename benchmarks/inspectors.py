"""How fast the artifacts of a PatchCore are beside PyTorch, and how far from their model.

    python benchmarks/inspectors.py runs/wide cookies --out benchmarks/results/inspectors_2048.json
    python benchmarks/inspectors.py --out benchmarks/results/inspectors_2048.json \\
        --page docs/anomaly.md

The first exports the model of a run in every format. It compares them on the test photos of a
folder in MVTec AD's layout, and lets them and PyTorch take turns on one photo. The second writes
the table from that file into the page, between the markers for so many patches. Needs the extras
parity, onnx and openvino, and for the compiled PyTorch a C++ compiler.
"""

import argparse
import concurrent.futures
import json
import multiprocessing
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.contestants import INSPECTORS
from benchmarks.record import add_out, record
from benchmarks.speed import compete
from keras_wrn.runs.report import write_between_markers

MARKER = "inspectors"
TITLES = {
    "ours saved_model": "SavedModel", "ours litert float32": "LiteRT float32",
    "ours litert float16": "LiteRT float16", "ours onnx": "ONNX Runtime",
    "ours openvino": "OpenVINO float32", "ours openvino bfloat16": "OpenVINO, in bfloat16",
    "ours openvino int8": "OpenVINO int8", "pytorch float32": "PyTorch float32",
    "pytorch bfloat16": "PyTorch bfloat16", "pytorch compiled float32": "PyTorch compiled float32",
    "pytorch compiled bfloat16": "PyTorch compiled bfloat16",
}  # fmt: skip


def export(model, folder, directory):
    """Export in every format; in a process that ends, as an export can leave gigabytes behind."""
    from keras_wrn import load_model
    from keras_wrn.anomaly import export_anomaly_version

    export_anomaly_version(
        load_model(model), directory, ("saved_model", "litert", "onnx", "openvino"),
        precisions=("float32", "float16", "int8"), calibration=folder,
    )  # fmt: skip


def compare(model, path, folder, precision):
    """The largest differences of an artifact from its model, on test photos, and its AUROC."""
    import numpy as np

    from benchmarks.runtimes import openvino
    from keras_wrn.anomaly import open_inspector
    from keras_wrn.anomaly.measures import image_auroc
    from keras_wrn.anomaly.photos import read_squares
    from keras_wrn.anomaly.sets import test_photos

    photos = test_photos(folder)
    inspector = open_inspector(path)
    pixels = read_squares([x.path for x in photos], inspector.preprocessing).astype("float32")
    if precision == "bfloat16":
        from benchmarks.rows import CORES

        both = [openvino(path, CORES, "bf16", output=name) for name in ("score", "map")]

        def answer(images):
            return {name: run(images) for name, run in zip(("score", "map"), both, strict=True)}
    else:
        answer = inspector.answer
    parts = [answer(pixels[i : i + 1]) for i in range(len(pixels))]
    found = {name: np.concatenate([x[name] for x in parts]) for name in ("score", "map")}
    odd = np.array([x.is_odd for x in photos])
    result = {"auroc": image_auroc(found["score"], odd)}
    if model is not None:
        wanted = np.load(model)
        for name, value in found.items():
            size = np.abs(wanted[name]).max()
            result[name] = float(np.abs(value - wanted[name]).max() / size)
    return result, found


def in_process(function, *args):
    """What a function returns in a process of its own, which gives its memory back."""
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, spawn) as pool:
        return pool.submit(function, *args).result()


def table_of(measured):
    """The Markdown table of what was measured."""
    lines = [
        "| file | MB | memory (MB) | ms a photo | of PyTorch's best | score | map | AUROC (%) |",
        "|---" * 8 + "|",
    ]
    times = {x["name"]: x for x in measured["rows"] if "seconds" in x}
    best = min(x["seconds"] for name, x in times.items() if "pytorch" in name)
    for row in measured["rows"]:
        title = TITLES[row["name"]]
        if "error" in row:
            lines.append(f"| {title} | | | cannot be run | | | | |")
            continue
        differences = ["", "", ""]
        if "score" in row:
            differences = [f"{row['score']:.1e}", f"{row['map']:.1e}", f"{row['auroc']:.2f}"]
        size = f"{row['megabytes']:.0f}" if "megabytes" in row else ""
        lines.append(
            f"| {title} | {size} | {row['peak_memory_mb']:,} | {1000 * row['seconds']:.0f} | "
            f"{row['seconds'] / best:.2f} | {' | '.join(differences)} |"
        )
    return "\n".join(lines)


def size_of(path):
    """Megabytes of a file with its weights, or of a SavedModel alone."""
    if path.is_dir():
        parts = [path / "saved_model.pb", *(path / "variables").iterdir()]
    else:
        weights = path.with_suffix(".bin")
        parts = [path, *([weights] if path.suffix == ".xml" else [])]
    return sum(part.stat().st_size for part in parts) / 1e6


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", help="the run of a PatchCore on WRN-50-2")
    parser.add_argument("photos", nargs="?", type=Path, help="a folder in MVTec AD's layout")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--page", type=Path, help="write the table of --out into this page")
    add_out(parser)
    args = parser.parse_args()
    if args.page:
        measured = json.loads(args.out.read_text())
        marker = f"{MARKER}-{measured['points']}"
        return write_between_markers(args.page, table_of(measured), marker)
    import numpy as np

    summary = json.loads(Path(args.model, "summary.json").read_text())
    row = {"network": "wide_resnet50_2", "size": summary["image_size"], "batch": 1,
           "points": summary["points"]}  # fmt: skip
    with tempfile.TemporaryDirectory() as directory:
        in_process(export, args.model, args.photos, directory)
        of_model, found = in_process(compare, None, args.model, args.photos, "float32")
        np.savez(Path(directory, "model.npz"), **found)
        differences = {}
        for kind, file in INSPECTORS.items():
            precision = "bfloat16" if kind.endswith("bfloat16") else "float32"
            differences[f"ours {kind}"] = {
                **in_process(compare, Path(directory, "model.npz"), Path(directory, file),
                             args.photos, precision)[0],
                "megabytes": size_of(Path(directory, file)),
            }  # fmt: skip
        times = compete("inspection", {**row, "directory": directory}, args.rounds)
    rows = [{"name": name, **differences.get(name, {}), **x} for name, x in times.items()]
    record({**row, "model_auroc": of_model["auroc"], "rows": rows}, args.out)


if __name__ == "__main__":
    main()
