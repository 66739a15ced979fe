"""Runs that begin with small crops and alternating flips."""

import dataclasses

import keras
import numpy as np
import pytest
from tiny import PLAIN, stop_at, weights

import keras_wrn
from keras_wrn.errors import Stopped
from keras_wrn.models import count_macs
from keras_wrn.optim.muon import Muon
from keras_wrn.training import inputs as run_inputs
from keras_wrn.training import tasks
from keras_wrn.training.run import run

DATA = dataclasses.replace(
    PLAIN.data, dataset="cifar10", horizontal_flip=True, alternating_flip=True, small_size=16
)
MODEL = dataclasses.replace(PLAIN.model, whitened_stem=True)
OPTIMIZER = dataclasses.replace(PLAIN.optimizer, kernel_rate=0.2)
RECIPE = dataclasses.replace(PLAIN, data=DATA, model=MODEL, optimizer=OPTIMIZER, views=6)
IMAGENET = {"name": "wide_resnet50_2", "depth": 28, "width": 10, "dropout": 0.0}

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="the run's own data road is tested"
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("runs") / "straight"
    return run_dir, run(RECIPE, run_dir=run_dir, made_up=True)


def test_the_first_epochs_train_on_small_crops(tmp_path, monkeypatch, capsys):
    sides, flips = [], []
    original = run_inputs.Batches

    def watched(*args, preprocessing, **settings):
        flips.append(settings["augmentation"].alternating_flip)
        batches = original(*args, preprocessing=preprocessing, **settings)
        dataset = batches.dataset

        def seen(start, epochs, rows):
            made = dataset(start, epochs, rows)
            sides.append((start, epochs, made.element_spec[0].shape[1]))
            return made

        batches.dataset = seen
        return batches

    monkeypatch.setattr(run_inputs, "Batches", watched)
    run(RECIPE, run_dir=tmp_path / "run", made_up=True)
    assert sides == [(0, 1, 16), (4, 2, 32)] and flips == [True, True]
    epochs = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Epoch")]
    assert epochs == ["Epoch 1/2", "Epoch 2/2"]


def test_kernels_are_trained_by_muon(tmp_path, monkeypatch):
    made = []

    class Watched(Muon):
        def __init__(self, *args, **settings):
            super().__init__(*args, **settings)
            made.append(self)

    monkeypatch.setattr(tasks, "Muon", Watched)
    run(RECIPE, run_dir=tmp_path / "run", made_up=True)
    (optimizer,) = made
    assert optimizer.kernel_rate == 0.2 and int(optimizer.iterations.numpy()) == 8


def test_flops_count_each_image_at_its_size(finished):
    _, summary = finished
    small = count_macs(keras_wrn.WideResNet(10, 1, input_shape=(16, 16, 3)))
    assert summary["flops"] == 64 * 6 * (small + count_macs(keras_wrn.WideResNet(10, 1)))


def test_several_views_are_evaluated_at_the_end(finished):
    run_dir, summary = finished
    test = run_inputs.load_inputs(RECIPE.shrunk(), made_up=True).test
    one, six = (keras_wrn.evaluate(run_dir, test, views=views)["accuracy"] for views in (1, 6))
    assert summary["views"] == 6
    assert (summary["test_accuracy"], summary["views_test_accuracy"]) == (one, six)
    assert one != six  # else this would show nothing


@pytest.mark.parametrize(
    ("where", "step"),
    [
        ("train", 4),
        *(
            pytest.param(*x, marks=pytest.mark.slow)
            for x in (("train", 2), ("train", 6), ("test", 1))
        ),
    ],
)
def test_a_stopped_run_goes_on_at_its_size(finished, tmp_path, monkeypatch, where, step):
    stop_at(monkeypatch, where, step)
    with pytest.raises(Stopped):
        run(RECIPE, run_dir=tmp_path / "run", made_up=True)
    monkeypatch.undo()
    summary = run(RECIPE, run_dir=tmp_path / "run", made_up=True, resume=True)
    assert summary["test_error"] == finished[1]["test_error"]
    for straight, resumed in zip(weights(finished[0]), weights(tmp_path / "run"), strict=True):
        np.testing.assert_array_equal(straight, resumed)


def test_crops_as_large_as_the_images_are_refused(few_cifar10, tmp_path):
    recipe = dataclasses.replace(RECIPE, data=dataclasses.replace(DATA, small_size=32))
    with pytest.raises(ValueError, match=r"`data.small_size` should be below.*32. Received: 32"):
        run(recipe, run_dir=tmp_path / "run", data_dir=few_cifar10)


def test_a_share_that_two_epochs_do_not_have_is_no_matter_to_a_smoke_run():
    data = dataclasses.replace(DATA, small_size=96, small_share=0.2)
    data = dataclasses.replace(RECIPE, data=data, epochs=10).shrunk().data
    assert (data.small_size, data.small_share) == (24, 0.5)


@pytest.mark.parametrize(
    ("field", "values", "problem"),
    [
        ("data", {"small_size": 2}, "`data.small_size` should be 0, or 4 or more, received 2"),
        ("model", IMAGENET, "`data.small_size` should be 0, or 32 or more, received 16"),
        ("data", {"small_share": 1.0}, r"`data.small_share` should be in \(0, 1\), received 1.0"),
        ("data", {"small_share": 0.1}, "too short for `data.small_share`=0.1: it stands for 0"),
        ("data", {"horizontal_flip": False}, "`data.alternating_flip` needs"),
        ("model", {"weights": "run"}, "`model.whitened_stem` is for a WideResNet from random"),
        ("model", {"frozen_stages": 1}, "`model.whitened_stem` is for a WideResNet from random"),
        ("distill", {"teacher": "run"}, "`data.small_size` does not go with a teacher"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(field, values, problem):
    part = dataclasses.replace(getattr(RECIPE, field), **values)
    with pytest.raises(ValueError, match=problem):
        dataclasses.replace(RECIPE, **{field: part})
