"""Numeric checks, used everywhere."""

import dataclasses
import math
import numbers
import typing


@dataclasses.dataclass(frozen=True)
class Range:
    """The allowed range of a numeric field: `dropout: Annotated[float, Range(0, 1)] = 0.0`.

    Args:
        low, high: float, the ends.
        ends: str of two brackets, as in "[)". A square bracket includes its end.
    """

    low: float
    high: float = math.inf
    ends: str = "[)"

    def __contains__(self, value):
        above = value >= self.low if self.ends[0] == "[" else value > self.low
        return above and (value <= self.high if self.ends[1] == "]" else value < self.high)

    def __str__(self):
        if self.high == math.inf:
            return f"{self.low} or more" if self.ends[0] == "[" else f"above {self.low}"
        return f"in {self.ends[0]}{self.low}, {self.high}{self.ends[1]}"


def out_of_range(part, prefix=""):
    """Yield a sentence for each field of a dataclass whose value is not in its `Range`."""
    for name, hint in typing.get_type_hints(type(part), include_extras=True).items():
        value = getattr(part, name)
        for limit in getattr(hint, "__metadata__", ()):
            if not isinstance(limit, Range):
                continue
            if value is None or value not in limit:
                yield f"`{prefix}{name}` should be {limit}, received {value!r}"
            elif hint.__origin__ is int and not is_int(value):
                yield f"`{prefix}{name}` should be a whole number, received {value!r}"


def is_int(value):
    """Whether a value is a Python or NumPy integer. A bool is not."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def check_count(name, value, most=None):
    """Check that an argument is a count of 1 or more, and return it as an int.

    Raises:
        ValueError: it is not an integer, is below 1, or is above `most`; the message has the
            `name`.
    """
    if is_int(value) and value >= 1 and (most is None or value <= most):
        return int(value)
    expected = "a positive integer" if most is None else f"in 1..{most}"
    raise ValueError(f"`{name}` should be {expected}. Received: {name}={value!r}")
