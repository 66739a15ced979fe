"""A stand-in for TensorFlow Serving: the official protos and stubs around the real artifacts.

It reads the directory as the server does (models.config, newest two versions, labels), and answers
gRPC and REST as the server's documentation says. It does not batch.
"""

import base64
import http.server
import json
import re
import threading
import time
from concurrent import futures
from pathlib import Path

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf import text_format
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)
from tensorflow_serving.config import model_server_config_pb2


class Refusal(Exception):
    """An answer other than the outputs: a gRPC status code and a message."""


class Double:
    """A server of a directory that `export_serving` wrote; use it in a `with` statement."""

    def __init__(self, directory):
        text = Path(directory, "config/models.config").read_text()
        config = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
        self.models, self.labels = {}, {}
        for model in config.model_config_list.config:
            base = Path(directory, Path(model.base_path).relative_to("/serving"))
            numbers = sorted(int(p.name) for p in base.iterdir() if p.name.isdecimal())
            count = model.model_version_policy.latest.num_versions
            self.models[model.name] = {
                n: tf.saved_model.load(str(base / str(n))).signatures for n in numbers[-count:]
            }
            self.labels[model.name] = dict(model.version_labels)
        self.requests, self.unavailable, self.delay = 0, 0, 0.0

    def __enter__(self):
        self.grpc_server = grpc.server(
            futures.ThreadPoolExecutor(20),
            options=[("grpc.max_receive_message_length", -1)],
        )
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
            _Predictions(self), self.grpc_server
        )
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(_Models(self), self.grpc_server)
        self.grpc_url = f"localhost:{self.grpc_server.add_insecure_port('localhost:0')}"
        self.grpc_server.start()
        self.http_server = http.server.ThreadingHTTPServer(("localhost", 0), _handler(self))
        self.port = self.http_server.server_port
        self.rest_url = f"http://localhost:{self.port}"
        threading.Thread(target=self.http_server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.grpc_server.stop(None).wait()
        self.http_server.shutdown()
        self.http_server.server_close()

    def versions(self, name, version=None, label=None):
        """The versions asked about: all, or the one of a number or label."""
        wanted = version or (self.labels.get(name, {}).get(label, -1) if label else None)
        found = {k: v for k, v in self.models.get(name, {}).items() if wanted in (None, k)}
        if not found:
            asked = f"{name} {version or label or ''}"
            raise Refusal(grpc.StatusCode.NOT_FOUND, f"Servable not found for request: {asked}")
        return found

    def predict(self, name, version, label, signature, inputs):
        """The outputs, arrays by name. Inputs are arrays, or lists to be made arrays of."""
        self.requests += 1
        if self.unavailable:
            self.unavailable -= 1
            raise Refusal(grpc.StatusCode.UNAVAILABLE, "The batch scheduling queue is full")
        time.sleep(self.delay)
        versions = self.versions(name, version, label)
        function = versions[max(versions)][signature]
        try:
            specs = function.structured_input_signature[1]
            tensors = {key: tf.constant(value, specs[key].dtype) for key, value in inputs.items()}
            return {key: value.numpy() for key, value in function(**tensors).items()}
        except (ValueError, TypeError, KeyError, tf.errors.InvalidArgumentError) as error:
            raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, str(error)) from error


class _Predictions(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, double):
        self.double = double

    def Predict(self, request, context):
        spec = request.model_spec
        inputs = {key: tf.make_ndarray(value) for key, value in request.inputs.items()}
        try:
            outputs = self.double.predict(
                spec.name, spec.version.value, spec.version_label, spec.signature_name, inputs
            )
        except Refusal as refusal:
            context.abort(*refusal.args)
        answer = predict_pb2.PredictResponse()
        for key, value in outputs.items():
            answer.outputs[key].CopyFrom(tf.make_tensor_proto(value))
        return answer


class _Models(model_service_pb2_grpc.ModelServiceServicer):
    def __init__(self, double):
        self.double = double

    def GetModelStatus(self, request, context):
        answer = get_model_status_pb2.GetModelStatusResponse()
        try:
            spec = request.model_spec
            for version in self.double.versions(spec.name, spec.version.value, spec.version_label):
                answer.model_version_status.add(version=version, state="AVAILABLE")
        except Refusal as refusal:
            context.abort(*refusal.args)
        return answer


def _handler(double):
    codes = {
        grpc.StatusCode.NOT_FOUND: 404,
        grpc.StatusCode.INVALID_ARGUMENT: 400,
        grpc.StatusCode.UNAVAILABLE: 503,
    }

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self._answer(self._status)

        def do_POST(self):
            self._answer(self._predict)

        def _status(self):
            status = {"error_code": "OK", "error_message": ""}
            return {
                "model_version_status": [
                    {"version": str(version), "state": "AVAILABLE", "status": status}
                    for version in double.versions(*_address(self.path))
                ]
            }

        def _predict(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            inputs = {key: _from_json(value) for key, value in body["inputs"].items()}
            address = _address(self.path.removesuffix(":predict"))
            outputs = double.predict(*address, body.get("signature_name"), inputs)
            return {"outputs": {key: _to_json(value) for key, value in outputs.items()}}

        def _answer(self, function):
            try:
                code, found = 200, function()
            except Refusal as refusal:
                code, found = codes[refusal.args[0]], {"error": refusal.args[1]}
            data = json.dumps(found, indent=4).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    return Handler


def _address(path):
    """Name, version and label of a REST path."""
    pattern = r"/v1/models/([^/:]+)(?:/versions/(\d+)|/labels/([^/:]+))?"
    name, version, label = re.fullmatch(pattern, path).groups()
    return name, int(version or 0), label


def _from_json(value):
    if isinstance(value, dict) and set(value) == {"b64"}:
        return base64.b64decode(value["b64"], validate=True)
    return [_from_json(item) for item in value] if isinstance(value, list) else value


def _to_json(value):
    if value.dtype == object:
        return np.vectorize(bytes.decode, otypes=[object])(value).tolist()
    return value.tolist()
