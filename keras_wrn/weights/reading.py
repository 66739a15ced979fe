"""Errors for weights that cannot be read, with the file's name in them."""

import contextlib
import errno

from keras_wrn.errors import WeightsError


@contextlib.contextmanager
def reading(path, otherwise):
    """Name the file in any failure to read it, and say that it is damaged or `otherwise`.

    Errors from the system, such as a missing permission, stay as they are.
    """
    try:
        yield
    except WeightsError as error:
        raise error if str(path) in str(error) else WeightsError(f"{path}: {error}") from error
    except ImportError as error:
        raise WeightsError(f"{path} cannot be read: {error}") from error
    except MemoryError as error:
        raise WeightsError(f"{path} asks for more memory than there is.") from error
    except Exception as error:  # readers of damaged files raise what they like
        if isinstance(error, OSError) and error.errno not in (None, errno.ENOENT):
            raise
        reason = " ".join(str(error).split())[:500] or type(error).__name__
        raise WeightsError(
            f"{path} cannot be read: it is damaged or cut off, or {otherwise}. {reason}"
        ) from error
