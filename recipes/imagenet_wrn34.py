"""WRN-34-k on ImageNet: Table 7's basic blocks, with the paper's recipe.

    python recipes/imagenet_wrn34.py --model.width 2

The photos are ImageNet's as TFDS prepares them (`tfds build imagenet2012`), or with
`--data.dataset imagenet/` those of a folder with train/ and val/ and a sub-folder for each class.

Expected: 26.77, 24.5 and 23.39 % error for the widths 1, 1.5 and 2 (Table 7, top-1, a single crop).
Cost: 1,281,167 images x 22.0 GFLOP (6 x 3,664 MMAC) an epoch for width 1, 48.2 for 1.5 and 84.6 for
2: 2,535, 5,554 and 9,751 PFLOP for 90 epochs. Computed: 0.22, 0.49 and 0.86 hours on 8 H200 at 40 %
of their 989 TFLOP/s. It was never run on all of ImageNet here.

The recipe is that of fb.resnet.torch, with which the authors trained: random-resized crops, colour
jitter, lighting, 90 epochs. It resizes without antialiasing, which is not copied.
"""

from keras_wrn.cli import train_main
from keras_wrn.recipe import DataConfig, ModelConfig, OptimizerConfig, Recipe, ScheduleConfig

recipe = Recipe(
    name="imagenet_wrn34",
    model=ModelConfig(name="wide_resnet34", width=1),
    data=DataConfig(
        dataset="imagenet2012",
        image_size=224,
        interpolation="bicubic",
        random_resized_crop=True,
        color_jitter=0.4,
        lighting=0.1,
    ),
    optimizer=OptimizerConfig(learning_rate=0.1, weight_decay=1e-4),
    schedule=ScheduleConfig(milestones=(1 / 3, 2 / 3), factor=0.1),
    epochs=90,
    batch_size=256,
    rate_batch=256,
)

if __name__ == "__main__":
    train_main(recipe)
