"""Evaluation: every figure by hand, on arrays, datasets and folders."""

import dataclasses
import json

import keras
import numpy as np
import pytest
from photo_files import make_folder
from PIL import Image
from torchvision_here import import_torchvision

import keras_wrn
from keras_wrn.data import Preprocessing
from keras_wrn.data.datasets import IMAGENET_MEAN, IMAGENET_STD
from keras_wrn.data.folder import scan_folder
from keras_wrn.data.imagenet import imagenet_classes, imagenet_names, readable_names
from keras_wrn.data.labels import labels_of_folders
from keras_wrn.errors import DataError
from keras_wrn.evaluation import confusion_figure, evaluate
from keras_wrn.trained import open_classifier
from keras_wrn.verbs.predicting import summary_lines

CLASSES = 7


def known_model(table, names=()):
    """A model whose probabilities for an image are the row of `table` that its grey value says."""
    inputs = keras.Input((4, 4, 3))
    grey = keras.layers.GlobalAveragePooling2D()(inputs)[:, 0]
    table = keras.layers.Embedding(*np.shape(table), weights=[np.log(table)])
    outputs = keras.layers.Dense(
        len(names) or table.output_dim, "softmax", use_bias=False, kernel_initializer="identity"
    )(table(grey + 0.5))
    model = keras.Model(inputs, outputs)
    model.preprocessing = keras_wrn.Preprocessing(4, std=(1 / 255,) * 3, class_names=names)
    return model


@pytest.fixture(scope="module")
def setting():
    generator = np.random.default_rng(0)
    table = generator.dirichlet(np.full(CLASSES, 0.4), 60).clip(1e-4)
    table /= table.sum(axis=1, keepdims=True)
    labels = generator.integers(0, CLASSES, 60)
    images = np.repeat(np.arange(60, dtype="uint8"), 48).reshape(60, 4, 4, 3)
    return known_model(table), images, labels, table


def test_all_figures_are_those_by_hand(setting, tmp_path):
    model, images, labels, table = setting
    results = evaluate(model, (images, labels), batch_size=13, directory=tmp_path / "out")
    guesses = table.argmax(axis=1)
    right = guesses == labels
    assert results["images"] == 60
    assert results["accuracy"] == pytest.approx(100 * right.mean(), abs=1e-3)
    assert results["error"] == pytest.approx(100 - 100 * right.mean(), abs=1e-3)
    assert results["loss"] == pytest.approx(-np.log(table[range(60), labels]).mean(), rel=1e-4)
    top5 = [label in row for label, row in zip(labels, np.argsort(-table)[:, :5], strict=True)]
    assert results["top5_accuracy"] == pytest.approx(100 * np.mean(top5), abs=1e-3)
    ece, confidence = 0.0, table.max(axis=1)
    for i in range(15):
        inside = (confidence > i / 15) & (confidence <= (i + 1) / 15)
        if inside.any():
            ece += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert results["ece"] == pytest.approx(100 * ece, abs=1e-2)
    brier = ((table - np.eye(CLASSES)[labels]) ** 2).sum(axis=1).mean()
    assert results["brier"] == pytest.approx(brier, rel=1e-4)
    confusion = np.zeros((CLASSES, CLASSES), int)
    for label, guess in zip(labels, guesses, strict=True):
        confusion[label, guess] += 1
    assert results["confusion"] == confusion.tolist()
    for label, entry in enumerate(results["per_class"]):
        assert entry["class"] == str(label) and entry["images"] == (labels == label).sum()
        assert entry["accuracy"] == pytest.approx(100 * right[labels == label].mean(), abs=1e-3)
    assert json.loads((tmp_path / "out" / "results.json").read_text()) == results
    with Image.open(tmp_path / "out" / "confusion.png") as picture:
        assert min(picture.size) > 400
    assert f"ECE       {results['ece']:.2f} %" in summary_lines(results)


def test_batches_do_not_change_the_figures(setting):
    model, images, labels, _ = setting
    one, other = (evaluate(model, (images, labels), batch_size=size) for size in (60, 7))
    for key, value in one.items():
        assert other[key] == pytest.approx(value, rel=1e-6) if key == "loss" else value


