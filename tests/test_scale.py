"""The arithmetic behind docs/scale.md, and that the page is what the scripts make of their log."""

import json
import math
from pathlib import Path

import pytest

import keras_wrn
from benchmarks import scale_page
from keras_wrn.models import count_macs
from keras_wrn.runs.report import markers

ROOT = Path(__file__).parents[1]


def test_the_networks_of_the_page_are_those_of_the_package():
    networks = {
        "WRN-28-10": keras_wrn.WideResNet(28, 10),
        "WRN-50-2": keras_wrn.WideResNet50_2(weights=None),
    }
    for name, params, macs, _, _ in scale_page.MODELS:
        trained = sum(math.prod(weight.shape) for weight in networks[name].trainable_weights)
        assert (params, macs) == (trained, count_macs(networks[name]))


def test_an_exchange_sends_what_rings_send():
    params, fast = 1_000_000, scale_page.INSIDE
    seconds, sent = scale_page.exchange_seconds(params, 2, fast)
    assert sent == 4e6 and seconds == pytest.approx(4e6 / fast)  # half away, half back
    assert scale_page.exchange_seconds(params, 8, fast)[1] == pytest.approx(7e6)
    seconds, sent = scale_page.exchange_seconds(params, 64, 1e9)
    assert sent == pytest.approx(7e6 + 2 * 7 / 8 * 4e6 / 8)
    assert seconds == pytest.approx(7e6 / fast + 2 * 7 / 8 * 4e6 / 8 / 1e9)


def test_the_page_is_made_from_the_log():
    measured = json.loads((ROOT / "benchmarks/results/scale.json").read_text())
    text = (ROOT / "docs/scale.md").read_text()
    assert (
        text.split(markers()[0])[1].split(markers()[1])[0].strip()
        == scale_page.page(measured).strip()
    )
