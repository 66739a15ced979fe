"""Recipes that start from trained weights, and recipes on folders of images."""

import dataclasses
import json
import shutil
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from PIL import Image
from tiny import PLAIN

import keras_wrn
from keras_wrn import cli, export, training
from keras_wrn.errors import DataError
from keras_wrn.scripts import load_recipe
from keras_wrn.training import DataConfig, ExportConfig, ModelConfig, OptimizerConfig, Recipe
from keras_wrn.training.announce import opening_lines
from keras_wrn.training.run import run


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Two classes, told apart by their colour; 12 training and 4 held-out images each."""
    root = tmp_path_factory.mktemp("photos")
    generator = np.random.default_rng(0)
    for split, count in (("train", 12), ("val", 4)):
        for name, color in (("red", (200, 40, 40)), ("blue", (40, 40, 200))):
            (root / split / name).mkdir(parents=True)
            for i in range(count):
                noise = generator.integers(-30, 30, (40, 30 + i, 3))
                pixels = np.clip(np.array(color) + noise, 0, 255).astype("uint8")
                Image.fromarray(pixels).save(root / split / name / f"{i}.png")
    return root


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("trained") / "run"
    run(PLAIN, run_dir=run_dir, made_up=True)
    return run_dir


def recipe_for(photos, **changes):
    model = changes.pop("model", ModelConfig(depth=10, width=1))
    data = DataConfig(dataset=str(photos), image_size=24, crop_padding=0)
    return dataclasses.replace(
        PLAIN, name="photos", model=model, data=data, batch_size=8, epochs=4, **changes
    )


def test_a_folder_is_trained_on_evaluated_and_exported(photos, tmp_path, capsys):
    run_dir = tmp_path / "run"
    summary = run(recipe_for(photos, export=ExportConfig()), run_dir=run_dir)
    assert summary["data"]["train_images"] == 24 and summary["data"]["test_images"] == 8
    assert summary["test_accuracy"] == 100
    model = keras.models.load_model(run_dir / "model.keras")
    preprocessing = model.preprocessing
    assert (preprocessing.size, preprocessing.crop) == (24, 0.875)
    assert preprocessing.class_names == ("blue", "red")
    image = next((photos / "val" / "red").iterdir())
    assert keras_wrn.inference_model(model, image)["pred_class"] == "red"
    assert keras_wrn.evaluate(run_dir, photos)["accuracy"] == 100
    assert {path.name for path in (run_dir / "export").iterdir()} >= {"saved_model", "model.tflite"}
    assert "24 training and 8 held-out images" in capsys.readouterr().out
    # What the command line makes of such a run.
    out = tmp_path / "versions"
    cli.main(
        ["export", str(run_dir), "--format", "litert", "--precision", "int8", "--out", str(out)]
    )
    card = (out / "1" / "README.md").read_text()
    assert "24 images. A folder of images" in card and "blue, red" in card
    for model in (run_dir, run_dir / "export" / "saved_model", run_dir / "export" / "model.tflite"):
        cli.main(["evaluate", str(model)])
        out = capsys.readouterr().out
        assert "images    8" in out and "accuracy  100.00 %" in out
        assert ("measured  the " in out) == (model != run_dir)


def test_a_run_starts_from_the_weights_of_another(trained, photos, tmp_path):
    model = ModelConfig(depth=10, width=1, weights=str(trained), frozen_stages=2)
    optimizer = dataclasses.replace(PLAIN.optimizer, lr_multipliers={"group3_block1_conv1": 0.0})
    run(recipe_for(photos, model=model, optimizer=optimizer), run_dir=tmp_path / "run")
    directories = trained, tmp_path / "run"
    source, result = (keras.models.load_model(path / "model.keras") for path in directories)
    for layer in source.layers[:-1]:
        if not layer.weights:
            continue
        frozen = layer.name.startswith(("conv1", "group1", "group2", "group3_block1_conv1"))
        for a, b in zip(layer.weights, result.get_layer(layer.name).weights, strict=True):
            assert np.array_equal(a, b) == frozen, layer.name
    own, theirs = result.preprocessing, source.preprocessing
    assert (own.mean, own.std) == (theirs.mean, theirs.std)


def test_a_catalogue_name_says_what_is_trained(photos, tmp_path, capfd):
    run(recipe_for(photos, model=ModelConfig(name="wrn_16_2.cifar10")), run_dir=tmp_path / "run")
    said = capfd.readouterr()
    assert "random weights" not in said.out + said.err
    model = keras.models.load_model(tmp_path / "run" / "model.keras")
    shipped = keras_wrn.create_model("wrn_16_2.cifar10")
    assert model.name == "wrn_16_2" and model.output_shape == (None, 2)
    assert model.preprocessing.mean == shipped.preprocessing.mean


def test_a_run_says_that_a_published_network_starts_at_random(photos):
    place = SimpleNamespace(replicas=1, precision="float32", idle_devices=lambda: 0)
    data = SimpleNamespace(counts=(0, 0), notes=())
    model = keras_wrn.WideResNet(10, 1)
    for config, said in (
        (ModelConfig(name="wrn_16_2"), True),
        (ModelConfig(name="wrn_16_2.cifar10"), False),
        (ModelConfig(name="wrn_16_2", weights="other.keras"), False),
        (ModelConfig(depth=16, width=2), False),
    ):
        lines = opening_lines(recipe_for(photos, model=config), model, data, place)
        assert ("wrn_16_2 starts with random weights" in lines) == said


def test_another_network_is_refused_before_training(trained, photos, tmp_path):
    model = ModelConfig(depth=16, width=1, weights=str(trained))
    with pytest.raises(ValueError, match=r"Expected weights of the network 'wrn_16_1'"):
        run(recipe_for(photos, model=model), run_dir=tmp_path / "run")
    model = ModelConfig(depth=10, width=1, weights="absent.keras")
    with pytest.raises(ValueError, match=r"Received: 'absent\.keras'"):
        run(recipe_for(photos, model=model), run_dir=tmp_path / "run")
    model = ModelConfig(depth=10, width=1, frozen_stages=5)
    with pytest.raises(ValueError, match=r"`frozen_stages` should be in 0\.\.3"):
        run(recipe_for(photos, model=model), run_dir=tmp_path / "run")


def test_a_damaged_folder_is_refused_before_training(photos, tmp_path):
    broken = tmp_path / "broken"
    for split in ("train", "val"):
        for name in ("red", "blue"):
            (broken / split / name).mkdir(parents=True)
            (broken / split / name / "1.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"2 images of .*train cannot be read: .*blue/1\.png"):
        run(recipe_for(broken), run_dir=tmp_path / "run")
    with pytest.raises(DataError, match="Expected a folder that holds train/ and val/"):
        run(recipe_for("./absent"), run_dir=tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"data": DataConfig(dataset="cifa10")},
            "'./cifa10', received 0; the datasets with names are cifar10",
        ),
        ({"data": DataConfig(dataset="./x")}, "`data.image_size` should be given"),
        ({"data": DataConfig(image_size=64)}, "`data.image_size` is for folders"),
        ({"model": ModelConfig(name="wm_16_3")}, "Unknown model"),
        ({"model": ModelConfig(name="wrn_16_2.cifar10", weights="x.keras")}, "leave out"),
        ({"model": ModelConfig(frozen_stages=-1)}, "`model.frozen_stages`"),
        ({"model": ModelConfig(name="wrn_16_2", dropout=0.3)}, "`model.dropout`=0.3 does not go"),
        (
            {"data": DataConfig(dataset="./x", image_size=8, preprocessing="zca")},
            "meanstd or scale",
        ),
        ({"optimizer": OptimizerConfig(lr_multipliers={"a": -1.0})}, r"lr_multipliers\[a\]"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Recipe("r", **changes)


def test_a_folder_of_a_stored_recipe_need_not_be_here(photos, monkeypatch):
    monkeypatch.chdir(photos.parent)
    recipe = Recipe("r", data=DataConfig(dataset=photos.name, image_size=8))
    assert recipe.data.dataset == f"./{photos.name}"
    monkeypatch.chdir("/")
    assert Recipe.from_json(recipe.to_json()) == recipe
    older = recipe.to_json().replace("./", "")
    assert Recipe.from_json(older) == recipe


def test_a_name_of_mmpretrain_is_known():
    Recipe("r", model=ModelConfig(name="wide-resnet50_3rdparty_8xb32_in1k"))
    assert training.network.start_model(ModelConfig(name="wrn_16_2")) is None


def test_images_held_out_of_the_training_folder(photos, tmp_path, capsys):
    data = DataConfig(
        dataset=str(photos), image_size=16, crop_padding=0, validation=6, preprocessing="scale"
    )
    recipe = dataclasses.replace(recipe_for(photos), data=data, epochs=2)
    summary = run(recipe, run_dir=tmp_path / "run")
    assert summary["data"]["test_images"] == 6 and summary["data"]["train_images"] == 18
    cli.main(["evaluate", str(tmp_path / "run")])
    assert f"images    6\naccuracy  {summary['test_accuracy']:.2f} %" in capsys.readouterr().out
    model = keras.models.load_model(tmp_path / "run" / "model.keras")
    assert model.preprocessing.mean == (0.0, 0.0, 0.0)


def test_a_folder_without_splits_is_split_and_has_a_run_directory_of_its_own(
    photos, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    for name in ("flat", "more"):
        shutil.copytree(photos / "train", tmp_path / name)
    (tmp_path / "flat" / "red" / "x.jfif").write_text("")
    settings = {"image_size": 16, "crop_padding": 0, "validation": 0.25}
    recipes = [
        dataclasses.replace(recipe_for(photos), data=DataConfig(dataset=name, **settings), epochs=2)
        for name in ("./flat", "more/")
    ]
    for recipe in recipes:
        summary = run(recipe)
        assert (summary["data"]["train_images"], summary["data"]["test_images"]) == (18, 6)
        assert summary["data"]["split"] == "validation"
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == [
        "photos-flat-seed0", "photos-more-seed0",
    ]  # fmt: skip
    out = capsys.readouterr().out
    assert "6 of the 24 images of flat are held out, of each class its part: --data.val" in out
    assert "1 file was left out: 1 .jfif; images" in out
    assert "Warning: 4 steps of training (2 x 2) are few" in out
    assert run(recipes[0], resume=True)["test_error"] >= 0
    cli.main(["evaluate", "runs/photos-flat-seed0"])
    assert "images    6\n" in capsys.readouterr().out
    data = dataclasses.replace(recipes[0].data, validation=0)
    with pytest.raises(DataError, match=r"or `data\.validation`, a share of the images"):
        run(dataclasses.replace(recipes[0], data=data), run_dir=tmp_path / "unsplit")


def test_a_share_is_a_flag(monkeypatch):
    received = []
    monkeypatch.setattr("keras_wrn.cli.run", lambda recipe, **_: received.append(recipe))
    for value in ("0.2", "500"):
        cli.main(["train", "finetune_folder", "--data.validation", value])
    assert [recipe.data.validation for recipe in received] == [0.2, 500]
    assert isinstance(received[1].data.validation, int)
    assert Recipe.from_json(received[0].to_json()) == received[0]
    with pytest.raises(ValueError, match=r"`data\.validation` should be a number of images"):
        Recipe("r", data=DataConfig(validation=1.5))


def test_a_run_is_not_resumed_on_other_images_or_weights(trained, photos, tmp_path):
    copy = tmp_path / "photos"
    shutil.copytree(photos, copy)
    source = tmp_path / "source"
    shutil.copytree(trained, source)
    model = ModelConfig(depth=10, width=1, weights=str(source))
    recipe = dataclasses.replace(recipe_for(copy, model=model), epochs=1)
    run(recipe, run_dir=tmp_path / "run")
    (tmp_path / "run" / "summary.json").unlink()
    shutil.copy(copy / "train/red/1.png", copy / "train/red/more.png")
    with pytest.raises(ValueError, match=r"train_images was 24, is 25"):
        run(recipe, run_dir=tmp_path / "run", resume=True)
    (copy / "train/red/more.png").unlink()
    keras_wrn.WideResNet(10, 1).save(tmp_path / "other.keras")
    other = keras.models.load_model(tmp_path / "other.keras")
    other.preprocessing = keras_wrn.Preprocessing(32)
    other.save(source / "model.keras")
    with pytest.raises(ValueError, match=r"starting_weights_sha256 was "):
        run(recipe, run_dir=tmp_path / "run", resume=True)
    shutil.copy(trained / "model.keras", source / "model.keras")
    run(recipe, run_dir=tmp_path / "run", resume=True)


def test_a_run_with_frozen_stages_says_so(trained, photos, tmp_path, capsys):
    model = ModelConfig(depth=10, width=1, weights=str(trained), frozen_stages=2)
    recipe = dataclasses.replace(recipe_for(photos, model=model), epochs=1)
    summary = run(recipe, run_dir=tmp_path / "run")
    assert 0 < summary["trained_params"] < summary["params"] == 77_330
    assert f"{summary['trained_params']:,} parameters to train" in capsys.readouterr().out
    assert summary["flops"] < 6 * summary["macs"] * 24
    card = export.model_card(tmp_path / "run", keras_wrn.Preprocessing(24, class_names=("b", "r")))
    assert "77,330 parameters" in card and "the stem and 2 stages frozen" in card
    assert f"| started from | {trained} |" in card and "that of the weights it started" in card
    assert f", TensorFlow {summary['versions']['tensorflow']} |" in card


def test_the_card_of_a_run_on_jax_needs_no_tensorflow(trained, tmp_path):
    for name in ("recipe.json", "summary.json"):
        shutil.copy(trained / name, tmp_path)
    summary = json.loads((tmp_path / "summary.json").read_text())
    del summary["versions"]["tensorflow"]
    summary["versions"] |= {"backend": "jax", "jax": "0.10.2"}
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    assert ", JAX 0.10.2 |" in export.model_card(tmp_path, keras_wrn.Preprocessing(24))


def test_a_recipe_of_an_earlier_version_is_read():
    fields = json.loads(Recipe("r").to_json())
    del fields["distill"], fields["model"]["weights"], fields["optimizer"]["lr_multipliers"]
    assert Recipe.from_json(json.dumps(fields)) == Recipe("r")


@pytest.mark.slow
def test_the_folder_recipe_has_a_smoke_run(tmp_path, capsys):
    recipe = load_recipe("finetune_folder")
    model = dataclasses.replace(recipe.model, frozen_stages=4)
    optimizer = dataclasses.replace(recipe.optimizer, lr_multipliers={"stage3": 0.1})
    small = dataclasses.replace(recipe, model=model, optimizer=optimizer).shrunk()
    assert small.data.dataset == recipe.data.dataset and small.model.name == ""
    run(small, run_dir=tmp_path / "run", made_up=True)
    assert "steps of training" not in capsys.readouterr().out