def test_grey_images_are_as_those_of_three_equal_channels(setting):
    model, images, labels, _ = setting
    expected = evaluate(model, (images, labels))
    assert evaluate(model, (images[..., 0], labels)) == expected
    assert evaluate(model, (images[..., :1].astype("float32"), labels)) == expected
    with pytest.raises(ValueError, match=r"shape \(4, 4, 3\). Received: \(4, 4, 2\)"):
        evaluate(model, (images[..., :2], labels))


def test_few_classes_have_no_top5():
    model = known_model(np.full((3, 4), 0.25))
    results = evaluate(model, (np.zeros((2, 4, 4, 3), "uint8"), np.array([0, 1])))
    assert "top5_accuracy" not in results
    assert results["per_class"][3] == {"class": "3", "images": 0, "accuracy": None}


def folder(root, names):
    for i, name in enumerate(names):
        (root / name).mkdir(parents=True)
        Image.new("RGB", (4, 4), (i,) * 3).save(root / name / "a.png")
    return root


@pytest.fixture
def three():
    table = np.eye(3).clip(1e-3)
    return known_model(table, ("cat", "dog", "owl"))


def test_a_folder_is_matched_by_the_names_of_its_classes(three, tmp_path):
    # As sub-folders they are sorted; the model has another order.
    three.preprocessing = keras_wrn.Preprocessing(
        4, std=(1 / 255,) * 3, class_names=("owl", "dog", "cat")
    )
    root = folder(tmp_path / "x", ["owl", "dog", "cat"])
    assert evaluate(three, root)["confusion"] == np.eye(3, dtype=int).tolist()
    assert evaluate(three, folder(tmp_path / "y" / "val", ["owl", "dog"]).parent)["images"] == 2


def test_a_folder_is_matched_by_wordnet_ids(three, tmp_path):
    chosen = [imagenet_classes()[i] for i in (7, 3, 500)]
    three.preprocessing = keras_wrn.Preprocessing(
        4, std=(1 / 255,) * 3, class_names=[name for _, name in chosen]
    )
    root = folder(tmp_path, [wnid for wnid, _ in chosen])
    assert evaluate(three, root)["accuracy"] == 100


def test_a_folder_has_two_splits(three, tmp_path):
    three.preprocessing = keras_wrn.Preprocessing(
        4, std=(1 / 255,) * 3, class_names=("cat", "dog", "owl")
    )
    folder(tmp_path / "train", ["cat", "dog", "owl"])
    folder(tmp_path / "val", ["cat", "dog"])
    assert evaluate(three, tmp_path)["images"] == 2
    assert evaluate(three, tmp_path, split="train")["images"] == 3
    with pytest.raises(ValueError, match=r"`split` should be 'test' or 'train'"):
        evaluate(three, tmp_path, split="banana")
    with pytest.raises(DataError, match="Expected a folder that holds train/"):
        evaluate(three, tmp_path / "val", split="train")


def test_both_cranes_are_told_apart(three, tmp_path):
    cranes = [i for i, (_, name) in enumerate(imagenet_classes()) if name == "crane"]
    wnids = [imagenet_classes()[i][0] for i in (*cranes, 0)]
    names = readable_names(wnids)
    assert names[:2] == tuple(f"crane ({wnid})" for wnid in wnids[:2]) and names[2][:5] == "tench"
    three.preprocessing = keras_wrn.Preprocessing(4, std=(1 / 255,) * 3, class_names=names)
    assert evaluate(three, folder(tmp_path / "x", wnids))["accuracy"] == 100
    assert labels_of_folders(wnids[:2], imagenet_names(), 1000, tmp_path).tolist() == cranes
    with pytest.raises(DataError, match="Received: crane"):
        labels_of_folders(["crane"], imagenet_names(), 1000, tmp_path)


def test_classes_that_the_model_has_not_are_named(three, tmp_path):
    with pytest.raises(DataError, match=r"such as cat, dog, owl\. Received: cow"):
        evaluate(three, folder(tmp_path, ["cat", "cow"]))


