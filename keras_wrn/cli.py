"""The command line."""
import dataclasses, sys
from typing import Annotated
import tyro

def train_main(default, args=None):
    from keras_wrn.training.recipe import Recipe
    from keras_wrn.training.run import run

    @dataclasses.dataclass(frozen=True)
    class Options:
        recipe: Annotated[Recipe, tyro.conf.arg(name="")] = default
        run_dir: str | None = None
        resume: bool = False
        smoke: bool = False
        data_dir: str | None = None

    o = tyro.cli(Options, args=args)
    run(o.recipe, run_dir=o.run_dir, resume=o.resume, data_dir=o.data_dir, made_up=o.smoke)
