"""WRN-40-2 on CIFAR-10 in 32 short epochs.

    python recipes/cifar10_wrn40_2.py

Expected: 5.7 % error, single view, last epoch, and 5.2 % as the mean of six views (one seed). The
mmrazor model card has 5.33 % error, in 200 epochs with a step schedule, weight decay 1e-4 and zero
padding. This recipe has the steps of cifar10_fast: Muon for the convolution kernels, a first
convolution that learns on whitened patches, crops of 24 pixels in the first half of the epochs, and
alternating flips.
Cost: 50,000 images x 1.97 GFLOP (6 x 327.6 MMAC) an epoch, 9/16 of it in the first 16: 2.46 PFLOP.
"""

from keras_wrn.cli import train_main
from keras_wrn.recipe import DataConfig, ModelConfig, OptimizerConfig, Recipe, ScheduleConfig

recipe = Recipe(
    name="cifar10_wrn40_2",
    model=ModelConfig(depth=40, width=2, whitened_stem=True),
    data=DataConfig(crop_padding=2, alternating_flip=True, small_size=24),
    optimizer=OptimizerConfig(learning_rate=0.3, kernel_rate=0.2),
    schedule=ScheduleConfig(kind="one_cycle"),
    label_smoothing=0.2,
    epochs=32,
    views=6,
    paper_error=5.33,
    source="mmrazor model card, 200 epochs",
)

if __name__ == "__main__":
    train_main(recipe)
