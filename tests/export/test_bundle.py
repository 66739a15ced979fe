"""Versions appear whole or not at all, also when the process that writes them is killed."""

import os
import signal
import subprocess
import sys
import textwrap

import keras
import pytest

import keras_wrn
from keras_wrn.export import export_version

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="artifacts are written on TensorFlow"
)


@pytest.mark.slow
@pytest.mark.parametrize(
    "moment",
    [
        *(
            pytest.param(f"{name}._verify", marks=pytest.mark.large)
            for name in ("saved_model", "litert")
        ),
        "files.os.replace",
    ],
)
def test_an_export_killed_half_way_leaves_nothing_a_server_would_load(network, tmp_path, moment):
    network.save(tmp_path / "network.keras")
    module, _, rest = moment.partition(".")
    program = f"""
        import os, signal
        import keras_wrn
        from keras_wrn import files
        from keras_wrn.export import litert, saved_model

        {module}.{rest} = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        model = keras_wrn.load_model({str(tmp_path / "network.keras")!r})
        keras_wrn.export.export_version(model, {str(tmp_path / "versions")!r})
    """
    killed = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], timeout=300)
    assert killed.returncode == -signal.SIGKILL
    left = os.listdir(tmp_path / "versions")
    assert left and all(name.startswith(".1.") for name in left)
    assert export_version(network, tmp_path / "versions", ["saved_model"]).name == "1"


@pytest.mark.usefixtures("unverified")
def test_two_exports_at_once_lose_neither(network, tmp_path, monkeypatch):
    from keras_wrn.export import bundle

    right = bundle.export_saved_model

    def slow(model, path, **settings):
        right(model, path, **settings)
        if not (tmp_path / "1").exists():  # another process is quicker
            (tmp_path / "1").mkdir()
            (tmp_path / "1/theirs").write_text("theirs")

    monkeypatch.setattr(bundle, "export_saved_model", slow)
    with pytest.raises(FileExistsError, match="where nothing is"):
        export_version(network, tmp_path, ["saved_model"])
    assert [str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*")] == ["1", "1/theirs"]


@pytest.mark.usefixtures("unverified")
def test_versions_count_on_and_others_stay(network, tmp_path):
    (tmp_path / "7").mkdir()
    (tmp_path / "notes").mkdir()
    version = export_version(network, tmp_path, ["saved_model"], card="# A card\n")
    assert version == tmp_path / "8"
    assert sorted(os.listdir(version)) == [
        "README.md", "assets", "assets.extra", "fingerprint.pb", "model.keras", "saved_model.pb",
        "variables",
    ]  # fmt: skip
    assert (version / "README.md").read_text() == "# A card\n"
    assert keras_wrn.load_model(version).name == network.name


def test_a_saved_model_is_no_directory_of_versions(network, tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"")
    with pytest.raises(ValueError, match=r"a directory of versions.*is a SavedModel itself"):
        export_version(network, tmp_path)
    assert os.listdir(tmp_path) == ["saved_model.pb"]


@pytest.mark.parametrize("formats", [[], ["savedmodel"], ["saved_model", "tflite"]])
def test_an_unknown_format_is_said(network, tmp_path, formats):
    with pytest.raises(ValueError, match=r"`formats` should be some of \('saved_model', 'litert'"):
        export_version(network, tmp_path, formats)
    assert os.listdir(tmp_path) == []
