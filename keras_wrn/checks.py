"""Checks of numbers, used everywhere."""

import numbers


def is_int(value):
    """Whether a value is an integer, of Python or NumPy, which a bool is not."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def check_count(name, value, most=None):
    """The value of an argument as an int, once it is known to be a count of 1 or more.

    Raises:
        ValueError: it is no integer, below 1, or above `most`; the message has the `name`.
    """
    if is_int(value) and value >= 1 and (most is None or value <= most):
        return int(value)
    expected = "a positive integer" if most is None else f"in 1..{most}"
    raise ValueError(f"`{name}` should be {expected}. Received: {name}={value!r}")