def test_folders_of_a_model_without_names_are_called_by_its_labels(tmp_path):
    model = known_model(np.eye(12).clip(1e-3))
    root = folder(tmp_path / "x", map(str, range(12)))
    assert evaluate(model, root)["accuracy"] == 100
    (root / "9").rename(root / "09")
    assert evaluate(model, root)["accuracy"] == 100
    (root / "09").rename(root / "12")
    with pytest.raises(DataError, match=r"the model's labels, 0 to 11, as it has no names.* 12"):
        evaluate(model, root)
    part = folder(tmp_path / "part", ["0", "1", "02"])
    assert evaluate(model, part)["confusion"] == np.diag([1] * 3 + [0] * 9).tolist()
    with pytest.raises(DataError, match=r"which count from 0\. Received: 1 to 11, without 0"):
        evaluate(model, folder(tmp_path / "from one", map(str, range(1, 12))))
    for i, names in enumerate((["a", "b", "c"], ["1", "01"], ["0", "cat"], ["0", "\u0661"])):
        with pytest.raises(DataError, match="as it has no names"):
            evaluate(model, folder(tmp_path / f"y{i}", names))


def test_numbers_are_labels_of_a_model_with_names_where_none_of_them_is_a_name(three, tmp_path):
    names = ("cat", "dog", "owl")
    three.preprocessing = keras_wrn.Preprocessing(4, std=(1 / 255,) * 3, class_names=names)
    assert evaluate(three, folder(tmp_path / "x", ["0", "1", "2"]))["accuracy"] == 100
    with pytest.raises(DataError, match="Received: 0, 1"):
        evaluate(three, folder(tmp_path / "y", ["0", "1"]))
    three.preprocessing = keras_wrn.Preprocessing(
        4, std=(1 / 255,) * 3, class_names=("1", "10", "2")
    )
    assert evaluate(three, folder(tmp_path / "z", ["1", "10", "2"]))["accuracy"] == 100
    with pytest.raises(DataError, match="Received: 0"):
        evaluate(three, folder(tmp_path / "w", ["0", "1", "2"]))


def test_names_are_compared_in_one_unicode_form(three, tmp_path):
    for i, (own, theirs) in enumerate([("caf\u00e9", "cafe\u0301"), ("cafe\u0301", "caf\u00e9")]):
        three.preprocessing = keras_wrn.Preprocessing(
            4, std=(1 / 255,) * 3, class_names=("bar", own, "owl")
        )
        assert evaluate(three, folder(tmp_path / str(i), ["bar", theirs]))["accuracy"] == 100


def test_files_left_out_are_in_the_results(three, tmp_path):
    three.preprocessing = keras_wrn.Preprocessing(
        4, std=(1 / 255,) * 3, class_names=("cat", "dog", "owl")
    )
    folder(tmp_path, ["cat", "dog"])
    assert "left_out" not in evaluate(three, tmp_path)
    (tmp_path / "dog" / "b.tif").write_text("")
    results = evaluate(three, tmp_path)
    assert results["left_out"] == {".tif": 1}
    assert "left out  1 .tif" in "\n".join(summary_lines(results))


def test_data_that_is_not_there_is_refused(three):
    with pytest.raises(DataError, match=r"Expected one of cifar10, .*NAME, or a folder or list"):
        evaluate(three, "cifa10")
    with pytest.raises(ValueError, match="`batch_size` should be a positive integer"):
        evaluate(three, "digits", batch_size=0)


def test_numpy_integers_are_integers(three):
    data = np.zeros((5, 4, 4, 3), "uint8"), np.zeros(5, int)
    two = np.int64(2)
    assert evaluate(three, data, batch_size=two, views=two) == evaluate(three, data, views=2)
    assert len(keras_wrn.inference_model(three, data[0][0], top_k=two)["top_k"]) == 2
    for wrong in (np.int64(0), np.float32(2), True, "2"):
        with pytest.raises(ValueError, match="`batch_size` should be a positive integer"):
            evaluate(three, data, batch_size=wrong)
        with pytest.raises(ValueError, match="`top_k` should be a positive integer"):
            keras_wrn.inference_model(three, data[0][0], top_k=wrong)


