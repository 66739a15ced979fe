"""The client against the stand-in of the server, over both protocols."""

import os
import shutil
import socket
import subprocess
import sys
import textwrap
import time

import keras
import numpy as np
import pytest
from PIL import Image

import keras_wrn
from keras_wrn import ServingClient, ServingError

pytestmark = [
    pytest.mark.extra("tensorflow_serving"),
    pytest.mark.skipif(
        keras.backend.backend() != "tensorflow", reason="artifacts are written on TensorFlow"
    ),
]
pytest.importorskip("tensorflow_serving", reason="needs the extra `serving`")


@pytest.fixture(scope="module")
def models():
    found = []
    for seed in (1, 2):
        keras.utils.set_random_seed(seed)
        model = keras_wrn.WideResNet(10, 1)
        model.layers[-1].bias.assign(np.random.default_rng(seed).normal(0, 1, 10))
        model.preprocessing = keras_wrn.Preprocessing(
            size=32, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25), class_names=tuple("abcdefghij")
        )
        found.append(model)
    return found


@pytest.fixture(scope="module")
def directory(models, tmp_path_factory):
    path = tmp_path_factory.mktemp("serving")
    for model in models:
        keras_wrn.export_serving(model, path, name="wrn_10_1", max_batch_size=2)
    return path


@pytest.fixture(scope="module")
def running(directory):
    from double import Double

    with Double(directory) as double:
        yield double


@pytest.fixture
def server(running):
    running.requests, running.unavailable, running.delay = 0, 0, 0.0
    return running


@pytest.fixture(params=["rest", "grpc"])
def connect(request, server):
    def make(model="wrn_10_1", **arguments):
        url = server.rest_url if request.param == "rest" else server.grpc_url
        return ServingClient(url, model, **{"protocol": request.param, "timeout": 60, **arguments})

    make.protocol = request.param
    return make


def pixels(count, side=32, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype="uint8")


def test_classify_says_what_inference_model_says(connect, models, tmp_path):
    photo = pixels(1, 48)[0]
    Image.fromarray(photo).save(tmp_path / "photo.png")
    data = (tmp_path / "photo.png").read_bytes()
    given = [
        str(tmp_path / "photo.png"),
        tmp_path / "photo.png",
        data,
        Image.fromarray(photo),
        photo,
    ]
    with connect() as client:
        results = client.classify(given)
        alone = client.classify(photo)
        batch = client.classify(photo[np.newaxis])
    expected = keras_wrn.inference_model(models[1], photo)
    assert len(results) == 5 and results == [alone] * 5 and batch == [alone]
    assert alone["valid"] is True
    assert alone["pred_label"] == expected["pred_label"]
    assert alone["pred_class"] == expected["pred_class"]
    for found, wanted in zip(alone["top_k"], expected["top_k"], strict=True):
        assert (found["label"], found["class"]) == (wanted["label"], wanted["class"])
        assert found["score"] == pytest.approx(wanted["score"], abs=2e-3)  # 2 grey levels of resize


def in_mode(mode):
    """An image of no more than the model's side: no resize makes a difference."""
    image = Image.fromarray(pixels(1)[0])
    if mode.startswith("I"):  # 16 bits
        deep = np.asarray(image.convert("L")).astype("int32") * 257
        return Image.fromarray(deep.astype({"I": "i4", "I;16": "<u2", "I;16B": ">u2"}[mode]))
    if mode == "P and alpha":
        image = image.quantize(50)
        image.info["transparency"] = bytes(range(50))
        return image
    return image.convert(mode)


MODES = [
    "CMYK",
    "YCbCr",
    "HSV",
    "L",
    "LA",
    "1",
    "P",
    "P and alpha",
    "RGBA",
    "RGBa",
    "I",
    "I;16",
    "I;16B",
]


@pytest.mark.parametrize("mode", MODES)
def test_an_image_of_any_mode_is_what_inference_model_says(connect, models, mode):
    image = in_mode(mode)
    with connect() as client:
        found = client.classify(image)
    expected = keras_wrn.inference_model(models[1], image)
    assert found["valid"]
    for one, other in zip(found["top_k"], expected["top_k"], strict=True):
        assert one["label"] == other["label"]
        assert one["score"] == pytest.approx(other["score"], abs=1e-5)


