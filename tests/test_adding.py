"""What CONTRIBUTING says of adding things is all there is to do."""

import dataclasses

import keras
import numpy as np
import pytest
import tiny

import keras_wrn
from keras_wrn.data import DATASETS, mixing
from keras_wrn.data.augmentation import Augmentation, Strength
from keras_wrn.data.datasets import DatasetInfo
from keras_wrn.export.formats import BY_ENDING, FORMATS, Format
from keras_wrn.optim.schedules import KINDS
from keras_wrn.recipe import DataConfig, ScheduleConfig
from keras_wrn.runs.card import model_card
from keras_wrn.training.inputs import load_inputs, recipe_batches

needs_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="batches of tf.data, and exports"
)


@needs_tensorflow
def test_a_dataset_is_a_row(monkeypatch, tmp_path):
    row = DatasetInfo("toys", ("car", "doll"), (0.5,) * 3, (0.25,) * 3, licence="free of charge")
    monkeypatch.setitem(DATASETS, "toys", row)
    for split in ("train", "test"):
        images = np.zeros((40, 32, 32, 3), "uint8")
        labels = np.arange(40, dtype="int32") % 2
        np.savez(tmp_path / f"toys-{split}-00-of-01.npz", images=images, labels=labels)
    x, y = next(iter(keras_wrn.data.load_dataset("toys", "train", data_dir=tmp_path, batch_size=8)))
    assert x.shape == (8, 32, 32, 3) and y.shape == (8, 2)
    recipe = dataclasses.replace(tiny.PLAIN, data=DataConfig("toys"), epochs=1)
    keras_wrn.run(recipe, run_dir=tmp_path / "run", data_dir=tmp_path)
    card = model_card(
        tmp_path / "run", keras_wrn.weights.load_model(tmp_path / "run").preprocessing
    )
    assert "free of charge" in card and "car, doll" in card


def test_an_augmentation_is_a_field_and_what_it_does(monkeypatch):
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Darker(DataConfig):
        darkness: Strength = 0.0

    draws, change = mixing.heavy_draws, mixing.change_pixels

    def more_draws(augmentation, seed, epoch, count, order, *more):
        plan = draws(augmentation, seed, epoch, count, order, *more)
        return {**plan, "darkness": np.full(order.shape, augmentation.darkness, "float32")}

    def darker(layers, images, plan):
        images = keras.ops.cast(change(layers, images, plan), "float32")
        return images * (1 - keras.ops.reshape(plan["darkness"], (-1, 1, 1, 1)))

    monkeypatch.setattr("keras_wrn.data.pipeline.heavy_draws", more_draws)
    monkeypatch.setattr("keras_wrn.data.pipeline.change_pixels", darker)
    with pytest.raises(ValueError, match=r"`data.darkness` should be in \[0, 1\], received 2"):
        dataclasses.replace(tiny.PLAIN, data=Darker(darkness=2))
    data = Darker(dataset="digits", darkness=1.0, preprocessing="scale", horizontal_flip=False)
    recipe = dataclasses.replace(tiny.PLAIN, data=data)
    batches = recipe_batches(recipe, load_inputs(recipe, made_up=True), 32)
    assert isinstance(batches.augmentation, Augmentation)
    x, _ = batches.arrays()[0]
    assert x.max() == 0


def test_a_schedule_is_a_row(monkeypatch):
    monkeypatch.setitem(
        KINDS, "constant", lambda config, rate, epochs, steps: keras_wrn.training.WarmUp(
            keras.optimizers.schedules.ExponentialDecay(rate, 1, 1.0), 1, 1.0
        ),
    )  # fmt: skip
    built = keras_wrn.optim.schedules.build_schedule(ScheduleConfig(kind="constant"), 0.3, 2, 5)
    assert [float(built(step)) for step in (0, 9)] == pytest.approx([0.3, 0.3])


@needs_tensorflow
def test_a_format_is_a_row(monkeypatch, tmp_path):
    def write(model, path, precision):
        path.write_text(model.name)

    def open_file(path):
        return lambda images: np.eye(10)[[3] * len(images)], None

    row = Format("text", "text file", ".txt", write, open_file, ("float32",))
    monkeypatch.setitem(FORMATS, row.name, row)
    monkeypatch.setitem(BY_ENDING, row.ending, row)
    model = keras_wrn.WideResNet(10, 1)
    model.preprocessing = keras_wrn.Preprocessing(32)
    version = keras_wrn.export.export_version(model, tmp_path, ["text"])
    assert (version / "model.txt").read_text() == "wrn_10_1"
    image = np.zeros((32, 32, 3), "uint8")
    settings = {"preprocessing": keras_wrn.Preprocessing(32)}
    assert keras_wrn.inference_model(version / "model.txt", image, **settings)["pred_label"] == 3
