"""The command line: `keras-wrn VERB ...`, and the main of every recipe."""

import contextlib
import dataclasses
import functools
import os
import signal
import sys
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

import tyro

from keras_wrn import verbs
from keras_wrn.distribution import VERSION
from keras_wrn.errors import FAILURE, WRONG_USE, KerasWrnError
from keras_wrn.recipe import BaseRecipe
from keras_wrn.scripts import load_recipe
from keras_wrn.training.hosts import Hosts, end_process
from keras_wrn.training.run import run
from keras_wrn.verbs import inspecting

WRONG_PATH = (
    FileExistsError, FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError
)  # fmt: skip


def main(args: list[str] | None = None) -> None:
    """Run `keras-wrn` with its arguments; exits with 0, 1 (failure), 2 (wrong use) or 143."""
    args = sys.argv[1:] if args is None else list(args)
    if args == ["--version"]:
        return print(f"keras-wrn {VERSION}")
    if hasattr(sys.stdout, "reconfigure"):  # names that the terminal cannot show are escaped
        sys.stdout.reconfigure(errors="backslashreplace")
    with _exit_codes():
        if args[:1] == ["train"] and args[1:] and not args[1].startswith("-"):
            # The recipe decides what the other flags are, and their defaults.
            _train(load_recipe(args[1]), args[2:], f"keras-wrn train {args[1]}")
        elif args[:1] == ["anomaly"] and args[1:2] and args[1] in ANOMALY:
            verb = functools.partial(tyro.cli, prog=f"keras-wrn anomaly {args[1]}", args=args[2:])
            verb(_deferred(ANOMALY[args[1]]))()
        else:
            commands = {name: _deferred(verb) for name, verb in VERBS.items()}
            tyro.extras.subcommand_cli_from_dict(commands, args=args, prog="keras-wrn")()
        sys.stdout.flush()


def train_main(recipe: BaseRecipe, args: list[str] | None = None) -> None:
    """The main function of a recipe script: parse its fields as flags, then train."""
    args = sys.argv[1:] if args is None else list(args)
    with _exit_codes():
        _train(recipe, args, Path(sys.argv[0]).name)


R = TypeVar("R", bound=BaseRecipe)


@dataclasses.dataclass(frozen=True)
class TrainOptions(Generic[R]):
    """Train a recipe. Every field of the recipe is a flag."""

    recipe: Annotated[R, tyro.conf.arg(name="")]
    run_dir: Path | None = None
    """Where to keep the run; by default runs/<recipe>-seed<seed>, or for a folder of images
    runs/<recipe>-<folder>-seed<seed>."""
    resume: bool = False
    """Continue the run in that directory from its newest checkpoint."""
    allow_changes: bool = False
    """With --resume: continue even if these flags differ from those the run began with."""
    data_dir: Path | None = None
    """Where TFDS keeps its data; by default TFDS_DATA_DIR or TFDS' own default."""
    smoke: bool = False
    """Shrink the recipe to a run of seconds, on made-up images."""
    hosts: Hosts = dataclasses.field(default_factory=Hosts)


def _train(recipe, args, prog):
    kind: Any = TrainOptions[type(recipe)]  # type: ignore[misc]
    options = tyro.cli(kind, args=args, prog=prog, default=TrainOptions(recipe))
    run(
        options.recipe,
        run_dir=options.run_dir,
        resume=options.resume,
        allow_changes=options.allow_changes,
        data_dir=options.data_dir,
        made_up=options.smoke,
        hosts=options.hosts,
    )


def train(recipe: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RECIPE")]):
    """Train a recipe. `keras-wrn train RECIPE --help` lists its flags.

    Args:
        recipe: a name that `keras-wrn list` shows, or the path of a recipe script.
    """
    _train(load_recipe(recipe), [], f"keras-wrn train {recipe}")


VERBS = {
    "train": train,
    "study": verbs.study,
    "evaluate": verbs.evaluate,
    "predict": verbs.predict,
    "anomaly": verbs.anomaly,
    "export": verbs.export,
    "convert": verbs.convert,
    "report": verbs.report,
    "list": verbs.list_all,
}
ANOMALY = {"fit": inspecting.fit, "evaluate": inspecting.evaluate}


def _deferred(function):
    """Parse a function's arguments first, and call it outside of tyro."""

    @functools.wraps(function)
    def parse(*args, **kwargs):
        return lambda: function(*args, **kwargs)

    return parse


@contextlib.contextmanager
def _exit_codes():
    try:
        yield
    except BrokenPipeError:  # such as from `keras-wrn list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)
    except KerasWrnError as error:
        _fail(str(error), error.status)
    except WRONG_PATH as error:
        known = error.strerror and error.filename
        _fail(f"{error.strerror}: {error.filename}" if known else str(error), WRONG_USE)
    except ValueError as error:
        _fail(str(error), WRONG_USE)
    except OSError as error:
        _fail(str(error), FAILURE)
    except KeyboardInterrupt:
        _fail("interrupted", 128 + signal.SIGINT)


def _fail(message, code):
    print(f"keras-wrn: error: {' '.join(message.split())}", file=sys.stderr)
    end_process(code)
