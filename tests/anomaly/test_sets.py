"""Folders in MVTec AD's layout and bare ones, good and bad; the figures over them."""

import numpy as np
import pytest
from anomaly.small import folder, good, network
from PIL import Image
from sklearn.metrics import roc_auc_score

from keras_wrn.anomaly import PatchCore, evaluate_inspector
from keras_wrn.anomaly.sets import defect_photos, good_photos, mask_beside, read_mask, test_photos
from keras_wrn.errors import DataError

test_photos.__test__ = False


@pytest.mark.parametrize("suffix", ["_mask", ""])
def test_a_folder_has_good_photos_defects_and_masks(tmp_path, suffix):
    root = folder(tmp_path, suffix=suffix)
    assert [x.name for x in good_photos(root)] == [f"{i:03}.png" for i in range(6)]
    assert good_photos(root / "train" / "good") == good_photos(root)
    photos = test_photos(root)
    assert [x.kind for x in photos] == ["good"] * 3 + ["hole"] * 3 + ["scratch"] * 2
    assert [x.is_odd for x in photos] == [False] * 3 + [True] * 5
    for one in photos:
        assert (one.mask is not None) == one.is_odd and mask_beside(one.path) == one.mask
        if one.mask:
            assert read_mask(one.mask).shape == Image.open(one.path).size[::-1]
    assert mask_beside(good_photos(root)[0]) is None and mask_beside("photo.jpg") is None


def test_figures_are_those_of_the_scores_and_maps(tmp_path):
    root = folder(tmp_path / "data")
    model = PatchCore(network(), image_size=32).fit(root)
    results = evaluate_inspector(model.inspector(), root, tmp_path / "pictures")
    photos = test_photos(root)
    answers = model.score([x.path for x in photos])
    odd = np.array([x.is_odd for x in photos])
    scores = np.array([x["score"] for x in answers])
    assert results["photos"] == 8 and results["odd"] == 5
    assert results["image_auroc"] == pytest.approx(100 * roc_auc_score(odd, scores), abs=1e-3)
    above = scores > model.threshold
    assert results["missed"] == pytest.approx(100 * (~above[odd]).mean(), abs=1e-3)
    assert results["false_alarms"] == pytest.approx(100 * above[~odd].mean(), abs=1e-3)
    masks = [read_mask(x.mask) if x.mask else np.zeros(y["map"].shape, bool)
             for x, y in zip(photos, answers, strict=True)]  # fmt: skip
    flat = np.concatenate([x.ravel() for x in masks])
    expected = roc_auc_score(flat, np.concatenate([x["map"].ravel() for x in answers]))
    assert results["pixel_auroc"] == pytest.approx(100 * expected, abs=1e-3)
    assert results["pixel_auroc"] > 80 and results["pro"] > 40
    assert set(results["per_kind"]) == {"hole", "scratch"}
    names = {path.name for path in (tmp_path / "pictures").iterdir()}
    assert len(names) == 8 and "hole-001.png" in names


def test_without_masks_there_are_no_figures_of_pixels(tmp_path):
    root = folder(tmp_path, masks=False)
    model = PatchCore(network(), image_size=32).fit(root)
    results = evaluate_inspector(model.inspector(), root)
    assert results["pixel_auroc"] is None and results["pro"] is None


