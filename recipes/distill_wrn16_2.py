"""Distil a larger network into WRN-16-2 on CIFAR-10, at the budget you give it.

    python recipes/distill_wrn16_2.py --distill.teacher runs/cifar10_wrn40_2-seed0 --epochs 40

The teacher is a finished run, such as one of `cifar10_wrn40_2` or `cifar10_wrn28_4`.
--distill.attention 1000 adds attention transfer, and --distill.logits 0 leaves the teacher's
answers out.

Expected: 6.08 % error, 93.92 % accuracy, in 200 epochs with the logits of WRN-40-2, against 6.31 %
without a teacher; 5.71 % with attention transfer too (Zagoruyko & Komodakis 2017, Table 1).
Cost: 50,000 images x 1.26 GFLOP an epoch: 6 x 101.1 MMAC of the student, 2 x 327.6 of WRN-40-2.
"""

from keras_wrn.cli import train_main
from keras_wrn.recipe import DistillConfig, ModelConfig, OptimizerConfig, Recipe, ScheduleConfig

recipe = Recipe(
    name="distill_wrn16_2",
    model=ModelConfig(depth=16, width=2),
    distill=DistillConfig(teacher="runs/cifar10_wrn40_2-seed0"),
    optimizer=OptimizerConfig(learning_rate=0.2),
    schedule=ScheduleConfig(kind="one_cycle", warmup=0.1),
    epochs=200,
    paper_error=6.08,
    source="attention transfer paper, 200 epochs",
)

if __name__ == "__main__":
    train_main(recipe)
