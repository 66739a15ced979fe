"""Images in: datasets, preprocessing, augmentation, batches."""

from keras_wrn.data.array_files import save_array_files
from keras_wrn.data.arrays import load_arrays
from keras_wrn.data.augment import ReflectPadCrop
from keras_wrn.data.augmentation import Augmentation
from keras_wrn.data.corruptions import CORRUPTIONS, corrupt
from keras_wrn.data.datasets import DATASETS, dataset_info
from keras_wrn.data.evaluation import eval_arrays, eval_dataset
from keras_wrn.data.imagenet import decode_predictions, imagenet_classes, preprocess_input
from keras_wrn.data.load import load_dataset
from keras_wrn.data.pipeline import Batches
from keras_wrn.data.preprocess import ZCA, Preprocessing, default_preprocessing
from keras_wrn.data.views import views_of
from keras_wrn.errors import DataError

__all__ = [
    "CORRUPTIONS",
    "DATASETS",
    "ZCA",
    "Augmentation",
    "Batches",
    "DataError",
    "Preprocessing",
    "ReflectPadCrop",
    "corrupt",
    "dataset_info",
    "decode_predictions",
    "default_preprocessing",
    "eval_arrays",
    "eval_dataset",
    "imagenet_classes",
    "load_arrays",
    "load_dataset",
    "preprocess_input",
    "save_array_files",
    "views_of",
]