def test_a_picture_shows_the_heat_and_the_mask(tmp_path):
    from keras_wrn.anomaly import draw

    grey = np.full((40, 60, 3), 128, "uint8")
    mask = np.zeros((40, 60), bool)
    mask[10:30, 20:40] = True
    result = {"score": 2.0, "is_anomaly": True, "map": np.where(mask, 2.0, 0.1)}
    draw(grey, result, 1.0, tmp_path / "a.png", mask)
    draw(grey, {**result, "map": np.full((40, 60), 0.1)}, 1.0, tmp_path / "b.png")
    hot, cold = (np.asarray(Image.open(tmp_path / f"{x}.png").convert("RGB"), int) for x in "ab")
    # Within the mask the heat is red, outside it is blue; the first panel is the photo.
    red = (hot[..., 0] > hot[..., 2] + 60).sum() - (cold[..., 0] > cold[..., 2] + 60).sum()
    assert red > 0.02 * hot.shape[0] * hot.shape[1]
    white = [(x[40:-10, 10 : x.shape[1] // 2 - 40] > 240).all(axis=-1).sum() for x in (hot, cold)]
    assert white[0] > white[1] + 100  # the mask's outline in the photo


def test_bad_folders_are_named(tmp_path):
    root = folder(tmp_path / "a")
    mask = root / "ground_truth" / "hole" / "001_mask.png"
    content = mask.read_bytes()
    for change, message in (
        (lambda: mask.unlink(), "Expected a mask for each photo.*001.*Missing: 1 of 3"),
        (lambda: mask.write_bytes(b"no image"), "001_mask.png cannot be read"),
        (lambda: Image.new("L", (5, 5), 255).save(mask), "the photo's size.*Received: 5 x 5"),
        (lambda: Image.new("L", (59, 41), 1).save(mask), "001_mask.png.*without any, of 1 to 1"),
        (lambda: mask.with_name("9_mask.png").write_bytes(content), "1 without.*9_mask.png"),
    ):
        change()
        with pytest.raises(DataError, match=f"(?s){message}"):
            test_photos(root)
        mask.write_bytes(content)
        mask.with_name("9_mask.png").unlink(missing_ok=True)
    (root / "ground_truth" / "hole").rename(root / "ground_truth" / "holes")
    with pytest.raises(DataError, match=r"Expected the kinds of .*Received: holes"):
        test_photos(root)
    fine = folder(tmp_path / "b", masks=False)
    for kind in ("hole", "scratch"):
        for path in (fine / "test" / kind).iterdir():
            path.unlink()
        (fine / "test" / kind).rmdir()
    with pytest.raises(DataError, match=r"photos of defects.*Received: good"):
        test_photos(fine)
    with pytest.raises(DataError, match="Expected a folder with test/good"):
        test_photos(tmp_path / "absent")
    (tmp_path / "c" / "train" / "good").mkdir(parents=True)
    with pytest.raises(DataError, match="Received: none"):
        good_photos(tmp_path / "c")


def test_one_broken_photo_is_named_before_anything_is_computed(tmp_path, monkeypatch):
    root = folder(tmp_path)
    (root / "train" / "good" / "003.png").write_bytes(b"no image")
    monkeypatch.setattr(PatchCore, "_features", None)
    with pytest.raises(DataError, match=r"003\.png"):
        PatchCore(network(), image_size=32).fit(root)
    assert len(good(2)) == 2


def test_defects_are_never_good_photos(tmp_path):
    root = folder(tmp_path / "a")
    assert {x.parent.name for x in defect_photos(root)} == {"hole", "scratch"}
    assert len(defect_photos(root / "test" / "hole")) == 3
    for read in (good_photos, defect_photos):
        with pytest.raises(DataError, match=r"no folders of photos.*good/, hole/, scratch/"):
            read(root / "test")
    with pytest.raises(DataError, match="Expected a folder of photos of defects"):
        defect_photos(tmp_path / "absent")
    told = PatchCore(network(), image_size=32).fit(root, defects=root)
    plain = PatchCore(network(), image_size=32).fit(root)
    assert told.threshold > plain.threshold


def test_masks_belong_to_photos_by_their_whole_path(tmp_path):
    root = folder(tmp_path)
    for kind in ("test", "ground_truth"):
        below = root / kind / "hole"
        files = sorted(below.iterdir())
        (below / "a").mkdir()
        (below / "b").mkdir()
        for i, file in enumerate(files):
            name = file.name.replace(f"00{i}", "000" if i < 2 else "001")
            file.rename(below / ("a" if i % 2 else "b") / name)
    photos = [x for x in test_photos(root) if x.kind == "hole"]
    for one in photos:
        photo, mask = (
            path.relative_to(root / part).with_suffix("").as_posix()
            for path, part in ((one.path, "test"), (one.mask, "ground_truth"))
        )
        assert mask == f"{photo}_mask"
    assert [mask_beside(x.path) for x in photos] == [x.mask for x in photos]
    model = PatchCore(network(), image_size=32).fit(root)
    evaluate_inspector(model.inspector(), root, tmp_path / "pictures")
    assert len(list((tmp_path / "pictures").iterdir())) == 8


def test_a_photo_of_one_row_has_no_contour(tmp_path):
    from keras_wrn.anomaly import draw

    result = {"score": 2.0, "is_anomaly": True, "map": np.ones((1, 30), "float32")}
    draw(np.zeros((1, 30, 3), "uint8"), result, 1.0, tmp_path / "a.png", np.ones((1, 30), bool))
    assert (tmp_path / "a.png").is_file()
