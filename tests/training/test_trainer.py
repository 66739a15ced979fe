"""A run in steps, as `Trainer` offers them."""

import dataclasses
import signal

import keras
import numpy as np
import pytest
from tiny import PLAIN, weights

import keras_wrn
from keras_wrn.errors import RunError, Stopped
from keras_wrn.training import Placement, Trainer

RECIPES = {
    "plain": PLAIN,
    "small crops first": dataclasses.replace(
        PLAIN, data=dataclasses.replace(PLAIN.data, small_size=24), epochs=3
    ),
    "average": dataclasses.replace(
        PLAIN, optimizer=dataclasses.replace(PLAIN.optimizer, average=0.9)
    ),
}


@pytest.mark.parametrize(
    "name", ["plain", *(pytest.param(name, marks=pytest.mark.slow) for name in list(RECIPES)[1:])]
)
def test_fitting_epoch_by_epoch_is_fitting_at_once(tmp_path, name):
    recipe = RECIPES[name].shrunk()
    recipe = dataclasses.replace(recipe, epochs=RECIPES[name].epochs)
    summaries = []
    for steps in ([None], range(1, recipe.epochs + 1)):
        run_dir = tmp_path / str(len(summaries))
        run_dir.mkdir()
        trainer = Trainer(recipe, run_dir, Placement.of(recipe))
        trainer.prepare(made_up=True)
        for until in steps:
            trainer.fit(until=until)
        assert trainer.step == trainer.steps * recipe.epochs
        summaries.append(trainer.finish())
    for one, other in zip(weights(tmp_path / "0"), weights(tmp_path / "1"), strict=True):
        np.testing.assert_array_equal(one, other)
    assert summaries[0]["test_error"] == summaries[1]["test_error"]


class StopInside(keras.callbacks.Callback):
    def on_train_batch_begin(self, batch, logs=None):
        if batch == 1:
            signal.raise_signal(signal.SIGTERM)


def test_a_trainer_that_was_stopped_is_made_anew(tmp_path):
    recipe = PLAIN.shrunk()
    trainer = Trainer(recipe, tmp_path, Placement.of(recipe))
    trainer.prepare(made_up=True)
    with pytest.raises(Stopped):
        trainer.fit(callbacks=[StopInside()])
    with pytest.raises(RunError, match=r"was interrupted\. Make another Trainer"):
        trainer.fit()
    trainer = Trainer(recipe, tmp_path, Placement.of(recipe))
    trainer.prepare(made_up=True)
    assert trainer.step == 2
    trainer.fit()
    assert trainer.step == 8 and int(trainer.model.optimizer.iterations) == 8


def test_a_folder_that_is_absent_leaves_no_run_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = keras_wrn.scripts.load_recipe("finetune_folder")
    data = dataclasses.replace(recipe.data, dataset="nope", image_size=32)
    with pytest.raises(keras_wrn.data.DataError, match=r"one of the datasets cifar10, .*nope"):
        keras_wrn.run(dataclasses.replace(recipe, data=data))
    assert not list(tmp_path.iterdir())
