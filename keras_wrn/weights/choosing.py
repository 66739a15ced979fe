"""Finds the network's weights among the contents of a checkpoint."""

import re

import numpy as np

from keras_wrn.errors import WeightsError

# Keys under which published code keeps its tensors, the likeliest first.
KEYS = (
    "state_dict_ema", "model_ema", "ema_state_dict", "ema_model", "ema", "state_dict",
    "model_state_dict", "model", "params", "net", "net_state_dict", "network", "weights", "student",
)  # fmt: skip
AVERAGED = {"ema", "swa", "avg", "average", "averaged"}  # words in a key
PREFIXES = ("module.", "_orig_mod.", "model.", "net.")
AVERAGING = ("steps", "n_averaged")  # counters of averaged weights, beside the tensors


def choose(loaded, what="the checkpoint", weights=None):
    """Choose the tensors that are a network's weights from the contents of a checkpoint.

    Every dictionary of tensors in it counts, however deep. Averaged weights come first; then the
    keys that published code uses. From mmengine's files "state_dict" is taken: there it holds the
    averaged weights, and "ema_state_dict" the others.

    Args:
        loaded: the checkpoint's contents.
        what: str, the file, for messages.
        weights: str, the key of the weights to take, such as "model", or "train.model" for a nested
            dictionary. None for the likeliest.

    Returns:
        dict from name to NumPy array, without prefixes that all names share ("module.", ...); the
        key it was taken from ("" for the whole); and the other keys that hold weights.

    Raises:
        WeightsError: there are no tensors, or none under that key, or it is unclear which to take.
    """
    found = dict(_dictionaries(loaded, set()))
    if not found:
        raise WeightsError(
            f"There are no tensors in {what}. Expected a state dict. Received: {_kind(loaded)}"
        )
    # Drop others, such as a number that is kept as a tensor beside a state dict.
    most = max(map(_dimensions, found.values()))
    found = {key: value for key, value in found.items() if _dimensions(value) == most}
    if weights is not None and weights not in found:
        raise WeightsError(
            f"Expected one of the weights in {what}: {_listed(found)}. "
            f"Received: weights={weights!r}"
        )
    mmengine = isinstance(loaded, dict) and (
        "message_hub" in loaded or "steps" in _dict(loaded.get("ema_state_dict"))
    )
    ranks = {key: _rank(key, mmengine) for key in found}
    likeliest = [key for key in found if ranks[key] == min(ranks.values())]
    if weights is None and len(likeliest) > 1:
        raise WeightsError(
            f"There are several sets of weights in {what}: {_listed(found)}. Say which is meant "
            "with `weights` (--weights on the command line)."
        )
    taken = likeliest[0] if weights is None else weights
    tensors = {str(name): array(value) for name, value in _tensors(found[taken])}
    for prefix in PREFIXES * 2:
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    return tensors, taken, tuple(key for key in found if key != taken)


def array(value):
    """A tensor as a NumPy array; float types that NumPy lacks become float32."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        return (value.float() if value.is_floating_point() else value).numpy()
    short = value.dtype.name.startswith(("bfloat16", "float8"))
    return value.astype("float32") if short else value


def _is_tensor(value):
    return isinstance(value, np.ndarray) or (hasattr(value, "detach") and hasattr(value, "dtype"))


def _tensors(found):
    return [(k, v) for k, v in found.items() if k not in AVERAGING and _is_tensor(v)]


def _dictionaries(found, seen, path=()):
    """The dictionaries that hold tensors, with the keys that lead to them."""
    if not isinstance(found, dict) or id(found) in seen:
        return
    seen.add(id(found))
    if _tensors(found):
        yield ".".join(path), found
    for key, value in found.items():
        # An optimizer keeps averages too, but of gradients.
        if isinstance(key, str) and not key.lower().startswith("optim"):
            yield from _dictionaries(value, seen, (*path, key))


def _dimensions(found):
    """The most dimensions of its tensors, capped at 2: a network has at least one matrix."""
    return min(2, max(len(value.shape) for _, value in _tensors(found)))


def _rank(key, mmengine):
    """A sort key: the likeliest one to be meant is the smallest."""
    if key == "":
        return 1, ()
    parts = key.split(".")
    averaged = any(AVERAGED.intersection(re.split("[^a-z]+", part.lower())) for part in parts)
    if mmengine:
        averaged = key == "state_dict"
    places = tuple(KEYS.index(part) if part in KEYS else len(KEYS) for part in parts)
    return int(not averaged), places


def _dict(value):
    return value if isinstance(value, dict) else {}


def _listed(found):
    return ", ".join(repr(key) for key in found)


def _kind(loaded):
    if not isinstance(loaded, dict):
        return f"a {type(loaded).__name__}"
    return f"the keys {', '.join(map(str, list(loaded)[:20]))}" if loaded else "an empty dictionary"
