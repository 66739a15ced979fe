"""TensorFlow Serving over HTTP. Needs no TensorFlow."""

import base64
import json
import queue
import threading
import time
from typing import Any
from urllib.parse import quote

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError
from urllib3.util import Retry

from keras_wrn.client.answers import WrongAnswer, states

RETRIED = [502, 503]  # 504 is a deadline that has passed
LIMIT = 256 * 2**20  # bytes of an answer, as over gRPC


class RestProtocol:
    """The requests of a `ServingClient` over HTTP."""

    def __init__(self, target):
        self.target, self.session = target, requests.Session()
        retry = Retry(
            target.retries, read=False, backoff_factor=target.backoff, status_forcelist=RETRIED,
            allowed_methods=None, raise_on_status=False, respect_retry_after_header=False,
        )  # fmt: skip
        for scheme in ("http://", "https://"):
            self.session.mount(scheme, HTTPAdapter(max_retries=retry))
        self.path = f"{target.url}/v1/models/{quote(target.model, safe='')}"
        if target.version is not None:
            self.path += f"/versions/{target.version}"
        if target.label is not None:
            self.path += f"/labels/{quote(target.label, safe='')}"

    def predict(self, signature, inputs, timeout):
        body = {
            "signature_name": signature,
            "inputs": {name: _to_json(value) for name, value in inputs.items()},
        }
        outputs = self._ask(timeout, "POST", f"{self.path}:predict", json=body).get("outputs")
        if not isinstance(outputs, dict):
            raise WrongAnswer(f"Expected outputs to the signature {signature!r}. Received: none")
        return outputs

    def status(self, timeout):
        return states(self._ask(timeout, "GET", self.path))

    def close(self):
        self.session.close()

    def _ask(self, timeout, method, url, **arguments) -> dict[str, Any]:
        """The JSON of an answer, which is there in so many seconds, whatever the server does.

        Requests' own timeout is for each read: a server of a byte a second would never meet it.
        """
        answers: queue.SimpleQueue = queue.SimpleQueue()
        settings = {**arguments, "timeout": timeout, "allow_redirects": False, "stream": True}
        call = self.session.request, method, url, settings, time.monotonic() + timeout
        threading.Thread(target=_answer, args=(answers, *call), daemon=True).start()
        try:
            answer = answers.get(timeout=timeout)
        except queue.Empty:
            answer = TimeoutError(f"no whole answer in {timeout:g} s")
        if isinstance(answer, requests.RequestException | HTTPError | OSError):
            raise self.target.unreachable(_reason(answer))
        if isinstance(answer, Exception):
            raise answer
        status, headers, body = answer
        try:
            found = json.loads(body)
        except (ValueError, RecursionError):
            found = None
        if status == 200 and isinstance(found, dict):
            return found
        message = found.get("error") if isinstance(found, dict) else body[:500].decode("latin-1")
        if 300 <= status < 400:
            message = f"a redirect to {headers.get('Location')}, which is not followed"
        raise self.target.refused(status, message)


def _answer(answers, request, method, url, settings, end):
    """Put status, headers and body of an answer into a queue, or the error."""
    try:
        with request(method, url, **settings) as answer:
            body = bytearray()
            while part := answer.raw.read1(2**20, decode_content=True):
                body += part
                if len(body) > LIMIT:
                    raise OSError(f"an answer of more than {LIMIT // 2**20} MiB")
                if time.monotonic() > end:
                    return  # who asked has gone
        answers.put((answer.status_code, answer.headers, body))
    except Exception as error:  # whatever it is, who asked raises it
        answers.put(error)


def _reason(error):
    """The innermost of the errors that requests and urllib3 wrap in one another."""
    while True:
        inner = getattr(error, "reason", None) or next(iter(error.args), None)
        if not isinstance(inner, Exception):
            return error
        error = inner


def _to_json(value):
    if value.dtype == object:
        return [{"b64": base64.b64encode(item).decode()} for item in value]
    return value.tolist()
