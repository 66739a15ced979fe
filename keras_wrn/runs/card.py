"""The model card of a trained network, written from its run."""

import json
from pathlib import Path

from keras_wrn.catalog.names import split_tag
from keras_wrn.catalog.sources import weights_info
from keras_wrn.data.datasets import DATASETS
from keras_wrn.runs.files import read_recipe, read_summary

CARD = {  # what it needs besides what tables need
    "macs": int, "versions": {"keras": str}, "data": {"train_images": int, "test_images": int},
}  # fmt: skip
BACKENDS = {"jax": "JAX", "tensorflow": "TensorFlow", "torch": "PyTorch"}
ADVICE = """**Use.** A reference for comparing training methods, artifacts and serving set-ups, and
a small network to fine-tune. **Limits.** It knows only its classes: any other image gets one of
them, often with a high score. Its scores are as trained, not calibrated. It was measured on images
like those it was trained on; photos made as small are another kind of image. Not for decisions
about people.
"""

DETECTOR_ADVICE = """**Use.** A reference for detectors on a wide trunk, and one to fine-tune.
**Limits.** It finds only its classes, misses small things, and its scores are not calibrated. Not
for decisions about people.
"""

ANOMALY_ADVICE = """**Use.** To find what differs from the good photos it has seen. **Limits.** It
calls anything new odd: another background, light or distance too. The threshold is from a few
photos. It does not say what a defect is.
"""


def model_card(run_dir, preprocessing, published=None):
    """The card in Markdown: network, data, recipe, error, input, use, limits, licence.

    Args:
        run_dir: path of a finished run.
        preprocessing: `keras_wrn.Preprocessing` of its model.
        published: (error in percent, where it is from) that belongs to the run, or None.

    Raises:
        FileNotFoundError: the run is not finished: it has no summary.json.
        ValueError: that file or recipe.json is damaged.

    Example:

    ```python
    model = keras.models.load_model("runs/digits_wrn10_1-seed0/model.keras")
    print(keras_wrn.export.model_card("runs/digits_wrn10_1-seed0", model.preprocessing))
    ```
    """
    summary, recipe = read_summary(run_dir, CARD), json.loads(read_recipe(run_dir).to_json())
    data, versions = summary["data"], summary["versions"]
    backend = versions.get("backend", "tensorflow")
    source, terms = "A folder of images", "those of the images"
    if data["dataset"] in DATASETS:
        info = DATASETS[data["dataset"]]
        source, terms = info.source, info.licence
    names = ", ".join(preprocessing.class_names) or "without names"
    rows = {
        "network": f"{_network(recipe['model'])}: {summary['params']:,} parameters, "
        f"{summary['macs'] / 1e6:,.0f} million multiply-adds an image",
        "started from": _start(recipe["model"]),
        "trained": _trained(summary, recipe),
        "teacher": recipe.get("distill", {}).get("teacher", ""),
        "test error": f"{summary['test_error']:.2f} % of {data['test_images']:,} "
        f"{_split(data)} images: last epoch, single "
        "view, raw weights, float32",
        "published": "" if published is None else f"{published[0]:.2f} % ({published[1]})",
        "trained on": f"{Path(data['dataset']).name}, {data['train_images']:,} images. {source}. "
        f"Terms of the data: {terms}",
        "recipe": f"`{recipe['name']}`: {recipe['epochs']} epochs, seed {recipe['seed']}, batch "
        f"{recipe['batch_size']}, peak rate {recipe['optimizer']['learning_rate']:g} "
        f"({recipe['schedule']['kind']}), weight decay {recipe['optimizer']['weight_decay']:g}, "
        f"label smoothing {recipe['label_smoothing']:g}, crop padding "
        f"{recipe['data']['crop_padding']}, flip {str(recipe['data']['horizontal_flip']).lower()}",
        "cost": _cost(summary, versions),
        "input": f"pixels of 0..255, {preprocessing.size} x {preprocessing.size} x "
        f"{preprocessing.channels}; preprocessing is inside every file but `model.keras`: "
        f"{_describe(preprocessing)}",
        "classes": names,
        "trained with": f"keras-wrn {versions.get('keras-wrn')}, Keras {versions['keras']}, "
        f"{BACKENDS.get(backend, backend)} {versions.get(backend)}",
        "licence": _licence(recipe["model"]),
    }
    return _page(recipe, rows, ADVICE)


