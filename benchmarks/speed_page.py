"""Tables and the plot of docs/speed.md, from what speed.py measured.

python benchmarks/speed_page.py benchmarks/results/speed.json --page docs/speed.md
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.rows import best_of, median_interval, ratio, rows_in
from keras_wrn.runs.report import markers, write_between_markers

NOT_MEASURED = ["Not measured yet."]


def name_of(row):
    """WRN-16-4, batch 32, from the settings of a row."""
    network = row["network"].replace("wide_resnet50_2", "wrn_50_2")
    pixels = f", {row['size']} pixels" if row["size"] != 32 else ""
    return f"{network.upper().replace('_', '-')}, batch {row['batch']}{pixels}"


def worked(row):
    """The contestants of a row that could be made, by name."""
    return {name: found for name, found in row["contestants"].items() if "error" not in found}


def best_peer(row, end=""):
    """The fastest PyTorch of a row by its median, None if there is none."""
    found = row["contestants"]
    return best_of(found, [n for n in found if n.startswith("pytorch") and n.endswith(end)])


def beside_peer(row, name):
    """The texts of our ratios: to PyTorch's best, and of the shortest times of both."""
    found, best = worked(row), best_peer(row)
    if name not in found or best is None or not name.startswith("ours"):
        return "-", "-"
    shortest = min(result["seconds"] for n, result in found.items() if n.startswith("pytorch"))
    return ratio_text(found[name], found[best]), f"{found[name]['seconds'] / shortest:.2f}"


def milliseconds(found):
    """The best call, or a dash if there was none."""
    if found is None:
        return "-"
    return three_digits(1000 * found["seconds"])


