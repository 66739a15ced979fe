"""TensorFlow Serving over HTTP. Needs no TensorFlow."""

import base64
from typing import Any

import numpy as np
import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

RETRIED = [502, 503]  # 504 is a deadline that has passed


class RestProtocol:
    """The requests of a `ServingClient` over HTTP."""

    def __init__(self, target):
        self.target, self.session = target, requests.Session()
        retry = Retry(
            target.retries, read=False, backoff_factor=target.backoff, status_forcelist=RETRIED,
            allowed_methods=None, raise_on_status=False,
        )  # fmt: skip
        for scheme in ("http://", "https://"):
            self.session.mount(scheme, HTTPAdapter(max_retries=retry))
        self.path = f"{target.url}/v1/models/{target.model}"
        if target.version is not None:
            self.path += f"/versions/{target.version}"
        if target.label is not None:
            self.path += f"/labels/{target.label}"

    def predict(self, signature, inputs):
        body = {
            "signature_name": signature,
            "inputs": {name: _to_json(value) for name, value in inputs.items()},
        }
        outputs = self._ask("POST", f"{self.path}:predict", json=body).get("outputs")
        if not isinstance(outputs, dict):
            raise self.target.refused(200, f"no outputs to the signature {signature!r}")
        return {
            name: np.array(value, "float32") if name in ("probabilities", "logits") else value
            for name, value in outputs.items()
        }

    def status(self):
        states = self._ask("GET", self.path).get("model_version_status", [])
        return {int(state["version"]): state["state"] for state in states}

    def close(self):
        self.session.close()

    def _ask(self, method, url, **arguments) -> dict[str, Any]:
        try:
            answer = self.session.request(method, url, timeout=self.target.timeout, **arguments)
        except requests.RequestException as error:
            raise self.target.unreachable(error) from error
        try:
            found = answer.json()
        except ValueError:
            found = None
        if answer.status_code != 200 or not isinstance(found, dict):
            message = found.get("error") if isinstance(found, dict) else answer.text[:500]
            raise self.target.refused(answer.status_code, message)
        return found


def _to_json(value):
    if value.dtype == object:
        return [{"b64": base64.b64encode(item).decode()} for item in value]
    return value.tolist()
