"""Evaluation sees every image once, and its means are exact."""

import keras
import numpy as np
import pytest
from data.helpers import made_up

from keras_wrn.data import Preprocessing, eval_arrays, eval_dataset
from keras_wrn.data.evaluation import EvalBatches

MEANSTD = Preprocessing(8, mean=(0.4, 0.5, 0.6), std=(0.1, 0.2, 0.3))


@pytest.mark.parametrize("replicas", [1, 2, 3])
@pytest.mark.parametrize(("count", "batch_size"), [(12, 4), (13, 4), (10, 500), (1, 8), (7, 1)])
def test_no_image_is_dropped_and_weights_average_exactly(count, batch_size, replicas):
    images, labels = made_up(count)
    x, y, weights = eval_arrays(images, labels, 10, batch_size=batch_size, replicas=replicas)
    assert x.shape[:2] == y.shape[:2] == weights.shape
    assert x.shape[1] % replicas == 0 and x.shape[1] < batch_size + replicas
    real = weights.ravel() > 0
    assert real.tolist() == [True] * count + [False] * (real.size - count)
    np.testing.assert_array_equal(x.reshape(-1, 8, 8, 3)[:count], images)
    np.testing.assert_array_equal(y.reshape(-1, 10)[:count].argmax(axis=1), labels)
    values = np.random.default_rng(0).random(weights.shape)
    mean_of_batch_means = (weights * values).mean(axis=1).mean()
    assert mean_of_batch_means == pytest.approx(values.ravel()[:count].mean(), rel=1e-6)


@pytest.mark.parametrize("replicas", [1, 3])
def test_keras_evaluates_to_the_exact_loss_and_accuracy(replicas):
    images, labels = made_up(25)
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(10)]
    )
    model.compile(
        loss=keras.losses.CategoricalCrossentropy(from_logits=True),
        weighted_metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
    )
    dataset = eval_dataset(
        images, labels, 10, batch_size=8, preprocessing=MEANSTD, replicas=replicas
    )
    found = model.evaluate(dataset, verbose=0, return_dict=True)
    logits = model(MEANSTD.normalize(images)).numpy().astype("float64")
    logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    assert found["loss"] == pytest.approx(-logs[np.arange(25), labels].mean(), rel=1e-5)
    assert found["accuracy"] == pytest.approx((logits.argmax(axis=1) == labels).mean(), rel=1e-6)


def test_dataset_and_arrays_agree():
    images, labels = made_up(25)
    settings = {"batch_size": 8, "preprocessing": MEANSTD}
    dataset = list(eval_dataset(images, labels, 10, **settings).as_numpy_iterator())
    arrays = EvalBatches(images, labels, 10, **settings)
    assert len(dataset) == len(arrays) == 4
    for batch, other in zip(dataset, (arrays[i] for i in range(4)), strict=True):
        for part, other_part in zip(batch, other, strict=True):
            np.testing.assert_array_equal(part, other_part)


def test_labels_of_another_dataset_are_an_error():
    images, _ = made_up(12)
    with pytest.raises(ValueError, match=r"0\.\.9, one of the model's 10.*labels 0 to 11"):
        eval_dataset(images, np.arange(12), 10, batch_size=4, preprocessing=MEANSTD)


@pytest.mark.parametrize("make", [eval_dataset, EvalBatches])
@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros((12, 1), int), r"labels of shape \(n,\).*\(12, 1\)"),
        (np.eye(12, 10), r"labels of shape \(n,\).*float64 of shape \(12, 10\)"),
        (np.zeros(12), "float64"),
        (np.arange(-1, 11), "labels -1 to 10.$"),
    ],
)
def test_labels_of_another_kind_are_an_error(make, labels, message):
    images, _ = made_up(12)
    with pytest.raises(ValueError, match=message):
        make(images, labels, 10, batch_size=4, preprocessing=MEANSTD)


@pytest.mark.parametrize("make", [eval_dataset, EvalBatches])
def test_other_channels_and_no_batch_are_errors(make):
    images, labels = made_up(12)
    with pytest.raises(ValueError, match="Expected images of 3 channels"):
        make(images[..., :1], labels, 10, batch_size=4, preprocessing=MEANSTD)
    with pytest.raises(ValueError, match="batch_size=0"):
        make(images, labels, 10, batch_size=0, preprocessing=MEANSTD)
