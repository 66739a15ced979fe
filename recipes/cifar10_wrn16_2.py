"""WRN-16-2 on CIFAR-10, at the budget you give it.

    python recipes/cifar10_wrn16_2.py --epochs 40

Expected: 6.96 % error, 93.04 % accuracy, in 200 epochs (the mmrazor model card, whose recipe has
a step schedule, weight decay 1e-4 and zero padding). Unlike the card, this recipe has a rate that
rises and falls once and ends at 0, which suits short and long runs, and label smoothing 0.1.
Cost: 50,000 images x 0.61 GFLOP (6 x 101.1 MMAC) an epoch.
"""

from keras_wrn.cli import train_main
from keras_wrn.recipe import ModelConfig, OptimizerConfig, Recipe, ScheduleConfig

recipe = Recipe(
    name="cifar10_wrn16_2",
    model=ModelConfig(depth=16, width=2),
    optimizer=OptimizerConfig(learning_rate=0.2),
    schedule=ScheduleConfig(kind="one_cycle", warmup=0.1),
    label_smoothing=0.1,
    epochs=200,
    paper_error=6.96,
    source="mmrazor model card, 200 epochs",
)

if __name__ == "__main__":
    train_main(recipe)