def test_an_image_of_floats_is_refused_as_inference_model_refuses_it(connect, models):
    image = Image.fromarray(pixels(1)[0]).convert("F")
    with connect() as client, pytest.raises(ValueError, match="floats, whose range is unknown"):
        client.classify(image)
    with pytest.raises(ValueError, match="floats, whose range is unknown"):
        keras_wrn.inference_model(models[1], image)


def test_an_image_that_cannot_be_decoded_spoils_only_its_row(connect):
    images = [pixels(1)[0], b"no image", b"", pixels(1, seed=1)[0]]
    with connect() as client:
        results = client.classify(images)
        assert client.classify([]) == []
        alone = [client.classify(images[i]) for i in (0, 3)]
    assert [result["valid"] for result in results] == [True, False, False, True]
    broken = {"valid": False, "pred_label": -1, "pred_score": 0.0, "pred_class": "", "top_k": []}
    assert results[1] == results[2] == broken
    for found, wanted in zip([results[0], results[3]], alone, strict=True):
        assert found["pred_class"] == wanted["pred_class"]
        assert found["pred_score"] == pytest.approx(wanted["pred_score"], abs=1e-5)


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64", "int64"])
def test_predict_returns_what_the_network_does(connect, models, dtype):
    images = pixels(3)
    with connect() as client:
        outputs = client.predict(images.astype(dtype))
    expected = models[1](models[1].preprocessing.normalize(images), training=False)
    assert sorted(outputs) == ["logits", "probabilities"]
    assert {value.dtype.name for value in outputs.values()} == {"float32"}
    np.testing.assert_allclose(outputs["probabilities"], expected, atol=1e-5)


def test_versions_and_labels(connect, models):
    images = pixels(2)
    expected = [np.asarray(m(m.preprocessing.normalize(images), training=False)) for m in models]
    assert np.abs(expected[0] - expected[1]).max() > 0.01
    for which, arguments in (
        (1, {}), (0, {"version": 1}), (1, {"version": 2}),
        (0, {"label": "stable"}), (1, {"label": "canary"}),
    ):  # fmt: skip
        with connect(**arguments) as client:
            np.testing.assert_allclose(
                client.predict(images)["probabilities"], expected[which], atol=1e-5
            )
    for arguments in ({"version": 7}, {"label": "none"}):
        with connect(**arguments) as client, pytest.raises(ServingError, match=r"404|NOT_FOUND"):
            client.predict(images)


def test_status_and_wait(connect):
    with connect() as client:
        assert client.status() == {1: "AVAILABLE", 2: "AVAILABLE"}
        client.wait(5)
    for arguments in ({"version": 1}, {"label": "stable"}):
        with connect(**arguments) as client:
            assert client.status() == {1: "AVAILABLE"}
    with connect(version=7) as client, pytest.raises(ServingError, match="7"):
        client.wait(0.1)
    with connect("other") as client:
        begun = time.monotonic()
        with pytest.raises(
            ServingError, match=r"'other' is not available .* after 1 s: .*Servable"
        ):
            client.wait(1)
        assert time.monotonic() - begun < 10


def test_a_busy_server_is_asked_again(connect, server):
    with connect(retries=3, backoff=0.01) as client:
        client.status()
        for count in (1, 200):  # 200 images are more than gRPC keeps for repetitions by itself
            server.requests, server.unavailable = 0, 2
            assert client.predict(pixels(count))["logits"].shape == (count, 10)
            assert server.requests == 3
        server.requests = 0
        server.unavailable = 100
        with pytest.raises(ServingError, match=r"queue is full|503"):
            client.predict(pixels(1))
        assert server.requests == 4
    with connect(retries=0) as client:
        server.requests = 0
        with pytest.raises(ServingError):
            client.predict(pixels(1))
        assert server.requests == 1


