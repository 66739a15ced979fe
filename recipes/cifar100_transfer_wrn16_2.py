"""WRN-16-2 on CIFAR-100, from the CIFAR-10 network that comes with the package.

    python recipes/cifar100_transfer_wrn16_2.py
    python recipes/cifar100_transfer_wrn16_2.py --model.name wrn_16_2   # from scratch

Expected: docs/results.md has both for --epochs 3 --optimizer.learning-rate 0.2. The paper has no
row for this network.
Cost: 50,000 images x 0.61 GFLOP (6 x 101.1 MMAC) an epoch.
"""

from keras_wrn.cli import train_main
from keras_wrn.recipe import DataConfig, ModelConfig, OptimizerConfig, Recipe, ScheduleConfig

recipe = Recipe(
    name="cifar100_transfer_wrn16_2",
    model=ModelConfig(name="wrn_16_2.cifar10"),
    data=DataConfig(dataset="cifar100"),
    optimizer=OptimizerConfig(learning_rate=0.1),
    schedule=ScheduleConfig(kind="one_cycle", warmup=0.1),
    epochs=30,
)

if __name__ == "__main__":
    train_main(recipe)
