"""What ONNX and OpenVINO have in common, so that one test asks both."""

import pytest

from keras_wrn.export import export_onnx, export_openvino
from keras_wrn.export import onnx as onnx_export
from keras_wrn.export import openvino as openvino_export
from keras_wrn.export.head import require_extra
from keras_wrn.export.onnx import open_onnx
from keras_wrn.export.openvino import open_openvino


class Onnx:
    export, module = staticmethod(export_onnx), onnx_export
    files, weights, packages = ["m.onnx"], "m.onnx", ["onnx", "onnxruntime", "tf2onnx"]
    needed = pytest.mark.extra(*packages)
    form, converter = "onnx", "pixel_function"

    @staticmethod
    def run(path, images):
        return open_onnx(path)[0](images)

    @staticmethod
    def metadata(path):
        import onnx

        return {entry.key: entry.value for entry in onnx.load(path).metadata_props}["keras_wrn"]

    @staticmethod
    def operations(path):
        import onnx

        return [node.op_type for node in onnx.load(path).graph.node]

    @staticmethod
    def kernels(path):
        """Of each convolution the integers of its kernel, with the count of their scales."""
        import onnx

        graph = onnx.load(path).graph
        values = {each.name: onnx.numpy_helper.to_array(each) for each in graph.initializer}
        made_by = {name: node for node in graph.node for name in node.output}
        for node in graph.node:
            if node.op_type == "Conv":
                image, kernel = (made_by[name] for name in node.input[:2])
                assert image.op_type == kernel.op_type == "DequantizeLinear"
                integers, scales = (values[name] for name in kernel.input[:2])
                yield integers, scales.size

    @staticmethod
    def matrices(path):
        """The second factors of the matrix products."""
        import onnx

        graph = onnx.load(path).graph
        values = {each.name: onnx.numpy_helper.to_array(each) for each in graph.initializer}
        return [values[node.input[1]] for node in graph.node if node.op_type in ("MatMul", "Gemm")]


class OpenVino:
    export, module = staticmethod(export_openvino), openvino_export
    files, weights, packages = ["m.bin", "m.xml"], "m.bin", ["openvino", "nncf"]
    needed = pytest.mark.extra(*packages)
    form, converter = "openvino", "write_plain_saved_model"

    @staticmethod
    def run(path, images):
        return open_openvino(path)[0](images)

    @staticmethod
    def _model(path):
        require_extra("openvino")
        import openvino

        return openvino.Core().read_model(path)

    @classmethod
    def metadata(cls, path):
        return cls._model(path).get_rt_info(["keras_wrn"]).astype(str)

    @classmethod
    def operations(cls, path):
        return [op.get_type_name() for op in cls._model(path).get_ordered_ops()]

    @classmethod
    def kernels(cls, path):
        for op in cls._model(path).get_ops():
            if op.get_type_name() == "Convolution":
                image, product = (op.input_value(i).get_node() for i in range(2))
                if image.get_type_name() == "Pad":
                    image = image.input_value(0).get_node()
                assert image.get_type_name() == "FakeQuantize"
                assert product.get_type_name() == "Multiply"
                convert, scales = (product.input_value(i).get_node() for i in range(2))
                assert convert.get_type_name() == "Convert"
                yield convert.input_value(0).get_node().data, scales.data.size

    @classmethod
    def matrices(cls, path):
        found = (op for op in cls._model(path).get_ops() if op.get_type_name() == "MatMul")
        return [op.input_value(1).get_node().data for op in found]
