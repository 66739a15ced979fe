"""What happens at each step and epoch of a run: log, checkpoint, stop."""

import json
import math
import os
import signal
import sys
import threading
import time
from collections import deque
from pathlib import Path

import keras
import numpy as np

from keras_wrn.errors import Diverged, RunError, Stopped
from keras_wrn.files import replacing
from keras_wrn.runs.checkpoint import metrics_of, restore_metrics, state_of
from keras_wrn.runs.files import read_log

AHEAD = 8  # steps that may be under way on a device before the loss of the first is checked


class RunLog:
    """log.jsonl: one JSON object per epoch.

    Args:
        path: the file.
        keep_epochs: int, how many lines of an earlier run to keep: those of the epochs before the
            checkpoint.

    Raises:
        ValueError: one of these is damaged.
    """

    def __init__(self, path, keep_epochs=0):
        self.path = Path(path)
        # The line of an epoch after the checkpoint may be cut off; those before it are results.
        lines = read_log(self.path, keep_epochs) if self.path.exists() else []
        with replacing(self.path) as temporary:
            temporary.write_text("".join(json.dumps(line) + "\n" for line in lines))

    def write(self, values):
        with open(self.path, "a") as file:
            file.write(json.dumps(values) + "\n")
            file.flush()
            os.fsync(file.fileno())  # no checkpoint of an epoch without its line


class RunCallback(keras.callbacks.Callback):
    """Log each epoch, checkpoint at its end and on SIGTERM and SIGINT, stop when NaN appears.

    Args:
        checkpoints: `Checkpoints`.
        log: `RunLog`.
        steps: int, steps in an epoch.
        batch_size: int.
        start: int, the step of the run at which this `fit` begins.
        extras: dict, what the checkpoint kept besides the variables.
        placement: `Placement`: if there are several processes, the first writes.
    """

    def __init__(self, checkpoints, log, steps, batch_size, start, extras, placement):
        super().__init__()
        self.placement = placement
        self.checkpoints = checkpoints
        self.log = log
        self.steps = steps
        self.batch_size = batch_size
        self.step = start
        self.extras = dict(extras)
        self.signum = None
        self.stopping = False
        self.losses: deque = deque()

    def on_train_begin(self, logs=None):
        self.handlers = {}
        if threading.current_thread() is not threading.main_thread():
            return  # only the main thread may handle signals
        if self.placement.count > 1 and self.placement.link.handles_sigterm:
            self.handlers[signal.SIGINT] = signal.signal(signal.SIGINT, _as_sigterm)
            return
        for signum in (signal.SIGTERM, signal.SIGINT):
            self.handlers[signum] = signal.signal(signum, self._on_signal)

    def restore_handlers(self):
        for signum, handler in self.handlers.items():
            signal.signal(signum, handler)

    def on_train_end(self, logs=None):
        self.restore_handlers()

    def _on_signal(self, signum, frame):
        if self.signum is not None and signum == signal.SIGTERM:
            return  # launchers may send it twice
        if self.signum is not None:  # a second Ctrl-C: now
            self.restore_handlers()
            raise KeyboardInterrupt
        self.signum = signum
        print(f"\n{signal.Signals(signum).name}: saving and stopping after this step.")

    def on_epoch_begin(self, epoch, logs=None):
        self.begun = time.perf_counter() - float(self.extras.pop("seconds", 0.0))
        self.training_ended = None
        if self.extras:  # the rest of an epoch: its running means continue
            restore_metrics(self.model, self.extras)
            self.extras = {}

    def on_train_batch_end(self, batch, logs=None):
        self.step += 1
        self.losses.append((self.step, (logs or {}).get("loss", 0.0)))
        self._check_losses(AHEAD)
        self.stopping = self.placement.is_any_asked_to_stop(self.signum is not None, self.step)
        if self.stopping and self.step % self.steps:
            self._check_weights()
            self._save(seconds=np.float64(time.perf_counter() - self.begun))
            self._stop()

    def _check_losses(self, ahead):
        while len(self.losses) > ahead:
            step, loss = self.losses.popleft()
            if not math.isfinite(loss):
                self._diverged(f"The loss became {float(loss)}", step)

    def _diverged(self, what, step):
        self.restore_handlers()
        epoch, step = divmod(step - 1, self.steps)
        kept = self.checkpoints.directory if self.checkpoints.paths() else "not written yet"
        raise Diverged(
            f"{what} in epoch {epoch + 1}, after step {step + 1} of "
            f"{self.steps}. Begin another run with a lower --optimizer.learning-rate or with "
            f"--precision float32. The last checkpoint: {kept}"
        )

    def on_test_begin(self, logs=None):
        self._check_losses(0)
        self.training_ended = time.perf_counter()
        self.trained = metrics_of(self.model)  # the evaluation uses the same metrics

    def on_test_batch_end(self, batch, logs=None):
        if (
            self.signum is not None
            and self.placement.count == 1
            and self.training_ended is not None
        ):
            self._check_weights()
            seconds = np.float64(self.training_ended - self.begun)
            self._save(seconds=seconds, **self.trained)
            self._stop()

    def on_epoch_end(self, epoch, logs=None):
        logs = logs if logs is not None else {}
        self._check_weights()
        seconds = time.perf_counter() - self.begun
        training = (self.training_ended or time.perf_counter()) - self.begun
        optimizer = self.model.optimizer
        rate = float(keras.ops.convert_to_numpy(_rate_at(optimizer, self.step - 1)))
        logs["learning_rate"] = rate
        line = {
            "epoch": epoch + 1,
            "step": self.step,
            **{key: round(float(value), 6) for key, value in logs.items()},
            "seconds": round(seconds, 2),
            "images_per_second": round(self.steps * self.batch_size / training, 1),
        }
        self._save(line)
        # One process also stops if the signal came after the last step; several stop at a step.
        if self.stopping or (self.signum is not None and self.placement.count == 1):
            self._stop()

    def _check_weights(self):
        self._check_losses(0)
        # The loss is from before the last update, and ReLU can turn NaN into 0.
        for variable in self.model.variables:
            if not np.isfinite(keras.ops.convert_to_numpy(variable)).all():
                self._diverged(f"The weights {variable.path} became NaN or infinite", self.step)

    def _save(self, line=None, **extras):
        # On every process: on TensorFlow, reading the state sums over them.
        state = state_of(self.model) | extras

        def write():
            if line is not None:
                self.log.write(line)
            self.checkpoints.save(state, self.step)

        try:
            self.placement.on_chief(write)
        except OSError as error:
            self.restore_handlers()
            last = self.checkpoints.paths()[-1:]
            raise RunError(
                f"The state after step {self.step} cannot be written: {error}. The last "
                f"checkpoint: {last[0] if last else 'not written yet'}. Make room, and go on with "
                "--resume."
            ) from error

    def _stop(self):
        self.restore_handlers()
        raise Stopped(self.signum or signal.SIGTERM, self.checkpoints.directory)


