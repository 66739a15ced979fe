"""TensorFlow Serving over gRPC. Needs the extra `serving`, imported when a client is made."""

import contextlib
import json

from keras_wrn.client.answers import WrongAnswer
from keras_wrn.export.head import require_extra

LIMIT = 256 * 2**20  # gRPC's own is 4 MiB: seven images of 224 x 224 as floats


class GrpcProtocol:
    """The requests of a `ServingClient` over gRPC."""

    def __init__(self, target):
        require_extra("serving")
        import grpc
        from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

        policy = {
            "maxAttempts": target.retries + 1,
            "initialBackoff": f"{max(target.backoff, 0.001):.3f}s",
            "maxBackoff": "10s",
            "backoffMultiplier": 2,
            "retryableStatusCodes": ["UNAVAILABLE"],
        }
        config = {"methodConfig": [{"name": [{}], "retryPolicy": policy}]} if target.retries else {}
        self.target = target
        self.channel = grpc.insecure_channel(
            target.url,
            options=[
                ("grpc.max_send_message_length", LIMIT),
                ("grpc.max_receive_message_length", LIMIT),
                ("grpc.enable_retries", 1),
                ("grpc.per_rpc_retry_buffer_size", LIMIT),
                ("grpc.service_config", json.dumps(config)),
            ],
        )
        self.predictions = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        self.models = model_service_pb2_grpc.ModelServiceStub(self.channel)

    def predict(self, signature, inputs, timeout):
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2

        request = predict_pb2.PredictRequest()
        self._name(request.model_spec)
        request.model_spec.signature_name = signature
        for name, value in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
        with self._errors():
            answer = self.predictions.Predict(request, timeout=timeout)
        try:
            return {name: tf.make_ndarray(value) for name, value in answer.outputs.items()}
        except (TypeError, ValueError) as error:
            raise WrongAnswer(f"Expected tensors. Received: {error}") from error

    def status(self, timeout):
        from tensorflow_serving.apis import get_model_status_pb2

        request = get_model_status_pb2.GetModelStatusRequest()
        self._name(request.model_spec)
        with self._errors():
            answer = self.models.GetModelStatus(request, timeout=timeout)
        names = get_model_status_pb2.ModelVersionStatus.State.Name
        return {state.version: names(state.state) for state in answer.model_version_status}

    def close(self):
        self.channel.close()

    def _name(self, spec):
        spec.name = self.target.model
        if self.target.version is not None:
            spec.version.value = self.target.version
        if self.target.label is not None:
            spec.version_label = self.target.label

    @contextlib.contextmanager
    def _errors(self):
        import grpc

        try:
            yield
        except grpc.RpcError as error:
            if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                raise self.target.unreachable(error.details()) from None
            raise self.target.refused(error.code().name, error.details()) from None
