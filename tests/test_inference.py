import contextlib
import functools
import http.server
import io
import json
import threading
import time

import keras
import numpy as np
import pytest
from PIL import Image

import keras_wrn
from keras_wrn.catalog import load_model
from keras_wrn.evaluation import evaluate
from keras_wrn.inference import inference_model, prediction_figure

NAMES = tuple("zero one two three four five six seven eight nine".split())


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    model = keras_wrn.WideResNet(10, 1, dropout=0.5)
    generator = np.random.default_rng(0)
    for variable in model.variables:
        if variable.path.endswith(("moving_mean", "beta")):
            variable.assign(generator.normal(0, 0.3, variable.shape))
    kernel = model.layers[-1].kernel
    kernel.assign(kernel * 20)  # tells the images apart
    model.preprocessing = keras_wrn.Preprocessing(
        size=32, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25), class_names=NAMES
    )
    return model


@pytest.fixture(scope="module")
def digits():
    images, labels = keras_wrn.data.load_arrays("digits", "test")
    return images[:21], labels[:21]


def own_answer(model, images):
    x = model.preprocessing.normalize(images)
    return keras.ops.convert_to_numpy(model(x, training=False))


def png(image):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "png")
    return buffer.getvalue()


def test_the_dictionary_is_that_of_mmpretrain(model, digits):
    result = inference_model(model, digits[0][3])
    scores = own_answer(model, digits[0][3:4])[0]
    assert set(result) == {"pred_label", "pred_score", "pred_class", "pred_scores", "top_k"}
    assert type(result["pred_label"]) is int and result["pred_label"] == scores.argmax()
    assert type(result["pred_score"]) is float
    assert result["pred_score"] == pytest.approx(scores.max(), abs=1e-5)
    assert result["pred_class"] == NAMES[scores.argmax()]
    assert result["pred_scores"].shape == (10,)
    np.testing.assert_allclose(result["pred_scores"], scores, atol=1e-5)
    top = result["top_k"]
    assert [entry["label"] for entry in top] == np.argsort(-scores)[:5].tolist()
    assert [entry["class"] for entry in top] == [NAMES[entry["label"]] for entry in top]
    np.testing.assert_allclose(
        [entry["score"] for entry in top], np.sort(scores)[::-1][:5], atol=1e-5
    )


def test_every_kind_of_image_gets_the_same_answer(model, digits, tmp_path):
    array = digits[0][0]
    path = tmp_path / "digit.png"
    path.write_bytes(png(array))
    kinds = {
        "path": path,
        "str": str(path),
        "bytes": png(array),
        "PIL": Image.fromarray(array),
        "grey PIL": Image.fromarray(array[..., 0]),  # the digits are grey
        "uint8": array,
        "int64": array.astype("int64"),
        "float32": array.astype("float32"),
        "tensor": keras.ops.convert_to_tensor(array, "float32"),
    }
    expected = own_answer(model, array[None])[0]
    for kind, image in kinds.items():
        scores = inference_model(model, image)["pred_scores"]
        np.testing.assert_allclose(scores, expected, atol=1e-5, err_msg=kind)
    results = inference_model(model, list(kinds.values()), top_k=1)
    for result in results:
        np.testing.assert_allclose(result["pred_scores"], expected, atol=1e-5)
        assert len(result["top_k"]) == 1


def test_many_images_keep_their_order(model, digits):
    images = np.concatenate([digits[0], digits[0]])  # more than one batch
    expected = own_answer(model, images)
    assert np.ptp(expected, axis=0).max() > 0.05
    for several in (images, list(images), tuple(images)):
        scores = [result["pred_scores"] for result in inference_model(model, several)]
        np.testing.assert_allclose(scores, expected, atol=1e-5)
    assert inference_model(model, []) == []


