"""Many callers at once on the exported artifact, valid and broken images mixed, for some minutes.

    python benchmarks/soak.py saved_models/cifar10_wrn16_2/1 --out benchmarks/results/soak.json

The SavedModel runs in TensorFlow's C library, in a process without Python's TensorFlow, as it does
in TensorFlow Serving. Each caller sends batches to `classify`. Every answer for a valid image has
to be the one that it got alone, which has to be what `inference_model` says with the Keras file
beside it; every broken image has to be reported as such.
"""

import argparse
import importlib.util
import io
import pickle
import random
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

GROWTH_MB = 50  # allocators keep what the first minutes took
SCORE = 0.01  # how much the rounding of the resize may change a score
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
sys.path.insert(0, str(ROOT / "tests" / "export"))


def resident():
    """Memory of this process now, MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def images():
    """Encoded images by name: valid ones and broken ones."""
    from PIL import Image

    generator = np.random.default_rng(0)
    valid, broken = {}, {}
    for i, (side, kind) in enumerate(
        [(32, "PNG"), (224, "JPEG"), (500, "JPEG"), (64, "GIF"), (48, "BMP"), (300, "WEBP")]
    ):
        pixels = generator.integers(0, 256, (side // 4, side // 4, 3), dtype="uint8")
        data = io.BytesIO()
        Image.fromarray(pixels).resize((side, 2 * side // 3), Image.Resampling.BICUBIC).save(
            data, kind
        )
        valid[f"{kind}{i}"] = data.getvalue()
    jpeg, png = valid["JPEG1"], valid["PNG0"]
    broken["garbage"], broken["empty"] = generator.bytes(500), b""
    broken["header"], broken["png cut off"] = jpeg[:20], png[: len(png) // 2]
    broken["jpeg cut off"] = jpeg[: len(jpeg) // 2]
    broken["bomb"] = png[:16] + (50_000).to_bytes(4, "big") * 2 + png[24:]
    return valid, broken


def caller(ask, names, alone, data, stop, seed, found):
    """Ask until told to stop; count requests, images and wrong answers in `found`."""
    draw = random.Random(seed)
    while not stop.is_set():
        chosen = [draw.choice(names) for _ in range(draw.randint(1, 8))]
        try:
            answer = ask([data[name] for name in chosen])
        except Exception as error:  # counted, and reported at the end
            found["errors"].append(repr(error))
            continue
        for row, name in enumerate(chosen):
            valid, index, score = alone[name]
            same = bool(answer["valid"][row]) == valid and answer["indices"][row, 0] == index
            if not (same and abs(answer["scores"][row, 0] - score) < 1e-4):
                found["wrong"].append(name)
        found["requests"] += 1
        found["images"] += len(chosen)


def soak(request, answer):
    """The measuring process: see the docstring of this file."""
    from c_api import CSession

    asked = pickle.loads(Path(request).read_bytes())
    session = CSession(asked["tensorflow"], asked["path"])
    keys, outputs = asked["names"]

    def ask(encoded):
        answer = session.run({keys["image_bytes"]: np.array(encoded, object)}, outputs.values())
        return {name: answer[tensor] for name, tensor in outputs.items()}

    data, alone = {**asked["valid"], **asked["broken"]}, {}
    for name, encoded in data.items():
        found = ask([encoded])
        alone[name] = bool(found["valid"][0]), found["indices"][0, 0], found["scores"][0, 0]
    expected = asked["expected"]
    assert {name: answer[:2] for name, answer in alone.items()} == {
        name: answer[:2] for name, answer in expected.items()
    }
    scores = {name: abs(alone[name][2] - expected[name][2]) for name in expected}
    assert max(scores.values()) < SCORE, scores
    stop, callers = threading.Event(), []
    counts = [
        {"requests": 0, "images": 0, "wrong": [], "errors": []} for _ in range(asked["callers"])
    ]
    for seed, count in enumerate(counts):
        arguments = ask, list(data), alone, data, stop, seed, count
        callers.append(threading.Thread(target=caller, args=arguments))
        callers[-1].start()
    begun, memory = time.monotonic(), []
    while time.monotonic() - begun < asked["seconds"]:
        time.sleep(min(5.0, asked["seconds"] / 8))
        memory.append(round(resident(), 1))
    stop.set()
    for thread in callers:
        thread.join()
    assert not {"tensorflow", "keras"} & set(sys.modules)
    result = {
        "requests": sum(count["requests"] for count in counts),
        "images": sum(count["images"] for count in counts),
        "wrong_answers": sum(len(count["wrong"]) for count in counts),
        "errors": [error for count in counts for error in count["errors"]][:5],
        "resident_mb": memory,
    }
    Path(answer).write_bytes(pickle.dumps(result))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("artifact", type=Path, help="a version with SavedModel and model.keras")
    parser.add_argument("--callers", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=120)
    # Not at the top: the measuring process imports this file, and must not import Keras.
    from benchmarks.record import add_out, record

    add_out(parser)
    args = parser.parse_args()
    from test_c_api import tensor_names

    import keras_wrn

    package = Path(importlib.util.find_spec("tensorflow").origin).parent
    valid, broken = images()
    expected = dict.fromkeys(broken, (False, -1, 0.0))
    results = keras_wrn.inference_model(str(args.artifact / "model.keras"), [*valid.values()])
    for name, result in zip(valid, results, strict=True):
        expected[name] = True, result["pred_label"], result["pred_score"]
    with tempfile.TemporaryDirectory() as folder:
        request, answer = Path(folder, "request.pkl"), Path(folder, "answer.pkl")
        asked = {
            "tensorflow": str(package),
            "path": str(args.artifact),
            "names": tensor_names(args.artifact)["classify"],
            "valid": valid,
            "broken": broken,
            "expected": expected,
            "callers": args.callers,
            "seconds": args.seconds,
        }
        request.write_bytes(pickle.dumps(asked))
        program = "import sys; from benchmarks.soak import soak; soak(*sys.argv[1:])"
        command = [sys.executable, "-c", program, request, answer]
        subprocess.run(command, cwd=ROOT, check=True)
        found = pickle.loads(answer.read_bytes())
    memory = found["resident_mb"]
    half = len(memory) // 2
    result = {
        "what": f"{args.callers} callers of classify for {args.seconds:g} s, {args.artifact}",
        "kinds_of_images": {"valid": len(valid), "broken": len(broken)},
        "compared_with": "inference_model of model.keras",
        **found,
        "growth_mb_second_half": round(max(memory[half:]) - max(memory[:half]), 1),
    }
    record(result, args.out)
    if found["wrong_answers"] or found["errors"]:
        sys.exit("some answers were wrong")
    if result["growth_mb_second_half"] > GROWTH_MB:
        sys.exit(f"memory grew by more than {GROWTH_MB} MB in the second half")


if __name__ == "__main__":
    main()