def test_views_average_the_logits():
    keras.utils.set_random_seed(0)
    model = keras_wrn.WideResNet(10, 1, input_shape=(8, 8, 3), classifier_activation=None)
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (40, 8, 8, 3), dtype="uint8")
    labels = generator.integers(0, 10, 40)
    preprocessing = keras_wrn.Preprocessing(8, std=(0.1,) * 3)
    one, two = (
        evaluate(model, (images, labels), views=views, preprocessing=preprocessing)
        for views in (1, 2)
    )
    logits = sum(
        model.predict_on_batch(preprocessing.normalize(x)).astype("float64")
        for x in (images, np.ascontiguousarray(images[:, :, ::-1]))
    )
    assert two["views"] == 2
    assert two["accuracy"] == pytest.approx(100 * (logits.argmax(axis=1) == labels).mean())
    logs = logits / 2 - np.log(np.exp(logits / 2).sum(axis=1, keepdims=True))
    assert two["loss"] == pytest.approx(-logs[np.arange(40), labels].mean(), rel=1e-5)
    assert two["loss"] != pytest.approx(one["loss"], rel=1e-4)


def test_an_impossible_number_of_views_is_refused_before_any_image_is_seen(setting):
    with pytest.raises(ValueError, match="`views` should be one of"):
        evaluate(setting[0], "nowhere", views=4)


def test_how_far_it_is_is_shown_to_those_who_look_or_wait(setting, capsys, monkeypatch):
    model, images, labels, _ = setting

    def shown(**settings):
        evaluate(model, (images, labels), batch_size=20, **settings)
        return capsys.readouterr().err

    assert "img" not in shown()
    monkeypatch.setattr("keras_wrn.evaluation.RARE", 0)  # as after half a minute
    assert "20/60" in shown() and "60/60" in shown()
    assert "img" not in shown(progress=False)
    monkeypatch.undo()
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    assert "60/60" in shown()


def test_the_confusion_matrix_has_the_classes_that_occur(tmp_path, monkeypatch):
    confusion = np.zeros((1000, 1000), int)
    confusion[3, 3], confusion[3, 7], confusion[500, 500] = 4, 1, 5
    classes = [{"class": f"name {label}, more"} for label in range(1000)]
    results = {"confusion": confusion, "per_class": classes, "accuracy": 90.0, "images": 10}
    shown = []
    monkeypatch.setattr(
        "matplotlib.axes.Axes.set_yticks", lambda _, places, names: shown.extend(names)
    )
    confusion_figure(results, tmp_path / "confusion.png")
    assert shown == ["name 3", "name 7", "name 500"]


@pytest.mark.extra("torchvision", "timm")
@pytest.mark.parametrize(("size", "crop"), [(48, 1.0), (40, 0.9), (32, 0.875)])
def test_photos_of_another_size_and_crop_are_timms(tmp_path, size, crop):
    """The transform that timm evaluates with, and the network at that size."""
    import_torchvision()
    import timm

    root = make_folder(tmp_path, count=6)
    model = keras_wrn.WideResNet18(0.25, input_shape=(32, 32, 3), classes=2)
    model.preprocessing = Preprocessing(
        32, 0.875, "bicubic", mean=IMAGENET_MEAN, std=IMAGENET_STD, class_names=("cat", "dog")
    )
    found = evaluate(model, root, split="train", size=size, crop=crop)
    transform = timm.data.create_transform(
        size, interpolation="bicubic", crop_pct=crop, mean=IMAGENET_MEAN, std=IMAGENET_STD
    )
    folder = scan_folder(root / "train")
    images = np.stack([transform(Image.open(x).convert("RGB")).numpy() for x in folder.files])
    large = keras_wrn.WideResNet18(0.25, input_shape=(size, size, 3), classes=2)
    large.set_weights(model.get_weights())
    scores = large.predict(images.transpose(0, 2, 3, 1), verbose=0)
    expected = -np.log(scores[np.arange(12), folder.labels]).mean()
    assert found["loss"] == pytest.approx(expected, rel=1e-4)
    assert size == 32 or found["loss"] != evaluate(model, root, split="train")["loss"]


