"""A server that answers, but not as it should: every such answer is a ServingError, in time."""

import contextlib
import copy
import json
import re
import socket
import threading
import time
import traceback

import numpy as np
import pytest

from keras_wrn import ServingClient, ServingError

CLASSIFY = {
    "valid": [True, False],
    "indices": [[3, 1], [-1, -1]],
    "classes": [["cat", "dog"], ["", ""]],
    "scores": [[0.7, 0.3], [0, 0.0]],
}
PREDICT = {"probabilities": [[0.25, 0.75]], "logits": [[-1.0, 2]]}
IMAGE = np.zeros((8, 8, 3), "uint8")


@pytest.fixture
def serve():
    """A function that starts a server which sends the same pieces, with pauses, to everyone."""
    with contextlib.ExitStack() as stack:

        def serve(pieces, pause=0.0):
            listening = stack.enter_context(socket.create_server(("localhost", 0)))
            requests = []

            def run():
                while True:
                    try:
                        connection, _ = listening.accept()
                    except OSError:
                        return
                    threading.Thread(target=answer, args=(connection,), daemon=True).start()

            def answer(connection):
                with connection, contextlib.suppress(OSError):
                    requests.append(connection.recv(2**16))
                    for piece in pieces:
                        connection.sendall(piece)
                        time.sleep(pause)

            threading.Thread(target=run, daemon=True).start()
            return f"http://localhost:{listening.getsockname()[1]}", requests

        yield serve


def response(body, status="200 OK", *headers):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status}", "Connection: close", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def without(answer, key):
    return {name: value for name, value in answer.items() if name != key}


def changed(answer, **values):
    return {**copy.deepcopy(answer), **values}


WRONG_CLASSIFY = {
    **{f"without {key}": without(CLASSIFY, key) for key in CLASSIFY},
    **{f"one row of {key}": changed(CLASSIFY, **{key: CLASSIFY[key][:1]}) for key in CLASSIFY},
    **{f"three of {k}": changed(CLASSIFY, **{k: CLASSIFY[k] + CLASSIFY[k][:1]}) for k in CLASSIFY},
    **{f"{key} is null": changed(CLASSIFY, **{key: None}) for key in CLASSIFY},
    **{f"{key} is text": changed(CLASSIFY, **{key: "ab"}) for key in CLASSIFY},
    **{f"{key} is a dict": changed(CLASSIFY, **{key: {"0": 1}}) for key in CLASSIFY},
    "no rows": {key: [] for key in CLASSIFY},
    "one row of everything": {key: value[:1] for key, value in CLASSIFY.items()},
    "no columns": changed(CLASSIFY, indices=[[], []], classes=[[], []], scores=[[], []]),
    "ragged scores": changed(CLASSIFY, scores=[[0.7, 0.3], [0.0]]),
    "fewer classes": changed(CLASSIFY, classes=[["cat"], [""]]),
    "a score is NaN": changed(CLASSIFY, scores=[[float("nan"), 0.3], [0.0, 0.0]]),
    "a score is infinite": changed(CLASSIFY, scores=[[0.7, 0.3], [0.0, float("inf")]]),
    "a score is text": changed(CLASSIFY, scores=[["0.7", "0.3"], ["0", "0"]]),
    "indices are fractions": changed(CLASSIFY, indices=[[3.5, 1.0], [-1.0, -1.0]]),
    "valid is 1 and 0": changed(CLASSIFY, valid=[1, 0]),
    "classes are numbers": changed(CLASSIFY, classes=[[1, 2], [3, 4]]),
    "classes are no text": changed(CLASSIFY, classes=[[{"b64": "/w=="}, "a"], ["", ""]]),
}


@pytest.mark.parametrize("case", WRONG_CLASSIFY)
def test_classify_takes_its_own_outputs_only(serve, case):
    url, _ = serve([response({"outputs": WRONG_CLASSIFY[case]})])
    with (
        ServingClient(url, "wrn") as client,
        pytest.raises(ServingError, match=f"{url} answers for the model 'wrn'.*Expected.*Received"),
    ):
        client.classify([IMAGE, b"no image"])


