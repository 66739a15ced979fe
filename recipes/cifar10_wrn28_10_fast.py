"""WRN-28-10 on CIFAR-10 in a fifth of the paper's epochs.

    python recipes/cifar10_wrn28_10_fast.py

Expected: the paper's 4.00 % error (Table 5, 200 epochs) or less. Not run yet: it needs an
accelerator. Its settings are those of cifar10_fast, with the stronger augmentation of long runs.
Cost: 50,000 images x 31.5 GFLOP (6 x 5,243 MMAC) an epoch, and 9/16 of it in the first 20, whose
images are crops of 24 pixels: 49 PFLOP, where the paper's recipe takes 315. Muon's own matrix
products are 4 PFLOP more.
"""

from keras_wrn.cli import train_main
from keras_wrn.recipe import DataConfig, ModelConfig, OptimizerConfig, Recipe, ScheduleConfig

recipe = Recipe(
    name="cifar10_wrn28_10_fast",
    model=ModelConfig(depth=28, width=10, whitened_stem=True),
    data=DataConfig(alternating_flip=True, small_size=24, cutout=12),
    optimizer=OptimizerConfig(learning_rate=0.3, kernel_rate=0.2),
    schedule=ScheduleConfig(kind="one_cycle"),
    label_smoothing=0.2,
    epochs=40,
    views=6,
    paper_error=4.00,
    source="Table 5, 200 epochs",
)

if __name__ == "__main__":
    train_main(recipe)