def test_sizes_that_cannot_be_are_refused(three, tmp_path):
    with pytest.raises(ValueError, match=r"`size` should be a positive integer.*size=0"):
        evaluate(three, "digits", size=0)
    with pytest.raises(ValueError, match=r"`crop` should be in \(0, 1\]"):
        evaluate(three, "digits", crop=2.0)
    artifact = tmp_path / "model.tflite"
    artifact.write_bytes(b"")
    with pytest.raises(ValueError, match="`size` and `crop` are for Keras models"):
        evaluate(artifact, "digits", size=48)
    with pytest.raises(ValueError, match="is open with its size and crop"):
        evaluate(open_classifier(three), "digits", crop=0.9)


def test_several_models_answer_by_the_mean_of_their_probabilities(setting):
    model, images, labels, table = setting
    other = np.random.default_rng(1).dirichlet(np.full(CLASSES, 0.4), 60).clip(1e-4)
    other /= other.sum(axis=1, keepdims=True)
    results = evaluate([model, known_model(other)], (images, labels), batch_size=11)
    expected = evaluate(known_model((table + other) / 2), (images, labels))
    for key in ("accuracy", "loss", "ece", "brier"):
        assert results[key] == pytest.approx(expected[key], rel=1e-5), key
    alone = evaluate([model], (images, labels))
    assert alone["loss"] == pytest.approx(evaluate(model, (images, labels))["loss"], rel=1e-12)
    results = evaluate([model, known_model(other)], (images, labels), views=2)
    assert results["views"] == 2 and len(results["models"]) == 2
    assert summary_lines(results)[0] == "ensemble  2 models"
    darker = dataclasses.replace(model.preprocessing, std=(2 / 255,) * 3)
    alone = evaluate(model, (images, labels), preprocessing=darker)
    assert evaluate([model], (images, labels), preprocessing=darker)["loss"] == alone["loss"]


def test_an_ensemble_is_of_one_kind(three):
    with pytest.raises(ValueError, match=r"one model or more\. Received: none"):
        evaluate([], "digits")
    with pytest.raises(ValueError, match=r"same images and classes.*with classes \('cat'"):
        evaluate([three, known_model(np.eye(4).clip(1e-3))], "digits")


def test_a_temperature_is_fitted_on_other_images_than_it_is_reported_on(setting):
    model, images, labels, table = setting
    random = np.random.default_rng(5)
    held_out = random.integers(0, CLASSES, 60)
    results = evaluate(model, (images, labels), calibrate=(images, held_out))
    plain = evaluate(model, (images, labels))
    assert results["uncalibrated"] == {
        x: pytest.approx(plain[x], rel=1e-9) for x in ("loss", "ece", "brier")
    }
    assert results["error"] == plain["error"]
    temperature = results["temperature"]
    softer = table ** (1 / temperature)
    softer /= softer.sum(axis=1, keepdims=True)
    assert results["loss"] == pytest.approx(-np.log(softer[range(60), labels]).mean(), rel=1e-4)
    half = dataclasses.replace(open_classifier(model), temperature=2.0)
    again = evaluate(half, (images, labels), calibrate=(images, held_out))
    assert again["temperature"] == pytest.approx(temperature, rel=1e-3)
    assert again["loss"] == pytest.approx(results["loss"], rel=1e-5)
    with pytest.raises(ValueError, match="`calibrate` should be other images"):
        evaluate(model, "digits", calibrate="digits")
    with pytest.warns(UserWarning, match="The 1 images to calibrate on set no temperature"):
        evaluate(model, (images, labels), calibrate=(images[:1], table[:1].argmax(axis=1)))
    losses = [
        -np.log((table ** (1 / t) / (table ** (1 / t)).sum(axis=1, keepdims=True))
                [range(60), held_out]).mean() for t in (0.99 * temperature, temperature * 1.01)
    ]  # fmt: skip
    assert min(losses) > -np.log(softer[range(60), held_out]).mean()
    assert any(line.startswith("T         ") for line in summary_lines(results))


