"""Runs on photos that stay on disk."""

import dataclasses
import json
from pathlib import Path

import keras
import numpy as np
import pytest
from photo_files import add_odd_files, make_folder
from tiny import PLAIN, stop_at, weights

from keras_wrn.data import folder as folders
from keras_wrn.data.photos import Photos
from keras_wrn.errors import DataError, Stopped
from keras_wrn.recipe import DataConfig, ModelConfig, Recipe
from keras_wrn.scripts import load_recipe
from keras_wrn.training import inputs as run_inputs
from keras_wrn.training import trainer
from keras_wrn.training.run import run

on_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="the run's own data road is tested"
)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    root = make_folder(tmp_path_factory.mktemp("photos"), count=16, splits=("train", "val"))
    add_odd_files(root / "train" / "dog")
    return root


def recipe_for(photos, **data):
    settings = {"random_resized_crop": True, "train_size": 24, **data}
    data = DataConfig(dataset=str(photos), image_size=32, **settings)
    model = ModelConfig(depth=10, width=1)
    return dataclasses.replace(PLAIN, name="photos", model=model, data=data, batch_size=8)


@pytest.fixture(scope="module")
def finished(photos, tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("runs") / "straight"
    return run_dir, run(recipe_for(photos), run_dir=run_dir)


def test_a_run_on_photos_says_what_it_did(finished, photos):
    run_dir, summary = finished
    assert summary["data"]["train_images"] == 43 and summary["data"]["test_images"] == 32
    assert Recipe.from_json((run_dir / "recipe.json").read_text()) == recipe_for(photos)
    assert 'crop": 0.875' in (run_dir / "preprocessing.json").read_text()
    assert '"size": 32' in (run_dir / "preprocessing.json").read_text()


@on_tensorflow
@pytest.mark.parametrize(
    ("where", "step"),
    [
        ("train", 3),
        *(pytest.param(*x, marks=pytest.mark.slow) for x in (("train", 5), ("test", 1))),
    ],
)
def test_a_stopped_run_continues_as_if_never_stopped(
    finished, photos, tmp_path, monkeypatch, where, step
):
    stop_at(monkeypatch, where, step)
    with pytest.raises(Stopped):
        run(recipe_for(photos), run_dir=tmp_path / "run")
    monkeypatch.undo()
    run(recipe_for(photos), run_dir=tmp_path / "run", resume=True)
    for straight, resumed in zip(weights(finished[0]), weights(tmp_path / "run"), strict=True):
        np.testing.assert_array_equal(straight, resumed)


def test_what_does_not_fit_into_memory_is_streamed_and_said(photos, tmp_path, monkeypatch, capsys):
    recipe = recipe_for(photos, random_resized_crop=False, crop_padding=2)
    run(recipe, run_dir=tmp_path / "memory")
    assert "read from disk" not in capsys.readouterr().out
    monkeypatch.setattr(folders.os, "sysconf", lambda name: 100)
    run(recipe, run_dir=tmp_path / "disk")
    assert "do not fit into half of the memory: they are read from disk" in capsys.readouterr().out
    inputs = run_inputs.load_inputs(recipe)
    assert isinstance(inputs.train[0], Photos) and isinstance(inputs.test[0], Photos)
    # A grey level more or less, on TensorFlow.
    for one, other in zip(weights(tmp_path / "memory"), weights(tmp_path / "disk"), strict=True):
        np.testing.assert_allclose(one, other, atol=0.05)


def test_photos_in_memory_where_they_fit(photos):
    resized = run_inputs.load_inputs(recipe_for(photos))
    assert isinstance(resized.train[0], Photos) and isinstance(resized.test[0], np.ndarray)
    plain = run_inputs.load_inputs(recipe_for(photos, random_resized_crop=False))
    assert isinstance(plain.train[0], np.ndarray) and plain.train[0].shape[1:3] == (36, 36)


def test_a_damaged_photo_is_found_before_training(tmp_path, monkeypatch):
    root = make_folder(tmp_path / "photos", count=8, splits=("train", "val"))
    file = root / "train" / "dog" / "03.jpg"
    file.write_bytes(file.read_bytes()[:700])
    monkeypatch.setattr(keras.Model, "fit", lambda *args, **kwargs: pytest.fail("trained"))
    with pytest.raises(DataError, match=r"1 image of .*train cannot be read: .*dog/03\.jpg"):
        run(recipe_for(root), run_dir=tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]


@on_tensorflow
@pytest.mark.parametrize("kind", ["jpg", "png", "empty"])
def test_a_damaged_photo_that_training_meets_is_named(tmp_path, capsys, kind):
    root = make_folder(tmp_path / "photos", count=12, splits=("train", "val"))
    file = root / "train" / "dog" / "03.jpg"
    add_odd_files(tmp_path)
    data = (tmp_path / "alpha.png" if kind == "png" else file).read_bytes()
    file.write_bytes(b"" if kind == "empty" else data[: len(data) // 2])
    with pytest.raises(DataError, match=r"dog/03\.jpg; it cannot be decoded.*--resume"):
        run(recipe_for(root, check="none"), run_dir=tmp_path / "run")
    assert "are not checked" in capsys.readouterr().out


def test_held_out_photos_that_cannot_be_read_are_named_too(tmp_path, monkeypatch):
    root = make_folder(tmp_path / "photos", count=8, splits=("train", "val"))
    recipe = recipe_for(root, check="none")
    (root / "val" / "cat" / "02.jpg").write_bytes(b"no image")
    monkeypatch.setattr(folders.os, "sysconf", lambda name: 100)
    with pytest.raises(DataError, match=r"val/cat/02\.jpg"):
        run(recipe, run_dir=tmp_path / "run")


def test_more_or_less_memory_is_no_other_folder(photos, tmp_path, monkeypatch):
    recipe = recipe_for(photos, random_resized_crop=False, crop_padding=2)
    run(recipe, run_dir=tmp_path / "run")
    (tmp_path / "run" / "summary.json").unlink()
    monkeypatch.setattr(folders.os, "sysconf", lambda name: 100)
    run(recipe, run_dir=tmp_path / "run", resume=True)
    given = json.loads((tmp_path / "run" / "data.json").read_text())
    assert {"images_sha256", "files_sha256"} <= given.keys()


@on_tensorflow
def test_an_average_has_the_statistics_of_the_crops_it_trained_on(photos, tmp_path, monkeypatch):
    seen = []
    original = trainer.renew_statistics

    def renewed(model, batches, epochs):
        seen.append((model.input_shape[1], batches.size))
        return original(model, batches, epochs)

    monkeypatch.setattr(trainer, "renew_statistics", renewed)
    recipe = recipe_for(photos, rand_augment=0.5)
    recipe = dataclasses.replace(
        recipe, optimizer=dataclasses.replace(recipe.optimizer, average=0.5)
    )
    summary = run(recipe, run_dir=tmp_path / "run")
    assert seen == [(24, (24, 24))] and summary["test_error"] <= 100
    before = keras.models.load_model(tmp_path / "run" / "model.keras")
    assert before.input_shape == (None, 32, 32, 3)
    norms = [x for x in before.layers if isinstance(x, keras.layers.BatchNormalization)]
    assert all(np.abs(np.asarray(norm.moving_mean)).max() > 0 for norm in norms)


def test_a_changed_folder_is_not_the_run_s(finished, photos, tmp_path):
    root = make_folder(tmp_path / "photos", count=8, splits=("train", "val"))
    run(recipe_for(root), run_dir=tmp_path / "run")
    (tmp_path / "run" / "summary.json").unlink()
    (root / "train" / "dog" / "new.jpg").write_bytes((root / "train/dog/00.jpg").read_bytes())
    with pytest.raises(ValueError, match="begun with other images"):
        run(recipe_for(root), run_dir=tmp_path / "run", resume=True)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"crop_padding": 4}, "`data.random_resized_crop` takes the place of `data.crop_padding`"),
        ({"crop_scale": (0.5, 2.0)}, r"`data.crop_scale` should be two rising shares"),
        ({"train_size": 2}, "`data.train_size` should be 0, or 4 or more, received 2"),
        ({"random_resized_crop": False, "train_size": 64}, "`data.train_size` should be at most"),
    ],
)
def test_settings_that_do_not_go_together(photos, tmp_path, data, words):
    with pytest.raises(ValueError, match=words):
        run(recipe_for(photos, **data), run_dir=tmp_path / "run")