def test_errors_say_what_is_wrong(connect, server):
    with (
        connect("other") as client,
        pytest.raises(
            ServingError, match=r"(404|NOT_FOUND) for the model 'other': Servable not found"
        ),
    ):
        client.predict(pixels(1))
    with connect() as client:
        with pytest.raises(ServingError, match=r"400|INVALID_ARGUMENT"):
            client.predict(pixels(1, 20))
        assert server.requests == 2
        with pytest.raises(ValueError, match=r"\(n, height, width, channels\).*\(32, 32, 3\)"):
            client.predict(pixels(1)[0])
        with pytest.raises(ValueError, match=r"0\.\.255.*nan"):
            client.predict(np.full((1, 32, 32, 3), np.nan))
        with pytest.raises(FileNotFoundError):
            client.classify("absent.jpg")
        with pytest.raises(ValueError, match=r"uint8 array.*float64 of shape \(4, 4, 3\)"):
            client.classify(np.zeros((4, 4, 3)))
        assert server.requests == 2


def test_a_late_answer_is_an_error_in_time(connect, server):
    with connect(timeout=0.3, retries=0) as client:
        server.delay = 5
        begun = time.monotonic()
        with pytest.raises(ServingError, match="No answer from"):
            client.predict(pixels(1))
        assert time.monotonic() - begun < 4


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_no_server_there(protocol):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        url = f"localhost:{free.getsockname()[1]}"
    url = f"http://{url}" if protocol == "rest" else url
    with (
        ServingClient(url, "wrn", protocol=protocol, retries=1, backoff=0.01) as client,
        pytest.raises(ServingError, match=f"No answer from {url}, where TensorFlow Serving"),
    ):
        client.status()


def test_messages_beyond_grpc_s_own_limit(connect):
    images = pixels(500)  # 6 MB as floats
    with connect() as client:
        assert client.predict(images.astype("float32"))["logits"].shape == (500, 10)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"protocol": "soap"}, "'rest' or 'grpc'.*'soap'"),
        ({"url": "localhost:8501"}, "'http://host:8501' for rest.*'localhost:8501'"),
        ({"url": "http://localhost:8500", "protocol": "grpc"}, "'host:8500' for grpc"),
        ({"version": 1, "label": "stable"}, "version=1, label='stable'"),
        ({"timeout": 0}, "timeout=0"),
        ({"retries": -1}, "retries=-1"),
        ({"retries": 5}, "0 to 4.*retries=5"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        ServingClient(**{"url": "http://localhost:8501", "model": "wrn", **arguments})


@pytest.mark.extra("jax")
def test_rest_needs_no_tensorflow(server):
    program = f"""
        import sys
        sys.modules["tensorflow"] = None
        import keras_wrn
        client = keras_wrn.ServingClient({server.rest_url!r}, model="wrn_10_1")
        print(client.classify(b"no image")["valid"], client.status())
    """
    said = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        env={**os.environ, "KERAS_BACKEND": "jax"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert said.stdout.strip() == "False {1: 'AVAILABLE', 2: 'AVAILABLE'}"


def test_ready_says_whether_every_model_is_available(directory, server):
    def ready(*models, port=server.port):
        command = ["bash", directory / "config/ready.sh", *models]
        environment = {**os.environ, "PORT": str(port)}
        return subprocess.run(command, env=environment, stderr=subprocess.DEVNULL).returncode

    assert ready("wrn_10_1") == 0
    assert ready("wrn_10_1", "other") == 1
    assert ready("other", "wrn_10_1") == 1
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    assert ready("wrn_10_1", port=port) == 1


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_smoke_asks_ten_times(directory, server, tmp_path):
    docker = tmp_path / "docker"
    docker.write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/said\n[ "$2" != ps ] || cat {tmp_path}/ps\n'
    )
    (tmp_path / "ps").write_text("")
    docker.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PORT": str(server.port)}
    command = ["bash", directory / "smoke.sh"]
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert said.stdout == "wrn_10_1: ten answers\n"
    assert server.requests == 10
    lines = (tmp_path / "said").read_text().splitlines()
    started = "compose up --detach --wait --wait-timeout 600"
    assert lines == ["compose ps --quiet", started, "compose down"]
    server.unavailable = 1
    failed = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert failed.returncode != 0 and "503" in failed.stderr
    assert (tmp_path / "said").read_text().splitlines()[-1] == "compose down"
    (tmp_path / "ps").write_text("4711\n")
    failed = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert failed.returncode == 1 and "runs already" in failed.stderr
    assert (tmp_path / "said").read_text().splitlines()[-1] == "compose ps --quiet"
