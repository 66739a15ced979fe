"""The directory for TensorFlow Serving, file by file, as far as that goes without a server."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_wrn
from keras_wrn.errors import ExportError
from keras_wrn.export import export_serving, warmup
from keras_wrn.export import serving as serving_export

pytestmark = [
    pytest.mark.extra("tensorflow_serving"),
    pytest.mark.skipif(
        keras.backend.backend() != "tensorflow", reason="artifacts are written on TensorFlow"
    ),
]
pytest.importorskip("tensorflow_serving", reason="needs the extra `serving`")

# Of session_bundle_config.proto and monitoring_config.proto, which tensorflow-serving-api lacks.
BATCHING_FIELDS = {
    "max_batch_size", "batch_timeout_micros", "max_enqueued_batches", "num_batch_threads",
    "allowed_batch_sizes", "thread_pool_name", "pad_variable_length_inputs",
    "enable_large_batch_splitting", "max_execution_batch_size", "mixed_priority_policy",
}  # fmt: skip
MONITORING = r'prometheus_config \{\s*enable: (true|false)\s*path: "/[^"]*"\s*\}\s*'
SIGNATURES = ["classify", "serve_uint8", "serving_default"]


@pytest.fixture(scope="module")
def directory(network, build, tmp_path_factory):
    path = tmp_path_factory.mktemp("serving") / "nested" / "serving"
    assert (
        export_serving(network, path, name="Wrn_10", max_batch_size=4) == path / "models/Wrn_10/1"
    )
    export_serving(build(classes=10), path, name="other", max_batch_size=4)
    for version in (2, 3):
        found = export_serving(network, path, name="Wrn_10", max_batch_size=4)
        assert found == path / f"models/Wrn_10/{version}"
    return path


def text(path):
    """A file without its comments."""
    return re.sub(r"(?m)^\s*#.*\n", "", path.read_text())


def test_the_files_of_the_directory(directory):
    files = {str(p.relative_to(directory)) for p in directory.rglob("*") if p.is_file()}
    beside = {name for name in files if not name.startswith("models/")}
    assert beside == {*serving_export.FILES, "requests/Wrn_10.json", "requests/other.json"}
    assert not [path for path in directory.rglob(".*")]
    for name in beside:
        assert "%" not in re.sub(r"100%|\d%", "", (directory / name).read_text())
    assert len((directory / "README.md").read_text().splitlines()) <= 15
    assert sorted(os.listdir(directory / "models/Wrn_10")) == ["1", "2", "3"]
    assert sorted(os.listdir(directory / "models/Wrn_10/3")) == [
        "assets", "assets.extra", "batching_params.pbtxt", "fingerprint.pb", "saved_model.pb",
        "variables",
    ]  # fmt: skip


def test_models_config_is_what_the_server_s_proto_says(directory):
    from google.protobuf import text_format
    from tensorflow_serving.config import model_server_config_pb2

    config = text_format.Parse(
        (directory / "config/models.config").read_text(),
        model_server_config_pb2.ModelServerConfig(),
    )
    models = {model.name: model for model in config.model_config_list.config}
    assert sorted(models) == ["Wrn_10", "other"]
    for name, labels in (
        ("Wrn_10", {"stable": 2, "canary": 3}),
        ("other", {"stable": 1, "canary": 1}),
    ):
        assert models[name].base_path == f"/serving/models/{name}"
        assert models[name].model_platform == "tensorflow"
        assert models[name].model_version_policy.latest.num_versions == 3
        assert dict(models[name].version_labels) == labels


def fields(path):
    """The fields of a text proto of wrapped numbers, and their values."""
    lines = text(path).splitlines()
    return dict(re.fullmatch(r"(\w+) \{ value: (\w+) \}", line).groups() for line in lines)


def test_batching_has_the_fields_of_the_server_and_suits_the_model(directory, build, tmp_path):
    common = fields(directory / "config/batching.config")
    assert common == {"num_batch_threads": "2"}
    found = fields(directory / "models/Wrn_10/3/batching_params.pbtxt")
    assert set(found) | set(common) <= BATCHING_FIELDS
    assert found == {
        "max_batch_size": "1024", "enable_large_batch_splitting": "true",
        "max_execution_batch_size": "4", "batch_timeout_micros": "1000",
        "max_enqueued_batches": "100",
    }  # fmt: skip
    # Not given, the largest batch is what 20 GMAC make: of 16-8, 1.5 GMAC each, 8 images.
    wide = build(depth=16, width=8)
    found = fields(export_serving(wide, tmp_path, name="wide") / "batching_params.pbtxt")
    assert found["max_execution_batch_size"] == "8"
    assert found["batch_timeout_micros"] == "7741"
    assert "1,548 million" in (tmp_path / "models/wide/1/batching_params.pbtxt").read_text()


def test_images_of_any_size_are_not_batched(build, tmp_path):
    version = export_serving(build(input_shape=(None, None, 3)), tmp_path, name="any")
    assert not (version / "batching_params.pbtxt").exists()
    path = version / "assets.extra/tf_serving_warmup_requests"
    import tensorflow as tf

    counts = warmup.replay(path, tf.saved_model.load(str(version)).signatures)
    assert counts == {(name, 1): 1 for name in SIGNATURES}


def test_monitoring_has_the_fields_of_the_server(directory):
    assert re.fullmatch(MONITORING, text(directory / "config/monitoring.config"))


def test_warm_up_asks_every_signature_for_every_batch_size(directory):
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_log_pb2

    version = directory / "models/Wrn_10/3"
    path = version / "assets.extra/tf_serving_warmup_requests"
    signatures = tf.saved_model.load(str(version)).signatures
    counts = warmup.replay(path, signatures)
    assert counts == {(name, size): 1 for name in SIGNATURES for size in (1, 2, 4)}
    assert path.stat().st_size < 20_000
    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        log = prediction_log_pb2.PredictionLog.FromString(record)
        spec = log.predict_log.request.model_spec
        assert spec.name == "Wrn_10"
        ((name, tensor),) = log.predict_log.request.inputs.items()
        ((expected, kind),) = signatures[spec.signature_name].structured_input_signature[1].items()
        assert name == expected and tensor.dtype == kind.dtype.as_datatype_enum
        if spec.signature_name == "classify":  # every image of it can be decoded
            answer = signatures["classify"](image_bytes=tf.make_ndarray(tensor))
            assert answer["valid"].numpy().all()


def test_a_warm_up_that_does_not_fit_is_said(directory, tmp_path):
    import tensorflow as tf

    version = directory / "models/Wrn_10/3"
    path = version / "assets.extra/tf_serving_warmup_requests"
    signatures = dict(tf.saved_model.load(str(version)).signatures)
    with pytest.raises(ExportError, match="warm-up requests: 'classify'"):
        warmup.replay(path, {k: v for k, v in signatures.items() if k != "classify"})
    swapped = {**signatures, "serving_default": lambda image: {"logits": image * np.nan}}
    with pytest.raises(ExportError, match="finite logits"):
        warmup.replay(path, swapped)


def test_the_compose_file_is_valid(directory):
    yaml = pytest.importorskip("yaml")
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    pytest.importorskip("check_jsonschema")
    path = directory / "docker-compose.yml"
    subprocess.run([*command, path], check=True)
    service = yaml.safe_load(path.read_text())["services"]["tensorflow-serving"]
    assert service["image"] == "tensorflow/serving:2.20.0"
    assert service["healthcheck"]["test"][-2:] == ["Wrn_10", "other"]
    flags = dict(flag.removeprefix("--").split("=") for flag in service["command"])
    named = [value for value in flags.values() if value.startswith("/")]
    assert len(named) == 3 and flags["enable_per_model_batching_parameters"] == "true"
    for value in named:
        assert (directory / value.removeprefix("/serving/")).is_file()


def test_the_manifests_are_valid(directory):
    yaml = pytest.importorskip("yaml")
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    documents = list(yaml.safe_load_all((directory / "kubernetes.yaml").read_text()))
    kinds = {document["kind"]: document for document in documents}
    assert sorted(kinds) == ["Deployment", "PersistentVolumeClaim", "Service"]
    for document in documents:
        kubernetes_validate.validate(document, "1.31", strict=True)
    container = kinds["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == "tensorflow/serving:2.20.0"
    probe = container["readinessProbe"]["exec"]["command"]
    assert probe == ["bash", "/serving/config/ready.sh", "Wrn_10", "other"]
    assert container["startupProbe"]["exec"]["command"] == probe
    with pytest.raises(kubernetes_validate.ValidationError):
        container["readinessProbe"]["exec"]["commands"] = probe
        kubernetes_validate.validate(kinds["Deployment"], "1.31", strict=True)


def test_kserve_serves_each_model(directory):
    yaml = pytest.importorskip("yaml")
    documents = list(yaml.safe_load_all((directory / "kserve.yaml").read_text()))
    names = [document["metadata"]["name"] for document in documents]
    uris = [document["spec"]["predictor"]["model"]["storageUri"] for document in documents]
    assert names == ["wrn-10", "other"]
    assert uris == [f"pvc://tensorflow-serving/models/{name}" for name in ("Wrn_10", "other")]


@pytest.mark.large
def test_kserve_s_own_models_accept_the_manifest(directory, tmp_path):
    package = ["--no-deps", "--target", tmp_path / "kserve", "kserve==0.21.0", "six", "pyyaml"]
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", *package], check=True)
    script = Path(__file__).with_name("kserve_check.py")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "kserve")}
    text = (directory / "kserve.yaml").read_text()
    for name, said in (("storageUri", "valid"), ("storageURI", "no field ['storageURI']")):
        path = tmp_path / "checked.yaml"
        path.write_text(text.replace("storageUri", name))
        result = subprocess.run(
            [sys.executable, script, path], env=environment, capture_output=True, text=True
        )
        assert said in result.stdout + result.stderr


@pytest.mark.parametrize("script", ["smoke.sh", "config/ready.sh"])
def test_scripts_parse(directory, script):
    subprocess.run(["bash", "-n", directory / script], check=True)


def test_the_smoke_request_is_answered(directory):
    import base64

    import tensorflow as tf

    request = json.loads((directory / "requests/other.json").read_text())
    signatures = tf.saved_model.load(str(directory / "models/other/1")).signatures
    images = [base64.b64decode(item["b64"]) for item in request["inputs"]["image_bytes"]]
    assert signatures[request["signature_name"]](image_bytes=images)["valid"].numpy().all()


def test_two_channels(build, tmp_path):
    model = build(input_shape=(32, 32, 2))
    model.preprocessing = keras_wrn.Preprocessing(size=32, mean=(0.5,) * 2, std=(0.5,) * 2)
    export_serving(model, tmp_path, name="two", max_batch_size=1)
    request = json.loads((tmp_path / "requests/two.json").read_text())
    assert np.shape(request["inputs"]["image"]) == (1, 32, 32, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "a/b"}, r"a letter and.*'a/b'"),
        ({"name": ""}, "a letter and"),
        ({"name": "9x"}, r"a letter and.*'9x'"),
        ({"name": "x", "max_batch_size": 24}, "power of two.*24"),
        ({"name": "x", "class_names": ["a"]}, "10 classes.*1 class names"),
    ],
)
def test_wrong_arguments_are_said_before_anything_is_written(network, tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        export_serving(network, tmp_path, **arguments)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["docker-compose.yml", "requests/x.json"])
def test_files_of_others_are_kept(network, tmp_path, name):
    theirs = tmp_path / name
    theirs.parent.mkdir(exist_ok=True)
    theirs.write_text("services: {}\n")
    with pytest.raises(FileExistsError, match=re.escape(name)):
        export_serving(network, tmp_path, name="x")
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [theirs]
    assert theirs.read_text() == "services: {}\n"


def test_names_that_kubernetes_does_not_tell_apart(network, directory):
    with pytest.raises(ValueError, match=r"differ from 'Wrn_10'.*name='wrn-10'"):
        export_serving(network, directory, name="wrn-10")


@pytest.mark.parametrize(
    "other", ['x"$(touch PWN_sh)"', "a; touch PWN", "a b", '" }', "a\nb", ".hidden", "%name", "ä"]
)
def test_names_that_are_there_already_are_checked(network, tmp_path, other):
    """They are written into a shell's script, YAML and the server's settings."""
    (tmp_path / "models" / other / "1").mkdir(parents=True)
    (tmp_path / "models" / "no versions; below" / "x").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"1 to 63 letters.*rename") as caught:
        export_serving(network, tmp_path, name="x")
    assert repr(other) in str(caught.value)
    assert os.listdir(tmp_path) == ["models"] and len(os.listdir(tmp_path / "models")) == 2


def test_a_missing_extra_is_said(network, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_serving.apis", None)
    with pytest.raises(ExportError, match=r"pip install 'keras-wide-resnet\[serving\]'"):
        export_serving(network, tmp_path, name="x")
    assert os.listdir(tmp_path) == []


def test_a_failure_leaves_no_version(network, directory, monkeypatch):
    before = (directory / "config/models.config").read_text()

    def fail(*_):
        raise ExportError("no")

    monkeypatch.setattr(serving_export, "write_warmup", fail)
    with pytest.raises(ExportError):
        export_serving(network, directory, name="Wrn_10")
    assert sorted(os.listdir(directory / "models/Wrn_10")) == ["1", "2", "3"]
    assert (directory / "config/models.config").read_text() == before