def test_a_dataset_in_memory_is_not_cropped_like_photos():
    with pytest.raises(ValueError, match=r"is for photos on disk.*'cifar10'"):
        dataclasses.replace(PLAIN, data=DataConfig(random_resized_crop=True))


def test_the_recipe_for_folders_crops_photos(photos):
    recipe = load_recipe("finetune_folder")
    assert recipe.data.random_resized_crop and recipe.data.crop_padding == 0


ON_JAX = """
import sys
from pathlib import Path
sys.path.append(sys.argv[3])
from test_photo_runs import recipe_for
from keras_wrn.training.run import run
print("found", run(recipe_for(sys.argv[1]), run_dir=Path(sys.argv[2]))["last_epoch"]["loss"])
"""


@on_tensorflow
@pytest.mark.extra("jax")
def test_a_run_on_jax_trains_on_the_same_photos(finished, photos, tmp_path, run_python):
    here = Path(__file__).parent
    printed = run_python(ON_JAX, photos, tmp_path / "run", here, KERAS_BACKEND="jax")
    (loss,) = (float(x.split()[1]) for x in printed.splitlines() if x.startswith("found"))
    # A network of its own, at the same distance from an untrained one.
    assert abs(loss - finished[1]["last_epoch"]["loss"]) < 0.2


MEMORY = """
import resource, sys
from pathlib import Path
sys.path.append(sys.argv[3])
from test_photo_runs import recipe_for
import dataclasses
from keras_wrn.training.run import run
recipe = recipe_for(sys.argv[1], check="none", train_size=16)
recipe = dataclasses.replace(recipe, epochs=1, batch_size=250)
run(recipe, run_dir=Path(sys.argv[2]))
print("found", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


@on_tensorflow
@pytest.mark.large
def test_a_hundred_times_as_many_photos_take_little_more_memory(tmp_path, run_python):
    peaks = []
    small = make_folder(tmp_path / "small", count=500, splits=("train", "val"))
    for root, copies in ((small, 1), (tmp_path / "large", 100)):
        for folder in small.glob("train/*") if copies > 1 else ():
            (root / "train" / folder.name).mkdir(parents=True)
            for file in folder.iterdir():
                for i in range(copies):
                    (root / "train" / folder.name / f"{file.stem}-{i}.jpg").hardlink_to(file)
        if copies > 1:
            (root / "val").symlink_to(small / "val")
        arguments = root, tmp_path / f"run{copies}", Path(__file__).parent
        printed = run_python(MEMORY, *arguments, KERAS_BACKEND="tensorflow")
        peaks += [float(x.split()[1]) for x in printed.splitlines() if x.startswith("found")]
    print(f"peak resident size in MB: 1,000 photos {peaks[0]:.0f}, 100,000 photos {peaks[1]:.0f}")
    assert peaks[1] < peaks[0] + 200
