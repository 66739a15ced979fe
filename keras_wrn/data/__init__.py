"""Images in: datasets, preprocessing, augmentation, batches."""

from keras_wrn.data.augment import ReflectPadCrop
from keras_wrn.data.datasets import DATASETS, dataset_info, load_arrays
from keras_wrn.data.evaluation import eval_arrays, eval_dataset
from keras_wrn.data.load import load_dataset
from keras_wrn.data.pipeline import Batches
from keras_wrn.data.preprocess import ZCA, Preprocessing, default_preprocessing
from keras_wrn.data.tfds_source import DataError

__all__ = [
    "DATASETS",
    "ZCA",
    "Batches",
    "DataError",
    "Preprocessing",
    "ReflectPadCrop",
    "dataset_info",
    "default_preprocessing",
    "eval_arrays",
    "eval_dataset",
    "load_arrays",
    "load_dataset",
]
