"""From folder names to a model's labels."""

import numpy as np

from keras_wrn.data.imagenet import imagenet_classes, imagenet_names, with_id
from keras_wrn.data.names import first_word, one_form
from keras_wrn.errors import DataError


def label_numbers(folders):
    """The numbers that folders are named by, a list of int; None unless all are different numbers.

    "7" and "07" are both 7.
    """
    if not all(name.isascii() and name.isdecimal() for name in folders):
        return None
    numbers = [int(name) for name in folders]
    return numbers if len(set(numbers)) == len(numbers) else None


def labels_of_folders(folders, names, classes, path):
    """The model's label for each class sub-folder.

    Folders are named after the model's classes, or by their WordNet ids. They may also be numbered
    from 0 if the classes have no names, or if no folder has a class's name and there is a folder
    for each class.

    Args:
        folders: list of str, the names of the sub-folders.
        names: tuple of str, the model's class names, or ().
        classes: int, how many classes the model has.
        path: the folder they are in, for the message.

    Returns:
        int array (folders,).

    Raises:
        DataError: a folder is not one of the model's classes.
    """
    folders = [one_form(name) for name in folders]
    known = {name: label for label, name in enumerate(names)}
    ambiguous = {name for name in names if names.count(name) > 1}
    if names == imagenet_names():
        known |= {wnid: label for label, (wnid, _) in enumerate(imagenet_classes())}
    else:  # classes named by WordNet ids get readable names in a fine-tuned model
        for wnid, name in imagenet_classes():
            for readable in (with_id(wnid, name), name):
                if readable in known:
                    known.setdefault(wnid, known[readable])
    numbers = label_numbers(folders)
    whole = not names or (len(folders) == classes and not set(folders) & set(names))
    if numbers and whole and max(numbers) < classes:
        if len(numbers) > 1 and sorted(numbers) == list(range(1, len(numbers) + 1)):
            raise DataError(
                f"Expected the classes of {path} to be named by the model's labels, which count "
                f"from 0. Received: 1 to {len(numbers)}, without 0; if these are labels "
                "indeed, give the model's preprocessing the class names '0', '1', ..."
            )
        return np.array(numbers)
    unknown = [name for name in folders if name not in known or name in ambiguous]
    if unknown:
        such = f"after the model's classes, such as {', '.join(map(first_word, names[:3]))}"
        such = such if names else f"by the model's labels, 0 to {classes - 1}, as it has no names"
        raise DataError(
            f"Expected the classes of {path} to be named {such}. Received: "
            f"{', '.join(unknown[:5])}{', ...' if len(unknown) > 5 else ''}"
        )
    return np.array([known[name] for name in folders])
