"""Runs of a detector: they learn, go on where they stopped, and are the same on two devices."""

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pytest
from finders import coco_folder
from tiny import stop_at, weights

import keras_wrn
from keras_wrn.cli import main
from keras_wrn.detection import (
    AdamConfig,
    BoxDataConfig,
    DetectionRecipe,
    DetectorConfig,
    detect,
    open_detector,
)
from keras_wrn.errors import DataError, Stopped
from keras_wrn.recipe import ExportConfig, ModelConfig, ScheduleConfig
from keras_wrn.runs.card import detector_card
from keras_wrn.runs.files import read_recipe, read_summary
from keras_wrn.runs.report import results_table
from keras_wrn.scripts import load_recipe
from keras_wrn.training.run import run

pytestmark = pytest.mark.extra("pycocotools")
SHARED = Path(os.environ.get("TFDS_DATA_DIR", ""), os.pardir, "coco_subset")
RECIPE = DetectionRecipe(
    "boxes",
    model=ModelConfig(name="wide_resnet18", width=1),
    data=BoxDataConfig("unknown", image_size=64, scale=(1.0, 1.0), horizontal_flip=False),
    optimizer=AdamConfig(learning_rate=1e-3),
    schedule=ScheduleConfig(kind="cosine", warmup=0.05),
    export=ExportConfig(False, False),
    detector=DetectorConfig(anchor_size=16.0),
    epochs=2,
    batch_size=4,
    rate_batch=4,
    precision="float32",
    strategy="none",
)


def recipe_for(dataset, **changes):
    data = dataclasses.replace(RECIPE.data, dataset=str(dataset))
    return dataclasses.replace(RECIPE, data=data, **changes)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return coco_folder(tmp_path_factory.mktemp("data") / "coco", count=8)


