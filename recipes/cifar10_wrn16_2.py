"""WRN-16-2 on CIFAR-10.

    python recipes/cifar10_wrn16_2.py --epochs 40

Card: mmrazor's WRN-16-2, 93.04 % (6.96 % error) after 200 epochs of a step schedule. Here the rate
makes one triangle and ends at 0, which suits any number of epochs.
Cost: 50,000 images x 0.61 GFLOP (6 x 101.1 MMAC) an epoch, 1.2 PFLOP for 40.
"""

from keras_wrn.cli import train_main
from keras_wrn.training import ModelConfig, OptimizerConfig, Recipe, ScheduleConfig

recipe = Recipe(
    name="cifar10_wrn16_2",
    model=ModelConfig(depth=16, width=2),
    optimizer=OptimizerConfig(learning_rate=0.3),
    schedule=ScheduleConfig(kind="one_cycle", warmup=0.1),
    label_smoothing=0.1,
    epochs=200,
    paper_error=6.96,
    source="mmrazor card",
)

if __name__ == "__main__":
    train_main(recipe)