WRONG_PREDICT = {
    "without logits": without(PREDICT, "logits"),
    "without probabilities": without(PREDICT, "probabilities"),
    "two rows": {key: value * 2 for key, value in PREDICT.items()},
    "no row": {key: [] for key in PREDICT},
    "a number": changed(PREDICT, logits=1.0),
    "a vector": changed(PREDICT, logits=[1.0]),
    "other classes": changed(PREDICT, logits=[[1.0, 2.0, 3.0]]),
    "NaN": changed(PREDICT, logits=[[float("nan"), 2.0]]),
    "beyond float32": changed(PREDICT, logits=[[1e300, 2.0]]),
    "beyond int64": changed(PREDICT, logits=[[10**30, 2]]),
    "null": changed(PREDICT, logits=[[None, 2.0]]),
    "booleans": changed(PREDICT, logits=[[True, False]]),
}


@pytest.mark.parametrize("case", WRONG_PREDICT)
def test_predict_takes_its_own_outputs_only(serve, case):
    url, _ = serve([response({"outputs": WRONG_PREDICT[case]})])
    with ServingClient(url, "wrn") as client, pytest.raises(ServingError, match=r"Expected.*Rec"):
        client.predict(IMAGE[None])


def test_right_answers_are_taken(serve):
    with ServingClient(serve([response({"outputs": CLASSIFY})])[0], "wrn") as client:
        cat, nothing = client.classify([IMAGE, b"no image"])
    assert (cat["pred_class"], cat["pred_label"], cat["pred_score"]) == (
        "cat",
        3,
        pytest.approx(0.7),
    )
    assert nothing == {
        "valid": False, "pred_label": -1, "pred_score": 0.0, "pred_class": "", "top_k": [],
    }  # fmt: skip
    with ServingClient(serve([response({"outputs": PREDICT})])[0], "wrn") as client:
        found = client.predict(IMAGE[None])
    assert {name: value.tolist() for name, value in found.items()} == PREDICT
    assert {value.dtype.name for value in found.values()} == {"float32"}


@pytest.mark.parametrize(
    "body",
    [b"", b"no JSON", b"[1]", b"null", b"[" * 10**5, b"\xff\xfe\x00", {"outputs": 1}, {"error": 7}],
)
def test_what_is_no_answer_is_refused(serve, body):
    url, _ = serve([response(body)])
    with ServingClient(url, "wrn", retries=0) as client:
        for call in (lambda: client.classify(IMAGE), client.status):
            with pytest.raises(ServingError, match=f"{url} answers"):
                call()


@pytest.mark.parametrize(
    "states", [None, 7, "AVAILABLE", [1], [{}], [{"version": "x", "state": "AVAILABLE"}],
               [{"version": "1"}], [{"version": "1", "state": 30}]],
)  # fmt: skip
def test_a_status_of_another_kind_is_refused(serve, states):
    url, _ = serve([response({"model_version_status": states})])
    with ServingClient(url, "wrn") as client, pytest.raises(ServingError, match="versions with"):
        client.status()


def test_mutated_answers_are_errors_or_answers(serve):
    """Whatever a byte more or less does, it is a ServingError or a result of the right kind."""
    rng = np.random.default_rng(0)
    text = json.dumps({"outputs": CLASSIFY}).encode()
    pieces = [b""]
    url, _ = serve(pieces)
    refused = 0
    with ServingClient(url, "wrn", retries=0) as client:
        for _ in range(300):
            changed = bytearray(text)
            for _ in range(rng.integers(1, 4)):
                changed[rng.integers(len(changed))] = rng.integers(32, 127)
            pieces[0] = response(bytes(changed))
            try:
                results = client.classify([IMAGE, b"no image"])
            except ServingError:
                refused += 1
                continue
            for result in results:
                assert isinstance(result["valid"], bool)
                assert all(np.isfinite(top["score"]) for top in result["top_k"])
                assert all(isinstance(top["class"], str) for top in result["top_k"])
    assert 100 < refused < 300