def detector_card(run_dir, preprocessing):
    """The card of a detector in Markdown; arguments and errors are those of `model_card`."""
    summary, recipe = read_summary(run_dir, CARD), json.loads(read_recipe(run_dir).to_json())
    data, versions = summary["data"], summary["versions"]
    figures = {name: summary.get(name) for name in ("ap", "ap50", "ap75")}
    texts = [
        f"{name.upper()} {value:.2f} %" for name, value in figures.items() if value is not None
    ]
    rows = {
        "network": f"RetinaNet on {_network(recipe['model'])} of width "
        f"{recipe['model']['width']:g}: {summary['params']:,} parameters, "
        f"{summary['macs'] / 1e9:,.1f} billion multiply-adds a photo; anchors from "
        f"{recipe['detector']['anchor_size']:g} pixels on",
        "started from": _start(recipe["model"]),
        "found": f"{', '.join(texts) or 'nothing'} of {data['test_images']:,} {_split(data)} "
        "photos: last epoch, a single scale, float32, by pycocotools",
        "trained on": f"{Path(data['dataset']).name}, {data['train_images']:,} photos",
        "recipe": f"`{recipe['name']}`: {recipe['epochs']} epochs, seed {recipe['seed']}, batch "
        f"{recipe['batch_size']}, Adam, peak rate {recipe['optimizer']['learning_rate']:g} "
        f"({recipe['schedule']['kind']}), scale {recipe['data']['scale']}, flip "
        f"{str(recipe['data']['horizontal_flip']).lower()}",
        "cost": _cost(summary, versions),
        "input": f"pixels of 0..255, {preprocessing.size} x {preprocessing.size} x 3: a photo is "
        "fitted into the upper left of a black square, bilinear",
        "classes": ", ".join(preprocessing.class_names) or "without names",
        "licence": _licence(recipe["model"]),
    }
    return _page(recipe, rows, DETECTOR_ADVICE)


def anomaly_card(run_dir):
    """The card of a PatchCore or PaDiM in Markdown; arguments and errors are those of
    `model_card`."""
    summary, recipe = read_summary(run_dir), json.loads(read_recipe(run_dir).to_json())
    data, settings = summary["data"], recipe["anomaly"]
    found = [
        f"{words} {summary[key]:.2f} %"
        for key, words in (("image_auroc", "AUROC of photos"), ("pixel_auroc", "of pixels"))
        if summary.get(key) is not None
    ]
    weights = " with random weights" if settings["untrained"] else ""
    rows = {
        "method": f"{settings['method']} on features of {settings['model']}{weights}; "
        f"{summary['points']:,} kept",
        "told apart": f"{', '.join(found) or 'not measured'}: {data['test_images']:,} test photos",
        "learned from": f"{Path(data['dataset']).name}, {data['train_images']:,} good photos",
        "threshold": f"{summary['threshold']:.4g}, {_threshold(recipe)} {data['held_out']} more "
        "good photos",
        "cost": f"{summary['seconds']:.3g} seconds on {summary['versions']['machine']}",
        "input": f"pixels of 0..255, {summary['image_size']} x {summary['image_size']} x 3: the "
        "whole photo squeezed into a square",
    }
    return _page(recipe, rows, ANOMALY_ADVICE)


def _threshold(recipe):
    if recipe["data"]["defects"]:
        return "with the best F1 on some defects and"
    return f"the {recipe['anomaly']['quantile']:g} quantile of the scores of"


def _page(recipe, rows, advice):
    table = "\n".join(f"| {name} | {text} |" for name, text in rows.items() if text)
    return f"""# {recipe["name"]}

Written by `keras-wrn export` from the run's own files.

| | |
|---|---|
{table}

{advice}"""


def _split(data):
    return "test" if data["split"] == "test" else "held-out training"


def _cost(summary, versions):
    return (
        f"{summary['flops'] / 1e15:.3g} PFLOP, {summary['seconds'] / 3600:.2g} hours on "
        f"{versions['machine']} in {summary['precision']}"
    )


def _network(model):
    if model.get("name"):
        return model["name"].partition(".")[0]
    return (
        f"WRN-{model['depth']}-{model['width']:g}, blocks {model['block']}, "
        f"dropout {model['dropout']:g}"
    )


def _published(model):
    """The published weights that a network started from, or None."""
    name = model.get("name", "")
    return weights_info(name) if split_tag(name)[1] else None


def _start(model):
    weights = _published(model)
    if weights is None:
        return model.get("weights", "")
    return f"the published weights {weights.name} ({weights.source}; {weights.citation})"


def _licence(model):
    weights = _published(model)
    if weights is not None and weights.url:
        return f"that of the weights it started from, {weights.licence}; the code is Apache-2.0"
    if model.get("weights"):
        return "that of the weights it started from; the code is Apache-2.0"
    return "Apache-2.0, like the code"


def _trained(summary, recipe):
    parts = []
    if summary.get("trained_params", summary["params"]) != summary["params"]:
        count = recipe["model"]["frozen_stages"]
        parts.append(
            f"{summary['trained_params']:,} of the parameters, the stem and {count} stages frozen"
        )
    factors = recipe["optimizer"].get("lr_multipliers") or {}
    parts += [f"the rate of {name} times {factor:g}" for name, factor in factors.items()]
    return "; ".join(parts)


def _describe(preprocessing):
    if preprocessing.zca is not None:
        return "global contrast normalisation and ZCA whitening"
    numbers = [
        ", ".join(f"{v:.4f}" for v in part) for part in (preprocessing.mean, preprocessing.std)
    ]
    return (
        f"divided by 255, less the mean ({numbers[0]}), divided by the deviation ({numbers[1]}). "
        f"Encoded images are resized ({preprocessing.interpolation}) and their middle is cut out "
        f"(crop {preprocessing.crop:g})"
    )
