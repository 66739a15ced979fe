"""What keras_wrn is, what it needs and what its wheel carries."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
NAME, VERSION = (
    re.search(rf'^{what} = "(.+)"', (HERE / "keras_wrn/distribution.py").read_text(), re.M)[1]
    for what in ("NAME", "VERSION")
)

# Folders beside keras_wrn/ that are packages inside it once installed.
CARRIED = {
    "keras_wrn.recipes": "recipes",
    "keras_wrn.recipes.studies": "recipes/studies",
    "keras_wrn.shipped.cifar10_wrn16_2": "saved_models/cifar10_wrn16_2/1",
}

EXTRAS = {
    "detection": ["pycocotools>=2.0.10"],
    "jax": ["jax>=0.10"],
    "litert": ["ai-edge-litert==2.3.*"],
    "onnx": ["onnx>=1.20", "onnxruntime>=1.24", "tf2onnx>=1.17"],
    "openvino": ["nncf>=3.4", "openvino>=2026.1", "rich>=13.5.2"],
    "parity": ["timm>=1.0.20", "torch>=2.13", "torchmetrics>=1.8"],  # what the tests compare with
    "serving": ["grpcio>=1.70", "tensorflow-serving-api>=2.21,<3"],
    "weights": ["ml_dtypes>=0.5", "safetensors>=0.6"],
    "test": [
        "check-jsonschema>=0.39",
        "import-linter>=2.7",
        "kubeflow-trainer-api>=2.2",
        "kubernetes-validate>=1.37",
        "mypy>=2.4",
        "pytest>=9",
        "pytest-xdist>=3.8",
        "ruff>=0.17,<0.18",
        "setuptools>=77",
    ],
}
# What the whole test suite needs.
DEV = {requirement for extra in EXTRAS.values() for requirement in extra}

setup(
    name=NAME,
    version=VERSION,
    description="Wide Residual Networks for Keras 3: build, train, export",
    long_description=(HERE / "README.md").read_text(),
    long_description_content_type="text/markdown",
    author="The keras_wrn authors",
    license_expression="Apache-2.0",
    license_files=["LICENSE"],
    keywords=["keras", "tensorflow", "wide residual network", "WRN", "image classification"],
    classifiers=[
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
    packages=[*find_packages(include=["keras_wrn", "keras_wrn.*"]), *CARRIED],
    package_dir=CARRIED,
    package_data={
        "keras_wrn": ["**/*.json", "data/*.txt", "export/templates/*"],
        "keras_wrn.shipped.cifar10_wrn16_2": ["model.keras"],
    },
    entry_points={"console_scripts": ["keras-wrn = keras_wrn.cli:main"]},
    python_requires=">=3.11,<3.14",
    install_requires=[
        "tensorflow>=2.21,<3",
        "keras>=3.15.1,<4",
        "tensorflow-datasets>=4.9.10,<5",
        "keras-cv>=0.9,<1",
        "filelock>=3.13",
        "h5py>=3.11",
        "importlib_resources>=6",  # TFDS prepares SVHN with it and does not declare it
        "matplotlib>=3.9",
        "numpy>=2.0",
        "pillow>=11",
        "requests>=2.32.2",
        "scikit-learn>=1.5",
        "scipy>=1.14",
        "tensorboard>=2.20",  # TensorFlow no longer brings it
        "tqdm>=4.66",
        "typeguard>=4",
        "tyro>=1.0,<2",
        "urllib3>=2.2",
    ],
    extras_require={**EXTRAS, "dev": sorted(DEV), "gpu": ["tensorflow[and-cuda]"]},
)
