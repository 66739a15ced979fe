"""What every benchmark does with its result."""

import json
from pathlib import Path

from keras_wrn.machine import versions


def add_out(parser):
    """Add the flag --out."""
    parser.add_argument("--out", type=Path, help="JSON file to write")


def record(result, out):
    """Print a result as JSON, with machine and versions, and write it to `out` if given."""
    text = json.dumps({**result, "versions": versions()}, indent=1)
    print(text)
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text + "\n")
