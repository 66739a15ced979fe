"""From a dataset's name to batches, in one call."""

from keras_wrn.data.arrays import load_arrays
from keras_wrn.data.datasets import dataset_info
from keras_wrn.data.evaluation import eval_dataset
from keras_wrn.data.pipeline import Batches
from keras_wrn.data.preprocess import default_preprocessing


def load_dataset(
    name, split, *, batch_size=128, epochs=1, seed=0, data_dir=None, extra=True, validation=0,
    preprocessing=None, augmentation=None,
):  # fmt: skip
    """Make a `tf.data.Dataset` of batches, as a recipe trains or evaluates on.

    The training split is shuffled and augmented anew in each epoch, by `seed`, without its last
    short batch. The test and validation splits come once, in order and complete: in equal batches,
    the last of them padded with images of weight 0.

    Args:
        name: str, "cifar10", "cifar100", "svhn_cropped" or "digits"; see `load_arrays`.
        split: "train", "test" or "validation".
        batch_size: int.
        epochs: int, passes over the training split.
        seed: int, for order and augmentation.
        data_dir: path or None, where TFDS keeps its data; see `load_arrays`.
        extra: bool, whether the training split of SVHN has the `extra` images.
        validation: training images held out as the "validation" split: int, their number, or float
            below 1, their share.
        preprocessing: `Preprocessing`, None for the authors' constants. One with ZCA must be the
            one fitted on the training split; see `default_preprocessing`.
        augmentation: `Augmentation` of the training split, None for the dataset's own: crops and
            flips for CIFAR, nothing for SVHN.

    Returns:
        A `tf.data.Dataset`. Training: images float32 (batch, height, width, channels) and labels
        float32 (batch, classes), one-hot or mixed. Otherwise also weights float32 (batch,), which
        `model.evaluate` uses; see `eval_arrays`.

    Raises:
        DataError: the data is missing or unreadable.
        ValueError: an argument out of range.

    Example:

    ```python
    train = keras_wrn.data.load_dataset("digits", "train", batch_size=64, epochs=2)
    images, labels = next(iter(train))   # (64, 32, 32, 3), (64, 10)
    test = keras_wrn.data.load_dataset("digits", "test")
    ```
    """
    info = dataset_info(name)
    settings = {"data_dir": data_dir, "extra": extra, "validation": validation}
    images, labels = load_arrays(name, split, **settings)
    preprocessing = preprocessing or default_preprocessing(info)
    settings = {"batch_size": batch_size, "preprocessing": preprocessing}
    if split != "train":
        return eval_dataset(images, labels, info.classes, **settings)
    augmentation = augmentation or info.augmentation
    batches = Batches(
        images, labels, info.classes, seed=seed, augmentation=augmentation, **settings
    )
    return batches.dataset(epochs=epochs)
