"""Tables and the plot of docs/speed.md, from what speed.py measured.

python benchmarks/speed_page.py benchmarks/results/speed.json --page docs/speed.md
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.rows import ratio
from keras_wrn.training.report import write_between_markers

INT8 = "ours litert int8"


def name_of(row):
    """WRN-16-4 at batch 32, from the settings of a row."""
    network = row["network"].replace("wide_resnet50_2", "wrn_50_2")
    pixels = f", {row['size']} pixels" if row["size"] != 32 else ""
    return f"{network.upper().replace('_', '-')}, batch {row['batch']}{pixels}"


def milliseconds(result):
    """The best call, or a dash where there was none."""
    if "error" in result:
        return "-"
    value = 1000 * result["seconds"]
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def share(row, result, peaks, precision):
    """Model FLOPs of a row over the time and the matrix peak, in percent."""
    rate = row["flops"] / result["seconds"] / 1e9
    return f"{100 * rate / peaks[precision]['gflops']:.0f} %"


def ratio_text(found):
    """Such as 0.97 (0.95 to 0.99)."""
    low, high = found["quartiles"]
    return f"{found['median']:.2f} ({low:.2f} to {high:.2f})"


def training_table(measured):
    """A line for each row: times, the ratio, the share of the peak, the memory."""
    lines = [
        "| step | ours, ms | PyTorch, ms | compiled, ms | ours / PyTorch's best | share of the "
        "peak: ours | PyTorch's best | memory, MB: ours | PyTorch |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    peaks = measured["matmul"]
    for row in measured["training"]:
        found, best = row["contestants"], row["contestants"][row["best_peer"]]
        ours = found["ours"]
        cells = [
            f"{name_of(row)}, {row['precision']}",
            *(milliseconds(found[n]) for n in ("ours", "pytorch", "pytorch compiled")),
            ratio_text(row["ratios"]["ours"]),
            *(share(row, r, peaks, row["precision"]) for r in (ours, best)),
            *(f"{r['peak_memory_mb']:,}" for r in (ours, best)),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def inference_table(measured):
    """A line for each file and peer, a column for each network and batch."""
    rows = measured["inference"]
    names = dict.fromkeys(name for row in rows for name in row["contestants"])
    lines = [
        "| | " + " | ".join(name_of(row) for row in rows) + " |",
        "|---" * (len(rows) + 1) + "|",
    ]
    for name in names:
        cells = []
        for row in rows:
            result = row["contestants"].get(name, {"error": ""})
            text = milliseconds(result)
            if name in row["ratios"]:
                text += f" ({row['ratios'][name]['median']:.2f})"
            cells.append(f"**{text}**" if name == row["best_peer"] else text)
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def int8_text(rows):
    """How many times faster the int8 file is than PyTorch's best in float32, row by row."""
    texts = []
    for row in rows:
        found = {n: r for n, r in row["contestants"].items() if "error" not in r}
        peers = [n for n in found if n.startswith("pytorch") and n.endswith("float32")]
        best = min(peers, key=lambda name: found[name]["seconds"])
        texts.append(f"{name_of(row)} {ratio_text(ratio(found[best], found[INT8]))}")
    return f"Times faster than PyTorch's best in float32, {INT8}: {'; '.join(texts)}."


def plot(measured, path):
    """Bars of the ratio of training steps and of the best files, each with its quartiles."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    bars = [(name_of(row), row["ratios"]["ours"], "C0") for row in measured["training"]]
    for row in measured.get("inference", []):
        name = min(row["ratios"], key=lambda n: row["ratios"][n]["median"])
        label = f"{name_of(row)}:\n{name.removeprefix('ours ')}"
        bars.append((label, row["ratios"][name], "C1"))
    figure = Figure(figsize=(9, 0.5 * len(bars) + 1.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for place, (_, found, color) in enumerate(bars):
        low, high = found["quartiles"]
        middle = found["median"]
        error = [[max(middle - low, 0)], [max(high - middle, 0)]]
        axes.barh(place, middle, color=color, xerr=error, ecolor="black", capsize=3)
    axes.axvline(1, color="black", lw=1)
    axes.set_yticks(range(len(bars)), [label for label, _, _ in bars], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("time over that of PyTorch's best (blue: training step, orange: inference)")
    axes.set_title(f"{measured['versions']['machine']}", fontsize=10)
    figure.savefig(path, dpi=90)


def page(measured):
    """What stands between the markers of docs/speed.md."""
    versions = measured["versions"]
    packages = "tensorflow", "keras", "torch", "numpy"
    known = ", ".join(f"{name} {versions[name]}" for name in packages if name in versions)
    peaks = ", ".join(
        f"{precision} {peak['gflops']:,.0f} GFLOP/s ({peak['of']})"
        for precision, peak in measured["matmul"].items()
    )
    fed, fit = measured["input"], measured["fit"]
    rates = {
        name: fed["images"] // fed["batch"] * fed["batch"] / result["seconds"]
        for name, result in fed["contestants"].items()
    }
    starts = "; ".join(f"{name} {value} s" for name, value in measured["start_up"].items())
    inference = ["Not measured yet."]
    if "inference" in measured:
        inference = [
            "Milliseconds a batch, in brackets the ratio to PyTorch's best, which is bold.",
            "",
            *inference_table(measured),
            "",
            int8_text(measured["inference"]),
        ]
    parts = [
        [f"Measured on {versions['machine']}, {known}. Best matrix product: {peaks}."],
        ["### A training step", "", "![ratios](speed.png)", "", *training_table(measured)],
        ["`fit` with the callback of a run over its bare compiled step, WRN-40-1 at batch 32: "
         f"{ratio_text(fit['ratio'])}."],
        ["### Inference", "", *inference],
        ["### Input", "", f"{rates['ours']:,.0f} images a second, PyTorch's loader "
         f"{rates['pytorch']:,.0f}: the time is {ratio_text(fed['ratio'])} of its."],
        ["### Start-up", "", f"From the start of Python: {starts}."],
    ]  # fmt: skip
    return "\n\n".join("\n".join(part) for part in parts)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("measured", type=Path, help="what speed.py wrote")
    parser.add_argument("--page", type=Path, required=True, help="Markdown file with the markers")
    args = parser.parse_args()

    measured = json.loads(args.measured.read_text())
    write_between_markers(args.page, page(measured))
    plot(measured, args.page.parent / "speed.png")


if __name__ == "__main__":
    main()
