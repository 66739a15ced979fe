"""`keras-wrn anomaly`, and what other verbs do with a PatchCore or PaDiM."""

import contextlib
from pathlib import Path
from typing import Annotated, Literal

import tyro

from keras_wrn.anomaly.building import build_model
from keras_wrn.anomaly.evaluation import evaluate_inspector
from keras_wrn.anomaly.export import export_anomaly_serving, export_anomaly_version
from keras_wrn.anomaly.exported import open_inspector
from keras_wrn.anomaly.inspector import BATCH, Inspector
from keras_wrn.anomaly.model import step_line
from keras_wrn.anomaly.pictures import draw
from keras_wrn.anomaly.recipe import AnomalyConfig
from keras_wrn.anomaly.sets import good_photos, mask_beside, read_mask
from keras_wrn.errors import DataError
from keras_wrn.evaluation import RESULTS_FILE
from keras_wrn.files import write_json, written_aside
from keras_wrn.runs.card import anomaly_card
from keras_wrn.verbs.flags import check_folder
from keras_wrn.verbs.photos import look_at
from keras_wrn.verbs.runs import name_of, recipe_of
from keras_wrn.verbs.served import serve
from keras_wrn.verbs.table import odd_line


def anomaly(action: Annotated[Literal["fit", "evaluate"], tyro.conf.Positional]):
    """Find what is odd in photos. `keras-wrn anomaly fit --help` lists the flags.

    Args:
        action: fit learns what good photos look like; evaluate measures how well odd ones are told
            from them.
    """
    raise ValueError(f"`keras-wrn anomaly {action} --help` says what it takes")


def fit(
    folder: Annotated[Path, tyro.conf.Positional],
    out: Path,
    config: Annotated[AnomalyConfig, tyro.conf.arg(name="")] = AnomalyConfig(),  # noqa: B008
    defects: Path | None = None,
    validation: float = 0.2,
    seed: int = 0,
    overwrite: bool = False,
):
    """Learn what good photos look like, into one .keras file.

    Args:
        folder: Good photos: a bare folder, or train/good as in MVTec AD.
        out: The .keras file to write.
        config: How.
        defects: A folder of photos of defects, bare or with test/KIND, to choose the threshold by
            the best F1.
        validation: The share of the good photos that are held out, to choose the threshold on.
        seed: Seed of all that is random.
        overwrite: Replace a file that is there.
    """
    if out.suffix != ".keras":
        raise ValueError(f"--out should be a file that ends in .keras. Received: {out}")
    good = good_photos(folder)
    model = build_model(config, seed)

    def say(line):
        print(step_line(line), flush=True)

    with written_aside(out, overwrite=overwrite, is_ours=Path.is_file, kind="a file") as new:
        model.fit(
            good, defects=defects, validation=validation, quantile=config.quantile,
            max_memory=config.max_memory, log=say,
        )  # fmt: skip
        model.save(new)
    print(f"Wrote {out}: threshold {model.threshold:.4g}")


def evaluate(
    model: Annotated[str, tyro.conf.Positional],
    folder: Annotated[Path, tyro.conf.Positional],
    out: Path | None = None,
):
    """Measure how well odd photos are told from good ones.

    Args:
        model: A .keras file, a run directory, or an exported model.
        folder: test/good, test/KIND, and for figures of pixels ground_truth/KIND, as MVTec AD has
            them.
        out: A folder for results.json and a picture of each photo.
    """
    check_folder("--out", out)
    results = evaluate_inspector(open_inspector(model), folder, out)
    for line in summary_lines(results):
        print(line)
    if out is not None:
        write_json(out / RESULTS_FILE, results)
        print(f"Wrote {out / RESULTS_FILE} and {results['photos']} pictures")


def summary_lines(results):
    """The numbers of `evaluate_inspector` for the terminal."""
    yield f"photos     {results['photos']:,}, {results['odd']:,} of them odd"
    yield (
        f"AUROC      {results['image_auroc']:.2f} %; by brightness alone "
        f"{results['brightness_auroc']:.2f} %"
    )
    yield f"best F1    {results['best_f1']:.2f} % at {results['best_threshold']:.4g}"
    yield (
        f"threshold  {results['threshold']:.4g}: F1 {results['f1']:.2f} %, false alarms "
        f"{results['false_alarms']:.1f} %, missed {results['missed']:.1f} %"
    )
    if results["pixel_auroc"] is not None:
        yield f"pixels     AUROC {results['pixel_auroc']:.2f} %, PRO {results['pro']:.2f} %"
    if len(results["per_kind"]) > 1:
        kinds = sorted(results["per_kind"].items(), key=lambda item: item[1])
        yield "lowest     " + ", ".join(f"{name} {value:.1f} %" for name, value in kinds[:3])


def inspect_images(inspector: Inspector, found, out, show_dir):
    """Say how odd images are, print a line for each, and write the tables and pictures asked for.

    Args:
        inspector: `Inspector`.
        found, out, show_dir: as for `keras_wrn.verbs.photos.look_at`, whose errors these are.
    """

    def fields(result):
        return {"score": result["score"], "is_anomaly": result["is_anomaly"]}

    def picture(item, photo, result, path):
        mask = None
        if isinstance(item.image, str) and "://" not in item.image:
            with contextlib.suppress(DataError):  # the answer does not need it
                mask = read_mask(beside) if (beside := mask_beside(item.image)) else None
        if mask is not None and mask.shape != photo.shape[:2]:
            mask = None  # of another photo
        draw(photo, result, inspector.threshold, path, mask)

    look_at(
        found, out, show_dir, of="odd", line=odd_line, batch=BATCH, answer=inspector.inspect,
        fields=fields, picture=picture,
    )  # fmt: skip


def export_files(network, model, formats, out, precisions, data, name, max_pixels, max_batch_size):
    """Export a PatchCore or PaDiM; the arguments are those of `keras-wrn export`."""
    if "int8" in precisions and data is None:
        recipe = recipe_of(model)
        if recipe is None:
            raise ValueError(
                "--precision int8 needs --data, a folder of good photos to calibrate with"
            )
        data = recipe.data.dataset
    directory = out or Path("saved_models") / name_of(model)
    versioned = [kind for kind in formats if kind != "serving"]
    if versioned:
        card = anomaly_card(Path(model)) if (Path(model) / "summary.json").is_file() else None
        version = export_anomaly_version(
            network, directory, versioned, precisions=precisions, calibration=data,
            max_pixels=max_pixels, card=card,
        )  # fmt: skip
        files = f" ({', '.join(precisions)})" if precisions != ("float32",) else ""
        print(f"Exported {', '.join(versioned)}{files} to {version}")
    if "serving" in formats:
        serve(
            export_anomaly_serving, network, model, name, out, directory, versioned,
            max_pixels=max_pixels, max_batch_size=max_batch_size,
        )  # fmt: skip
