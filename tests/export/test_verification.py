"""What an artifact is compared with before it is kept."""

import numpy as np
import pytest

import keras_wrn
from keras_wrn.errors import ExportError
from keras_wrn.export.verification import Verification


@pytest.mark.parametrize(("policy", "allowed"), [("float32", 1e-4), ("mixed_bfloat16", 3e-2)])
def test_verification_allows_for_the_precision_of_the_model(build, policy, allowed):
    model = build(policy)
    verification = Verification(model, model.preprocessing)

    def shifted(by):
        return {name: value + by for name, value in verification.expected.items()}

    verification.check(shifted(allowed / 2), "it")
    with pytest.raises(ExportError, match="it does not compute what the model does"):
        verification.check(shifted(allowed * 10), "it")
    with pytest.raises(ExportError, match="differ by nan"):
        verification.check(shifted(np.nan), "it")


def test_probabilities_may_differ_by_what_the_rounding_of_large_logits_makes_of_them(network):
    def softmax(logits):
        powers = np.exp(logits - logits.max(-1, keepdims=True))
        return powers / powers.sum(-1, keepdims=True)

    verification = Verification(network, network.preprocessing)
    logits = np.array([[1000.0, 999.875, 0.0]])
    verification.expected = {"probabilities": softmax(logits), "logits": logits}
    rounded = np.add(logits, [[2.0**-9, -(2.0**-9), 0.0]])
    assert np.abs(softmax(rounded) - softmax(logits)).max() > 5e-4
    verification.check({"probabilities": softmax(rounded), "logits": rounded}, "it")
    with pytest.raises(ExportError, match=r"its probabilities should differ by 0\.0001 at most"):
        verification.check({"probabilities": softmax(rounded), "logits": logits}, "it")
    too_far = np.add(softmax(logits), [[0.0015, -0.0015, 0.0]])  # 3/4 of the logits' difference
    with pytest.raises(ExportError, match=r"its probabilities should differ by 0\.00108 at most"):
        verification.check({"probabilities": too_far, "logits": rounded}, "it")
    with pytest.raises(ExportError, match=r"its logits should differ by 0\.1 at most"):
        verification.check({"probabilities": softmax(logits), "logits": logits + 0.2}, "it")


def test_verification_asks_a_few_images_at_a_time(network, monkeypatch):
    sizes, right = [], keras_wrn.Preprocessing.normalize
    images = np.random.default_rng(0).integers(0, 256, (34, 32, 32, 3), dtype="uint8")
    expected = network(network.preprocessing.normalize(images), training=False)

    def spy(self, images):
        sizes.append(len(images))
        return right(self, images)

    monkeypatch.setattr(keras_wrn.Preprocessing, "normalize", spy)
    verification = Verification(network, network.preprocessing, images)
    assert set(sizes) == {4}  # a model of 224 pixels takes 200 MB an image
    np.testing.assert_array_equal(verification.images, images[:32])
    for name in ("probabilities", "logits"):
        assert len(verification.expected[name]) == 32
    np.testing.assert_allclose(verification.expected["probabilities"], expected[:32], atol=1e-5)