@pytest.fixture(scope="module")
def finished(photos, tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("runs") / "whole"
    recipe = recipe_for(photos, epochs=3, export=ExportConfig(True, False))
    return run_dir, run(recipe, run_dir=run_dir)


def test_a_run_leaves_what_every_run_leaves(finished, photos):
    run_dir, summary = finished
    assert {path.name for path in run_dir.iterdir()} >= {
        "recipe.json", "log.jsonl", "curves.png", "checkpoints", "preprocessing.json",
        "model.keras", "export", "summary.json", "versions.json", "data.json", "predictions",
    }  # fmt: skip
    assert isinstance(read_recipe(run_dir), DetectionRecipe)
    assert read_summary(run_dir) == json.loads((run_dir / "summary.json").read_text())
    assert summary["data"] == {
        "dataset": str(photos), "train_images": 8, "test_images": 8, "split": "test"
    }  # fmt: skip
    assert {"ap", "ap50", "ap75", "ap_small", "per_class"} <= summary.keys()
    detector = keras_wrn.load_model(run_dir)
    assert summary["params"] == sum(int(np.prod(w.shape)) for w in detector.trainable_weights)
    assert summary["flops"] == 3 * 8 * 6 * summary["macs"]
    assert len(list((run_dir / "predictions").glob("*.png"))) == 8


def test_a_finished_run_finds_boxes_in_photos_of_any_size(finished, photos):
    run_dir, _ = finished
    photo = photos / "images" / "val3.jpg"
    one = detect(run_dir, photo)
    several = detect(open_detector(run_dir), [photo, np.zeros((100, 30, 3), "uint8")])
    np.testing.assert_allclose(one["boxes"], several[0]["boxes"], atol=1e-3)
    assert set(one["classes"]) <= {"cat", "dog", "bird"}
    exported = detect(run_dir / "export" / "saved_model", photo)
    np.testing.assert_allclose(exported["boxes"], one["boxes"], atol=0.05)
    np.testing.assert_allclose(exported["scores"], one["scores"], atol=1e-4)


@pytest.mark.parametrize(("where", "step"), [("train", 3), ("test", 3)])
def test_a_stopped_run_goes_on_as_if_it_had_not(
    finished, photos, tmp_path, monkeypatch, where, step
):
    run_dir, whole = finished
    recipe = recipe_for(photos, epochs=3)
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        stop_at(patch, where, step)
        run(recipe, run_dir=tmp_path / "run")
    resumed = run(recipe, run_dir=tmp_path / "run", resume=True)
    for ours, theirs in zip(weights(tmp_path / "run"), weights(run_dir), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
    assert resumed["ap"] == whole["ap"]
    last = [x["last_epoch"]["loss"] for x in (resumed, whole)]
    assert last[0] == pytest.approx(last[1], rel=1e-5)


def test_the_table_and_the_card_have_its_figures(finished, tmp_path, capsys):
    run_dir, summary = finished
    table = results_table([run_dir])
    assert "| AP (%) | AP50 (%) |" in table and "test error" not in table
    ap, ap50 = (f"{summary[name]:.2f}" for name in ("ap", "ap50"))
    assert f"| {ap} | {ap50} |" in table and "`boxes`" in table
    card = detector_card(run_dir, keras_wrn.load_model(run_dir).preprocessing)
    assert f"AP {ap} %, AP50 {ap50} %" in card and "cat, dog, bird" in card
    assert "wide_resnet18 of width 1" in card
    main(["export", str(run_dir), "--format", "litert", "--out", str(tmp_path / "versions")])
    assert (tmp_path / "versions" / "1" / "README.md").read_text() == card


def test_other_anchors_do_not_go_on(finished, photos):
    run_dir, _ = finished
    recipe = recipe_for(photos, epochs=3, detector=DetectorConfig(anchor_size=32.0))
    with pytest.raises(ValueError, match=r"detector\.anchor_size was 16\.0, is 32\.0"):
        run(recipe, run_dir=run_dir, resume=True)


def test_the_trunk_starts_from_weights_and_stays_where_it_is_frozen(photos, tmp_path):
    trunk = keras_wrn.WideResNet18(classes=5, input_shape=(64, 64, 3))
    trunk.preprocessing = keras_wrn.Preprocessing(64, mean=(0.4,) * 3, std=(0.3,) * 3)
    trunk.save(tmp_path / "trunk.keras")
    model = dataclasses.replace(
        RECIPE.model, weights=str(tmp_path / "trunk.keras"), frozen_stages=2
    )
    summary = run(recipe_for(photos, model=model, epochs=1), run_dir=tmp_path / "run")
    bare = dataclasses.replace(RECIPE.model, weights=str(tmp_path / "bare.keras"))
    keras_wrn.WideResNet18(input_shape=(64, 64, 3)).save(bare.weights)
    with pytest.raises(ValueError, match="with its own preprocessing"):
        run(recipe_for(photos, model=bare), run_dir=tmp_path / "bare")
    detector = keras_wrn.load_model(tmp_path / "run")
    assert detector.preprocessing.mean == (0.4,) * 3
    for name in ("conv1", "bn1", "stage2_block2_conv2"):
        ours, theirs = (m.get_layer(name).get_weights() for m in (detector, trunk))
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(a, b)
    name = "stage3_block1_conv1"
    changed = detector.get_layer(name).get_weights()[0] - trunk.get_layer(name).get_weights()[0]
    assert 0 < np.abs(changed).max() < 0.1
    assert summary["trained_params"] < summary["params"]


def test_a_finished_detector_trains_on(finished, photos, tmp_path):
    run_dir, _ = finished
    before = keras_wrn.load_model(run_dir)
    model = dataclasses.replace(RECIPE.model, weights=str(run_dir))
    slow = AdamConfig(learning_rate=1e-9)
    run(recipe_for(photos, model=model, optimizer=slow, epochs=1), run_dir=tmp_path / "run")
    after = keras_wrn.load_model(tmp_path / "run")
    for name in ("stage3_block1_conv1", "pyramid_outer6", "class_conv4", "class_output"):
        for ours, theirs in zip(
            after.get_layer(name).get_weights(), before.get_layer(name).get_weights(), strict=True
        ):
            np.testing.assert_allclose(ours, theirs, atol=1e-5)
    other = dataclasses.replace(model, name="wide_resnet34")
    with pytest.raises(ValueError, match="Expected weights of the network 'wide_resnet34_1'"):
        run(recipe_for(photos, model=other, epochs=1), run_dir=tmp_path / "other")


def test_what_is_missing_is_said_before_the_training(photos, tmp_path, monkeypatch):
    with pytest.raises(DataError, match="Expected a folder with images/"):
        run(recipe_for(tmp_path / "absent"), run_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(ValueError, match="at most the 8 photos"):
        run(recipe_for(photos, batch_size=9, rate_batch=9), run_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DataError, match="pycocotools"):
        run(recipe_for(photos), run_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_eight_made_up_photos_are_learned(tmp_path):
    recipe = load_recipe("coco_wrn34_2").shrunk()
    recipe = dataclasses.replace(
        recipe, data=RECIPE.data, epochs=40, batch_size=8, rate_batch=8, strategy="none",
        export=ExportConfig(False, False),
    )  # fmt: skip
    from keras_wrn.training import Placement, Trainer

    run_dir = tmp_path / "run"
    run_dir.mkdir()
    trainer = Trainer(recipe, run_dir, Placement.of(recipe))
    trainer.prepare(made_up=True)
    trainer.fit()
    assert trainer.finish()["ap50"] > 90


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason="there are no photos of COCO")
def test_eight_photos_of_coco_are_learned(tmp_path):
    content = json.loads((SHARED / "instances_train.json").read_text())
    content["images"] = content["images"][:8]
    ids = {image["id"] for image in content["images"]}
    content["annotations"] = [x for x in content["annotations"] if x["image_id"] in ids]
    for part in ("train", "val"):
        (tmp_path / f"instances_{part}.json").write_text(json.dumps(content))
    (tmp_path / "images").symlink_to((SHARED / "images").resolve())
    data = dataclasses.replace(RECIPE.data, dataset=str(tmp_path), image_size=256)
    recipe = dataclasses.replace(RECIPE, data=data, epochs=60, batch_size=8, rate_batch=8)
    assert run(recipe, run_dir=tmp_path / "run")["ap50"] >= 80


# In float64, where nothing but a mistake tells the two apart: Adam makes much of a rounding error.
TWICE = """
import json, sys
import keras, numpy as np, tensorflow as tf
keras.config.set_floatx("float64")
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import keras_wrn
from keras_wrn.detection import Anchors, BoxBatches, DetectionRecipe, read_coco, retinanet
from keras_wrn.models import BatchNormalization
from keras_wrn.training.trainer import compile_model

recipe = DetectionRecipe.from_json(sys.argv[2])
photos = read_coco(sys.argv[1])
batches = BoxBatches(
    photos, Anchors(64, 16), batch_size=2, preprocessing=keras_wrn.Preprocessing(64)
)

def train(strategy):
    keras.utils.set_random_seed(0)
    with strategy.scope():
        trunk = keras_wrn.WideResNet18(0.25, include_top=False, input_shape=(64, 64, 3))
        model = retinanet(trunk, 3, anchor_size=16)
        for layer in model.layers:
            if isinstance(layer, BatchNormalization):
                layer.synchronized = strategy.num_replicas_in_sync > 1
        compile_model(model, recipe, batches.steps_per_epoch)
    losses = []
    class Seen(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            losses.append(float(logs["loss"]))
    settings = {"steps_per_epoch": 4, "epochs": 5, "verbose": 0, "shuffle": False}
    model.fit(batches.dataset(0, 5), callbacks=[Seen()], **settings)
    return losses, model.get_weights()

one, ours = train(tf.distribute.get_strategy())
two, theirs = train(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))
apart = max(float(np.abs(a - b).max()) for a, b in zip(ours, theirs))
print(json.dumps([one, two, apart]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("clip_norm", [10.0, 0.5])
def test_two_devices_train_as_one(photos, run_python, clip_norm):
    """One device has the photo without boxes, or with most of them; a short gradient too."""
    optimizer = AdamConfig(learning_rate=1e-3, clip_norm=clip_norm)
    recipe = recipe_for(photos, epochs=5, batch_size=2, rate_batch=2, optimizer=optimizer)
    file = photos / "instances_train.json"
    printed = run_python(TWICE, file, recipe.to_json(), TF_CPP_MIN_LOG_LEVEL="3")
    one, two, apart = json.loads(printed.strip().splitlines()[-1])
    assert len(one) == 20 and one[-1] < one[0]
    np.testing.assert_allclose(two, one, rtol=1e-9)
    assert apart < 1e-9


@pytest.mark.slow
@pytest.mark.extra("jax")
def test_on_jax_a_detector_answers_and_is_not_trained(finished, photos, tmp_path, run_python):
    code = """
import sys
import numpy as np
from keras_wrn.detection import DetectionRecipe, detect
from keras_wrn.errors import RunError
from keras_wrn.training.run import run
found = detect(sys.argv[1], sys.argv[2])
np.savez(sys.argv[3], boxes=found["boxes"], scores=found["scores"])
try:
    run(DetectionRecipe.from_json(sys.argv[4]), run_dir=sys.argv[3] + ".run")
except RunError as error:
    print(error)
"""
    run_dir, _ = finished
    photo, file = photos / "images" / "val3.jpg", tmp_path / "found.npz"
    recipe = recipe_for(photos).to_json()
    printed = run_python(code, run_dir, photo, file, recipe, KERAS_BACKEND="jax")
    assert "trained on TensorFlow" in printed
    ours, theirs = detect(run_dir, photo), np.load(file)
    np.testing.assert_allclose(theirs["boxes"], ours["boxes"], atol=0.05)
    np.testing.assert_allclose(theirs["scores"], ours["scores"], atol=1e-4)
