"""A run: its parts, and its three steps."""

import contextlib
import dataclasses
import json
from pathlib import Path

import keras

from keras_wrn.data.photos import Photos
from keras_wrn.errors import DataError, RunError
from keras_wrn.files import write_json
from keras_wrn.models.layers import BatchNormalization
from keras_wrn.models.stages import copied
from keras_wrn.optim.schedules import scaled_schedule
from keras_wrn.recipe import DistillConfig, Recipe, TrainingRecipe
from keras_wrn.runs.checkpoint import Checkpoints, apply_state
from keras_wrn.runs.directory import begin_directory, check_disk, check_unchanged, note_changes
from keras_wrn.training.announce import opening_lines
from keras_wrn.training.averaging import hold_average, renew_statistics
from keras_wrn.training.callbacks import RunLog, end_epoch, run_callbacks
from keras_wrn.training.devices import precision_scope
from keras_wrn.training.distill import Distiller
from keras_wrn.training.inputs import fingerprint, train_batches
from keras_wrn.training.memory import memory_explained
from keras_wrn.training.network import load_teacher, start_model
from keras_wrn.training.placement import Placement
from keras_wrn.training.tasks import task_of
from keras_wrn.training.workers import averaged_steps, build_metrics, on_workers

# TensorFlow's classes of errors of an input that cannot be read.
UNREADABLE = "InvalidArgumentError", "NotFoundError", "UnknownError", "DataLossError"


