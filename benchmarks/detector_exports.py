"""How far the artifacts of a trained detector are from it, on photos.

    python benchmarks/detector_exports.py runs/boxes photos/ --out benchmarks/results/detector.json
    python benchmarks/detector_exports.py --out benchmarks/results/detector.json \\
        --page docs/detection.md

The first exports the detector and measures, the second writes the table from that file into the
page. Needs the extra onnx.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from benchmarks.record import add_out, record
from keras_wrn.data.folder import find_images
from keras_wrn.data.images import picture
from keras_wrn.detection import detect, export_detector, open_detector
from keras_wrn.detection.geometry import fit
from keras_wrn.runs.report import write_between_markers

MARKER = "detector-exports"
FORMATS = {"SavedModel": "saved", "ONNX": "model.onnx", "LiteRT": "model.tflite"}


def table_of(measured):
    """The Markdown table of what was measured."""
    lines = [
        "| artifact | photos | boxes | photos that differ | box (pixels) | score | raw logit |",
        "|---" * 7 + "|",
    ]
    for row in measured["rows"]:
        lines.append(
            f"| {row['artifact']} | {row['photos']} | {row['boxes']:,} | {row['other_counts']} | "
            f"{row['box']:.2g} | {row['score']:.2g} | {row['logit']:.2g} |"
        )
    return "\n".join(lines)


def measured(model, path, photos, name):
    """The largest differences of an artifact from its model, on photos."""
    export_detector(model, path)
    size = model.input_shape[1]
    pixels = np.stack([np.asarray(fit(photo, size)) for photo in photos])
    expected, found = detect(model, photos), detect(path, photos)
    same = [
        (ours, theirs)
        for ours, theirs in zip(found, expected, strict=True)
        if np.array_equal(ours["labels"], theirs["labels"])
    ]
    logits = [
        float(np.abs(open_detector(path).raw(part)["classification"] - _logits(model, part)).max())
        for part in np.array_split(pixels, len(pixels))
    ]
    return {
        "artifact": name,
        "photos": len(photos),
        "boxes": sum(len(one["scores"]) for one in expected),
        "other_counts": len(photos) - len(same),
        **{key: max(float(np.abs(a[field] - b[field]).max(initial=0)) for a, b in same)
           for key, field in (("box", "boxes"), ("score", "scores"))},
        "logit": max(logits),
    }  # fmt: skip


def _logits(model, pixels):
    return model.predict_on_batch(model.preprocessing.normalize(pixels))["classification"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", help="a run directory or .keras file of a detector")
    parser.add_argument("photos", nargs="?", type=Path, help="a folder of photos")
    parser.add_argument("--page", type=Path, help="write the table of --out into this page")
    add_out(parser)
    args = parser.parse_args()
    if args.page:
        return write_between_markers(args.page, table_of(json.loads(args.out.read_text())), MARKER)
    import keras_wrn

    model = keras_wrn.load_model(args.model)
    open_detector(model)
    photos = [picture(path) for path in find_images(args.photos)[0]]
    with tempfile.TemporaryDirectory() as directory:
        rows = [measured(model, Path(directory, file), photos, x) for x, file in FORMATS.items()]
    record({"rows": rows}, args.out)


if __name__ == "__main__":
    main()
