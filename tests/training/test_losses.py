"""A loss that is no number ends a run; looking at it does not hold up the device."""

import dataclasses

import keras
import numpy as np
import pytest
from tiny import PLAIN

from keras_wrn.errors import Diverged
from keras_wrn.runs.checkpoint import Checkpoints
from keras_wrn.training import callbacks as run_callbacks
from keras_wrn.training.placement import Placement
from keras_wrn.training.run import run

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="exports need the TensorFlow backend"
)


def test_nan_stops_the_run_and_says_where(tmp_path):
    optimizer = dataclasses.replace(PLAIN.optimizer, learning_rate=1e30)
    recipe = dataclasses.replace(PLAIN, optimizer=optimizer)
    with pytest.raises(Diverged, match=r"epoch \d, after step \d of 4"):
        run(recipe, run_dir=tmp_path / "nan", made_up=True)


def test_a_device_may_be_some_steps_ahead_of_its_losses():
    """Looking at a loss waits for the device: only that of some steps ago is looked at."""

    class Loss:
        def __init__(self, value):
            self.value, self.looked_at = value, 0

        def __float__(self):
            self.looked_at += 1
            return self.value

    class Bar(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            shown.append(logs.get("loss"))

    class Board(keras.callbacks.TensorBoard):
        def on_train_batch_end(self, batch, logs=None):
            written.update(logs)

    shown, written = [], {}
    callback = run_callbacks.RunCallback(None, None, 40, 16, 0, {}, Placement())
    listed = run_callbacks.RunCallbacks([callback, Bar(), Board()], add_history=True)
    losses = [Loss(1.0) for _ in range(20)]
    for step, loss in enumerate(losses):
        listed.on_train_batch_end(step, {"loss": loss})
    looked_at = 20 - run_callbacks.AHEAD
    assert [loss.looked_at for loss in losses] == [1] * looked_at + [0] * run_callbacks.AHEAD
    assert shown == [None] * run_callbacks.AHEAD + losses[:looked_at] and not written

    callback.handlers = {}
    callback.checkpoints = Checkpoints("nowhere")
    listed.on_train_batch_end(20, {"loss": Loss(np.nan)})
    with pytest.raises(Diverged, match="The loss became nan in epoch 1, after step 21 of 40"):
        for step in range(21, 40):
            listed.on_train_batch_end(step, {"loss": Loss(1.0)})
    assert callback.step == 21 + run_callbacks.AHEAD

    listed.on_epoch_begin(1)  # whose first steps show nothing of the last epoch
    listed.on_train_batch_end(0, {"loss": 1.0})
    assert shown[-1] is None


def test_nan_after_the_last_step_of_an_epoch_is_not_kept(tmp_path, monkeypatch):
    original = run_callbacks.RunCallback.on_train_batch_end

    def break_weights(self, batch, logs=None):
        original(self, batch, logs)
        if self.step == 8:
            self.model.weights[0].assign(self.model.weights[0] * np.nan)

    monkeypatch.setattr(run_callbacks.RunCallback, "on_train_batch_end", break_weights)
    run_dir = tmp_path / "nan"
    where = r"weights conv1/kernel became NaN or infinite in epoch 2, after step 4 of 4.*check"
    with pytest.raises(Diverged, match=where):
        run(PLAIN, run_dir=run_dir, made_up=True)
    assert [path.name for path in (run_dir / "checkpoints").iterdir()] == ["step-00000004.npz"]
    assert "NaN" not in (run_dir / "log.jsonl").read_text()
    monkeypatch.undo()
    assert run(PLAIN, run_dir=run_dir, made_up=True, resume=True)["epochs"] == 2
