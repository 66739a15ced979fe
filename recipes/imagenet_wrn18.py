"""WRN-18-k on ImageNet: Table 7's basic blocks, with the paper's recipe.

    python recipes/imagenet_wrn18.py --model.width 2

The photos are ImageNet's as TFDS prepares them (`tfds build imagenet2012`), or with
`--data.dataset imagenet/` those of a folder with train/ and val/ and a sub-folder for each class.

Expected: 30.4, 27.06, 25.58 and 24.06 % error for the widths 1, 1.5, 2 and 3 (Table 7, top-1, a
single crop).
Cost: 1,281,167 images x 10.9 GFLOP (6 x 1,814 MMAC) an epoch for width 1, 23.2 for 1.5, 40.2 for 2
and 88.3 for 3: 1,255, 2,675, 4,632 and 10,187 PFLOP for 90 epochs. Computed: 0.11, 0.23, 0.41 and
0.89 hours on 8 H200 at 40 % of their 989 TFLOP/s. It was never run on all of ImageNet here.

The recipe is that of fb.resnet.torch, with which the authors trained: random-resized crops, colour
jitter, lighting, 90 epochs. It resizes without antialiasing, which is not copied.
"""

from keras_wrn.cli import train_main
from keras_wrn.recipe import DataConfig, ModelConfig, OptimizerConfig, Recipe, ScheduleConfig

recipe = Recipe(
    name="imagenet_wrn18",
    model=ModelConfig(name="wide_resnet18", width=1),
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
