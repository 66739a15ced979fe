"""Run a SavedModel through TensorFlow's C library alone: neither Python TensorFlow nor Keras.

    python c_api.py TENSORFLOW_DIR REQUEST.pkl ANSWER.pkl

The request is a dict: `path` of the SavedModel, and `calls`, a list of (inputs, outputs), each a
dict from a tensor's name in the graph, such as "serve_image:0", to an array (outputs: to None).
Strings are object arrays of bytes. The answer is a list of dicts of arrays.
"""

import ctypes
import pickle
import sys
from pathlib import Path

import numpy as np

DTYPES = {1: "float32", 2: "float64", 3: "int32", 4: "uint8", 9: "int64", 10: "bool"}
CODES = {name: code for code, name in DTYPES.items()}
STRING, STRING_BYTES = 7, 24
Pointer = ctypes.c_void_p


class Output(ctypes.Structure):
    """A tensor of the graph: TF_Output."""

    _fields_ = (("operation", Pointer), ("index", ctypes.c_int))


class CSession:
    """A SavedModel loaded by the C library of the TensorFlow in a directory."""

    def __init__(self, tensorflow_dir, path):
        for name in ("libtensorflow_framework.so.2", "libtensorflow_cc.so.2"):
            self.lib = ctypes.CDLL(str(Path(tensorflow_dir, name)), ctypes.RTLD_GLOBAL)
        for name in (
            "TF_NewStatus TF_NewGraph TF_NewSessionOptions TF_LoadSessionFromSavedModel "
            "TF_GraphOperationByName TF_AllocateTensor TF_TensorData TF_StringGetDataPointer"
        ).split():
            getattr(self.lib, name).restype = Pointer
        for name in ("TF_Message", "TF_Version"):
            getattr(self.lib, name).restype = ctypes.c_char_p
        for name in ("TF_StringGetSize", "TF_TensorByteSize"):
            getattr(self.lib, name).restype = ctypes.c_size_t
        self.lib.TF_Dim.restype = ctypes.c_int64
        self.graph = Pointer(self.lib.TF_NewGraph())
        options = Pointer(self.lib.TF_NewSessionOptions())
        tags = (ctypes.c_char_p * 1)(b"serve")
        status = self._status()
        self.session = Pointer(
            self.lib.TF_LoadSessionFromSavedModel(
                options, None, str(path).encode(), tags, 1, self.graph, None, status
            )
        )
        self._check(status)

    def run(self, inputs, outputs):
        """Compute `outputs`, names of tensors, of `inputs`, a dict from names to arrays."""
        ins = (Output * len(inputs))(*map(self._output, inputs))
        outs = (Output * len(outputs))(*map(self._output, outputs))
        given = (Pointer * len(inputs))(*map(self._tensor, inputs.values()))
        found = (Pointer * len(outputs))()
        status = self._status()
        self.lib.TF_SessionRun(
            self.session, None, ins, given, len(inputs), outs, found, len(outputs), None, 0, None,
            status,
        )  # fmt: skip
        for tensor in given:
            self.lib.TF_DeleteTensor(Pointer(tensor))
        self._check(status)
        arrays = {name: self._array(Pointer(t)) for name, t in zip(outputs, found, strict=True)}
        for tensor in found:
            self.lib.TF_DeleteTensor(Pointer(tensor))
        return arrays

    def _status(self):
        return Pointer(self.lib.TF_NewStatus())

    def _check(self, status):
        code, message = self.lib.TF_GetCode(status), self.lib.TF_Message(status).decode()
        self.lib.TF_DeleteStatus(status)
        if code:
            raise RuntimeError(f"TensorFlow's C library says {code}: {message}")

    def _output(self, name):
        operation, _, index = name.partition(":")
        found = self.lib.TF_GraphOperationByName(self.graph, operation.encode())
        if not found:
            raise KeyError(f"no operation {operation}")
        return Output(found, int(index or 0))

    def _tensor(self, array):
        is_text = array.dtype == object
        code = STRING if is_text else CODES[array.dtype.name]
        size = STRING_BYTES * array.size if is_text else array.nbytes
        shape = (ctypes.c_int64 * array.ndim)(*array.shape)
        tensor = self.lib.TF_AllocateTensor(code, shape, array.ndim, ctypes.c_size_t(size))
        data = self.lib.TF_TensorData(Pointer(tensor))
        if not is_text:
            ctypes.memmove(data, np.ascontiguousarray(array).ctypes.data, size)
        for i, text in enumerate(array.ravel() if is_text else ()):
            at = Pointer(data + STRING_BYTES * i)
            self.lib.TF_StringInit(at)
            self.lib.TF_StringCopy(at, text, ctypes.c_size_t(len(text)))
        return tensor

    def _array(self, tensor):
        shape = [self.lib.TF_Dim(tensor, i) for i in range(self.lib.TF_NumDims(tensor))]
        code, data = self.lib.TF_TensorType(tensor), self.lib.TF_TensorData(tensor)
        if code != STRING:
            array = np.empty(shape, DTYPES[code])
            ctypes.memmove(array.ctypes.data, data, array.nbytes)
            return array
        texts = []
        for i in range(int(np.prod(shape))):
            at = Pointer(data + STRING_BYTES * i)
            length = self.lib.TF_StringGetSize(at)
            texts.append(ctypes.string_at(self.lib.TF_StringGetDataPointer(at), length))
        return np.array(texts, object).reshape(shape)


def main(tensorflow_dir, request, answer):
    """Read a request, run it, write the answer."""
    request = pickle.loads(Path(request).read_bytes())
    session = CSession(tensorflow_dir, request["path"])
    answers = [session.run(inputs, outputs) for inputs, outputs in request["calls"]]
    assert not {"tensorflow", "keras"} & set(sys.modules)
    Path(answer).write_bytes(pickle.dumps(answers))
    print("TensorFlow", session.lib.TF_Version().decode())


if __name__ == "__main__":
    main(*sys.argv[1:])
