"""Distillation: the losses by hand, one pass of the student, and runs with a teacher."""

import dataclasses
import signal

import keras
import numpy as np
import pytest
from tiny import PLAIN

import keras_wrn
from keras_wrn.errors import Stopped
from keras_wrn.runs.files import read_log
from keras_wrn.training import DistillConfig, Distiller, callbacks
from keras_wrn.training.distill import AttentionTransfer, SoftDivergence, attention_map
from keras_wrn.training.run import run

RNG = np.random.default_rng(0)
X = RNG.normal(size=(6, 16, 16, 3)).astype("float32")
Y = np.eye(5, dtype="float32")[[0, 1, 2, 3, 4, 0]]


def network(depth=10, width=1, **arguments):
    settings = {"classes": 5, "input_shape": (16, 16, 3), "classifier_activation": None}
    return keras_wrn.WideResNet(depth, width, **{**settings, **arguments})


def compiled(model, rate=0.0):
    # Momentum 0 and no decay: only what the gradient does counts.
    optimizer = keras_wrn.SGD(rate, momentum=0.0, nesterov=False, weight_decay=0.0)
    model.compile(
        optimizer, keras.losses.CategoricalCrossentropy(from_logits=True), jit_compile=False
    )
    return model


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def q(features):
    energy = (np.asarray(features) ** 2).mean(-1).reshape(len(features), -1)
    return energy / np.linalg.norm(energy, axis=-1, keepdims=True)


@pytest.mark.parametrize(("logits", "attention"), [(0.9, 0.0), (0.0, 100.0), (0.7, 50.0)])
def test_the_loss_is_that_of_the_papers(logits, attention):
    student, teacher = network(), network(16, 2)
    distiller = compiled(Distiller(student, teacher, logits=logits, attention=attention))
    # Training mode, before the first update moves anything: batch statistics in the student.
    answer = np.asarray(student(X, training=True))
    wanted = np.asarray(teacher(X, training=False))
    labels = -(Y * np.log(softmax(answer))).sum(-1).mean()
    p, r = softmax(wanted / 4), softmax(answer / 4)
    expected = (1 - logits) * labels + logits * 16 * (p * np.log(p / r)).sum(-1).mean()
    if attention:
        for group in (1, 2, 3):
            ours = keras.Model(student.input, student.get_layer(f"group{group}_block1_add").output)
            theirs = keras.Model(
                teacher.input, teacher.get_layer(f"group{group}_block2_add").output
            )
            difference = q(ours(X, training=True)) - q(theirs(X, training=False))
            expected += attention * (difference**2).mean()
    history = distiller.fit(X, Y, batch_size=6, verbose=0).history
    assert history["loss"][0] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    "loss", [SoftDivergence(3.0, reduction="sum"), AttentionTransfer(name="maps")]
)
def test_the_losses_are_made_anew_from_their_configurations(loss):
    stored = keras.losses.serialize(loss)
    shape = (6, 5) if isinstance(loss, SoftDivergence) else (6, 4, 4, 5)
    a, b = (RNG.normal(size=shape).astype("float32") for _ in range(2))
    for other in (type(loss).from_config(loss.get_config()), keras.losses.deserialize(stored)):
        assert type(other) is type(loss) and other.get_config() == loss.get_config()
        np.testing.assert_allclose(other(a, b), loss(a, b), rtol=1e-6)


def test_evaluation_has_the_loss_on_the_labels_and_weights_of_images():
    student, teacher = network(), network(16, 2)
    distiller = compiled(Distiller(student, teacher, attention=10.0))
    plain = compiled(keras.Model(student.input, student.output))
    weights = np.array([1, 1, 1, 0, 0, 2], "float32")
    for settings in ({}, {"sample_weight": weights}):
        losses = [model.evaluate(X, Y, verbose=0, **settings) for model in (distiller, plain)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-6)


