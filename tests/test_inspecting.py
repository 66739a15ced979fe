"""`keras-wrn anomaly`; `predict`, `export`, `train` and `report` with a model of good photos."""

import csv
import dataclasses
import json
from pathlib import Path

import keras
import numpy as np
import pytest
from anomaly.small import folder, network

import keras_wrn
from keras_wrn.anomaly import (
    AnomalyConfig,
    AnomalyRecipe,
    GoodDataConfig,
    PatchCore,
    build_model,
    evaluate_inspector,
    open_inspector,
)
from keras_wrn.cli import main
from keras_wrn.recipe import ExportConfig

ROOT = Path(__file__).parents[1]
PHOTOS = ROOT.parent / "shared" / "anomaly"
needs_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="artifacts are written on TensorFlow"
)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return folder(tmp_path_factory.mktemp("photos") / "things")


@pytest.fixture(scope="module")
def trunk(tmp_path_factory):
    path = tmp_path_factory.mktemp("trunk") / "trunk.keras"
    network().save(path)
    return path


@pytest.fixture(scope="module")
def model(photos, trunk, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "things.keras"
    main(["anomaly", "fit", str(photos), "--out", str(path), "--model", str(trunk),
          "--image-size", "32", "--coreset", "0.05"])  # fmt: skip
    return path


def test_fit_and_evaluate(model, photos, tmp_path, capsys):
    main(["anomaly", "evaluate", str(model), str(photos), "--out", str(tmp_path)])
    said = capsys.readouterr().out
    assert "8, 5 of them odd" in said and "PRO" in said and "by brightness" in said
    results = json.loads((tmp_path / "results.json").read_text())
    assert f"AUROC      {results['image_auroc']:.2f} %" in said
    assert len(list(tmp_path.glob("*.png"))) == 8
    with pytest.raises(SystemExit):
        main(["anomaly", "fit", str(photos), "--out", str(model), "--model", "wrn_16_2.cifar10"])
    assert "Expected a path where nothing is" in capsys.readouterr().err


def test_predict_draws_heat_maps_and_writes_tables(model, photos, tmp_path, capsys):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    for ending in ("json", "csv"):
        with pytest.raises(SystemExit) as stopped:
            main(["predict", str(photos / "test"), str(broken), "--model", str(model),
                  "--show-dir", str(tmp_path / "out"), "--out",
                  str(tmp_path / f"table.{ending}")])  # fmt: skip
        assert stopped.value.code == 1
        said = capsys.readouterr()
        assert "1 of 9 images cannot be read" in said.err and "  odd" in said.out
    assert len(list((tmp_path / "out").iterdir())) == 8
    rows = json.loads((tmp_path / "table.json").read_text())
    expected = open_inspector(model).score([row["image"] for row in rows[:-1]])
    for row, one in zip(rows[:-1], expected, strict=True):
        assert row["score"] == pytest.approx(one["score"], rel=1e-4)
        assert row["is_anomaly"] == one["is_anomaly"]
    with open(tmp_path / "table.csv", newline="") as file:
        table = list(csv.DictReader(file))
    assert [float(row["score"]) for row in table[:-1]] == pytest.approx(
        [row["score"] for row in rows[:-1]], rel=1e-4
    )
    assert table[-1]["error"] and not table[-1]["score"]


@needs_tensorflow
def test_export_and_predict_with_what_was_exported(model, photos, tmp_path, capsys):
    main(["export", str(model), "--format", "litert", "--precision", "float16", "--out",
          str(tmp_path / "versions")])  # fmt: skip
    file = tmp_path / "versions" / "1" / "model_float16.tflite"
    main(["predict", str(photos / "test" / "hole" / "000.png"), "--model", str(file)])
    assert "odd" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["predict", "{photos}", "--model", "{model}", "--top-k", "3"], "for classifiers: --top-k"),
        (["evaluate", "{model}", "--data", "digits"], "keras-wrn anomaly evaluate"),
        (["anomaly", "evaluate", "{trunk}", "{photos}"], "Expected a fitted"),
        (["anomaly", "evaluate", "{model}", "{photos}/train"], "test/good and test/KIND"),
        (["anomaly", "fit", "absent", "--out", "a.keras"], "Expected a folder of good photos"),
        (["anomaly", "fit", "{photos}", "--out", "a.txt"], "ends in .keras"),
        (["anomaly", "fit", "{photos}", "--out", "a.keras", "--model", "{trunk}",
          "--max-memory", "0.001"], "need 0.0"),
        (["export", "{model}", "--precision", "dynamic_int8"], "'dynamic_int8' should end in"),
        (["export", "{model}", "--top-k", "2"], "for classifiers: --top-k"),
    ],
)  # fmt: skip
def test_wrong_use_is_refused(model, trunk, photos, capsys, args, message):
    with pytest.raises(SystemExit) as stopped:
        main([arg.format(model=model, photos=photos, trunk=trunk) for arg in args])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


