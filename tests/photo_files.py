"""Folders of made-up photos of many sizes, shapes and formats."""

import numpy as np
from PIL import Image

SIZES = ((90, 60), (60, 90), (75, 75), (300, 40), (41, 200), (130, 97))


def picture(generator, width, height):
    """Smooth colours with an edge, as in a photo: noise would be all that resizing is about."""
    small = generator.integers(0, 256, (4, 4, 3), dtype="uint8")
    image = Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)
    pixels = np.array(image)
    pixels[height // 3 : height // 2, width // 4 :] = generator.integers(0, 256, 3)
    return Image.fromarray(pixels)


def write(image, path, **settings):
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **settings)


def make_folder(root, count=12, seed=0, classes=("cat", "dog"), splits=("train",)):
    """JPEGs of several sizes below root/split/class; returns `root`."""
    generator = np.random.default_rng(seed)
    for split in splits:
        for name in classes:
            for i in range(count):
                image = picture(generator, *SIZES[i % len(SIZES)])
                settings = {"quality": 85, "subsampling": i % 3, "progressive": i % 4 == 3}
                write(image, root / split / name / f"{i:02}.jpg", **settings)
    return root


def add_odd_files(folder):
    """Every other kind of file that is read, beside the JPEGs of a class."""
    image = picture(np.random.default_rng(5), 70, 50)
    write(image.convert("L"), folder / "grey.jpg")
    write(image.convert("CMYK"), folder / "cmyk.jpg")
    write(image.convert("L"), folder / "grey.png")
    write(image.convert("P"), folder / "palette.png")
    write(image.convert("RGBA"), folder / "alpha.png")
    sixteen = np.asarray(image.convert("L"), "uint16") * 257
    write(Image.fromarray(sixteen), folder / "sixteen.png")
    write(image, folder / "named.JPEG", format="PNG")  # ImageNet has one of these
    write(image, folder / "still.gif")
    write(image, folder / "old.bmp")
    write(image, folder / "new.webp", lossless=True)
    rotated = Image.Exif()
    rotated[0x0112] = 6
    write(image, folder / "turned.jpg", exif=rotated.tobytes())