def test_other_sizes_are_resized_as_the_preprocessing_says(model):
    photo = np.random.default_rng(0).integers(0, 256, (50, 80, 3), dtype="uint8")
    expected = own_answer(model, model.preprocessing.prepare(Image.fromarray(photo))[None])[0]
    for image in (photo, photo.astype("float32"), png(photo), Image.fromarray(photo)):
        scores = inference_model(model, image)["pred_scores"]
        np.testing.assert_allclose(scores, expected, atol=1e-5)


def test_grey_arrays_are_as_grey_files(model):
    for size in (32, 50):
        grey = np.random.default_rng(0).integers(0, 256, (size, size), dtype="uint8")
        expected = inference_model(model, png(grey))["pred_scores"]
        kinds = [grey, grey[..., None], grey.astype("float32"), Image.fromarray(grey)]
        kinds += [keras.ops.convert_to_tensor(grey), keras.ops.convert_to_tensor(grey[..., None])]
        for kind in kinds:
            scores = inference_model(model, kind)["pred_scores"]
            np.testing.assert_allclose(scores, expected, atol=1e-6)
        for several in (kinds, np.stack([grey, grey])[..., None]):
            for result in inference_model(model, several):
                np.testing.assert_allclose(result["pred_scores"], expected, atol=1e-6)
    prediction_figure([grey, grey[..., None]], inference_model(model, [grey] * 2))


def test_no_module_is_called_as_what_users_call():
    assert not hasattr(keras_wrn, "predict")


