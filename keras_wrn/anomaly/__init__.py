"""What is odd in a photo, learned from good photos alone."""

from keras_wrn.anomaly.building import build_model
from keras_wrn.anomaly.coreset import greedy_coreset
from keras_wrn.anomaly.evaluation import evaluate_inspector
from keras_wrn.anomaly.export import (
    export_anomaly,
    export_anomaly_serving,
    export_anomaly_version,
)
from keras_wrn.anomaly.exported import open_inspector
from keras_wrn.anomaly.inspector import Inspector
from keras_wrn.anomaly.padim import PaDiM
from keras_wrn.anomaly.patchcore import PatchCore
from keras_wrn.anomaly.pictures import draw
from keras_wrn.anomaly.recipe import AnomalyConfig, AnomalyRecipe, GoodDataConfig

__all__ = [
    "AnomalyConfig",
    "AnomalyRecipe",
    "GoodDataConfig",
    "Inspector",
    "PaDiM",
    "PatchCore",
    "build_model",
    "draw",
    "evaluate_inspector",
    "export_anomaly",
    "export_anomaly_serving",
    "export_anomaly_version",
    "greedy_coreset",
    "open_inspector",
]