class Trainer:
    """Trains a recipe in a run directory: `prepare`, `fit`, `finish`.

    Args:
        recipe: `Recipe` or `DetectionRecipe`.
        run_dir: path of an existing directory, which no other run uses. `keras_wrn.run` makes and
            locks it, and is the usual way to train.
        placement: `Placement`.

    Once prepared, it has

        data: `Inputs`, the images and their preprocessing.
        start, teacher: the networks that it starts from and learns from, or None.
        student: the network that trains, which ends in logits.
        model: what `fit` is called on: the student, or a model around it.
        phases: list of (epochs, `Batches`).
        steps: int, the steps of an epoch.
        step: int, how many steps of the run are done.
        checkpoints, log: `Checkpoints`, and `RunLog` on the first process.

    Example:

    ```python
    recipe = keras_wrn.scripts.load_recipe("digits_wrn10_1")
    trainer = keras_wrn.training.Trainer(recipe, ".", keras_wrn.training.Placement.of(recipe))
    trainer.prepare()
    trainer.fit(until=3)   # of 30 epochs
    trainer.model.evaluate(trainer.test)
    ```
    """

    def __init__(self, recipe: TrainingRecipe, run_dir, placement: Placement):
        self.recipe, self.run_dir, self.placement = recipe, Path(run_dir), placement
        self.checkpoints = Checkpoints(self.run_dir / "checkpoints")
        self.task = task_of(recipe)
        self._averages = bool(getattr(recipe.optimizer, "average", 0))
        self.interrupted = False

    def prepare(self, data_dir=None, made_up=False, changes=(), inputs=None, found=None):
        """Load the images, build the model, and restore the newest checkpoint.

        Args:
            data_dir: path where TFDS keeps its data, or None.
            made_up: bool, whether to use a few made-up images instead.
            changes: list of str, how the recipe differs from the one the run was started with.
            inputs: `Inputs` instead of the recipe's own images.
            found: what the task's `check` returned, or None.

        Raises:
            DataError: the dataset is missing or unreadable.
            RunError: no checkpoint can be read, the disk is too full, there is too little memory.
            ValueError: a setting is invalid, or the run was started with other images.
        """
        self._load(data_dir, made_up, inputs, found)
        with self._computing():
            self._build()
            self._take_up(changes)

    def fit(self, until=None, callbacks=()):
        """Train to the end of an epoch.

        Args:
            until: int, which epoch; None for the last.
            callbacks: more Keras callbacks, which come after those of the run.

        Raises:
            RunError: the disk became too full, there is too little memory, or the loss became NaN
                (`Diverged`).
            Stopped: SIGTERM or SIGINT came; the state is saved.
        """
        if self.interrupted:
            raise RunError(
                f"The training in {self.run_dir} was interrupted. Make another Trainer and prepare "
                "it: it goes on at the last checkpoint."
            )
        until = self.recipe.epochs if until is None else until
        self.interrupted = True
        with self._computing():
            end = 0
            for epochs, batches in self.phases:
                end += epochs
                if self.extras and self.step <= end * self.steps:
                    # Stopped during an epoch, or during its evaluation.
                    self._fit(batches, self.step // self.steps + 1, callbacks)
                if self.step < min(end, until) * self.steps:
                    self._fit(batches, min(end, until), callbacks)
                if len(self.phases) > 1:  # else TensorFlow makes one for images of any size
                    self.model.train_function = None
            if until >= self.recipe.epochs and self._averages:
                self._take_average(self.model.trainable_variables)
        if until >= self.recipe.epochs:
            self.placement.leave()
        self.interrupted = False

    def finish(self):
        """Write the trained network, its scores and its artifacts; returns the summary."""
        recipe, run_dir, preprocessing = self.recipe, self.run_dir, self.data.preprocessing
        final = self.task.final(recipe, self.student, preprocessing)
        renewed = 0
        if self._averages:
            _, batches = self.phases[-1]
            model = final
            if batches.size[0] != preprocessing.size:
                model = copied(final, batches.size[0])
            renewed = renew_statistics(model, batches, recipe.epochs)
            final.set_weights(model.get_weights())
        final.save(run_dir / "model.keras")
        preprocessing.save(run_dir)
        summary = self.task.summarize(self, final, renewed)
        if keras.backend.backend() == "tensorflow":
            (run_dir / "export").mkdir(exist_ok=True)
            self.task.export(recipe, final, run_dir / "export")
        else:
            print(f"No artifacts are exported on the {keras.backend.backend()} backend.")
        write_json(run_dir / "summary.json", summary)
        epochs = f"{recipe.epochs} epoch" + "s" * (recipe.epochs > 1)
        print(f"{recipe.name}: {self.task.result(summary)} after {epochs}; see {run_dir}")
        return summary

    def _load(self, data_dir, made_up, inputs, found):
        recipe, placement = self.recipe, self.placement
        keras.utils.set_random_seed(recipe.seed)
        if recipe.deterministic and keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            tf.config.experimental.enable_op_determinism()
            # keras-cv's layers take it, whether they draw from it or not.
            tf.random.set_global_generator(tf.random.Generator.from_seed(recipe.seed))
        self.start = start_model(recipe.model)
        self.data = inputs or self.task.load(recipe, self.start, data_dir, made_up, found)
        with placement.scope():
            self.distill = recipe.distill if isinstance(recipe, Recipe) else DistillConfig()
            self.teacher = load_teacher(self.distill, self.data.preprocessing, self.data.classes)
        models = (model for model in (self.start, self.teacher) if model is not None)
        self.given = fingerprint(self.data, *models)
        placement.check_same("recipe", recipe.to_json())
        same = dict(self.given)
        if self.data.files_sha256:  # a process with less memory has no pixels to compare
            same.pop("images_sha256", None)
        placement.check_same("images and starting weights", json.dumps(same))
        placement.on_chief(check_unchanged, self.run_dir, self.given)

    def _build(self):
        recipe, placement, replicas = self.recipe, self.placement, self.placement.replicas
        self.phases = self.task.phases(recipe, self.data)
        self.steps = self.phases[0][1].steps_per_epoch
        if recipe.batch_size % replicas:
            raise ValueError(
                f"`batch_size` should be a multiple of the {replicas} devices. Received: "
                f"{recipe.batch_size}. Nearest: {round(recipe.batch_size / replicas) * replicas}"
            )
        with placement.scope():
            self.student = self.task.network(recipe, self.start, self.data)
            if placement.strategy is not None and replicas > 1 and recipe.sync_batch_norm:
                for layer in self.student.layers:
                    if isinstance(layer, BatchNormalization):
                        layer.synchronized = True
        with contextlib.nullcontext() if on_workers(placement) else placement.scope():
            self.model = self._fitted()
        with placement.scope():
            params, zca = self.model.count_params(), self.data.preprocessing.zca
            placement.on_chief(check_disk, self.run_dir, params, zca)
            compile_model(self.model, recipe, self.steps)
            self._take_average = hold_average(self.model.optimizer)
            # `fit` makes them too late to restore.
            build_metrics(self.model, *self.task.example(self.student))

    def _fitted(self):
        """What `fit` is called on: the student, or a distiller around it."""
        workers = on_workers(self.placement)
        if self.teacher is not None:
            settings = dataclasses.asdict(self.distill)
            settings.pop("teacher")
            model = Distiller(self.student, self.teacher, **settings)
        elif workers:  # the model has to be made outside the scope
            model = keras.Model(self.student.inputs, self.student.outputs, name=self.student.name)
        else:
            model = self.student
        if workers:
            averaged_steps(model)
        return model

    def _take_up(self, changes):
        """Begin the directory, or continue from its newest checkpoint."""
        recipe, placement, run_dir = self.recipe, self.placement, self.run_dir
        with placement.scope():
            placement.on_chief(begin_directory, run_dir, recipe, self.given)
            if placement.is_chief:
                print(opening_lines(recipe, self.student, self.data, placement))
            stored = placement.from_chief(placement.on_chief(self.checkpoints.read))
            self.step, self.extras = apply_state(self.model, stored)
            if self.step > recipe.epochs * self.steps:
                raise ValueError(
                    f"`epochs` should be at least the {self.step / self.steps:g} that {run_dir} "
                    f"has behind it. Received: {recipe.epochs}"
                )
            placement.on_chief(note_changes, run_dir, recipe, changes, self.step)
        self.log = None
        if placement.is_chief:
            self.log = RunLog(run_dir / "log.jsonl", keep_epochs=self.step // self.steps)
            if self.step:
                print(f"Resuming {run_dir} after step {self.step} of {recipe.epochs * self.steps}.")
        self.test = self.task.eval_batches(recipe, self.data, placement)

    def _fit(self, batches, epochs, more):
        """Train from the run's current step to the end of epoch `epochs`."""
        placement, steps = self.placement, self.steps
        first, done = divmod(self.step, steps)
        callbacks = run_callbacks(self)
        for callback in more:
            callback.set_params(callbacks.params)
            callback.set_model(self.model)
            callbacks.callbacks.append(callback)
        if self.extras and not done:
            with self._damage_explained(batches):
                end_epoch(self.model, self.test, callbacks, first - 1)
        else:
            scope = placement.scope() if on_workers(placement) else contextlib.nullcontext()
            with scope, self._damage_explained(batches):
                self.model.fit(
                    train_batches(self.model, batches, self.step, epochs, placement),
                    initial_epoch=first,
                    epochs=epochs,
                    steps_per_epoch=steps - done,
                    validation_data=self.test,
                    callbacks=callbacks,
                    shuffle=False,
                )
            self.step = epochs * steps
        self.extras = {}

    @contextlib.contextmanager
    def _damage_explained(self, batches):
        """Name the photo if one that cannot be read ends the training on TensorFlow."""
        try:
            yield
        except Exception as error:
            # TensorFlow's classes of errors in the input; others are not worth reading photos for.
            if type(error).__name__ not in UNREADABLE:
                raise
            read = batches.images, self.data.held_out_photos
            photos = [x for x in read if isinstance(x, Photos)]
            problem = next((x.failed for x in photos if x.failed), None)
            if problem is None and batches.streamed:
                problem = batches.problem(int(self.model.optimizer.iterations))
            if problem is None:
                raise
            raise DataError(
                f"{problem}. Mend or remove it. The run goes on with --resume if the file is "
                "mended; without it, the images are others"
            ) from error

    @contextlib.contextmanager
    def _computing(self):
        """In the run's precision, with advice if there is too little memory."""
        placement = self.placement
        with (
            precision_scope(placement.precision),
            memory_explained(self.recipe, self.run_dir, placement.replicas),
        ):
            yield


def compile_model(model, recipe, steps):
    """Compile a model with a recipe's loss, metrics and optimizer, at `steps` per epoch."""
    task, rate = task_of(recipe), recipe.optimizer.learning_rate
    scale = recipe.batch_size / recipe.rate_batch if recipe.scale_lr else 1.0
    schedule = scaled_schedule(recipe.schedule, rate, scale, recipe.epochs, steps)
    model.compile(
        optimizer=task.optimizer(recipe, schedule),
        **task.objective(recipe),
        # XLA is slower on CPU, and fails under MirroredStrategy with more than one replica.
        jit_compile=False if keras.backend.backend() == "tensorflow" else "auto",
    )
    model.optimizer.build(model.trainable_variables)
