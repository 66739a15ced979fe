"""WRN-50-2 on ImageNet with a modern recipe: that of torchvision's second weights.

    python recipes/imagenet_wrn50_2_v2.py --strategy multi-host

The photos are ImageNet's as TFDS prepares them (`tfds build imagenet2012`), or with
`--data.dataset imagenet/` those of a folder with train/ and val/ and a sub-folder for each class.

Expected: 18.4 % error, as torchvision's IMAGENET1K_V2 (81.602 % top-1) at 224 pixels of 232.
Cost: 1,281,167 images x 43.6 GFLOP (6 x 7,272 MMAC, crops of 176 pixels) an epoch, 33,542 PFLOP for
600 epochs. Computed: 2.94 hours on 8 H200 at 40 % of their 989 TFLOP/s. It was never run on all of
ImageNet here.

In torchvision an epoch is a quarter of the images, four times each (`--ra-reps 4`), which this
does not do; and the weights are averaged every 32 steps, here at every step over the same time.
"""

from keras_wrn.cli import train_main
from keras_wrn.recipe import DataConfig, ModelConfig, OptimizerConfig, Recipe, ScheduleConfig

recipe = Recipe(
    name="imagenet_wrn50_2_v2",
    model=ModelConfig(name="wide_resnet50_2"),
    data=DataConfig(
        dataset="imagenet2012",
        image_size=224,
        train_size=176,
        eval_crop=224 / 232,
        random_resized_crop=True,
        trivial_augment=True,
        erasing=0.1,
        mixup=0.2,
        cutmix=1.0,
    ),
    optimizer=OptimizerConfig(
        learning_rate=0.5,
        nesterov=False,
        weight_decay=2e-5,
        decay_norm_and_bias=False,
        average=0.999966,
    ),
    schedule=ScheduleConfig(kind="cosine", warmup=5 / 600),
    label_smoothing=0.1,
    epochs=600,
    batch_size=1024,
    rate_batch=1024,
)

if __name__ == "__main__":
    train_main(recipe)
