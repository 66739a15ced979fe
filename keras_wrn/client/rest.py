"""TensorFlow Serving over HTTP. Needs no TensorFlow."""

import base64
import json
from typing import Any
from urllib.parse import quote

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from keras_wrn.client.answers import WrongAnswer, states
from keras_wrn.web import ask

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
        """The JSON of an answer, received within `timeout` seconds whatever the server does."""
        settings = {"session": self.session, "allow_redirects": False, **arguments}
        try:
            answer, body = ask(method, url, timeout, LIMIT, **settings)
        except OSError as error:
            raise self.target.unreachable(error) from None
        status = answer.status_code
        try:
            found = json.loads(body)
        except (ValueError, RecursionError):
            found = None
        if status == 200 and isinstance(found, dict):
            return found
        message = found.get("error") if isinstance(found, dict) else body[:500].decode("latin-1")
        if 300 <= status < 400:
            message = f"a redirect to {answer.headers.get('Location')}, which is not followed"
        raise self.target.refused(status, message)


def _to_json(value):
    if value.dtype == object:
        return [{"b64": base64.b64encode(item).decode()} for item in value]
    return value.tolist()
