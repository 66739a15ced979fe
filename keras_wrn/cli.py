"""The command line: `keras-wrn VERB ...`, and the main of every recipe."""

import contextlib
import dataclasses
import difflib
import functools
import io
import os
import re
import signal
import sys
from pathlib import Path
from typing import Annotated

import tyro

from keras_wrn import verbs
from keras_wrn.distribution import VERSION
from keras_wrn.errors import FAILURE, WRONG_USE, KerasWrnError
from keras_wrn.recipe import Recipe
from keras_wrn.scripts import load_recipe, recipe_paths
from keras_wrn.training.hosts import Hosts, end_process
from keras_wrn.training.run import run

WRONG_PATH = (
    FileExistsError, FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError
)  # fmt: skip


def main(args: list[str] | None = None) -> None:
    """Run `keras-wrn` with its arguments; exits with 0, 1 (failure), 2 (wrong use) or 143."""
    args = sys.argv[1:] if args is None else list(args)
    if not args or args[0] in ("-h", "--help"):
        print(_usage())
        sys.exit(0 if args else WRONG_USE)
    if args[0] == "--version":
        return print(f"keras-wrn {VERSION}")
    if hasattr(sys.stdout, "reconfigure"):  # names that the terminal cannot show are escaped
        sys.stdout.reconfigure(errors="backslashreplace")
    verb, rest = args[0], args[1:]
    if verb not in VERBS:
        near = difflib.get_close_matches(verb, VERBS, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        _fail(f"expected one of {', '.join(VERBS)}, received {verb!r}{hint}", WRONG_USE)
    with _exit_codes():
        if verb == "train":
            _train(rest)
        else:
            _call(VERBS[verb], rest, f"keras-wrn {verb}")
        sys.stdout.flush()


def train_main(recipe: Recipe, args: list[str] | None = None) -> None:
    """The main function of a recipe script: parse its fields as flags, then train."""
    args = sys.argv[1:] if args is None else list(args)
    with _exit_codes():
        _train_recipe(recipe, args, Path(sys.argv[0]).name)


@dataclasses.dataclass(frozen=True)
class TrainOptions:
    """Train a recipe. Every field of the recipe is a flag."""

    recipe: Annotated[Recipe, tyro.conf.arg(name="")]
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


def _train(args):
    if args and args[0] not in ("-h", "--help"):
        return _train_recipe(load_recipe(args[0]), args[1:], f"keras-wrn train {args[0]}")
    print(
        "usage: keras-wrn train RECIPE [flags]\n\nRECIPE is a name or the path of a recipe script. "
        "`keras-wrn train RECIPE --help` lists its flags.\n\nrecipes: " + " ".join(recipe_paths())
    )
    sys.exit(0 if args else WRONG_USE)


def _train_recipe(recipe, args, prog):
    default = TrainOptions(recipe)
    options = _call(TrainOptions, args, prog, default=default)
    run(
        options.recipe,
        run_dir=options.run_dir,
        resume=options.resume,
        allow_changes=options.allow_changes,
        data_dir=options.data_dir,
        made_up=options.smoke,
        hosts=options.hosts,
    )


VERBS = {
    "train": _train,
    "evaluate": verbs.evaluate,
    "predict": verbs.predict,
    "export": verbs.export,
    "convert": verbs.convert,
    "report": verbs.report,
    "list": verbs.list_all,
}


def _usage():
    lines = ["usage: keras-wrn VERB ...", ""]
    for verb, function in VERBS.items():
        doc = (function.__doc__ or TrainOptions.__doc__ or "").partition("\n")[0]
        lines.append(f"  {verb:10}{doc}")
    return "\n".join([*lines, "", "`keras-wrn VERB --help` explains each."])


def _call(function, args, prog, **settings):
    """Parse arguments with tyro, and turn its boxed error message into one line."""
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors):
            parsed = tyro.cli(
                function if dataclasses.is_dataclass(function) else _deferred(function),
                args=args,
                prog=prog,
                **settings,
            )
    except SystemExit as stop:
        if stop.code:
            # Drop the box's title, which the text repeats; in ASCII it is the line indented less.
            lines = [x for x in errors.getvalue().splitlines() if not re.match(r"[╭┌]| \S", x)]
            words = " ".join(re.sub(r"[╰╯│─└┘├┤|]+|-{3,}", " ", " ".join(lines)).split())
            words = re.split(" For full helptext| see | Argument helptext", words)[0]
            _fail(_shortened(words), WRONG_USE)
        raise
    return parsed() if callable(parsed) and not dataclasses.is_dataclass(parsed) else parsed


def _shortened(words):
    """Shorten an error about unknown options to their names and the closest matches."""
    before, found, unknown = words.partition("Unrecognized options: ")
    if not found:
        return words
    given, *meant = re.split(r"Perhaps you meant: |Arguments similar to \S+: ", unknown)
    names = [name for name in given.replace(",", " ").split() if name.startswith("-")]
    likely = [name for text in meant for name in re.findall(r"^--[\w.-]+", text)]
    likely.sort()
    hint = f"; did you mean {' or '.join(likely)}?" if likely else ""
    rest = before and f". {before.rstrip()}"
    return f"{found}{', '.join(names) or given.rstrip()}{hint}{rest}"


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
