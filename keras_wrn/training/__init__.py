"""A recipe becomes a run."""

from keras_wrn.training.optimizer import SGD
from keras_wrn.training.recipe import (
    DataConfig,
    ExportConfig,
    ModelConfig,
    OptimizerConfig,
    Recipe,
    ScheduleConfig,
)
from keras_wrn.training.run import RunError, build_model, run
from keras_wrn.training.schedules import OneCycle

__all__ = [
    "SGD",
    "DataConfig",
    "ExportConfig",
    "ModelConfig",
    "OneCycle",
    "OptimizerConfig",
    "Recipe",
    "RunError",
    "ScheduleConfig",
    "build_model",
    "run",
]
