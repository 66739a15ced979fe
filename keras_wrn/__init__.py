"""Wide Residual Networks (Zagoruyko & Komodakis 2016) for Keras 3."""

import os
import platform
import sys

from keras_wrn import quiet

if quiet.is_command():
    quiet.begin()

# On processors without AVX512_VNNI, TensorFlow leaves oneDNN's kernels off, and a training step
# takes about twice as long. TensorFlow reads this variable once, at import.
if platform.machine() in ("x86_64", "AMD64") and "tensorflow" not in sys.modules:
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

from keras_wrn import (
    anomaly,
    catalog,
    data,
    detection,
    distribution,
    export,
    models,
    training,
    weights,
)
from keras_wrn.catalog import (
    PreActResNet,
    ResNet,
    WideResNet,
    WideResNet18,
    WideResNet34,
    WideResNet50_2,
    WideResNet101_2,
    create_model,
    feature_extractor,
    list_models,
    load_model,
    reset_classifier,
)
from keras_wrn.client import ServingClient
from keras_wrn.data import Preprocessing, decode_predictions, preprocess_input
from keras_wrn.errors import KerasWrnError, ServingError
from keras_wrn.evaluation import evaluate
from keras_wrn.export import export_litert, export_saved_model, export_serving
from keras_wrn.inference import inference_model, prediction_figure
from keras_wrn.optim import SGD, Muon
from keras_wrn.recipe import Recipe
from keras_wrn.runs import card as _card
from keras_wrn.study import Study, cell
from keras_wrn.training.run import run
from keras_wrn.weights import load_torch_weights, save_torch_weights


def _keep_old_import_paths():
    """Names that were in other rooms before the catalogue and the runs had theirs."""
    networks = "WideResNet WideResNet18 WideResNet34 WideResNet50_2 WideResNet101_2 create_model"
    published = "DownloadError PublishedWeights from_checkpoint load_model load_published"
    for room, source, names in (
        (models, catalog, f"{networks} feature_extractor list_models model_info reset_classifier"),
        (weights, catalog, f"{published} weights_info"),
        (export, _card, "model_card"),
    ):
        for name in names.split():
            setattr(room, name, getattr(source, name))
            room.__all__.append(name)


_keep_old_import_paths()
distribution.warn_of_namesake()
__version__ = distribution.VERSION

__all__ = [
    "SGD",
    "KerasWrnError",
    "Muon",
    "PreActResNet",
    "Preprocessing",
    "Recipe",
    "ResNet",
    "ServingClient",
    "ServingError",
    "Study",
    "WideResNet",
    "WideResNet18",
    "WideResNet34",
    "WideResNet50_2",
    "WideResNet101_2",
    "anomaly",
    "catalog",
    "cell",
    "create_model",
    "data",
    "decode_predictions",
    "detection",
    "evaluate",
    "export",
    "export_litert",
    "export_saved_model",
    "export_serving",
    "feature_extractor",
    "inference_model",
    "list_models",
    "load_model",
    "load_torch_weights",
    "models",
    "prediction_figure",
    "preprocess_input",
    "reset_classifier",
    "run",
    "save_torch_weights",
    "training",
    "weights",
]