def three_digits(value):
    """A number as text, such as 1,234, 567 and 8.9."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def share(row, found, measured, precision):
    """Model FLOPs of a row over the time and the matrix peak, in percent."""
    peaks = row.get("peak") or measured.get("matmul", {}).get("peak", {})
    peak = peaks.get(precision)
    if found is None or peak is None:
        return "-"
    return f"{100 * row['flops'] / found['seconds'] / 1e9 / peak['gflops']:.0f} %"


def ratio_text(ours, theirs):
    """A ratio as text, such as 0.97 (0.95 to 0.99)."""
    low, middle, high = ratio(ours, theirs)
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def training_table(measured):
    """A line for each row: times, the ratios, the share of the peak, the memory."""
    lines = [
        "| step | ours, ms | PyTorch, ms | compiled, ms | images a second: ours | PyTorch's best | "
        "ours / PyTorch's best, round by round | of the best times | share of the peak: ours | "
        "PyTorch's best | memory, MB: ours | PyTorch | load before |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in measured["training"]:
        found = worked(row)
        ours, best = found.get("ours"), found.get(best_peer(row))
        cells = [
            f"{name_of(row)}, {row['precision']}",
            *(milliseconds(found.get(name)) for name in ("ours", "pytorch", "pytorch compiled")),
            *(three_digits(row["batch"] / r["seconds"]) if r else "-" for r in (ours, best)),
            *beside_peer(row, "ours"),
            *(share(row, result, measured, row["precision"]) for result in (ours, best)),
            *(f"{result['peak_memory_mb']:,}" if result else "-" for result in (ours, best)),
            f"{row['load_before']:.1f}" if "load_before" in row else "-",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def precision_of(name):
    """The precision that a file or peer computes in; its share is a share of that peak."""
    return next((p for p in ("bfloat16", "int8") if p in name), "float32")


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
            result = worked(row).get(name)
            text = milliseconds(result)
            beside, of_best = beside_peer(row, name)
            notes = [beside if beside == "-" else f"{beside}, {of_best}"]
            notes += [share(row, result, measured, precision_of(name))]
            text += "".join(f"; {note}" for note in notes if note != "-")
            cells.append(f"**{text}**" if name == best_peer(row) else text)
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def best_file(row, int8):
    """The name of our fastest int8 file, or of our fastest float file; None if there is none."""
    found = row["contestants"]
    ours = [n for n in found if n.startswith("ours") and (precision_of(n) == "int8") == int8]
    return best_of(found, ours) if best_peer(row) else None


def inference_targets(rows):
    """The best float file over PyTorch's best, and int8 over PyTorch's best in float32."""
    floats, integers = [], []
    for row in rows:
        found, name = worked(row), best_file(row, int8=False)
        if name:
            text, of_best = beside_peer(row, name)
            what = name.removeprefix("ours ")
            floats.append(f"{name_of(row)} {text}, of the best times {of_best}, {what}")
        best, name = best_peer(row, "float32"), best_file(row, int8=True)
        if best and name:
            text = ratio_text(found[best], found[name])
            integers.append(f"{name_of(row)} {text}, {name.removeprefix('ours ')}")
    return [
        f"The best file in float over PyTorch's best: {'; '.join(floats)}.",
        "",
        "Times that the best file in int8, dynamic or not, is faster than PyTorch's best in "
        f"float32: {'; '.join(integers)}.",
    ]


def plot(measured, path):
    """Bars of the ratio of training steps and of the best float files, each with its quartiles."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    bars = []
    for row in measured.get("training", []):
        bars.append((f"{name_of(row)}, {row['precision']}", row, "ours", "C0"))
    for row in measured.get("inference", []):
        name = best_file(row, int8=False) or ""
        bars.append((f"{name_of(row)}:\n{name.removeprefix('ours ')}", row, name, "C1"))
    bars = [bar for bar in bars if bar[2] in worked(bar[1]) and best_peer(bar[1])]
    figure = Figure(figsize=(9, 0.5 * len(bars) + 1.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for place, (_, row, name, color) in enumerate(bars):
        low, middle, high = ratio(worked(row)[name], worked(row)[best_peer(row)])
        error = [[max(middle - low, 0)], [max(high - middle, 0)]]
        axes.barh(place, middle, color=color, xerr=error, ecolor="black", capsize=3)
    axes.axvline(1, color="black", lw=1)
    axes.set_yticks(range(len(bars)), [label for label, *_ in bars], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("time over that of PyTorch's best (blue: training step, orange: inference)")
    axes.set_title(conditions(measured).split(";")[0], fontsize=10)
    figure.savefig(path, dpi=90)


def conditions(measured):
    """The machines and versions of everything that was measured."""
    found: dict[str, dict] = {}
    for row in rows_in(measured):
        for name, version in row["versions"].items():
            if name not in ("python", "backend", "keras-wrn", "tensorflow-datasets"):
                found.setdefault(name, {})[version] = None
    machine = " and ".join(found.pop("machine"))
    return f"{machine}; " + ", ".join(f"{name} {' and '.join(found[name])}" for name in found)


def fed_text(measured):
    """How fast the input is, next to PyTorch's and next to the shortest training step."""
    fed, found = measured["input"], worked(measured["input"])
    if set(found) != {"ours", "pytorch"}:
        return NOT_MEASURED[0]
    rates = {
        name: fed["images"] // fed["batch"] * fed["batch"] / result["seconds"]
        for name, result in found.items()
    }
    text = (
        f"{rates['ours']:,.0f} images of 32 pixels a second, cropped, mirrored and normalised, "
        f"PyTorch's loader {rates['pytorch']:,.0f}: the time is "
        f"{ratio_text(found['ours'], found['pytorch'])} of its."
    )
    shares = [
        (row["batch"] / rates["ours"] / row["contestants"]["ours"]["seconds"], name_of(row))
        for row in measured.get("training", [])
        if row["size"] == 32 and "ours" in worked(row)
    ]
    if shares:
        most, name = max(shares)
        text += f" Of the training steps above that is {100 * most:.1f} % at most ({name})."
    return text


def page(measured, picture="speed.png"):
    """What goes between the markers of a page, with its picture."""
    has = measured.__contains__
    training, fitted, inference, fed, starts = ([*NOT_MEASURED] for _ in range(5))
    if has("training"):
        training = [f"![ratios]({picture})", "", *training_table(measured)]
    if has("fit") and len(worked(measured["fit"])) == 2:
        row = measured["fit"]
        took = [row["contestants"][name] for name in ("fit", "step")]
        low, high, likely = median_interval(*took)
        fitted = [
            f"`fit` with all callbacks of a run over its bare step, {name_of(row)}, "
            f"{row['precision']}: {ratio_text(*took)}; the median lies between {low:.3f} and "
            f"{high:.3f} ({100 * likely:.0f} %, {len(took[0]['rounds'])} rounds)."
        ]
    if has("inference"):
        inference = [
            "Milliseconds a batch; of ours the ratio to PyTorch's best, which is bold, and that of "
            "the best times; the share of the peak of what it computes in, which for int8 was not "
            "measured.",
            "",
            *inference_table(measured),
            "",
            *inference_targets(measured["inference"]),
        ]
    if has("input"):
        fed = [fed_text(measured)]
    if has("start_up"):
        found = measured["start_up"]["seconds"]
        text = "; ".join(f"{name} {value} s" for name, value in found.items())
        starts = [f"From the start of Python: {text}."]
    peaks = ", ".join(
        f"{precision} {peak['gflops']:,.0f} GFLOP/s ({peak['of']})"
        for precision, peak in measured.get("matmul", {}).get("peak", {}).items()
    )
    parts = [
        [f"Measured on {conditions(measured)}. Best matrix product: {peaks or 'not measured'}."],
        ["### A training step", "", *training],
        fitted,
        ["### Inference", "", *inference],
        ["### Input", "", *fed],
        ["### Start-up", "", *starts],
    ]
    return "\n\n".join("\n".join(part) for part in parts)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("measured", type=Path, help="what speed.py wrote")
    parser.add_argument(
        "--page", type=Path, required=True, help="Markdown file with markers, or a new one"
    )
    args = parser.parse_args()

    measured = json.loads(args.measured.read_text())
    picture = args.page.with_suffix(".png")
    if not args.page.exists():
        args.page.write_text("\n".join(["# Speed", "", *markers(), ""]))
    write_between_markers(args.page, page(measured, picture.name))
    plot(measured, picture)


if __name__ == "__main__":
    main()
