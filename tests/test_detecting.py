"""`keras-wrn predict`, `evaluate` and `export` with a detector."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from finders import NAMES, coco_folder, finder, photo
from PIL import Image

import keras_wrn
from keras_wrn.cli import main
from keras_wrn.detection import detect

ROOT = Path(__file__).parents[1]


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
    assert rows[-1]["error"] and float(rows[0]["width"]) > 0
    assert {row["class"] for row in rows[:-1]} <= set(NAMES)


def test_a_picture_shows_the_boxes(model, photos, tmp_path):
    from keras_wrn.detection import draw

    white = np.full((100, 150, 3), 255, "uint8")
    found = {"boxes": np.array([[30, 20, 60, 60]]), "scores": np.array([0.9]),
             "labels": np.array([1])}  # fmt: skip
    weak = {**found, "scores": np.array([0.2])}
    both = draw([white, white], [found, weak], NAMES, tmp_path / "drawn")
    drawn, plain = (np.asarray(Image.open(path).convert("RGB"), int) for path in both)
    assert (plain == 255).all()  # a score below 0.3
    painted = np.argwhere(np.abs(drawn - 255).sum(axis=-1) > 100)
    top, left = painted.min(axis=0) / np.array(drawn.shape[:2])
    bottom, right = painted.max(axis=0) / np.array(drawn.shape[:2])
    assert 0.15 < left < 0.25 and 0.55 < right < 0.65  # 30 and 90 of 150, with some border
    assert 0.05 < top < 0.25 and 0.75 < bottom < 0.85  # the name is above the box
    truth = [{"boxes": np.zeros((0, 4)), "labels": np.zeros(0, int)}]
    wide = Image.open(draw([white], [found], NAMES, tmp_path / "two", truth)[0])
    assert wide.width == 2 * Image.open(both[0]).width


def test_pictures_of_files_with_one_name_do_not_replace_each_other(model, photos, tmp_path):
    (photos / "more").mkdir()
    for name in ("a", "a-2"):
        (photos / "more" / f"{name}.png").write_bytes((photos / "a.png").read_bytes())
    main(["predict", str(photos), "--model", str(model), "--show-dir", str(tmp_path / "out")])
    assert len(list((tmp_path / "out").iterdir())) == 4


@pytest.mark.extra("pycocotools")
def test_evaluate_takes_all_photos_of_a_single_file(model, tmp_path, capsys):
    file = coco_folder(tmp_path / "coco") / "instances_val.json"
    main(["evaluate", str(model), "--data", str(file)])
    assert "images    6 of" in capsys.readouterr().out
    content = json.loads(file.read_text())
    content["images"][2].update(width=500, height=500)
    file.write_text(json.dumps(content))
    with pytest.raises(SystemExit):
        main(["evaluate", str(model), "--data", str(file)])
    assert "val2.jpg should be 500 x 500" in capsys.readouterr().err


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
        pytest.param(
            ["export", "{model}", "--format", "openvino"],
            "exported as",
            marks=pytest.mark.extra("openvino"),
        ),
        (["export", "{model}", "--precision", "float16", "--top-k", "3"], "--precision, --top-k"),
        (["predict", "{photos}", "--model", "{model}", "--show-dir", "{model}"], "a file"),
        (["predict", "absent.jpg", "--model", "{model}"], "No such file"),
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


def test_the_page_has_the_figures_of_the_logs():
    page = (ROOT / "docs" / "detection.md").read_text()
    subset, eight = (ROOT / "results" / f"coco_{name}-seed0" for name in ("subset", "eight"))
    learned = json.loads((subset / "train" / "results.json").read_text())
    others, same = (json.loads((x / "summary.json").read_text()) for x in (subset, eight))
    rows = [line for line in page.splitlines() if "../results/coco_" in line and line[0] == "|"]
    figures = [
        (learned["ap"], learned["ap50"], others["ap50"], others["flops"] / 1e15),
        (same["ap"], same["ap50"], same["flops"] / 1e15),
    ]
    assert learned["ap50"] >= 80 and same["ap50"] >= 80 and len(rows) == 2
    for row, (*percents, cost) in zip(rows, figures, strict=True):
        assert all(f" {value:.1f} % |" in row for value in percents)
        assert f"| {cost:.2f} |" in row or f"| {cost:.3f} |" in row


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
