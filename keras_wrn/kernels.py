"""TensorFlow features that Keras does not expose: kernels, and the replicas of a strategy.

Nothing here is called on another backend. TensorFlow is imported where it is used.
"""

import math

import keras

REWRITE = "auto_mixed_precision_onednn_bfloat16"
STRIP_WIDTH = 288  # pixels, at most
SMALL = (8, 256), (16, 320)  # small maps: the most pixels per side, and the fewest channels
APART = 1_000_003  # the distance between the seeds of two replicas


def on_tensorflow():
    """Whether Keras runs on TensorFlow, so that the functions below may be called."""
    return keras.backend.backend() == "tensorflow"


def replicas():
    """The number of replicas in the current `tf.distribute` strategy."""
    if not on_tensorflow():
        return 1
    import tensorflow as tf

    return tf.distribute.get_strategy().num_replicas_in_sync


def replica_dropout(inputs, rate, noise_shape, seed):
    """Dropout with a different mask on each replica, from a seed that all replicas share."""
    import tensorflow as tf

    number = tf.cast(tf.distribute.get_replica_context().replica_id_in_sync_group, "int32")
    # The second number counts the calls: the replica goes into the first.
    first, calls = tf.unstack(tf.cast(seed, "int32"))
    seed = tf.stack([first + APART * number, calls])
    return tf.nn.experimental.stateless_dropout(
        inputs, rate=rate, noise_shape=noise_shape, seed=seed
    )


def fused_batch_norm(x, gamma, beta, moving_mean, moving_variance, epsilon, training):
    """Batch norm of x (batch, height, width, channels) over all axes but channels, in one kernel.

    Returns:
        The result; and, in training, the batch's mean and unbiased variance, float32 (channels,).
    """
    import tensorflow as tf

    # The kernel takes these only as float32, whatever the dtype of the images.
    gamma, beta, moving_mean, moving_variance = (
        tf.cast(tf.convert_to_tensor(variable), tf.float32)
        for variable in (gamma, beta, moving_mean, moving_variance)
    )
    empty = tf.zeros((0,))
    y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=x,
        scale=gamma,
        offset=beta,
        mean=empty if training else moving_mean,
        variance=empty if training else moving_variance,
        epsilon=epsilon,
        is_training=training,
    )
    return y, mean, variance


def momentum_step(variable, velocity, gradient, rate, momentum, nesterov):
    """Torch's SGD step in one pass over memory, where Keras' operations take five."""
    import tensorflow as tf

    # Under a strategy Keras gives the replica's own tf.Variable.
    variable = variable.value if isinstance(variable, keras.Variable) else variable
    tf.raw_ops.ResourceApplyMomentum(
        var=variable.handle,
        accum=velocity.value.handle,
        lr=rate,
        grad=gradient,
        momentum=tf.constant(momentum, velocity.dtype),
        use_nesterov=nesterov,
    )


def strips_pay(inputs):
    """Whether `conv_in_strips` is faster on images (batch, height, width, channels)."""
    import tensorflow as tf

    *known, channels = inputs.shape
    if None in known:
        return False
    small = any(max(known[1:]) <= side and channels >= least for side, least in SMALL)
    # This option is on if TensorFlow itself rewrites a float32 step to use bfloat16.
    rewrite = tf.config.optimizer.get_experimental_options().get(REWRITE, False)
    low = inputs.dtype == tf.bfloat16 or rewrite
    return small and low and not tf.config.list_physical_devices("GPU")


def conv_in_strips(inputs, kernel):
    """A 3x3 convolution whose kernel gradient is computed from strips of images."""
    import tensorflow as tf

    @tf.custom_gradient
    def convolve(inputs, kernel):
        def gradient(upstream):
            raw = tf.raw_ops
            by_inputs = raw.Conv2DBackpropInput(
                input_sizes=tf.shape(inputs), filter=kernel, out_backprop=upstream,
                strides=[1] * 4, padding="SAME",
            )  # fmt: skip
            by_kernel = raw.Conv2DBackpropFilter(
                input=_strips(inputs), filter_sizes=kernel.shape, out_backprop=_strips(upstream),
                strides=[1] * 4, padding="SAME",
            )  # fmt: skip
            return by_inputs, by_kernel

        return tf.nn.conv2d(inputs, kernel, 1, "SAME"), gradient

    return convolve(inputs, tf.convert_to_tensor(kernel, inputs.dtype))


def _strips(images):
    """(n, h, w, c) to (strips, h, (n / strips) (w + 1), c); added images and columns are zero."""
    import tensorflow as tf

    count, height, width, channels = images.shape
    strips = math.ceil(count / (STRIP_WIDTH // (width + 1)))
    long = math.ceil(count / strips)
    images = tf.pad(images, [[0, strips * long - count], [0, 0], [0, 1], [0, 0]])
    apart = tf.reshape(images, (strips, long, height, width + 1, channels))
    together = tf.transpose(apart, (0, 2, 1, 3, 4))
    return tf.reshape(together, (strips, height, long * (width + 1), channels))


def after(done, value):
    """A value that is not used before another tensor is computed."""
    import tensorflow as tf

    with tf.control_dependencies([done]):
        return tf.identity(value)