def test_images_of_other_things_are_told_by_probability_and_energy(tmp_path):
    # Grey values below 30 are known with rising logits; those above are not.
    logits = np.zeros((60, CLASSES))
    logits[:30, 0] = np.linspace(4, 6, 30)
    inputs = keras.Input((4, 4, 3))
    grey = keras.layers.GlobalAveragePooling2D()(inputs)[:, 0]
    table = keras.layers.Embedding(*logits.shape, weights=[logits])
    outputs = keras.layers.Dense(CLASSES, "softmax", kernel_initializer="identity")(
        table(grey + 0.5)
    )
    model = keras.Model(inputs, outputs)
    model.preprocessing = Preprocessing(4, std=(1 / 255,) * 3)
    images = np.repeat(np.arange(60, dtype="uint8"), 48).reshape(60, 4, 4, 3)
    known, labels = images[:30], np.zeros(30, int)
    results = evaluate(model, (known, labels), ood=images[30:], batch_size=7)
    assert results["ood"]["images"] == 30
    for score in ("max_probability", "energy"):
        assert results["ood"][score] == {"auroc": 100.0, "fpr95": 0.0}
    for name, grey_value in (("a.png", 40), ("b/c.png", 50), ("b/d.png", 25)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (4, 4), (grey_value,) * 3).save(tmp_path / name)
    found = evaluate(model, (known, labels), ood=str(tmp_path))["ood"]
    assert found["images"] == 3 and found["energy"]["fpr95"] == pytest.approx(100 / 3, abs=1e-3)
    assert found["energy"]["auroc"] == pytest.approx(100 * (30 + 30 + 4.5) / 90, abs=1.5)
    with pytest.raises(ValueError, match=r"without labels\. Received: a tuple"):
        evaluate(model, (known, labels), ood=(known, labels))
    with pytest.raises(DataError, match=r"or a folder of images. Received: 'nowhere'"):
        evaluate(model, (known, labels), ood="nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no image files below"):
        evaluate(model, (known, labels), ood=tmp_path / "empty")


def test_energies_are_those_of_the_logits_before_the_softmax():
    model = keras_wrn.WideResNet(10, 1, input_shape=(8, 8, 3))
    model.preprocessing = Preprocessing(8)
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), dtype="uint8")
    answer = open_classifier(model).predictions(images)
    logits = keras_wrn.WideResNet(10, 1, input_shape=(8, 8, 3), classifier_activation=None)
    logits.set_weights(model.get_weights())
    expected = np.asarray(logits.predict(images / np.float32(255), verbose=0), "float64")
    np.testing.assert_allclose(answer.energy, np.log(np.exp(expected).sum(axis=1)), rtol=1e-5)
    np.testing.assert_allclose(answer.logs, expected - answer.energy[:, None], rtol=1e-4, atol=1e-5)


def test_corruptions_are_evaluated_one_by_one(monkeypatch):
    seen = []

    def made(images, kind, severity, first):
        seen.append((kind, severity, first, len(images)))
        return np.full_like(images, severity)

    monkeypatch.setattr("keras_wrn.evaluation.corrupted", made)
    table = np.full((6, 3), 0.1)
    table[np.arange(6), [0, 0, 0, 0, 1, 2]] = 0.8  # the guess for the grey value 0, 1, ...
    model = known_model(table)
    images, labels = np.zeros((5, 4, 4, 3), "uint8"), np.array([0, 0, 0, 1, 2])
    results = evaluate(model, (images, labels), corrupt=True, batch_size=2)
    assert len(results["corruptions"]) == 15 and len(seen) == 15 * 5 * 3
    assert seen[:4] == [("gaussian_noise", 1, 0, 2), ("gaussian_noise", 1, 2, 2),
                        ("gaussian_noise", 1, 4, 1), ("gaussian_noise", 2, 0, 2)]  # fmt: skip
    assert results["corruptions"]["fog"] == [40.0, 40.0, 40.0, 80.0, 80.0]
    assert results["mean_corruption_error"] == 56.0 and results["error"] == 40.0
    assert "corrupted 56.00 % error on average" in summary_lines(results)


def test_corruptions_need_small_images_in_memory(three, tmp_path):
    three.preprocessing = keras_wrn.Preprocessing(
        4, std=(1 / 255,) * 3, class_names=("cat", "dog", "owl")
    )
    with pytest.raises(ValueError, match=r"in memory, uint8.*Received: ImageFolder"):
        evaluate(three, folder(tmp_path, ["cat", "dog", "owl"]), corrupt=True)
    with pytest.raises(ValueError, match=r"Received: float32 \(2, 4, 4, 3\)"):
        evaluate(three, (np.zeros((2, 4, 4, 3), "float32"), np.zeros(2, int)), corrupt=True)
