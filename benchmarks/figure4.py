"""The paper's figure 4 beside PyTorch: a training step of 32 images of thin and wide networks.

    python benchmarks/figure4.py --out benchmarks/results/figure4.json
    python benchmarks/figure4.py --out benchmarks/results/figure4.json --page docs/paper.md

The first measures, the second writes the table from that file into the page. Ours and PyTorch's
reference take turns, each in a process of its own, and the fastest step of each turn counts.
`keras-wrn study figure4` has the parts of our step. Needs the extra parity. --quick is a rehearsal.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.record import add_out, record
from benchmarks.rows import ratio
from benchmarks.speed import compete, macs_of
from keras_wrn.runs.report import write_between_markers
from keras_wrn.training.devices import resolve_precision

ROUNDS = 5
THE_PAPERS = ["preact_resnet_164", "preact_resnet_1001", "wrn_40_4", "wrn_16_10", "wrn_28_10"]
MARKER = "figure4-pytorch"


def table_of(measured):
    """The Markdown table of what was measured."""
    lines = [
        "| network | ours (ms) | PyTorch (ms) | ours / PyTorch, median of rounds |",
        "|---" * 4 + "|",
    ]
    for row in measured["rows"]:
        ours, theirs = (row["milliseconds"][name] for name in ("ours", "pytorch"))
        middle = row["ours / pytorch"][1]
        lines.append(f"| `{row['network']}` | {ours:,.0f} | {theirs:,.0f} | {middle:.2f} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="WRN-10-1, one round")
    parser.add_argument("--page", type=Path, help="write the table of --out into this page")
    add_out(parser)
    args = parser.parse_args()
    if args.page:
        return write_between_markers(args.page, table_of(json.loads(args.out.read_text())), MARKER)
    networks = ["wrn_10_1"] if args.quick else THE_PAPERS
    precision, rows = resolve_precision("auto"), []
    for network in networks:
        row = {"network": network, "size": 32, "batch": 32, "precision": precision}
        found = compete("training", row, 1 if args.quick else ROUNDS, ["ours", "pytorch"])
        row["flops"] = 6 * 32 * macs_of(network, 32)
        row["contestants"] = found
        if all("rounds" in result for result in found.values()):
            row["milliseconds"] = {
                name: round(1e3 * statistics.median(result["rounds"]), 1)
                for name, result in found.items()
            }
            if not args.quick:
                row["ours / pytorch"] = [
                    round(x, 3) for x in ratio(found["ours"], found["pytorch"])
                ]
        rows.append(row)
        print(network, row.get("milliseconds", found), file=sys.stderr)
    record({"what": "training steps of 32 images", "rows": rows}, args.out)


if __name__ == "__main__":
    main()
