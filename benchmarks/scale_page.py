"""Tables and plots of docs/scale.md, from what scale.py measured and from arithmetic.

    python benchmarks/scale_page.py benchmarks/results/scale.json --page docs/scale.md

The arithmetic: gradients in float32 are summed by a ring inside a host, where each accelerator has
its own link, and then between hosts, each accelerator with its part (hierarchical). A step
computes for 6 x MACs x images / rate. Nothing is assumed to overlap, so the shares are upper
limits; the start-up cost of each message is left out.
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from keras_wrn.runs.report import write_between_markers

RATE = 300e12  # FLOP/s of one accelerator in training: a third of an H200's bfloat16 peak
HOST = 8  # accelerators in a host
INSIDE = 450e9  # bytes/s of each accelerator inside a host, one way: NVLink 4
LINKS = {"400 Gb/s an accelerator": 50e9, "100 Gb/s a host": 12.5e9 / HOST}
COUNTS = (8, 64, 512)
# name, parameters, MACs of an image, images an accelerator, training images
MODELS = (
    ("WRN-28-10", 36_479_194, 5_243_328_768, 128, "CIFAR"),
    ("WRN-50-2", 68_883_240, 11_398_021_120, 64, "ImageNet"),
)


def exchange_seconds(params, count, between):
    """How long the sum of all gradients takes on `count` accelerators.

    Args:
        params: int, the network's parameters; 4 bytes each.
        count: int, accelerators: a part of a host, or whole hosts.
        between: float, bytes/s of each accelerator between hosts, one way.

    Returns:
        seconds, and bytes that each accelerator sends.
    """
    inside, hosts = min(count, HOST), max(1, count // HOST)
    # A ring of n: each sends 2 (n - 1) / n of the data. Between hosts each has 1 / inside of it.
    local = 2 * (inside - 1) / inside * 4 * params
    remote = 2 * (hosts - 1) / hosts * 4 * params / inside
    return local / INSIDE + remote / between, local + remote


def step_seconds(macs, images):
    """How long an accelerator computes for a training step."""
    return 6 * macs * images / RATE


def communication():
    """Rows of (network, scaling, accelerators, images each, step, bytes, shares by network)."""
    for name, params, macs, images, _ in MODELS:
        for scaling, batches in (
            ("grows", {count: images for count in COUNTS}),
            ("stays", {count: max(1, 8 * images // count) for count in COUNTS}),
        ):
            for count, each in batches.items():
                step = step_seconds(macs, each)
                found = [exchange_seconds(params, count, rate) for rate in LINKS.values()]
                shares = [seconds / (seconds + step) for seconds, _ in found]
                yield name, scaling, count, each, step, found[0][1], shares


def communication_table():
    """The rows of `communication` as Markdown."""
    head = ["network", "global batch", "accelerators", "images each", "step", "sent by each"]
    head += [f"share of the exchange, {name}" for name in LINKS]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for name, scaling, count, each, step, volume, shares in communication():
        cells = [name, f"{scaling} ({count * each:,})", str(count), str(each)]
        cells += [f"{1000 * step:.1f} ms", f"{volume / 1e6:.0f} MB"]
        cells += [f"{100 * share:.0f} %" for share in shares]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def input_table(measured):
    """How many cores of the measured machine an accelerator's input needs."""
    lines = [
        "| network | images/s of an accelerator | made by a core here | cores an accelerator |",
        "|---|---|---|---|",
    ]
    for name, _, macs, _, dataset in MODELS:
        rate = RATE / (6 * macs)
        key = "crops_per_core_second" if dataset == "CIFAR" else "photos_per_core_second"
        core = measured["input"][key]
        what = "crops from memory" if dataset == "CIFAR" else "JPEG photos decoded, resized"
        lines.append(f"| {name} | {rate:,.0f} | {core:,.0f} {what} | {rate / core:.2f} |")
    return lines


def step_table(measured):
    """Steps by depth, width and batch."""
    lines = ["| network | images | step | images/s | GFLOP/s |", "|---|---|---|---|---|"]
    for row in measured["steps"]:
        work = 6 * row["macs"] * row["batch"] / row["seconds"] / 1e9
        lines.append(
            f"| WRN-{row['depth']}-{row['width']} | {row['batch']} | {1000 * row['seconds']:.1f} ms"
            f" | {row['batch'] / row['seconds']:,.0f} | {work:,.0f} |"
        )
    return lines


KINDS = {
    "mirrored": "MirroredStrategy, devices",
    "workers": "MultiWorkerMirroredStrategy, processes",
    "jax": "JAX, processes",
}


