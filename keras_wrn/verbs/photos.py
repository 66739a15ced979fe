"""Photos looked at one after the other: a line, a row of a table and a picture for each."""

from pathlib import Path

from keras_wrn.data.images import picture as pixels_of
from keras_wrn.files import distinct, printable
from keras_wrn.verbs.flags import check_folder
from keras_wrn.verbs.table import written


def look_at(found, out, show_dir, *, of, line, batch, answer, fields, picture, check=None):
    """Answer for images, print a line for each, and write the tables and pictures asked for.

    Args:
        found: list of `keras_wrn.verbs.images.Image`.
        out: path of a .json or .csv file, or None.
        show_dir: path of a folder for a picture of each image, or None.
        of, line: what the rows are of, and the function that prints one; see
            `keras_wrn.verbs.table`.
        batch: int, how many images are answered for at once.
        answer: function from a list of uint8 arrays (height, width, 3) to a list of results.
        fields: function from a result to what its row says, a dict.
        picture: function of an `Image`, its array, its result and a path that draws a picture.
        check: function of an array and its name that raises if it cannot be answered for, or None.

    Raises:
        OSError: some images cannot be read. The others have their answers.
        ValueError, OSError: the only image cannot be read.
    """
    from tqdm import tqdm

    check_folder("--show-dir", show_dir)
    width = max(len(item.name) for item in found)
    failed, names = 0, distinct(Path(item.name).stem or "photo" for item in found)
    with (
        written(out, of=of) as write,
        # None: the bar is shown only in a terminal.
        tqdm(total=len(found), unit="img", disable=len(found) < 2 or None) as bar,
    ):
        for start in range(0, len(found), batch):
            items = found[start : start + batch]
            photos, errors = _read(items, len(found) == 1, check)
            results = dict(
                zip(photos, answer(list(photos.values())) if photos else (), strict=True)
            )
            for i, item in enumerate(items):
                said = fields(results[i]) if i in results else {"error": errors[i]}
                row = {"image": item.name, **said}
                bar.write(line(row, width))
                write(row)
                failed += i in errors
                if show_dir is not None and i in results:
                    path = Path(show_dir, f"{names[start + i]}.png")
                    picture(item, photos[i], results[i], path)
                bar.update()
    if out is not None:
        print(f"Wrote {out}")
    if show_dir is not None and failed < len(found):
        print(f"Pictures: {len(found) - failed} in {show_dir}")
    if failed:
        raise OSError(f"{failed} of {len(found)} images cannot be read")


def _read(items, alone, check):
    """The arrays of images by their index, and the errors of those that cannot be read."""
    photos, errors = {}, {}
    for i, item in enumerate(items):
        try:
            photo = pixels_of(item.image)
            if check is not None:
                check(photo, item.name)
        except (ValueError, OSError) as error:
            if alone:
                raise
            errors[i] = printable(str(error))
        else:
            photos[i] = photo
    return photos, errors
