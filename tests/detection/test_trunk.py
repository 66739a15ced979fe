"""The trunk of a detector has the features of the network that its weights come from."""

import numpy as np
import pytest

import keras_wrn
from keras_wrn.detection import retinanet


@pytest.mark.extra("torch")
@pytest.mark.parametrize(("builder", "width", "bottleneck"), [
    (lambda **s: keras_wrn.WideResNet34(0.5, **s), 0.5, False),
    pytest.param(keras_wrn.WideResNet50_2, 2, True, marks=pytest.mark.slow),
], ids=["34", "50_2"])  # fmt: skip
def test_converted_weights_give_the_features_of_their_source(tmp_path, builder, width, bottleneck):
    import torch
    from reference_torch import to_torch_images
    from reference_torch_resnet import ResNet, randomize

    network = randomize(ResNet((3, 4, 6, 3), width, bottleneck, classes=20)).eval()
    torch.save(network.state_dict(), tmp_path / "source.pt")
    trunk = builder(classes=20, input_shape=(64, 64, 3))
    keras_wrn.load_torch_weights(trunk, tmp_path / "source.pt")
    detector = retinanet(trunk, 3)
    images = np.random.default_rng(0).normal(size=(2, 64, 64, 3)).astype("float32")
    maps = keras_wrn.feature_extractor(detector, stages=(2, 3, 4))(images)
    expected = {}

    def keep(name):
        return lambda module, inputs, output: expected.update({name: output})

    for stage in (2, 3, 4):
        getattr(network, f"layer{stage}").register_forward_hook(keep(f"stage{stage}"))
    with torch.no_grad():
        network(to_torch_images(images))
    for name, values in maps.items():
        wanted = expected[name].numpy().transpose(0, 2, 3, 1)
        assert np.abs(np.asarray(values) - wanted).max() < 1e-4 * np.abs(wanted).max()
