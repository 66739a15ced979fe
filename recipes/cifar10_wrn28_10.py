"""WRN-28-10 on CIFAR-10: the paper's headline network, with its own recipe.

    python recipes/cifar10_wrn28_10.py

Expected: 4.00 % error (Table 5: median of 5 runs, no dropout). With `--model.dropout 0.3` the
paper has 3.89 % (Table 6).
Cost: 50,000 images x 31.5 GFLOP (6 x 5,243 MMAC) an epoch, 315 PFLOP for 200 epochs.
"""

from keras_wrn.cli import train_main
from keras_wrn.recipe import ModelConfig, OptimizerConfig, Recipe

recipe = Recipe(
    name="cifar10_wrn28_10",
    model=ModelConfig(depth=28, width=10),
    optimizer=OptimizerConfig(learning_rate=0.1, reset_momentum_on_drop=True),
    epochs=200,
    paper_error=4.00,
    source="Table 5, median of 5",
)

if __name__ == "__main__":
    train_main(recipe)
