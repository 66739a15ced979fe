"""Where `keras-wrn export` writes a directory for TensorFlow Serving, whatever the model is."""

from pathlib import Path

from keras_wrn.verbs.runs import name_of


def serve(export, network, model, name, out, directory, versioned, **settings):
    """Export the next version for TensorFlow Serving, and print where it is.

    Args:
        export: such as `keras_wrn.export_serving`.
        network: what is exported.
        model: str, where it is from, such as a run directory.
        name: str, its name on the server, None for the recipe's.
        out: the path that was given, or None.
        directory: path of the directory of the versions, which it goes into if there are any.
        versioned: list of the other formats.
        **settings: further arguments of `export`.
    """
    served = directory / "serving" if versioned else out or Path("serving")
    version = export(network, served, name=name or name_of(model), **settings)
    print(f"Exported serving to {served}: version {version.name} of {version.parent.name}")
