"""Published weights from a mirror, from the cache, from the package, and refused."""

import concurrent.futures
import contextlib
import dataclasses
import hashlib
import http.server
import importlib.util
import threading
import time
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_wrn
from keras_wrn.catalog import fetch, load_published, weights_info
from keras_wrn.catalog.names import ALIASES
from keras_wrn.catalog.sources import DEFAULT_TAGS, SOURCES, tag_of
from keras_wrn.errors import DownloadError, WeightsError
from keras_wrn.weights.files import PUBLISHED

torch = pytest.importorskip("torch", reason="needs torch, of the extra `parity`")
pytestmark = pytest.mark.extra("torch")
NAME = "wrn_16_2.mmrazor_cifar10"


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    monkeypatch.delenv(fetch.MIRROR, raising=False)
    return tmp_path / "home" / "keras_wrn"


@pytest.fixture
def mirror(tmp_path, monkeypatch, home):
    """A folder with a file as mmrazor would publish it; the network that it is of."""
    from networks import CIFAR

    network = CIFAR["mmrazor"](2, 10)
    folder = tmp_path / "mirror"
    folder.mkdir()
    torch.save({"meta": {"epoch": 200}, "state_dict": network.state}, folder / "new.pth")
    digest = hashlib.sha256((folder / "new.pth").read_bytes()).hexdigest()
    file = (folder / "new.pth").rename(folder / f"wrn16_2-{digest[:8]}.pth")
    weights = dataclasses.replace(SOURCES[NAME], url=f"http://localhost:1/{file.name}")
    monkeypatch.setitem(SOURCES, NAME, weights)
    monkeypatch.setattr("keras_wrn.weights.files.PUBLISHED", (file.name,))
    return folder, file, network


def logits(model, x):
    trunk = keras.Model(model.input, model.layers[-1].input)
    return trunk(x) @ model.layers[-1].kernel + model.layers[-1].bias


def same(model, network):
    x = np.random.default_rng(0).normal(size=(3, 32, 32, 3)).astype("float32")
    expected = network(torch.from_numpy(x.transpose(0, 3, 1, 2))).numpy()
    np.testing.assert_allclose(
        logits(model, x), expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max()
    )


def test_a_file_is_fetched_converted_once_and_kept(mirror, home, monkeypatch):
    folder, file, network = mirror
    monkeypatch.setenv(fetch.MIRROR, folder.as_uri() + "/")
    model = keras_wrn.create_model(NAME)
    same(model, network)
    assert model.preprocessing == weights_info(NAME).preprocessing
    assert model.preprocessing.class_names[3] == "cat"
    kept = {path.name for path in home.iterdir()}
    assert kept == {file.name, f"{NAME}-{weights_info(NAME).sha256}.keras"}
    # The second time nothing is needed: no mirror, no file, no torch.
    monkeypatch.delenv(fetch.MIRROR)
    (home / file.name).unlink()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    same(keras_wrn.create_model(NAME), network)
    same(keras_wrn.WideResNet(16, 2, weights="mmrazor_cifar10"), network)
    result = keras_wrn.inference_model(NAME, np.zeros((32, 32, 3), "uint8"))
    assert result["pred_class"] in model.preprocessing.class_names


def test_a_damaged_converted_file_is_made_anew(mirror, home, monkeypatch):
    folder, _, network = mirror
    monkeypatch.setenv(fetch.MIRROR, folder.as_uri())
    load_published(NAME)
    converted = next(home.glob("*.keras"))
    converted.write_bytes(converted.read_bytes()[:1000])
    same(load_published(NAME), network)
    assert zipfile.is_zipfile(converted)


def test_without_a_network_the_error_says_what_to_put_where(mirror, home):
    _, file, network = mirror
    with pytest.raises(DownloadError) as error:
        keras_wrn.create_model(NAME)
    text = str(error.value)
    assert f"Download http://localhost:1/{file.name} by other means" in text
    assert f"put it at {home / file.name}" in text and fetch.MIRROR in text
    assert not list(home.iterdir())
    (home / file.name).write_bytes(file.read_bytes())  # as it says
    same(keras_wrn.create_model(NAME), network)


