"""`keras-wrn predict`, `evaluate` and `export` with a detector."""

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import keras_wrn
from keras_wrn.cli import main
from keras_wrn.detection import detect

sys.path.append(str(Path(__file__).parent / "detection"))
from finders import NAMES, coco_folder, finder, photo


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "finder.keras"
    finder().save(path)
    return path


@pytest.fixture
def photos(tmp_path):
    random = np.random.default_rng(0)
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, size in (("a", (80, 60)), ("b", (50, 90))):
        Image.fromarray(photo(random, *size)[0]).save(folder / f"{name}.png")
    return folder


def test_predict_draws_boxes_and_writes_tables(model, photos, tmp_path, capsys):
    (photos / "broken.png").write_bytes(b"no image")
    for ending in ("json", "csv"):
        with pytest.raises(SystemExit) as stopped:
            main(["predict", str(photos), "--model", str(model), "--show-dir",
                  str(tmp_path / "out"), "--out", str(tmp_path / f"table.{ending}")])  # fmt: skip
        assert stopped.value.code == 1
        said = capsys.readouterr()
        assert "1 of 3 images cannot be read" in said.err and "broken.png" in said.out
        assert f"Pictures: 2 in {tmp_path / 'out'}" in said.out
    assert sorted(x.name for x in (tmp_path / "out").iterdir()) == ["a.png", "b.png"]
    expected = {x.name: detect(model, x) for x in photos.glob("[ab].png")}
    table = json.loads((tmp_path / "table.json").read_text())
    assert [Path(row["image"]).name for row in table] == ["a.png", "b.png", "broken.png"]
    for row in table[:2]:
        one = expected[Path(row["image"]).name]
        assert [found["class"] for found in row["found"]] == one["classes"]
        np.testing.assert_allclose([x["box"] for x in row["found"]], one["boxes"], atol=0.01)
    with open(tmp_path / "table.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    counts = [sum(Path(row["image"]).name == name and not row["error"] for row in rows)
              for name in ("a.png", "b.png")]  # fmt: skip
    assert counts == [len(expected[name]["scores"]) for name in ("a.png", "b.png")]
    assert rows[-1]["error"] and float(rows[0]["right"]) > float(rows[0]["left"])
    assert {row["class"] for row in rows[:-1]} <= set(NAMES)


def test_pictures_of_files_with_one_name_do_not_replace_each_other(model, photos, tmp_path):
    (photos / "more").mkdir()
    (photos / "more" / "a.png").write_bytes((photos / "a.png").read_bytes())
    main(["predict", str(photos), "--model", str(model), "--show-dir", str(tmp_path / "out")])
    assert len(list((tmp_path / "out").iterdir())) == 3


@pytest.mark.extra("pycocotools")
def test_evaluate_measures_average_precision(model, tmp_path, capsys):
    folder = coco_folder(tmp_path / "coco")
    main(["evaluate", str(model), "--data", str(folder), "--out", str(tmp_path / "out")])
    said = capsys.readouterr().out
    assert "AP50" in said and "5 boxes" in said
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["images"] == 6 and set(results["per_class"]) == set(NAMES)
    assert len(list((tmp_path / "out").glob("*.png"))) == 6


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["predict", "{photos}", "--model", "{model}", "--top-k", "3"], "for classifiers: --top-k"),
        (["evaluate", "{model}"], "give --data"),
        (["evaluate", "{model}", "--views", "2", "--size", "32"], "--size, --views"),
        (["evaluate", "{model}", "--data", "absent"], "Expected a folder with images/"),
        (["export", "{model}", "--format", "openvino"], "exported as"),
        (["export", "{model}", "--precision", "float16"], "in float32"),
    ],
)
def test_what_is_for_classifiers_is_refused(model, photos, capsys, args, message):
    with pytest.raises(SystemExit) as stopped:
        main([arg.format(model=model, photos=photos) for arg in args])
    assert stopped.value.code in (1, 2)
    assert message in capsys.readouterr().err


def test_export_writes_a_version(model, photos, tmp_path, capsys):
    main(["export", str(model), "--format", "litert", "--out", str(tmp_path / "versions")])
    assert "Exported litert" in capsys.readouterr().out
    file = tmp_path / "versions" / "1" / "model.tflite"
    main(["predict", str(photos / "a.png"), "--model", str(file)])
    assert "a.png" in capsys.readouterr().out


def test_detectors_are_in_the_catalogue(capsys):
    names = keras_wrn.list_models("retinanet_*")
    assert "retinanet_wide_resnet34_2" in names
    small = keras_wrn.create_model(
        "retinanet_wide_resnet18_1", classes=3, input_shape=(64, 64, 3), anchor_size=16
    )
    assert small.name == "retinanet_wide_resnet18_1"
    assert small.output["classification"].shape[-1] == 3
    main(["list", "retinanet_*"])
    assert "96,655,668" in capsys.readouterr().out
