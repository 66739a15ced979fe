"""Turns out-of-memory errors into advice."""

import contextlib

from keras_wrn.errors import RunError


@contextlib.contextmanager
def memory_explained(recipe, run_dir, replicas):
    """Turn an out-of-memory error into one that says what to do."""
    try:
        yield
    except Exception as error:
        known = isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError"
        if not known and "RESOURCE_EXHAUSTED" not in str(error):
            raise
        if "No space left" in str(error):  # TensorFlow raises the same error for it
            raise RunError(f"The disk of {run_dir} is full: {error}") from error
        batch = recipe.batch_size
        half = batch // 2 // replicas * replicas
        smaller = f"--batch-size {half} --scale-lr with another --run-dir, or " if half else ""
        raise RunError(
            f"Out of memory with a batch of {batch} images. Try {smaller}a smaller network. "
            f"Checkpoints, if any, are in {run_dir / 'checkpoints'}."
        ) from error
