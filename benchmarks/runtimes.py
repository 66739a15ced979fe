"""Exported files in their own runtimes."""

import keras_wrn
from benchmarks.rows import compute_in
from keras_wrn import export
from keras_wrn.export.head import require_extra
from keras_wrn.export.litert import dequantize

FILES = {
    "saved_model": "model", "litert": "model.tflite", "onnx": "model.onnx", "openvino": "model.xml",
}  # fmt: skip


def litert(path, threads, output="logits"):
    """A function from pixels (batch, height, width, channels) to one of the outputs."""
    from ai_edge_litert.interpreter import Interpreter

    run = Interpreter(str(path), num_threads=threads).get_signature_runner()
    dtype = run.get_input_details()["image"]["dtype"]
    details = run.get_output_details()[output]
    return lambda images: dequantize(run(image=images.astype(dtype))[output], details)


def onnx(path, threads, output="logits"):
    """As `litert`, with ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda images: session.run([output], {"image": images.astype("float32")})[0]


def openvino(path, threads, precision="f32", output="logits"):
    """As `litert`, with OpenVINO."""
    require_extra("openvino")
    import openvino

    settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": precision}
    compiled = openvino.compile_model(path, "CPU", settings)
    return lambda images: compiled(images.astype("float32"))[output]


def openvino_bfloat16(path, threads):
    """As `openvino`, computed in bfloat16."""
    return openvino(path, threads, "bf16")


def saved_model(path, precision="float32", output="logits"):
    """As `litert`, the default signature in TensorFlow."""
    import tensorflow as tf

    compute_in(precision)
    loaded = tf.saved_model.load(str(path))
    serve = loaded.signatures["serving_default"]

    def run(images):
        return serve(image=tf.constant(images.astype("float32")))[output].numpy()

    run.loaded = loaded  # else it would be garbage-collected
    return run


def _parts(kind):
    """The format of a kind, and its precision."""
    return (*kind.split(), "float32")[:2]


def write(kind, model, images, directory):
    """Export a model into a directory.

    Args:
        kind: str, "saved_model", "litert", "onnx" or "openvino", and after a space its precision:
            for bfloat16, a float32 SavedModel or OpenVINO file is computed in it.
        model: `keras.Model` that ends in softmax.
        images: float (batch, height, width, channels), to calibrate with.
        directory: path.
    """
    form, precision = _parts(kind)
    settings = {"preprocessing": keras_wrn.Preprocessing(images.shape[1])}
    if form != "saved_model" and precision != "bfloat16":
        calibration = (255 * abs(images) % 255).astype("uint8") if precision == "int8" else None
        settings |= {"precision": precision, "calibration": calibration}
    getattr(export, f"export_{form}")(model, directory / FILES[form], **settings)


def opened(kind, directory, threads):
    """What `write` wrote, as a function from pixels to logits."""
    form, precision = _parts(kind)
    path = directory / FILES[form]
    if form == "saved_model":
        return saved_model(path, precision)
    if kind == "openvino bfloat16":
        return openvino_bfloat16(path, threads)
    return {"litert": litert, "onnx": onnx, "openvino": openvino}[form](path, threads)
