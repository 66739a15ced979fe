"""What a run says before it trains."""

from keras_wrn.catalog.announce import random_line
from keras_wrn.optim.schedules import WARM_UP_EPOCHS
from keras_wrn.recipe import SMOKE
from keras_wrn.training.devices import lacks_onednn, overlooked_gpu
from keras_wrn.training.outcome import size_of

FEW_STEPS = 100


def opening_lines(recipe, model, data, placement):
    """The lines that say what is trained, on what, and what to know about it."""
    replicas = placement.replicas
    of = "made up in place of" if recipe.name.endswith(SMOKE) else "of"
    training, held_out = data.counts
    lines = [
        f"{recipe.name}: {model.name}, {size_of(model.trainable_weights):,} parameters to train, "
        f"{training:,} training and {held_out:,} held-out images {of} "
        f"{recipe.data.dataset}, {placement.precision}"
    ]
    start = "" if recipe.model.weights else random_line(recipe.model.name)
    if start:
        lines.append(start)
    lines += data.notes
    per_epoch = training // recipe.batch_size
    steps = recipe.epochs * per_epoch
    if steps < FEW_STEPS and not recipe.name.endswith(SMOKE):
        lines.append(
            f"Warning: {steps} steps of training ({recipe.epochs} x {per_epoch}) are few to learn "
            "from: take more --epochs or a smaller --batch-size"
        )
    scale = recipe.batch_size / recipe.rate_batch
    if recipe.scale_lr and scale != 1:
        lines.append(
            f"The learning rate is {scale:g} times that of the recipe"
            + (f", after a rise over {WARM_UP_EPOCHS} epochs" if scale > 1 else "")
        )
    elif scale != 1:
        lines.append(
            f"Warning: the learning rate was chosen for a batch of {recipe.rate_batch} images, and "
            f"this is one of {recipe.batch_size}: expect another accuracy (WRN-28-10 at batch 512 "
            "loses 2 points on CIFAR-100), or try --scale-lr"
        )
    if replicas > 1:
        processes = f" of {placement.count} processes" if placement.count > 1 else ""
        together = placement.strategy is None or recipe.sync_batch_norm
        norm = "over all of them" if together else "of each, its moving statistics averaged"
        jit = (
            ""
            if placement.strategy is None
            else "; jit_compile is off, it fails on several devices"
        )
        lines.append(
            f"{replicas} devices{processes}, {recipe.batch_size // replicas} images each: batch "
            f"norm {norm}{jit}"
        )
    if idle := placement.idle_devices():
        lines.append(
            f"{idle} devices stay idle: on JAX, --strategy multi-host --hosts.processes 1 takes all"
        )
    if overlooked_gpu():
        lines.append(
            "Warning: TensorFlow does not see this machine's NVIDIA GPU; KERAS_WRN_VERBOSE=1 shows "
            "why"
        )
    if lacks_onednn():
        lines.append(
            "Warning: TensorFlow was imported before keras_wrn, without oneDNN: steps take about "
            "twice as long. Import keras_wrn first, or set TF_ENABLE_ONEDNN_OPTS=1"
        )
    return "\n".join(lines)
