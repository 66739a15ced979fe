"""Predictions as lines in the terminal, and in a CSV or JSON file that is written as they come."""

import contextlib
import csv
import json
import os
import sys

COLUMNS = "image", "rank", "label", "class", "score", "error"
BOX_COLUMNS = "image", "label", "class", "score", "x", "y", "width", "height", "error"
ODD_COLUMNS = "image", "score", "is_anomaly", "error"
FORMULA = "=", "+", "-", "@"  # how a formula begins for a spreadsheet


def line_of(row, width):
    """The line of one prediction; see `written` for the row."""
    text = f"cannot be classified: {row.get('error')}"
    if "top_k" in row:
        text = "  ".join(f"{top['class']} {top['score']:.3f}" for top in row["top_k"])
    if "true" in row:
        text += f"  (true: {row['true']})"
    if "right" in row:
        text += "  right" if row["right"] else "  wrong"
    return f"{row['image']:{width}}  {text}"


def box_line(row, width):
    """The line of what is found in one image; see `written` for the row."""
    if "error" in row:
        text = f"cannot be read: {row['error']}"
    else:
        text = "  ".join(
            f"{one['class']} {one['score']:.3f} ({', '.join(f'{x:.0f}' for x in one['box'])})"
            for one in row["found"]
        )
    return f"{row['image']:{width}}  {text or 'nothing found'}"


def odd_line(row, width):
    """The line of how odd one image is; see `written` for the row."""
    if "error" in row:
        text = f"cannot be read: {row['error']}"
    else:
        text = f"{row['score']:.4g}  {'odd' if row['is_anomaly'] else 'good'}"
    return f"{row['image']:{width}}  {text}"


@contextlib.contextmanager
def written(path, with_true=False, of="classes"):
    """Yield a function that writes one prediction after the other.

    They go into a file beside `path`, which takes its place at the end. If the body raises, the
    file beside it remains, with the predictions so far.

    Args:
        path: a .csv or .json file, or None to write nothing.
        with_true: bool, whether a CSV file has a column for the true class.
        of: "classes"; "boxes", if the rows are those of a detector; "odd", if they are those of a
            model of good photos.

    A row is a dict: `image`, its name; what `inference_model` returns, or `error`; and, if the
    true class is known, `true`, its name, and `right`. A detector's has `found` instead, a list of
    {"label", "class", "score", "box"}; that of a model of good photos `score` and `is_anomaly`.
    """
    if path is None:
        yield lambda row: None
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    tables = {"classes": _csv_rows, "boxes": _box_rows, "odd": _odd_rows}
    writer = tables[of] if path.suffix == ".csv" else _json_rows
    count = 0
    try:
        with open(part, "w", newline="", encoding="utf-8") as file, writer(file, with_true) as add:

            def write(row):
                nonlocal count
                add(row)
                file.flush()
                count += 1

            yield write
    except BaseException:
        if count:
            print(f"keras-wrn: note: the results so far are in {part}", file=sys.stderr)
        else:
            part.unlink(missing_ok=True)
        raise
    os.replace(part, path)


@contextlib.contextmanager
def _csv_rows(file, with_true):
    table = csv.writer(file)
    table.writerow(COLUMNS + ("true",) * with_true)

    def add(row):
        image, error, true = (_harmless(row.get(key, "")) for key in ("image", "error", "true"))
        ends = [true] * with_true
        for rank, top in enumerate(row.get("top_k", ()), start=1):
            values = [rank, top["label"], _harmless(top["class"]), f"{top['score']:.6f}", ""]
            table.writerow([image, *values, *ends])
        if error:
            table.writerow([image, "", "", "", "", error, *ends])

    yield add


@contextlib.contextmanager
def _box_rows(file, _):
    table = csv.writer(file)
    table.writerow(BOX_COLUMNS)

    def add(row):
        image, error = (_harmless(row.get(key, "")) for key in ("image", "error"))
        for one in row.get("found", ()):
            sides = [f"{side:.2f}" for side in one["box"]]
            name = _harmless(one["class"])
            table.writerow([image, one["label"], name, f"{one['score']:.6f}", *sides, ""])
        if error:
            table.writerow([image, *[""] * 7, error])

    yield add


@contextlib.contextmanager
def _odd_rows(file, _):
    table = csv.writer(file)
    table.writerow(ODD_COLUMNS)

    def add(row):
        image, error = (_harmless(row.get(key, "")) for key in ("image", "error"))
        found = ["", ""] if error else [f"{row['score']:.6g}", int(row["is_anomaly"])]
        table.writerow([image, *found, error])

    yield add


@contextlib.contextmanager
def _json_rows(file, _):
    separator = "["

    def add(row):
        nonlocal separator
        kept = {key: value for key, value in row.items() if key != "pred_scores"}
        file.write(f"{separator}\n{json.dumps(kept, indent=1)}")
        separator = ","

    try:
        yield add
    finally:  # it is valid JSON even with only some of the rows
        file.write("\n]\n" if separator == "," else "[]\n")


def _harmless(text):
    """A text that no spreadsheet evaluates: what looks like a formula gets an apostrophe first."""
    return f"'{text}" if text.startswith(FORMULA) else text