def test_a_figure_is_returned_and_needs_no_path(model, digits, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images = list(digits[0][:2])
    results = inference_model(model, images)
    figure = prediction_figure(images, results, true_labels=[results[0]["pred_label"], "two"])
    assert list(tmp_path.iterdir()) == []
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[0].startswith(f"{results[0]['pred_class']}: ") and "(is two)" in titles[1]
    figure = prediction_figure(images, results, tmp_path / "new" / "p.png")
    assert (tmp_path / "new" / "p.png").is_file() and len(figure.axes) == 2


def test_a_grey_model_and_classes_without_names(digits):
    model = keras_wrn.WideResNet(10, 1, input_shape=(32, 32, 1), classes=4)
    model.preprocessing = keras_wrn.Preprocessing(size=32, mean=(0.0,), std=(1.0,))
    grey = digits[0][0][..., :1]
    expected = own_answer(model, grey[None])[0]
    for image in (grey, Image.fromarray(digits[0][0]), grey.repeat(2, 0).repeat(2, 1)):
        result = inference_model(model, image, top_k=9)
        np.testing.assert_allclose(result["pred_scores"], expected, atol=1e-3)
        assert result["pred_class"] == str(result["pred_label"])
        assert len(result["top_k"]) == 4


def test_models_come_from_files_and_run_directories(model, digits, tmp_path):
    model.save(tmp_path / "model.keras")
    expected = inference_model(model, digits[0][0])["pred_scores"]
    for name in (tmp_path, str(tmp_path), tmp_path / "model.keras"):
        scores = inference_model(name, digits[0][0])["pred_scores"]
        np.testing.assert_allclose(scores, expected, atol=1e-5)
    assert load_model(model) is model
    (tmp_path / "broken.keras").write_text("no archive")
    with pytest.raises(ValueError, match=r"broken\.keras is damaged"):
        load_model(tmp_path / "broken.keras")
    (tmp_path / "empty").mkdir()
    for wrong in (tmp_path / "empty", "no_such_model", tmp_path / "absent.keras", 7):
        with pytest.raises(ValueError, match=r"directory that holds model\.keras"):
            load_model(wrong)


def test_a_model_of_logits_answers_in_probabilities(model, digits):
    twin = keras_wrn.WideResNet(10, 1, classifier_activation=None)
    twin.layers[-1].bias.assign(np.full(10, 1000))  # exp() of it is infinite
    logits = keras.Model(model.inputs, twin(model.inputs[0]))
    with pytest.raises(ValueError, match="Expected a classifier"):
        inference_model(logits, digits[0][0], preprocessing=model.preprocessing)
    given = keras_wrn.Preprocessing(size=32)
    result = inference_model(twin, digits[0][0], preprocessing=given)
    scores = keras.ops.softmax(twin(given.normalize(digits[0][:1]), training=False))
    np.testing.assert_allclose(
        result["pred_scores"], keras.ops.convert_to_numpy(scores)[0], atol=1e-4
    )
    labels = digits[1]
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(
        labels, twin(given.normalize(digits[0]), training=False)
    )
    results = evaluate(twin, digits, preprocessing=given)
    assert results["loss"] == pytest.approx(float(keras.ops.convert_to_numpy(loss)), rel=1e-3)


def test_an_image_that_is_none_is_said(model, tmp_path):
    broken = tmp_path / "broken.png"
    for data in (b"", b"not an image", png(np.zeros((32, 32, 3), "uint8"))[:60]):
        broken.write_bytes(data)
        with pytest.raises(ValueError, match=r"the file .*broken\.png; it cannot be decoded"):
            inference_model(model, broken)
    with pytest.raises(ValueError, match=r"image 1; it cannot be decoded: no known image format$"):
        inference_model(model, [np.zeros((32, 32, 3)), b"garbage"])
    with pytest.raises(FileNotFoundError, match=r"absent\.png"):
        inference_model(model, tmp_path / "absent.png")
    for wrong, match in (
        (np.zeros(32), r"\(height, width, channels\).*shape \(32,\)"),
        (np.zeros((32, 32, 2)), r"3 channels.*\(32, 32, 2\)"),
        (np.zeros((32, 32), bool), "type bool"),
        (np.zeros((2, 2, 32, 32, 3)), r"shape \(2, 2, 32, 32, 3\)"),
        (np.zeros((32, 32, 4)), r"3 channels.*\(32, 32, 4\)"),
        (np.zeros((0, 32, 3)), r"shape \(0, 32, 3\)"),
        (np.zeros((32, 32, 3), bool), "type bool"),
        (np.full((32, 32, 3), -1.0), r"0\.\.255 for the image. Received: -1"),
        (np.full((32, 32, 3), 256), "Received: 256"),
        (np.full((32, 32, 3), np.nan), "Received: nan"),
        (None, "NoneType"),
    ):
        with pytest.raises(ValueError, match=match):
            inference_model(model, wrong)
    with pytest.raises(ValueError, match="top_k=0"):
        inference_model(model, np.zeros((32, 32, 3)), top_k=0)
    with pytest.raises(ValueError, match="has no preprocessing"):
        inference_model(keras_wrn.WideResNet(10, 1), np.zeros((32, 32, 3)))
    with pytest.warns(UserWarning, match="multiply by 255"):
        inference_model(model, np.full((32, 32, 3), 0.5))


def test_evaluate_counts_every_image(model, digits, tmp_path):
    images, labels = digits
    results = evaluate(model, digits, batch_size=8, directory=tmp_path / "new")
    scores = own_answer(model, images)
    right = scores.argmax(axis=-1) == labels
    ranks = (scores > scores[np.arange(21), labels][:, None]).sum(axis=-1)
    assert results["images"] == 21
    assert results["accuracy"] == pytest.approx(100 * right.mean(), abs=1e-3)
    assert results["error"] == pytest.approx(100 - 100 * right.mean(), abs=1e-3)
    assert results["top5_accuracy"] == pytest.approx(100 * (ranks < 5).mean(), abs=1e-3)
    nll = -np.log(scores[np.arange(21), labels]).mean()
    assert results["loss"] == pytest.approx(nll, rel=1e-4)
    assert [entry["class"] for entry in results["per_class"]] == list(NAMES)
    assert [entry["images"] for entry in results["per_class"]] == np.bincount(
        labels, minlength=10
    ).tolist()
    for label, entry in enumerate(results["per_class"]):
        if entry["images"]:
            expected = 100 * right[labels == label].mean()
            assert entry["accuracy"] == pytest.approx(expected, abs=1e-3)
        else:
            assert entry["accuracy"] is None
    assert json.loads((tmp_path / "new/results.json").read_text()) == results
    for batch_size in (3, 500):
        again = evaluate(model, digits, batch_size=batch_size)
        assert again["accuracy"] == results["accuracy"]
        assert again["loss"] == pytest.approx(results["loss"], rel=1e-5)


def test_evaluate_without_enough_classes_for_a_top_5(digits):
    model = keras_wrn.WideResNet(10, 1, classes=5)
    images, labels = digits
    chosen = labels < 4
    results = evaluate(
        model,
        (images[chosen], labels[chosen]),
        preprocessing=keras_wrn.Preprocessing(size=32),
    )
    assert "top5_accuracy" not in results
    assert results["per_class"][4] == {"class": "4", "images": 0, "accuracy": None}


def test_evaluate_says_what_is_wrong_with_the_data(model, digits):
    images, labels = digits
    for data, match in (
        ((images[:, :16], labels), r"shape \(32, 32, 3\). Received: \(16, 32, 3\)"),
        ((images, labels[:5]), r"as many labels.*labels of shape \(5,\)"),
        ((images, labels + 0.5), "integer labels.*float64"),
        ((images, labels + 5), "'label'"),
        ((images, labels[:, None]), r"labels of shape \(n,\).*\(21, 1\)"),
        ((images[:0], labels[:0]), r"shape \(0, 32, 32, 3\)"),
    ):
        with pytest.raises(ValueError, match=match):
            evaluate(model, data)
    with pytest.raises(ValueError, match="batch_size=0"):
        evaluate(model, digits, batch_size=0)


def test_a_network_that_became_nan_is_said(digits):
    model = keras_wrn.WideResNet(10, 1)
    model.layers[-1].bias.assign(np.full(10, np.nan))
    with pytest.raises(ValueError, match="NaN"):
        evaluate(model, digits, preprocessing=keras_wrn.Preprocessing(size=32))


def colors(path):
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
    red, green, blue = pixels[..., 0], pixels[..., 1], pixels[..., 2]
    return {
        "green": int(((green > red + 60) & (green > blue + 40)).sum()),
        "red": int(((red > green + 100) & (red > blue + 100)).sum()),
    }


def test_a_pil_image_of_16_bits_is_as_its_file(model, tmp_path):
    pixels = np.linspace(0, 65535, 40 * 40).reshape(40, 40).astype("uint16")
    Image.fromarray(pixels).save(tmp_path / "deep.png")
    found = inference_model(model, Image.open(tmp_path / "deep.png"))["pred_scores"]
    expected = inference_model(model, tmp_path / "deep.png")["pred_scores"]
    np.testing.assert_array_equal(found, expected)
    with pytest.raises(ValueError, match="Received: floats, whose range is unknown"):
        inference_model(model, Image.fromarray(pixels.astype("float32")))


@pytest.fixture
def server(tmp_path):
    """A web server of a folder; the folder and its address."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path)
    with http.server.ThreadingHTTPServer(("localhost", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield tmp_path, f"http://localhost:{running.server_port}"
        running.shutdown()


def test_an_image_comes_from_a_url(model, digits, server, monkeypatch):
    folder, address = server
    (folder / "digit.png").write_bytes(png(digits[0][0]))
    (folder / "text.png").write_text("no image")
    expected = inference_model(model, digits[0][0])
    found = inference_model(model, f"{address}/digit.png")
    np.testing.assert_array_equal(found["pred_scores"], expected["pred_scores"])
    with pytest.raises(ValueError, match=r"absent\.png cannot be fetched: 404"):
        inference_model(model, f"{address}/absent.png")
    with pytest.raises(ValueError, match=r"text\.png; it cannot be decoded"):
        inference_model(model, f"{address}/text.png")
    monkeypatch.setattr(keras_wrn.data.images, "MAX_BYTES", 100)
    with pytest.raises(ValueError, match="more than 100 bytes"):
        inference_model(model, f"{address}/digit.png")
    with pytest.raises(ValueError, match=r"cannot be fetched: .*Connection refused"):
        inference_model(model, "http://localhost:1/digit.png")
    with pytest.raises(ValueError, match=r"URL of http or https\. Received: ftp://a/digit\.png"):
        inference_model(model, "ftp://a/digit.png")


class Dripping(http.server.BaseHTTPRequestHandler):
    """Sends a byte of an endless header, or of a body, every 50 ms."""

    def do_GET(self):
        with contextlib.suppress(OSError):  # who asked has gone
            self.wfile.write(b"HTTP/1.0 200 OK\r\n" + b"\r\n" * (self.path == "/body"))
            for _ in range(200):
                self.wfile.write(b"x")
                time.sleep(0.05)

    def log_message(self, *_):
        pass


@pytest.mark.parametrize("part", ["header", "body"])
def test_a_url_that_drips_is_given_up(model, monkeypatch, part):
    monkeypatch.setattr(keras_wrn.data.images, "TIMEOUT", 0.5)
    with http.server.ThreadingHTTPServer(("localhost", 0), Dripping) as running:
        running.daemon_threads = True
        threading.Thread(target=running.serve_forever, daemon=True).start()
        url = f"http://localhost:{running.server_port}/{part}"
        began = time.monotonic()
        with pytest.raises(ValueError, match=f"{part} cannot be fetched: no whole answer in 0.5 s"):
            inference_model(model, url)
        assert time.monotonic() - began < 5
        running.shutdown()


def test_the_picture_tells_right_from_wrong(model, digits, tmp_path):
    images = list(digits[0][:5])
    results = inference_model(model, images)
    right = [result["pred_label"] for result in results]
    wrong = [(label + 1) % 10 for label in right]
    for labels, shown in (
        (None, set()),
        (right, {"green"}),
        ([NAMES[label] for label in right], {"green"}),
        (wrong, {"red"}),
        (right[:2] + wrong[2:], {"green", "red"}),
    ):
        path = tmp_path / "new" / "picture.png"
        prediction_figure(images, results, path, labels)
        assert path.read_bytes().startswith(b"\x89PNG")
        assert {name for name, count in colors(path).items() if count > 20} == shown
    width, height = Image.open(path).size
    assert width > 3 * 150 and height > 2 * 150  # 3 columns, 2 rows, enlarged
    with pytest.raises(ValueError, match="5 images, 4 results"):
        prediction_figure(images, results[:4], path)
    with pytest.raises(ValueError, match="at least one"):
        prediction_figure([], [], path)


def test_titles_do_not_reach_into_each_other():
    """ImageNet's classes go by many words."""
    name = "rock crab of the northern shores, Cancer irroratus, and more"
    result = {"pred_class": name, "pred_label": 0, "pred_score": 1.0, "top_k": []}
    figure = prediction_figure(
        [np.zeros((9, 9, 3), "uint8")] * 4, [result] * 4, None, [1, "x", 0, 1]
    )
    figure.canvas.draw()
    boxes = [axes.title.get_window_extent() for axes in figure.axes]
    assert "Cancer" not in figure.axes[0].get_title()
    assert boxes[0].x1 < boxes[1].x0 and boxes[0].x0 >= 0 and boxes[1].x1 <= figure.bbox.x1


def test_the_picture_takes_every_kind_of_image(model, tmp_path):
    photo = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype="uint8")
    images = [photo, photo.astype("float32"), png(photo), Image.fromarray(photo), photo[..., :1]]
    results = inference_model(model, [photo] * 5)
    prediction_figure(images, results, tmp_path / "p.png")
    assert Image.open(tmp_path / "p.png").size[0] > 300
