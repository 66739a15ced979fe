"""A recipe becomes a run."""

from keras_wrn.errors import Diverged, RunError, Stopped
from keras_wrn.models.whitening import WhitenedConv2D
from keras_wrn.optim.muon import Muon
from keras_wrn.optim.schedules import OneCycle, WarmUp
from keras_wrn.optim.sgd import SGD
from keras_wrn.recipe import (
    DataConfig,
    DistillConfig,
    ExportConfig,
    ModelConfig,
    OptimizerConfig,
    Recipe,
    ScheduleConfig,
)
from keras_wrn.training.distill import Distiller
from keras_wrn.training.hosts import Hosts
from keras_wrn.training.network import build_model
from keras_wrn.training.placement import Placement
from keras_wrn.training.trainer import Trainer

__all__ = [
    "SGD",
    "DataConfig",
    "DistillConfig",
    "Distiller",
    "Diverged",
    "ExportConfig",
    "Hosts",
    "ModelConfig",
    "Muon",
    "OneCycle",
    "OptimizerConfig",
    "Placement",
    "Recipe",
    "RunError",
    "ScheduleConfig",
    "Stopped",
    "Trainer",
    "WarmUp",
    "WhitenedConv2D",
    "build_model",
]
