"""What a server has to answer: our signatures' outputs, one row for each image."""

import numpy as np

from keras_wrn.results import result_of


class WrongAnswer(Exception):
    """An answer that none of our SavedModels gives; says what was expected."""


def states(answer):
    """The state of each version, dict such as {1: "AVAILABLE"}, from a model's status.

    Raises:
        WrongAnswer: it is not a model's status.
    """
    found = answer.get("model_version_status")
    try:
        states = {int(entry["version"]): entry["state"] for entry in found}
    except (TypeError, KeyError, ValueError):
        states = {0: None}
    if not all(isinstance(state, str) for state in states.values()):
        raise WrongAnswer(
            "Expected `model_version_status`, a list of versions with their states. Received: "
            f"{_shown(found)}"
        )
    return states


def predicted(outputs, count):
    """`probabilities` and `logits`, both float32 (count, classes).

    Raises:
        WrongAnswer: an output is missing, has another shape or type, or is not finite.
    """
    found = {name: _numbers(outputs, name, count) for name in ("probabilities", "logits")}
    shapes = [value.shape for value in found.values()]
    if shapes[0] != shapes[1]:
        raise WrongAnswer(
            f"Expected as many `logits` as `probabilities`. Received: shapes {shapes[1]} and "
            f"{shapes[0]}"
        )
    return found


def classified(outputs, count):
    """What `ServingClient.classify` returns for each of `count` images, a list.

    Raises:
        WrongAnswer: an output is missing, has another shape or type, or is not finite.
    """
    valid = _array(outputs, "valid", "b", "booleans")
    scores = _numbers(outputs, "scores", count)
    indices = _array(outputs, "indices", "iu", "integers")
    classes = _array(outputs, "classes", "USO", "strings")
    for name, found, shape in (
        ("valid", valid, (count,)), ("indices", indices, scores.shape),
        ("classes", classes, scores.shape),
    ):  # fmt: skip
        if found.shape != shape:
            raise WrongAnswer(f"Expected `{name}` of shape {shape}. Received: shape {found.shape}")
    names = np.array([_text(name) for name in classes.flat], object).reshape(classes.shape)
    return [_result(*row) for row in zip(valid, indices, names, scores, strict=True)]


def detected(outputs, count):
    """What `ServingClient.detect` returns for each of `count` images, a list.

    Raises:
        WrongAnswer: an output is missing, has another shape or type, or is not finite.
    """
    scores = _numbers(outputs, "scores", count)
    most = scores.shape[1]
    found = {
        "valid": _array(outputs, "valid", "b", "booleans"),
        "count": _array(outputs, "count", "iu", "integers"),
        "labels": _array(outputs, "labels", "iu", "integers"),
        "classes": _array(outputs, "classes", "USO", "strings"),
        "boxes": _array(outputs, "boxes", "fiu", "numbers"),
    }
    shapes = {"valid": (count,), "count": (count,), "boxes": (count, most, 4)}
    for name, value in found.items():
        shape = shapes.get(name, (count, most))
        if value.shape != shape:
            raise WrongAnswer(f"Expected `{name}` of shape {shape}. Received: shape {value.shape}")
    boxes = found["boxes"].astype("float32")
    if not np.isfinite(boxes).all():
        raise WrongAnswer(f"Expected `boxes` that are finite. Received: {_shown(boxes.tolist())}")
    counts = found["count"]
    if (counts < 0).any() or (counts > most).any():
        raise WrongAnswer(f"Expected `count` in 0..{most}. Received: {_shown(counts.tolist())}")
    return [
        {
            "valid": bool(found["valid"][i]),
            "boxes": boxes[i, :number],
            "scores": scores[i, :number],
            "labels": found["labels"][i, :number].astype("int32"),
            "classes": [_text(name) for name in found["classes"][i, :number]],
        }
        for i, number in enumerate(counts)
    ]


def inspected(outputs, count):
    """What `ServingClient.inspect` returns for each of `count` images, a list.

    Raises:
        WrongAnswer: an output is missing, has another shape or type, or is not finite.
    """
    found = {
        "valid": _array(outputs, "valid", "b", "booleans"),
        "is_anomaly": _array(outputs, "is_anomaly", "b", "booleans"),
        "score": _array(outputs, "score", "fiu", "numbers"),
        "map": _array(outputs, "map", "fiu", "numbers"),
    }
    for name, value in found.items():
        rank = 3 if name == "map" else 1
        if value.ndim != rank or len(value) != count:
            raise WrongAnswer(
                f"Expected `{name}` of {count} rows and rank {rank}. Received: shape {value.shape}"
            )
        if not np.isfinite(value).all():
            raise WrongAnswer(f"Expected `{name}` that is finite. Received: {_shown(value)}")
    return [
        {
            "valid": bool(found["valid"][i]),
            "score": float(found["score"][i]),
            "is_anomaly": bool(found["is_anomaly"][i]),
            "map": found["map"][i].astype("float32"),
        }
        for i in range(count)
    ]


def _result(valid, indices, classes, scores):
    if not valid:
        nothing = {"pred_label": -1, "pred_score": 0.0, "pred_class": "", "top_k": []}
        return {"valid": False, **nothing}
    top = [
        {"label": int(index), "class": name, "score": float(score)}
        for index, name, score in zip(indices, classes, scores, strict=True)
    ]
    return {"valid": True, **result_of(top)}


def _numbers(outputs, name, count):
    """An output as float32 (count, at least 1), finite."""
    found = _array(outputs, name, "fiu", "numbers")
    if found.ndim != 2 or len(found) != count or not found.shape[1]:
        raise WrongAnswer(
            f"Expected `{name}` of shape ({count}, classes). Received: shape {found.shape}"
        )
    with np.errstate(over="ignore"):
        found = found.astype("float32", copy=False)
    if not np.isfinite(found).all():
        raise WrongAnswer(f"Expected `{name}` that are finite. Received: {_shown(found.tolist())}")
    return found


def _array(outputs, name, kinds, words):
    """An output as an array whose type is one of `kinds`, which messages call `words`."""
    if name not in outputs:
        raise WrongAnswer(f"Expected an output `{name}`. Received: {_shown(sorted(outputs))}")
    try:
        found = np.asarray(outputs[name])
    except (ValueError, OverflowError):  # rows of different lengths
        found = np.array(None)
    if found.dtype.kind not in kinds:
        raise WrongAnswer(
            f"Expected `{name}` to be {words}. Received: {_shown(outputs[name], found.dtype)}"
        )
    return found


def _text(name):
    try:
        text = name.decode() if isinstance(name, bytes) else name
    except UnicodeDecodeError:
        text = None
    if not isinstance(text, str):
        raise WrongAnswer(f"Expected `classes` to be strings in UTF-8. Received: {_shown(name)}")
    return str(text)


def _shown(value, dtype=None):
    """A value, shortened to fit into a message."""
    text = repr(value)
    return (text if len(text) <= 80 else f"{text[:77]}...") + (f", {dtype}" if dtype else "")