HEAD = b"HTTP/1.1 200 OK\r\nConnection: close\r\n"


@pytest.mark.parametrize(
    "pieces",
    [
        [HEAD + b"Content-Length: 1000\r\n\r\n", *[b" "] * 200],
        [HEAD + b"Transfer-Encoding: chunked\r\n\r\n", *[b"1\r\n \r\n"] * 200],
        [b"HTTP/1.1 200 OK\r\n", *[b"X"] * 200],
        [b"", *[b""] * 200],
    ],
    ids=["body", "chunks", "headers", "nothing"],
)
def test_one_deadline_holds_for_the_whole_call(serve, pieces):
    url, _ = serve(pieces, pause=0.05)
    with ServingClient(url, "wrn", timeout=1) as client:
        for call in (lambda: client.predict(IMAGE[None]), client.status):
            begun = time.monotonic()
            with pytest.raises(ServingError, match=f"No answer from {url}"):
                call()
            assert time.monotonic() - begun < 3


def test_repetitions_are_within_the_deadline_too(serve):
    url, requests = serve([response({"error": "full"}, "503 Busy", "Retry-After: 3600")])
    with ServingClient(url, "wrn", timeout=1, backoff=0.5, retries=4) as client:
        begun = time.monotonic()
        with pytest.raises(ServingError, match="No answer from"):
            client.status()
        assert time.monotonic() - begun < 3
    assert len(requests) > 1  # the server's own pause is not waited for


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(serve, status):
    other, asked = serve([response({"outputs": PREDICT})])
    url, _ = serve([response(b"", f"{status} Moved", f"Location: {other}/elsewhere")])
    with (
        ServingClient(url, "wrn") as client,
        pytest.raises(ServingError, match=f"{status}.*a redirect to {other}/elsewhere, which is"),
    ):
        client.predict(IMAGE[None])
    assert asked == []


def test_an_answer_without_end_is_not_kept(serve, monkeypatch):
    monkeypatch.setattr("keras_wrn.client.rest.LIMIT", 2**20)
    url, _ = serve([HEAD + b"\r\n", *[b" " * 2**16] * 100])
    with (
        ServingClient(url, "wrn") as client,
        pytest.raises(ServingError, match="more than 1,048,576 bytes"),
    ):
        client.status()


def test_a_name_stays_one_part_of_the_path(serve):
    url, requests = serve([response({"error": "no such model"}, "404 Not Found")])
    with ServingClient(url, "../a?b#c", label="d/e f") as client, pytest.raises(ServingError):
        client.status()
    assert requests[0].startswith(b"GET /v1/models/..%2Fa%3Fb%23c/labels/d%2Fe%20f HTTP")


@pytest.mark.parametrize(
    "protocol", ["rest", pytest.param("grpc", marks=pytest.mark.extra("tensorflow_serving"))]
)
def test_without_a_server_the_traceback_is_short(protocol):
    with socket.create_server(("localhost", 0)) as free:
        url = f"localhost:{free.getsockname()[1]}"
    url = f"http://{url}" if protocol == "rest" else url
    with (
        ServingClient(url, "wrn", protocol=protocol, retries=0) as client,
        pytest.raises(ServingError) as caught,
    ):
        client.classify(IMAGE)
    lines = "".join(traceback.format_exception(caught.value)).splitlines()
    assert len(lines) < 30
    assert re.fullmatch(f".*ServingError: No answer from {url}, where .* expected: .*", lines[-1])
    assert len(lines[-1]) < 300


@pytest.mark.parametrize("arguments", [{"timeout": float("inf")}, {"timeout": float("nan")}])
def test_a_timeout_has_an_end(arguments):
    with pytest.raises(ValueError, match="`timeout` should be above 0"):
        ServingClient("http://localhost:8501", "wrn", **arguments)