def test_a_file_that_is_not_the_published_one_is_refused(mirror, home, monkeypatch):
    folder, file, _ = mirror
    whole = file.read_bytes()
    file.write_bytes(whole[:-100])
    monkeypatch.setenv(fetch.MIRROR, folder.as_uri())
    with pytest.raises(DownloadError, match=r"expected a SHA-256 that begins with \w{8}\. Rec"):
        load_published(NAME)
    assert not list(home.iterdir())  # nothing is lost: what was downloaded was no good
    (home / file.name).write_bytes(whole[:-100])
    with pytest.raises(DownloadError, match="Delete it, and try again"):
        load_published(NAME)
    assert (home / file.name).is_file()  # somebody put it there


def test_a_published_file_that_is_converted_by_hand_is_compared_with_its_name(mirror):
    _, file, network = mirror
    model, layout = keras_wrn.catalog.from_checkpoint(file, "wrn_16_2")
    assert layout == "mmrazor"
    same(model, network)
    torch.save({"state_dict": network.state}, file, _use_new_zipfile_serialization=False)
    with pytest.raises(WeightsError, match=rf"{file.name} is damaged.*begins with \w{{8}}\."):
        keras_wrn.catalog.from_checkpoint(file, "wrn_16_2")


def test_torch_is_asked_for_before_the_download(mirror, home, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(WeightsError, match="needs the package torch to read once: pip install"):
        load_published(NAME)
    assert not home.exists()


def test_the_file_is_float32_whatever_the_policy(mirror, home, monkeypatch, set_policy):
    monkeypatch.setenv(fetch.MIRROR, mirror[0].as_uri())
    set_policy("mixed_bfloat16")
    model = keras_wrn.create_model(NAME)
    assert model.layers[1].compute_dtype == "bfloat16"
    stored = keras.models.load_model(next(home.glob("*.keras")))
    assert stored.layers[1].compute_dtype == "float32"
    assert keras.config.dtype_policy().name == "mixed_bfloat16"


def test_the_shipped_network_needs_no_cache(home):
    model = keras_wrn.WideResNet(16, 2, weights="cifar10")
    assert model.preprocessing == load_published("wrn_16_2.cifar10").preprocessing
    assert model.preprocessing == weights_info("wrn_16_2").preprocessing
    trunk = keras_wrn.WideResNet(16, 2, weights="cifar10", include_top=False)
    assert trunk.preprocessing.class_names == ()
    large = keras_wrn.create_model("wrn_16_2.cifar10", input_shape=(64, 64, 3))
    assert large.preprocessing.size == 64
    anysize = keras_wrn.create_model("wrn_16_2.cifar10", input_shape=(None, None, 3))
    assert anysize.preprocessing.size == 32 and not home.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"classes": 5}, "`classes` should be 10 .*keras_wrn.reset_classifier.*classes=5"),
        ({"width": 4}, "Those of 'wrn_16_4': none. Received: weights='cifar10'"),
        ({"strided_padding": "tf"}, "padding='valid'.*there.*padding='same'.*here"),
        ({"activation": "silu"}, "activation='relu'.*there.*activation='silu'.*here"),
        ({"weights": "imagenet"}, "Those of 'wrn_16_2': wrn_16_2.cifar10, wrn_16_2.mmrazor"),
        ({"weights": "weights.ckpt"}, "`.weights.h5` or `.keras` file"),
    ],
)
def test_what_the_weights_do_not_fit_is_said(arguments, message):
    with pytest.raises(ValueError, match=message):
        keras_wrn.WideResNet(**{"depth": 16, "width": 2, "weights": "cifar10", **arguments})