def device_table(measured):
    """Runs by devices and processes that share the machine."""
    lines = ["| by | count | images/s | of one |", "|---|---|---|---|"]
    one = {r["kind"]: r["images_per_second"] for r in measured["devices"] if r["count"] == 1}
    one["workers"] = one["mirrored"]
    for row in measured["devices"]:
        rate = row["images_per_second"]
        alone = row["kind"] == "mirrored" and row["count"] == 1
        lines.append(
            f"| {'one device' if alone else KINDS[row['kind']]} | {row['count']} | {rate:,.0f} "
            f"| {100 * rate / one[row['kind']]:.0f} % |"
        )
    return lines


def plot_steps(measured, path):
    """Time of a step against depth, width and batch."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.8))
    FigureCanvasAgg(figure)
    base = {"depth": 16, "width": 2, "batch": 32}
    for axes, key in zip(figure.subplots(1, 3), base, strict=True):
        fixed = {name: value for name, value in base.items() if name != key}
        rows = [r for r in measured["steps"] if all(r[n] == v for n, v in fixed.items())]
        rows.sort(key=lambda row: row[key])
        # A line through WRN-16-2 at 32 images: what the work alone would predict.
        work = [row["macs"] * row["batch"] for row in rows]
        reference = next(i for i, row in enumerate(rows) if row[key] == base[key])
        unit = rows[reference]["seconds"] / work[reference]
        values = [row[key] for row in rows]
        axes.plot(values, [1000 * r["seconds"] for r in rows], marker="o", label="measured")
        axes.plot(values, [1000 * unit * w for w in work], ls=":", label="as multiplications")
        axes.set_xlabel({"depth": "depth n of WRN-n-2", "width": "width k of WRN-16-k"}.get(
            key, "batch of WRN-16-2"))  # fmt: skip
        axes.set_ylabel("ms a step")
        axes.set_ylim(0, None)
        axes.grid(alpha=0.3)
        axes.legend()
    figure.suptitle(f"Training step, {measured['versions']['machine']}")
    figure.tight_layout()
    figure.savefig(path, dpi=90)


def plot_communication(path):
    """The share of a step spent on exchanging gradients, against the number of accelerators."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    counts = [2**i for i in range(1, 10)]
    for axes, (name, params, macs, images, _) in zip(figure.subplots(1, 2), MODELS, strict=True):
        for network, rate in LINKS.items():
            for scaling, style in (("grows", "-"), ("stays", "--")):
                shares = []
                for count in counts:
                    each = images if scaling == "grows" else max(1, 8 * images // count)
                    seconds = exchange_seconds(params, count, rate)[0]
                    shares.append(100 * seconds / (seconds + step_seconds(macs, each)))
                color = f"C{list(LINKS).index(network)}"
                label = f"{network}, global batch {scaling}"
                axes.plot(counts, shares, style, color=color, marker=".", label=label)
        axes.set_xscale("log", base=2)
        axes.set_ylim(0, 100)
        axes.set_title(f"{name}, {images} images an accelerator where the batch grows", fontsize=10)
        axes.set_xlabel("accelerators, 8 a host")
        axes.set_ylabel("% of a step")
        axes.grid(alpha=0.3)
    lines, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(lines, labels, loc="outside lower center", ncols=2, fontsize=9)
    figure.savefig(path, dpi=90)


def page(measured):
    """What goes between the markers of docs/scale.md."""
    fed = measured["input"]
    versions = measured["versions"]
    packages = ", ".join(f"{name} {versions[name]}" for name in ("tensorflow", "keras", "jax"))
    parts = [
        [f"Measured on {versions['machine']}, {packages}."],
        ["### A step", "", "![steps](scale-steps.png)", "", *step_table(measured)],
        ["### Devices and processes that share two cores", "", *device_table(measured)],
        ["### The input", "", *input_table(measured), "",
         f"Both cores together make {fed['crops_per_second']:,} crops a second. The photos are "
         f"made up, 500 x 375, {fed['photo_bytes'] / 1000:.0f} kB of JPEG, decoded by Pillow."],
        ["### The exchange of gradients, computed", "",
         "![exchange](scale-communication.png)", "", *communication_table()],
    ]  # fmt: skip
    return "\n\n".join("\n".join(part) for part in parts)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("measured", type=Path, help="what scale.py wrote")
    parser.add_argument("--page", type=Path, required=True, help="Markdown file with the markers")
    args = parser.parse_args()

    measured = json.loads(args.measured.read_text())
    write_between_markers(args.page, page(measured))
    plot_steps(measured, args.page.parent / "scale-steps.png")
    plot_communication(args.page.parent / "scale-communication.png")


if __name__ == "__main__":
    main()
