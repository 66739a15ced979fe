"""What the path of a run or of a model file tells."""

from pathlib import Path

from keras_wrn.data.datasets import check_dataset
from keras_wrn.data.photo_sets import own_part
from keras_wrn.runs.files import read_recipe


def recipe_of(model):
    """The recipe of a run directory, of the model file in it or of its exports, or None."""
    path = Path(model)
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


def name_of(model):
    recipe = recipe_of(model)
    if recipe is not None:
        return recipe.name
    path = Path(model).resolve()
    path = path.parent if path.name == "model.keras" else path
    return path.parent.name if path.name.isdecimal() else path.stem  # saved_models/NAME/1