def test_the_student_passes_once_a_step_and_the_teacher_stays():
    student, teacher = network(), network(16, 2)
    twin = network()
    twin.set_weights(student.get_weights())
    before = [np.copy(keras.ops.convert_to_numpy(v)) for v in teacher.variables]
    distiller = compiled(Distiller(student, teacher, attention=10.0))
    distiller.fit(X, Y, batch_size=6, verbose=0)
    compiled(twin).fit(X, Y, batch_size=6, verbose=0)
    for a, b in zip(student.variables, twin.variables, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6, err_msg=a.path)
    for a, b in zip(before, teacher.variables, strict=True):
        np.testing.assert_array_equal(a, b)
    assert len(distiller.trainable_variables) == len(student.trainable_variables)


def test_a_student_comes_closer_to_its_teacher():
    keras.utils.set_random_seed(0)
    student, teacher = network(), network(16, 2)
    distiller = compiled(Distiller(student, teacher, logits=0.99, attention=10.0), rate=0.02)
    losses = distiller.fit(X, Y, batch_size=6, epochs=30, verbose=0).history["loss"]
    assert losses[-1] < 0.8 * losses[0]


def test_attention_maps_have_length_1():
    maps = np.asarray(attention_map(X))
    assert maps.shape == (6, 256)
    np.testing.assert_allclose(np.linalg.norm(maps, axis=-1), 1, rtol=1e-5)
    assert np.isfinite(np.asarray(attention_map(np.zeros((1, 4, 4, 2), "float32")))).all()


@pytest.mark.parametrize(
    ("teacher", "settings", "message"),
    [
        ({"classes": 4}, {}, r"student's output_shape \(None, 5\)"),
        ({"input_shape": (8, 8, 3)}, {}, "student's input_shape"),
        ({}, {"logits": 1.0}, "`logits` should be in"),
        ({}, {"temperature": 0}, "`temperature` above 0"),
        ({}, {"attention": -1}, "`attention` 0 or more"),
    ],
)
def test_what_does_not_fit_is_refused(teacher, settings, message):
    with pytest.raises(ValueError, match=message):
        Distiller(network(), network(16, 2, **teacher), **settings)


def test_attention_needs_stages_of_the_same_sizes():
    resnet = keras_wrn.WideResNet18(
        0.25, input_shape=(32, 32, 3), classes=5, classifier_activation=None
    )
    with pytest.raises(ValueError, match="`attention` needs a teacher whose stages"):
        Distiller(network(input_shape=(32, 32, 3)), resnet, attention=1.0)


