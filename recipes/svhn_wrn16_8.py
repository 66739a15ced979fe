"""WRN-16-8 with dropout on SVHN, train and extra: the paper's best of its time.

    python recipes/svhn_wrn16_8.py

Expected: 1.54 % error (Table 9: a single run). Pixels are divided by 255, nothing is augmented.
With `--data.no-extra` it trains on the 73,257 images of `train` alone: others got 3.8 % that way.
Cost: 604,388 images x 9.29 GFLOP (6 x 1,548 MMAC) an epoch, 898 PFLOP for 160 epochs.
"""

from keras_wrn.cli import train_main
from keras_wrn.recipe import DataConfig, ModelConfig, OptimizerConfig, Recipe, ScheduleConfig

recipe = Recipe(
    name="svhn_wrn16_8",
    model=ModelConfig(depth=16, width=8, dropout=0.4),
    data=DataConfig(dataset="svhn_cropped", preprocessing="scale"),
    optimizer=OptimizerConfig(learning_rate=0.01, reset_momentum_on_drop=True),
    schedule=ScheduleConfig(milestones=(79 / 160, 119 / 160), factor=0.1),
    epochs=160,
    paper_error=1.54,
    source="Table 9, a single run",
)

if __name__ == "__main__":
    train_main(recipe)