def test_weights_are_named_by_tag_or_whole(home):
    for weights in ("cifar10", "wrn_16_2.cifar10"):
        assert keras_wrn.WideResNet(16, 2, weights=weights).preprocessing is not None
    tags = {
        "imagenet": "tv2_in1k", "wide_resnet50_2.racm_in1k": "racm_in1k", "tv_in1k": "tv_in1k",
        "wide-resnet50_3rdparty-timm_8xb32_in1k": "racm_in1k",
        "wide_resnet101_2.tv_in1k": None, "wide-resnet101_3rdparty_8xb32_in1k": None, "": None,
    }  # fmt: skip
    assert {name: tag_of(name, "wide_resnet50_2") for name in tags} == tags
    with pytest.raises(ValueError, match=r"Expected a name without a tag.*weights=None"):
        keras_wrn.create_model("wrn_16_2.cifar10", weights=None)


def test_a_keras_file_brings_its_preprocessing(home, tmp_path):
    keras_wrn.create_model("wrn_16_2.cifar10").save(tmp_path / "m.keras")
    model = keras_wrn.WideResNet(16, 2, weights=tmp_path / "m.keras")
    assert model.preprocessing == weights_info("wrn_16_2.cifar10").preprocessing


@pytest.mark.parametrize("name", SOURCES)
def test_every_tag_says_what_it_is(name):
    weights = weights_info(name)
    info = keras_wrn.catalog.model_info(weights.model)
    assert weights.name == name and info.name == weights.model and info.params
    assert weights.licence and weights.citation and weights.source and 75 < weights.top1 < 96
    assert weights.preprocessing.size in (32, 224) and len(weights.class_names) in (10, 1000)
    if weights.url:
        assert len(weights.sha256) == 8 and int(weights.sha256, 16)
        assert weights.file.endswith(".pth") and weights.url.startswith("https://")


def test_preprocessing_is_that_of_the_cards():
    found = {
        tag: weights_info(f"wide_resnet50_2.{tag}").preprocessing
        for tag in ("tv_in1k", "tv2_in1k", "racm_in1k")
    }
    assert [p.short_side for p in found.values()] == [256, 232, 256]
    assert [p.interpolation for p in found.values()] == ["bilinear", "bilinear", "bicubic"]
    for preprocessing in found.values():
        assert preprocessing.mean == (0.485, 0.456, 0.406)
        assert preprocessing.std == (0.229, 0.224, 0.225)


def test_names_lead_to_weights():
    assert weights_info("wide_resnet50_2").tag == "tv2_in1k"
    assert weights_info("wide_resnet101_2", "imagenet").tag == "tv2_in1k"
    assert weights_info("wide_resnet50_2", "racm_in1k").top1 == 81.466
    assert weights_info("wide-resnet50_3rdparty-timm_8xb32_in1k").tag == "racm_in1k"
    assert all(name in SOURCES for name in ALIASES.values())
    assert set(PUBLISHED) == {weights.file for weights in SOURCES.values() if weights.url}
    assert all(f"{model}.{tag}" in SOURCES for model, tag in DEFAULT_TAGS.items())
    with pytest.raises(ValueError, match=r"'tv3_in1k' of 'wide_resnet50_2'. Expected one of wide"):
        weights_info("wide_resnet50_2.tv3_in1k")
    with pytest.raises(ValueError, match=r"There are no published weights of 'wrn_70_16'\."):
        keras_wrn.create_model("wrn_70_16", pretrained=True)


