"""What the path of a run or of a model file tells."""

from pathlib import Path

from keras_wrn.data.arrays import load_arrays
from keras_wrn.data.datasets import check_dataset
from keras_wrn.data.photo_sets import own_part
from keras_wrn.runs.files import read_recipe


def recipe_of(model):
    """The recipe of a run directory, of the model file in it or of its exports, or None."""
    path = Path(model)
    if not path.exists():  # the name of a network
        return None
    places = [path if path.is_dir() else path.parent]
    if path.parent.name == "export":
        places.append(path.parents[1])
    for run_dir in places:
        if (run_dir / "recipe.json").is_file():
            return read_recipe(run_dir)
    return None


def dataset_of(model):
    recipe = recipe_of(model)
    if recipe is None:
        raise ValueError(f"{model} is no run directory: give --data")
    return recipe.data.dataset


def own_data(model, data_dir=None):
    """What a run was evaluated on: its dataset, or the images held out of its folder."""
    name = dataset_of(model)
    if not check_dataset(name):
        return name
    return own_part(recipe_of(model).data, "test", data_dir)


def held_out_images(models, data_dir=None):
    """The training images that runs held out, with their labels, to calibrate on.

    Raises:
        ValueError: one is no run, held none out or others than the first, or would be evaluated on
            the same ones.
    """
    first, *others = [_with_held_out(model) for model in models]
    for model, data in zip(models[1:], others, strict=True):
        for field in ("dataset", "validation", "extra"):
            ours, theirs = getattr(first, field), getattr(data, field)
            if ours != theirs:
                raise ValueError(
                    "--calibrate needs runs that held out the same images. Received: "
                    f"data.{field}={ours!r} of {models[0]}, {theirs!r} of {model}"
                )
    return load_arrays(
        first.dataset, "validation", data_dir=data_dir, validation=first.validation,
        extra=first.extra,
    )  # fmt: skip


def _with_held_out(model):
    """The data of a run that held images out."""
    recipe = recipe_of(model)
    if recipe is None or not recipe.data.validation:
        what = "it is no run directory" if recipe is None else "it trained on all of them"
        raise ValueError(
            "--calibrate needs a run that held out some of its training images (train it with "
            f"--data.validation 5000, for example). Received: {model}: {what}"
        )
    if check_dataset(recipe.data.dataset):
        raise ValueError(
            "--calibrate is for runs on a dataset by name, whose test images are others than those "
            f"held out. Received: {model}, on {recipe.data.dataset}"
        )
    return recipe.data


def name_of(model):
    recipe = recipe_of(model)
    if recipe is not None:
        return recipe.name
    path = Path(model).resolve()
    path = path.parent if path.name == "model.keras" else path
    return path.parent.name if path.name.isdecimal() else path.stem  # saved_models/NAME/1
