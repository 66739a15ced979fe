"""Small detectors that find something, and small folders in COCO's format."""

import json

import numpy as np

import keras_wrn
from keras_wrn.data.images import jpeg_bytes
from keras_wrn.detection import retinanet

NAMES = "cat", "dog", "bird"


def finder(size=64, seed=0, names=NAMES):
    """An untrained detector whose answers are far from zero, so that it finds much."""
    trunk = keras_wrn.WideResNet18(include_top=False, input_shape=(size, size, 3))
    trunk.preprocessing = keras_wrn.Preprocessing(size, mean=(0.5,) * 3, std=(0.25,) * 3)
    model = retinanet(trunk, len(names), anchor_size=16)
    random = np.random.default_rng(seed)
    for layer, deviation in (("class_output", 0.05), ("box_output", 0.02)):
        kernel, bias = model.get_layer(layer).get_weights()
        shift = random.normal(-3 if layer == "class_output" else 0, 1, bias.shape)
        model.get_layer(layer).set_weights([random.normal(0, deviation, kernel.shape), shift])
    model.preprocessing = keras_wrn.Preprocessing(
        size, mean=(0.5,) * 3, std=(0.25,) * 3, class_names=names
    )
    return model


def photo(random, height, width):
    """A photo of noise with a bright rectangle, and the rectangle."""
    image = random.integers(0, 128, (height, width, 3), dtype="uint8")
    left, top = random.integers(0, width // 2), random.integers(0, height // 2)
    right, bottom = left + width // 3 + 1, top + height // 3 + 1
    channel = int(random.integers(0, 3))
    image[top:bottom, left:right, channel] = 255
    return image, (int(left), int(top), int(right - left), int(bottom - top)), channel


def coco_folder(root, parts=("train", "val"), count=6, seed=0):
    """A folder in COCO's format; returns `root`."""
    random = np.random.default_rng(seed)
    (root / "images").mkdir(parents=True)
    for part in parts:
        images, annotations = [], []
        for i in range(count):
            height, width = 50 + 7 * i, 90 - 5 * i
            pixels, bbox, channel = photo(random, height, width)
            name = f"{part}{i}.jpg"
            (root / "images" / name).write_bytes(jpeg_bytes(pixels))
            images.append({"id": i + 1, "file_name": name, "width": width, "height": height})
            if i:  # the first photo has none
                annotations.append({
                    "id": i, "image_id": i + 1, "category_id": channel + 1, "bbox": bbox,
                    "iscrowd": int(i == 5),
                })  # fmt: skip
        categories = [{"id": i + 1, "name": name} for i, name in enumerate(NAMES)]
        content = {"images": images, "annotations": annotations, "categories": categories}
        name = f"instances_{part}.json" if part else "instances.json"
        (root / name).write_text(json.dumps(content))
    return root