@pytest.mark.large
def test_wide_resnet50_2_by_the_whole_road(tmp_path, home, monkeypatch):
    """`weights="imagenet"`, with the published file replaced by one of random weights."""
    from timm_networks import timm_network

    network = timm_network("wide_resnet50_2")
    torch.save(network.state_dict(), tmp_path / "new.pth")
    digest = hashlib.sha256((tmp_path / "new.pth").read_bytes()).hexdigest()
    name = f"wide_resnet50_2-{digest[:8]}.pth"
    (tmp_path / "new.pth").rename(tmp_path / name)
    weights = SOURCES["wide_resnet50_2.tv2_in1k"]
    weights = dataclasses.replace(weights, url=f"https://example.org/{name}")
    monkeypatch.setitem(SOURCES, weights.name, weights)
    monkeypatch.setenv(fetch.MIRROR, tmp_path.as_uri())
    model = keras_wrn.WideResNet50_2(weights="imagenet", classifier_activation=None)
    x = np.random.default_rng(0).normal(size=(2, 224, 224, 3)).astype("float32")
    with torch.no_grad():
        expected = network(torch.from_numpy(x.transpose(0, 3, 1, 2))).numpy()
    np.testing.assert_allclose(model(x), expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    assert Path(home / name).is_file()
    photo = np.random.default_rng(1).integers(0, 256, (300, 400, 3), dtype="uint8")
    result = keras_wrn.inference_model("wide_resnet50_2", photo)
    assert result["pred_class"] in weights.class_names


class Server(http.server.ThreadingHTTPServer):
    """A web server that answers every request by one function; it counts them."""

    daemon_threads = True

    def __init__(self, answer):
        self.requests = 0

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.server.requests += 1
                with contextlib.suppress(OSError):  # who asked has gone
                    self.send_response(200)
                    answer(self)

            def log_message(self, *_):
                pass

        super().__init__(("localhost", 0), Handler)


@pytest.fixture
def serve(monkeypatch):
    """A function to start a server of some answer, which becomes the mirror."""
    servers = []

    def serve(answer):
        servers.append(server := Server(answer))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv(fetch.MIRROR, f"http://localhost:{server.server_port}")
        return server

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def test_of_many_that_need_a_file_at_once_one_fetches_it(mirror, home, serve):
    _, file, network = mirror
    data = file.read_bytes()

    def answer(handler):
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        for start in range(0, len(data), 2**18):
            handler.wfile.write(data[start : start + 2**18])
            time.sleep(0.02)

    home.mkdir(parents=True)
    (home / f".123.tmp.{file.name}").write_bytes(b"half of it")  # of a process that was killed
    server = serve(answer)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        models = list(pool.map(lambda _: load_published(NAME), range(4)))
    for model in models:
        same(model, network)
    assert server.requests == 1
    assert {path.name for path in home.iterdir()} == {
        file.name, f"{NAME}-{weights_info(NAME).sha256}.keras",
    }  # fmt: skip


@pytest.mark.parametrize("length", [None, 10**12])
def test_a_file_has_a_largest_size(mirror, home, serve, monkeypatch, length):
    monkeypatch.setattr(fetch, "ROOM", (1, 0))
    sent = []

    def answer(handler):
        if length:
            handler.send_header("Content-Length", str(length))
        handler.end_headers()
        for _ in range(2000):
            sent.append(handler.wfile.write(bytes(2**20)))

    serve(answer)
    with pytest.raises(DownloadError, match=r"larger than the 691,674 bytes that the weights may"):
        load_published(NAME)
    assert len(sent) < 50 and not list(home.iterdir())


@pytest.mark.parametrize(
    ("part", "message", "most"),
    [
        ("body", r"cannot be downloaded: \d+ bytes came in \d+ seconds", 20),
        ("headers", r"cannot be downloaded: no whole answer in 0\.5 s", 5),
    ],
)
def test_a_server_may_not_be_slow_for_ever(mirror, home, serve, monkeypatch, part, message, most):
    monkeypatch.setattr(fetch, "PATIENCE", 0.5)

    def answer(handler):
        if part == "body":
            handler.end_headers()
        else:
            handler.wfile.write(b"HTTP/1.0 200 OK\r\n")
        for _ in range(300):
            handler.wfile.write(b"x")
            time.sleep(0.1)

    serve(answer)
    began = time.monotonic()
    with pytest.raises(DownloadError, match=message):
        load_published(NAME)
    assert time.monotonic() - began < most and not list(home.iterdir())


def test_a_body_that_ends_early_is_said(mirror, home, serve):
    def answer(handler):
        handler.send_header("Content-Length", "5000")
        handler.end_headers()
        handler.wfile.write(bytes(1234))

    serve(answer)
    with pytest.raises(DownloadError, match=r"1,234 of 5,000 bytes came.*by other means"):
        load_published(NAME)
    assert not list(home.iterdir())
