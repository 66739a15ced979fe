"""Boxes around things in photos."""

from keras_wrn.detection.answers import Selection, select
from keras_wrn.detection.batches import BoxBatches
from keras_wrn.detection.coco import BoxSet, read_coco
from keras_wrn.detection.detector import Detector, detect, open_detector
from keras_wrn.detection.evaluation import average_precision, evaluate_detector
from keras_wrn.detection.export import (
    export_detector,
    export_detector_serving,
    export_detector_version,
)
from keras_wrn.detection.losses import BoxLoss, ClassLoss
from keras_wrn.detection.pictures import draw
from keras_wrn.detection.recipe import (
    AdamConfig,
    BoxDataConfig,
    DetectionRecipe,
    DetectorConfig,
)
from keras_wrn.models.retinanet import Anchors, retinanet

__all__ = [
    "AdamConfig",
    "Anchors",
    "BoxBatches",
    "BoxDataConfig",
    "BoxLoss",
    "BoxSet",
    "ClassLoss",
    "DetectionRecipe",
    "Detector",
    "DetectorConfig",
    "Selection",
    "average_precision",
    "detect",
    "draw",
    "evaluate_detector",
    "export_detector",
    "export_detector_serving",
    "export_detector_version",
    "open_detector",
    "read_coco",
    "retinanet",
    "select",
]
