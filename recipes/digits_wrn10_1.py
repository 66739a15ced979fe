"""WRN-10-1 on scikit-learn's handwritten digits: the quickstart, with no download.

    python recipes/digits_wrn10_1.py

Expected: below 2 % error on the 360 held-out digits (a stratified fifth, fixed by seed 0).
Cost: 1,437 images x 0.075 GFLOP (6 x 12.5 MMAC) an epoch, 3.2 TFLOP for 30: a minute on two cores.
"""

from keras_wrn.cli import train_main
from keras_wrn.recipe import DataConfig, ModelConfig, OptimizerConfig, Recipe, ScheduleConfig

recipe = Recipe(
    name="digits_wrn10_1",
    model=ModelConfig(depth=10, width=1),
    data=DataConfig(dataset="digits", preprocessing="scale"),
    optimizer=OptimizerConfig(learning_rate=0.1),
    schedule=ScheduleConfig(kind="one_cycle"),
    epochs=30,
    batch_size=32,
    rate_batch=32,
)

if __name__ == "__main__":
    train_main(recipe)