def _as_sigterm(signum, frame):
    os.kill(os.getpid(), signal.SIGTERM)


def _rate_at(optimizer, step):
    rate = getattr(optimizer, "inner_optimizer", optimizer)._learning_rate
    return rate(step) if callable(rate) else rate


class RunCallbacks(keras.callbacks.CallbackList):
    """Callbacks that do not wait for the device at every step.

    A `RunCallback` gets the logs of a training step as they are, the progress bar gets those of
    some steps ago, and TensorBoard gets none, as it writes those of epochs. Keras' own list
    converts all of them to numbers.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.late: deque = deque()

    def on_epoch_begin(self, epoch, logs=None):
        self.late.clear()
        super().on_epoch_begin(epoch, logs)

    def on_train_batch_end(self, batch, logs=None):
        self.late.append(logs)
        past = self.late.popleft() if len(self.late) > AHEAD else {}
        for callback in self.callbacks:
            own = logs if isinstance(callback, RunCallback) else past
            if isinstance(callback, keras.callbacks.TensorBoard):
                own = {}
            callback.on_train_batch_end(batch, own)


def run_callbacks(trainer):
    """The callbacks of one `fit` of a `Trainer`, in order; they count the epochs of the run."""
    steps, start, recipe = trainer.steps, trainer.step, trainer.recipe
    is_chief = trainer.placement.is_chief
    callbacks = [
        RunCallback(
            trainer.checkpoints, trainer.log, steps, recipe.batch_size, start, trainer.extras,
            trainer.placement,
        )
    ]  # fmt: skip
    if is_chief:
        callbacks += _tensorboard(trainer.run_dir, say=not start)
    return RunCallbacks(
        callbacks, add_history=True, add_progbar=is_chief, model=trainer.model,
        epochs=recipe.epochs, steps=steps - start % steps, verbose=1 if sys.stdout.isatty() else 2,
    )  # fmt: skip


def _tensorboard(run_dir, say):
    try:
        import tensorboard  # noqa: F401
        import tensorflow  # noqa: F401
    except ImportError:
        if say:
            print("TensorBoard is off: it needs the packages tensorboard and tensorflow.")
        return []
    return [keras.callbacks.TensorBoard(str(run_dir / "tensorboard"), write_graph=False)]


def end_epoch(model, test, callbacks, epoch):
    """Evaluate and log an epoch that was stopped during its evaluation, as `fit` would have."""
    callbacks.on_train_begin()
    callbacks.on_epoch_begin(epoch)
    logs = {name: float(value) for name, value in model.get_metrics_result().items()}
    found = model.evaluate(test, verbose=0, return_dict=True, callbacks=callbacks)
    logs.update({f"val_{name}": value for name, value in found.items()})
    callbacks.on_epoch_end(epoch, logs)
    callbacks.on_train_end(logs)