@pytest.fixture(scope="module")
def teacher_run(tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("teacher") / "run"
    model = dataclasses.replace(PLAIN.model, width=2)
    run(dataclasses.replace(PLAIN, model=model, epochs=1), run_dir=run_dir)
    return run_dir


def test_a_run_with_a_teacher_saves_the_student(teacher_run, tmp_path):
    distill = DistillConfig(teacher=str(teacher_run), attention=10.0)
    recipe = dataclasses.replace(PLAIN, distill=distill, epochs=1)
    summary = run(recipe, run_dir=tmp_path / "run")
    model = keras.models.load_model(tmp_path / "run" / "model.keras")
    assert model.name == "wrn_10_1" and model.count_params() < 80_000
    plain = 6 * summary["macs"] * (1437 // 16) * 16
    assert plain < summary["flops"] < 3 * plain


def test_a_teacher_of_other_classes_is_refused_before_training(teacher_run, few_cifar10, tmp_path):
    distill = DistillConfig(teacher=str(teacher_run))
    data = dataclasses.replace(PLAIN.data, dataset="cifar10", preprocessing="meanstd")
    recipe = dataclasses.replace(PLAIN, distill=distill, data=data)
    with pytest.raises(ValueError, match=r"teacher .* Expected preprocessing with mean="):
        run(recipe, run_dir=tmp_path / "run", data_dir=few_cifar10)
    with pytest.raises(ValueError, match="Expected a Keras model"):
        run(dataclasses.replace(PLAIN, distill=DistillConfig(teacher="absent")),
            run_dir=tmp_path / "other")  # fmt: skip


@pytest.mark.slow
def test_a_stopped_run_with_a_teacher_and_frozen_stages_continues(
    teacher_run, tmp_path, monkeypatch
):
    run(dataclasses.replace(PLAIN, epochs=1, batch_size=358), run_dir=tmp_path / "start")
    model = dataclasses.replace(PLAIN.model, weights=str(tmp_path / "start"), frozen_stages=1)
    distill = DistillConfig(teacher=str(teacher_run), attention=10.0)
    recipe = dataclasses.replace(PLAIN, model=model, distill=distill, epochs=2, batch_size=358)
    run(recipe, run_dir=tmp_path / "straight")
    original = callbacks.RunCallback.on_train_batch_end

    def stop(self, batch, logs=None):
        if self.step == 5:
            signal.raise_signal(signal.SIGTERM)
        original(self, batch, logs)

    monkeypatch.setattr(callbacks.RunCallback, "on_train_batch_end", stop)
    with pytest.raises(Stopped):
        run(recipe, run_dir=tmp_path / "stopped")
    monkeypatch.undo()
    run(recipe, run_dir=tmp_path / "stopped", resume=True)
    models = [
        keras.models.load_model(tmp_path / name / "model.keras") for name in ("straight", "stopped")
    ]
    for a, b in zip(models[0].weights, models[1].weights, strict=True):
        np.testing.assert_array_equal(a, b)


ELSEWHERE = """
import keras, numpy as np, keras_wrn
from keras_wrn.training import Distiller
settings = {"classes": 5, "input_shape": (16, 16, 3), "classifier_activation": None}
student, teacher = keras_wrn.WideResNet(10, 1, **settings), keras_wrn.WideResNet(16, 2, **settings)
keras_wrn.models.freeze_stages(student, 1)
frozen = np.copy(keras.ops.convert_to_numpy(student.get_layer("group1_block1_bn1").moving_mean))
distiller = Distiller(student, teacher, attention=10.0)
loss = keras.losses.CategoricalCrossentropy(from_logits=True)
distiller.compile(keras_wrn.SGD(0.01, weight_decay=0.0), loss)
x = np.random.default_rng(0).normal(size=(6, 16, 16, 3)).astype("float32")
losses = distiller.fit(x, np.eye(5)[[0, 1, 2, 3, 4, 0]], epochs=8, verbose=0).history["loss"]
after = keras.ops.convert_to_numpy(student.get_layer("group1_block1_bn1").moving_mean)
print(keras.backend.backend(), losses[-1] < losses[0], np.array_equal(frozen, after))
"""


@pytest.mark.extra("jax")
def test_it_distils_on_jax(run_python):
    assert run_python(ELSEWHERE, KERAS_BACKEND="jax").split()[-3:] == ["jax", "True", "True"]


MIRRORED = """
import dataclasses, sys
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from tiny import PLAIN
from keras_wrn.training import DistillConfig
from keras_wrn.training.run import run
model = dataclasses.replace(PLAIN.model, dropout=0.0)
distill = DistillConfig(teacher=sys.argv[2], attention=10.0)
recipe = dataclasses.replace(PLAIN, model=model, distill=distill, epochs=1, batch_size=358)
run(dataclasses.replace(recipe, strategy=sys.argv[1]), run_dir=sys.argv[3])
"""


@pytest.mark.large
def test_two_replicas_distil_as_one_device(teacher_run, tmp_path, run_python):
    logs = []
    for strategy in ("none", "mirrored"):
        run_python(MIRRORED, strategy, teacher_run, tmp_path / strategy)
        logs.append(read_log(tmp_path / strategy / "log.jsonl")[0])
    assert logs[1]["loss"] == pytest.approx(logs[0]["loss"], rel=1e-4)
    assert logs[1]["val_loss"] == pytest.approx(logs[0]["val_loss"], rel=1e-4)