@needs_tensorflow
def test_a_recipe_leaves_a_run_directory(photos, trunk, tmp_path, capsys):
    recipe = AnomalyRecipe(
        "things", data=GoodDataConfig(str(photos), 0.3), seed=3,
        anomaly=AnomalyConfig("padim", str(trunk), image_size=32, features=20),
    )  # fmt: skip
    run_dir = tmp_path / "runs" / "things-seed3"
    summary = keras_wrn.run(recipe, run_dir=run_dir)
    assert AnomalyRecipe.from_json((run_dir / "recipe.json").read_text()) == recipe
    steps = [json.loads(line) for line in (run_dir / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in steps] == ["photos", "features", "memory", "threshold"]
    assert summary["data"]["train_images"] == 4 and summary["data"]["held_out"] == 2
    assert len(list((run_dir / "predictions").iterdir())) == 8
    for path in (run_dir, run_dir / "export" / "saved_model", run_dir / "export" / "model.tflite"):
        assert open_inspector(path).threshold == summary["threshold"]
    assert keras_wrn.run(recipe, run_dir=run_dir, resume=True) == summary
    with pytest.raises(FileExistsError):
        keras_wrn.run(recipe, run_dir=run_dir)
    again = keras_wrn.run(recipe, run_dir=tmp_path / "runs" / "again")
    assert again["image_auroc"] == summary["image_auroc"]
    assert again["threshold"] == summary["threshold"]
    capsys.readouterr()
    main(["report", str(tmp_path / "runs")])
    table = capsys.readouterr().out
    assert "AUROC (%)" in table and f"{summary['image_auroc']:.2f}" in table
    main(["export", str(run_dir), "--format", "litert", "--out", str(tmp_path / "versions")])
    card = (tmp_path / "versions" / "1" / "README.md").read_text()
    assert "padim" in card and f"{summary['image_auroc']:.2f} %" in card


def test_a_run_that_cannot_work_leaves_nothing(photos, trunk, tmp_path):
    recipe = AnomalyRecipe(
        "things", data=GoodDataConfig(str(photos)),
        anomaly=AnomalyConfig(model=str(trunk), image_size=32, max_memory=0.001),
    )  # fmt: skip
    with pytest.raises(ValueError, match="photos need"):
        keras_wrn.run(recipe, run_dir=tmp_path / "run")
    assert not (tmp_path / "run" / "recipe.json").exists()
    broken = folder(tmp_path / "broken")
    (broken / "test" / "hole" / "001.png").write_bytes(b"no image")
    recipe = dataclasses.replace(recipe, data=GoodDataConfig(str(broken)))
    with pytest.raises(keras_wrn.KerasWrnError, match=r"001\.png"):
        keras_wrn.run(recipe, run_dir=tmp_path / "other")
    assert not (tmp_path / "other").exists()


@needs_tensorflow
def test_a_run_that_was_cut_off_begins_anew(photos, trunk, tmp_path, monkeypatch):
    recipe = AnomalyRecipe(
        "things", data=GoodDataConfig(str(photos), defects=str(photos)),
        anomaly=AnomalyConfig(model=str(trunk), image_size=32, coreset=0.05),
        export=ExportConfig(False, False),
    )  # fmt: skip

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(PatchCore, "_learn", stop)
        keras_wrn.run(recipe, run_dir=tmp_path / "run")
    other = dataclasses.replace(recipe, anomaly=dataclasses.replace(recipe.anomaly, coreset=0.1))
    with pytest.raises(ValueError, match="was started with another recipe"):
        keras_wrn.run(other, run_dir=tmp_path / "run", resume=True)
    summary = keras_wrn.run(other, run_dir=tmp_path / "run", resume=True, allow_changes=True)
    assert AnomalyRecipe.from_json((tmp_path / "run" / "recipe.json").read_text()) == other
    assert summary["f1"] >= summary["best_f1"] - 20 and not (tmp_path / "run" / "export").exists()


@needs_tensorflow
def test_the_recipe_runs_on_made_up_photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    main(["train", "anomaly_folder", "--smoke", "--export.no-litert"])
    (run_dir,) = (tmp_path / "runs").iterdir()
    assert json.loads((run_dir / "summary.json").read_text())["image_auroc"] == 100.0


@pytest.mark.parametrize(("settings", "message"), [
    ({"data": GoodDataConfig("cifar10")}, "`data.dataset` should be a folder"),
    ({"anomaly": AnomalyConfig(neighbours=1)}, "`anomaly.neighbours` should be 0, or 2 or more"),
    ({"anomaly": AnomalyConfig(coreset=0.0)}, "`anomaly.coreset` should be"),
    ({"data": GoodDataConfig(validation=1.0)}, "`data.validation` should be"),
])  # fmt: skip
def test_a_wrong_recipe_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        AnomalyRecipe("things", **settings)


def test_untrained_features_are_random_by_seed():
    config = AnomalyConfig(model="wrn_16_2.cifar10", untrained=True)
    kernels = [build_model(config, seed).trunk.get_layer("conv1").kernel.value
               for seed in (0, 0, 1)]  # fmt: skip
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert np.abs(np.asarray(kernels[0]) - np.asarray(kernels[2])).max() > 0.01
    trained = build_model(AnomalyConfig(model="wrn_16_2.cifar10"))
    assert trained.preprocessing == build_model(config).preprocessing


def test_features_of_other_weights_get_a_note(capsys, monkeypatch):
    from keras_wrn.catalog.announce import features_line

    assert features_line("wide_resnet50_2.tv_in1k") == features_line("wrn_16_2.cifar10") == ""
    assert "wide_resnet50_2.tv_in1k" in features_line("wide_resnet50_2.tv2_in1k")
    assert features_line("wide_resnet50_2") == features_line("wide_resnet50_2.tv2_in1k")
    assert features_line("runs/mine") == ""
    wide = keras_wrn.WideResNet50_2(input_shape=(32, 32, 3))
    wide.preprocessing = keras_wrn.Preprocessing(32)
    for place in ("keras_wrn.catalog.transfer", "keras_wrn.anomaly.model"):
        monkeypatch.setattr(f"{place}.load_model", lambda name: wide)
    capsys.readouterr()
    keras_wrn.feature_extractor("wide_resnet50_2.racm_in1k")
    keras_wrn.anomaly.PatchCore("wide_resnet50_2.tv2_in1k", image_size=32)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and "racm_in1k" in lines[0] and "tv2_in1k" in lines[1]


RESULTS = ROOT / "results" / "anomaly"
BARS = {  # AUROC of photos, and of pixels
    "cookies_patchcore": (94, 95), "toys_patchcore": (98, None),
    "cookies_padim": (83, None), "toys_padim": (99, None),
}  # fmt: skip


@pytest.mark.parametrize("name", BARS)
def test_the_results_are_what_can_be_expected_of_the_shipped_network(name):
    photos, pixels = BARS[name]
    for seed in (0, 1):
        run = RESULTS / f"{name}_wrn_16_2-seed{seed}"
        summary = json.loads((run / "summary.json").read_text())
        recipe = AnomalyRecipe.from_json((run / "recipe.json").read_text())
        assert recipe.anomaly == AnomalyConfig(recipe.anomaly.method, "wrn_16_2.cifar10")
        assert summary["image_auroc"] >= photos and recipe.seed == seed
        assert pixels is None or summary["pixel_auroc"] >= pixels


@pytest.mark.slow
@pytest.mark.skipif(not PHOTOS.is_dir(), reason="needs the photos beside the repository")
@pytest.mark.parametrize("name", ["cookies_patchcore", "toys_padim"])
def test_a_result_is_what_the_code_makes_today(name, monkeypatch):
    run = RESULTS / f"{name}_wrn_16_2-seed1"
    monkeypatch.chdir(PHOTOS.parent)
    summary = json.loads((run / "summary.json").read_text())
    recipe = AnomalyRecipe.from_json((run / "recipe.json").read_text())
    model = build_model(recipe.anomaly, recipe.seed).fit(recipe.data.dataset)
    assert model.threshold == pytest.approx(summary["threshold"], rel=1e-3)
    results = evaluate_inspector(model.inspector(), recipe.data.dataset)
    for figure in ("image_auroc", "best_f1", *(["pixel_auroc"] if "cookies" in name else [])):
        assert results[figure] == pytest.approx(summary[figure], abs=0.5)
