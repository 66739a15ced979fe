"""The name this package is installed by, and its version."""

import warnings
from importlib import metadata
from pathlib import Path

NAME = "keras-wide-resnet"
NAMESAKE = "keras-wrn"  # someone else's package since 2018, also imported as keras_wrn
VERSION = "0.1.0"
PACKAGE = Path(__file__).parent


def carried(inside, beside):
    """Where a folder is: inside the package in a wheel, beside it in a checkout; both may be."""
    return [path for path in (PACKAGE / inside, PACKAGE.parent / beside) if path.is_dir()]


def is_installed():
    """Whether the package is installed, and not only run from its folder."""
    return any(metadata.distributions(name=NAME))


def install_extra(extra):
    """The command that installs this package with one of its extras."""
    return f"pip install '{NAME}[{extra}]', or in a checkout pip install -e '.[{extra}]'"


def warn_of_namesake():
    """Warn if the other package is installed too: both have a folder keras_wrn."""
    try:
        version = metadata.version(NAMESAKE)
    except metadata.PackageNotFoundError:
        return
    warnings.warn(
        f"The package {NAMESAKE} {version} is installed too. It is another project, and its files "
        f"may have replaced some of these. Run: pip uninstall {NAMESAKE}, then "
        f"pip install --force-reinstall --no-deps {NAME}",
        stacklevel=3,
    )
