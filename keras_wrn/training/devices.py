"""Which devices a run uses, and in which precision."""

import contextlib
import os
from pathlib import Path

import keras

from keras_wrn.kernels import REWRITE
from keras_wrn.machine import cpu_facts

# On processors with one of these, TensorFlow uses oneDNN's kernels by default.
ON_BY_DEFAULT = frozenset("avx512_vnni avx512_bf16 avx_vnni amx_tile amx_int8 amx_bf16".split())


def resolve_precision(precision):
    """Return the precision that "auto" stands for on this machine; others stay as they are."""
    if precision != "auto":
        return precision
    return "bfloat16" if _has_bfloat16() else "float32"


def _has_bfloat16():
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
        if gpus:
            details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
            return all(d.get("compute_capability", (0, 0)) >= (8, 0) for d in details)
        return cpu_has_bfloat16()
    if backend == "jax":
        import jax

        return jax.default_backend() in ("gpu", "tpu")
    return False


def cpu_has_bfloat16():
    flags = cpu_facts("flags")
    return "avx512_bf16" in flags or "amx_bf16" in flags


def lacks_onednn():
    """Whether TensorFlow runs without oneDNN's kernels here just because they were not enabled.

    Importing keras_wrn enables them, unless TensorFlow was imported before.
    """
    flags = cpu_facts("flags").split()
    return (
        "TF_ENABLE_ONEDNN_OPTS" not in os.environ
        and uses_graph_rewrite()
        and "avx2" in flags
        and not ON_BY_DEFAULT.intersection(flags)
    )


def overlooked_gpu():
    """Whether TensorFlow does not see this machine's NVIDIA GPU, although nobody hid it."""
    hidden = "CUDA_VISIBLE_DEVICES" in os.environ
    return not hidden and Path("/dev/nvidia0").exists() and uses_graph_rewrite()


@contextlib.contextmanager
def precision_scope(precision):
    """Compute in a precision, while the weights stay float32.

    On a CPU with TensorFlow, bfloat16 comes from the oneDNN graph rewrite, which is faster there
    than Keras' dtype policy; everywhere else it comes from the policy. Both are restored on exit,
    and a function traced inside the scope is rewritten only when it is also called inside.
    """
    policy = keras.config.dtype_policy()
    if precision == "bfloat16" and uses_graph_rewrite():
        import tensorflow as tf

        # A context that starts with the option on keeps it for good, and in tf.data too.
        tf.config.list_logical_devices()
        options = {REWRITE: True}
        tf.config.optimizer.set_experimental_options(options)
        try:
            yield
        finally:
            options = {REWRITE: False}
            tf.config.optimizer.set_experimental_options(options)
        return
    keras.config.set_dtype_policy("float32" if precision == "float32" else f"mixed_{precision}")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(policy)


def uses_graph_rewrite():
    """Whether bfloat16 comes from oneDNN's graph rewrite: TensorFlow, and no GPU."""
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return not tf.config.list_physical_devices("GPU")


def make_strategy(name):
    """Return the `tf.distribute` strategy of that name, or None for one device without any.

    A CPU that is one device needs none: under a strategy an evaluation may wait, up to as long
    again as it took, for a sleeping `tf.data` thread (TensorFlow 2.21; benchmarks/NOTES.md). A
    lone GPU gets one, which moves batches to it ahead of their step.
    """
    if name == "none" or keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    devices = mirrored_devices(tf)
    if len(devices) == 1 and not tf.config.list_logical_devices("GPU"):
        return None
    return tf.distribute.MirroredStrategy(devices)


def mirrored_devices(tf):
    """All GPUs; if there are none, all logical CPU devices."""
    kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
    return [device.name for device in tf.config.list_logical_devices(kind)]
