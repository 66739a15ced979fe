"""Muon for convolutions, against NumPy, and SGD for all else."""

import dataclasses

import keras
import numpy as np
import pytest
from tiny import gradients_of, variables_of

from keras_wrn.optim.muon import orthogonal
from keras_wrn.training import SGD, Muon, Recipe

SHAPES = {"conv1/kernel": (3, 3, 3, 4), "conv2/kernel": (3, 3, 4, 8), "conv3/kernel": (1, 1, 8, 16),
          "bn/gamma": (8,), "predictions/kernel": (16, 5)}  # fmt: skip


def make_variables():
    return variables_of(SHAPES)


def gradients(step):
    return gradients_of(SHAPES, 10 + step)


def follow(optimizer, steps=3):
    variables = make_variables()
    for step in range(steps):
        optimizer.apply([keras.ops.convert_to_tensor(g) for g in gradients(step)], variables)
    return dict(zip(SHAPES, (keras.ops.convert_to_numpy(v) for v in variables), strict=True))


def newton_schulz(matrix):
    """By singular values, on which the iteration works one by one."""
    u, s, vt = np.linalg.svd(matrix.astype("float64"), full_matrices=False)
    s = s / np.linalg.norm(matrix)
    for _ in range(3):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    return (u * s) @ vt


@pytest.mark.parametrize("shape", [(1152, 128), (16, 64), (36, 8)])
def test_orthogonal_acts_on_the_singular_values_alone(shape):
    matrix = np.random.default_rng(0).normal(size=shape).astype("float32")
    found = keras.ops.convert_to_numpy(orthogonal(keras.ops.convert_to_tensor(matrix)))
    np.testing.assert_allclose(found, newton_schulz(matrix), atol=1e-4)
    values = np.linalg.svd(found, compute_uv=False)
    assert values.min() > 0.6 and values.max() < 1.25


def test_kernels_follow_the_formula():
    found = follow(Muon(0.5, kernel_rate=0.2, kernel_momentum=0.6))
    for index, (path, shape) in enumerate(SHAPES.items()):
        if path not in ("conv2/kernel", "conv3/kernel"):
            continue
        w = keras.ops.convert_to_numpy(make_variables()[index]).astype("float64")
        v = np.zeros(shape)
        for step in range(3):
            g = gradients(step)[index]
            v = 0.6 * v + g
            update = newton_schulz((g + 0.6 * v).reshape(-1, shape[-1])).reshape(shape)
            w = w * np.sqrt(shape[-1]) / np.linalg.norm(w) - 0.1 * update
        np.testing.assert_allclose(found[path], w, atol=1e-5)


def test_the_stem_vectors_and_the_classifier_are_left_to_sgd():
    settings = {"momentum": 0.8, "weight_decay": 0.01, "lr_multipliers": {"bn": 0.5}}
    found, expected = follow(Muon(0.5, **settings)), follow(SGD(0.5, **settings))
    for path in ("conv1/kernel", "bn/gamma", "predictions/kernel"):
        np.testing.assert_array_equal(found[path], expected[path])
    assert np.abs(found["conv2/kernel"] - expected["conv2/kernel"]).max() > 0.1


def test_a_factor_of_zero_freezes_a_kernel():
    found = follow(Muon(0.5, lr_multipliers={"conv2": 0.0}))
    np.testing.assert_array_equal(found["conv2/kernel"], make_variables()[1])
    assert np.abs(found["conv3/kernel"] - make_variables()[2]).max() > 0.01


@pytest.mark.parametrize(
    ("model", "optimizer", "problem"),
    [
        ({"weights": "run"}, {}, "`optimizer.kernel_rate` is for random weights"),
        ({}, {"reset_momentum_on_drop": True}, "`optimizer.kernel_rate` does not go with"),
    ],
)
def test_recipes_that_muon_does_not_suit_are_refused(model, optimizer, problem):
    recipe = Recipe("mine")
    with pytest.raises(ValueError, match=problem):
        dataclasses.replace(
            recipe,
            model=dataclasses.replace(recipe.model, **model),
            optimizer=dataclasses.replace(recipe.optimizer, kernel_rate=0.2, **optimizer),
        )
    with pytest.raises(ValueError, match="Muon does not take `reset_momentum_on_drop`"):
        Muon(0.1, reset_momentum_on_drop=True)


def test_its_settings_are_saved():
    optimizer = Muon(0.5, kernel_rate=0.3, kernel_momentum=0.7, weight_decay=0.01)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert (again.kernel_rate, again.kernel_momentum) == (0.3, 0.7)
    assert again.get_config() == optimizer.get_config()


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"kernel_rate": -0.1}, "`kernel_rate` should be 0 or positive.*-0.1"),
        ({"kernel_rate": float("nan")}, "`kernel_rate` should be 0 or positive.*nan"),
        ({"kernel_momentum": 1.0}, r"`kernel_momentum` should be in \[0, 1\).*1.0"),
    ],
)
def test_settings_out_of_range_are_refused(values, problem):
    with pytest.raises(ValueError, match=problem):
        Muon(0.1, **values)
    optimizer = dataclasses.replace(Recipe("mine").optimizer, **values)
    with pytest.raises(ValueError, match=rf"`optimizer.{next(iter(values))}` should be"):
        dataclasses.replace(Recipe("mine"), optimizer=optimizer)
