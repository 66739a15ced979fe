"""The slowest images that a fuzzer finds for an artifact's `classify`, and its largest batch.

    python benchmarks/slowest_images.py saved_models/cifar10_wrn16_2/1 --out slowest_images.json

A fuzzer damages sound images, the largest accepted ones and crafted ones, sends each alone, and
goes on with the slowest. Times are processor time in all threads. Then sixteen images with the most
pixels are sent together, in their own process, to measure the memory that they take.
"""

import argparse
import heapq
import json
import pickle
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
sys.path.insert(0, str(ROOT / "tests" / "export"))
PARENTS = 30  # slow images that are damaged further
HUNGRY = "bmp", "gif", "png palette"  # kinds that take the most memory
LARGEST = 300_000  # bytes of an image that is damaged


def opened(artifact):
    """A function from encoded images to whether each is valid, already warmed up."""
    import tensorflow as tf
    from encoded import JPEG, PNG

    loaded = tf.saved_model.load(str(artifact))

    def ask(images):
        answer = loaded.signatures["classify"](image_bytes=tf.constant(images))
        return answer["valid"].numpy().tolist()

    for count in (1, 16):
        ask([PNG, JPEG][:1] * count)
    return ask


def cost(ask, data):
    """Whether an image is valid, and its processor seconds; the lower of two if it is slow."""
    seconds = []
    for _ in range(2):
        begun = time.process_time()
        (valid,) = ask([data])
        seconds.append(time.process_time() - begun)
        if seconds[-1] < 0.05:
            break
    return valid, min(seconds)


def fuzz(ask, base, seconds, seed):
    """The slowest images, (seconds, name, data, valid), and how many were tried."""
    from mutations import mutated

    draw = random.Random(seed)
    slowest: dict[bool, list] = {True: [], False: []}
    parents = [(name, data) for name, data in base.items() if len(data) < LARGEST]
    end, tried = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        found = heapq.nlargest(PARENTS, slowest[True] + slowest[False])
        chosen = [(name, data) for _, name, data, _ in found] if tried % 2 else parents
        name, data = draw.choice(chosen or parents)
        data = mutated(draw, data)
        valid, taken = cost(ask, data)
        heapq.heappush(slowest[valid], (taken, name, data, valid))
        if len(slowest[valid]) > PARENTS:
            heapq.heappop(slowest[valid])
        tried += 1
    return sorted(slowest[True] + slowest[False], reverse=True), tried


def memory(artifact, files):
    """Send a batch: print the number of valid images, the seconds and the peak MB that it took."""
    ask = opened(artifact)

    def most():
        return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024

    images = pickle.loads(Path(files).read_bytes())
    before, begun = most(), time.process_time()
    valid = sum(ask(images))
    taken = time.process_time() - begun
    print(json.dumps({"valid": valid, "seconds": round(taken, 2), "mb": round(most() - before)}))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("artifact", type=Path, help="a SavedModel with the signature classify")
    parser.add_argument("--seconds", type=float, default=120, help="how long the fuzzer tries")
    parser.add_argument("--seed", type=int, default=0)
    from benchmarks.record import add_out, record

    add_out(parser)
    args = parser.parse_args()
    from hostile import largest, refused
    from mutations import images

    ask = opened(args.artifact)
    crafted, large = refused(), largest()
    # If only its last pixels are damaged, an image costs as much as a sound one.
    damaged = {n: d[:-20] + bytes([d[-20] ^ 255]) + d[-19:] for n, d in large.items()}
    rows = {"refused": crafted, "largest": large, "largest_damaged_at_the_end": damaged}
    known = {kind: {n: cost(ask, d) for n, d in files.items()} for kind, files in rows.items()}
    slowest, tried = fuzz(ask, {**images(), **crafted, **large}, args.seconds, args.seed)
    batches = {"every kind": [*large.values()]}
    batches |= {name: [large[name]] for name in HUNGRY}
    program = "import sys; from benchmarks.slowest_images import memory; memory(*sys.argv[1:])"
    together = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, data in batches.items():
            file = Path(folder, "batch.pkl")
            file.write_bytes(pickle.dumps((data * 16)[:16]))
            command = [sys.executable, "-c", program, args.artifact, file]
            said = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout
            together[name] = json.loads(said)
    top = {
        kind: [
            {"like": name, "bytes": len(data), "seconds": round(taken, 3)}
            for taken, name, data, valid in slowest
            if valid == (kind == "valid")
        ][:5]
        for kind in ("valid", "refused")
    }
    result = {
        "what": f"processor seconds of classify for one image, {args.artifact}",
        "tried": tried,
        "slowest_found": top,
        "crafted": {
            kind: {name: {"valid": v, "seconds": round(s, 3)} for name, (v, s) in costs.items()}
            for kind, costs in known.items()
        },
        "sixteen_of_the_largest": together,
    }
    record(result, args.out)


if __name__ == "__main__":
    main()
