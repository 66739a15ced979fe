"""Size, accuracy and speed of every file of an exported version, on a whole test set.

    python benchmarks/artifacts.py saved_models/cifar10_wrn16_2/1 --dataset cifar10 \\
        --out benchmarks/results/artifacts.json --readme saved_models/README.md

Accuracy and agreement (the share of images that get the same class as from the Keras model) are
over all test images. Latency is for one image, with one thread and with two, each the median of
calls spread over some rounds in which the files take turns.
"""

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path

os.environ["TF_NUM_INTRAOP_THREADS"] = "2"

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import keras_wrn
from benchmarks.record import add_out, record
from benchmarks.runtimes import litert, onnx, openvino, openvino_bfloat16
from keras_wrn.catalog import load_model
from keras_wrn.machine import versions
from keras_wrn.runs.report import write_between_markers

THREADS = (1, 2)


def find(version):
    """Every (name, file, runtime) of a version directory."""
    for path in sorted(version.glob("*.tflite")):
        sidecar = json.loads(path.with_suffix(".json").read_text())
        yield f"LiteRT {sidecar['precision']}", path, litert
    if (version / "model.onnx").is_file():
        yield "ONNX float32", version / "model.onnx", onnx
    if (version / "model_int8.onnx").is_file():
        yield "ONNX int8", version / "model_int8.onnx", onnx
    if (version / "model.xml").is_file():
        yield "OpenVINO float32", version / "model.xml", openvino
        yield "OpenVINO float32, computed in bfloat16", version / "model.xml", openvino_bfloat16
    if (version / "model_int8.xml").is_file():
        yield "OpenVINO int8", version / "model_int8.xml", openvino


def measure_accuracy(runtime, path, images, labels, expected):
    """Accuracy and agreement in percent, over all images."""
    run = runtime(path, THREADS[-1])
    found = np.concatenate([run(images[i : i + 50]) for i in range(0, len(images), 50)]).argmax(-1)
    return 100 * (found == labels).mean(), 100 * (found == expected).mean()


def measure_latency(files, image, rounds, calls):
    """Milliseconds for one image by (name, threads); the files take turns."""
    times: dict = {}
    for threads in THREADS:
        runs = [(name, runtime(path, threads)) for name, path, runtime in files]
        for _ in range(rounds):
            for name, run in runs:
                for call in range(calls + 5):
                    begun = time.perf_counter()
                    run(image)
                    if call >= 5:
                        times.setdefault((name, threads), []).append(time.perf_counter() - begun)
    return {key: 1000 * statistics.median(values) for key, values in times.items()}


def table(result):
    """The rows as Markdown."""
    lines = [
        "| file | MB | accuracy (%) | agrees with Keras (%) | ms, 1 thread | ms, 2 threads |",
        "|---|---|---|---|---|---|",
    ]
    for row in result["files"]:
        lines.append(
            f"| `{row['file']}` ({row['name']}) | {row['bytes'] / 1e6:.2f} | {row['accuracy']:.2f} "
            f"| {row['agreement']:.2f} | {row['ms_1_thread']:.2f} | {row['ms_2_threads']:.2f} |"
        )
    first = result["keras"]
    return "\n".join(
        [
            f"{first['images']:,} test images of {result['dataset']}; Keras itself has "
            f"{first['accuracy']:.2f} %. Latency of one image on {result['machine']}.",
            "",
            *lines,
        ]
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("version", type=Path, help="a directory that keras-wrn export wrote")
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--data-dir", help="where TFDS keeps its data")
    parser.add_argument("--images", type=int, help="only the first so many")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--calls", type=int, default=20)
    parser.add_argument("--readme", type=Path, help="Markdown file to write the table into")
    add_out(parser)
    args = parser.parse_args()

    images, labels = keras_wrn.data.load_arrays(args.dataset, "test", data_dir=args.data_dir)
    images, labels = images[: args.images], labels[: args.images]
    model = load_model(args.version / "model.keras")
    x = model.preprocessing.normalize(images)
    expected = model.predict(x, batch_size=500, verbose=0).argmax(-1)
    files = list(find(args.version))
    latency = measure_latency(files, images[:1], args.rounds, args.calls)
    rows = []
    for name, path, runtime in files:
        accuracy, agreement = measure_accuracy(runtime, path, images, labels, expected)
        size = path.stat().st_size
        if path.suffix == ".xml":
            size += path.with_suffix(".bin").stat().st_size
        row = {
            "file": path.name,
            "name": name,
            "bytes": size,
            "accuracy": round(float(accuracy), 4),
            "agreement": round(float(agreement), 4),
            "ms_1_thread": round(latency[name, 1], 4),
            "ms_2_threads": round(latency[name, 2], 4),
        }
        print(json.dumps(row), flush=True)
        rows.append(row)
    accuracy = round(float(100 * (expected == labels).mean()), 4)
    result = {
        "what": f"artifacts of {args.version}",
        "dataset": args.dataset,
        "machine": versions()["machine"],
        "keras": {"images": len(images), "accuracy": accuracy},
        "files": rows,
    }
    record(result, args.out)
    if args.readme:
        write_between_markers(args.readme, table(result))


if __name__ == "__main__":
    main()
