"""Fine-tune a network on a folder of your own images.

    python recipes/finetune_folder.py --data.dataset photos/ --model.name wide_resnet50_2.tv2_in1k

`photos/` has train/ and val/, each with one folder of images per class. Or it has the class folders
itself, and --data.validation 0.2 holds out a fifth of each class's images (--data.validation 500
holds out that many in all). The run is kept in runs/finetune_folder-photos-seed0.

Start from a name with a tag of published weights, as above, or from your own run directory or
.keras file with the name of its network,

    --model.name wrn_16_2 --model.weights runs/cifar10_wrn16_2-seed0 --data.image-size 64

The name alone trains from scratch, for which a small folder is not enough. --model.frozen-stages
2 and --optimizer.lr-multipliers stage3 0.1 keep early layers as they are, or nearly so.

Expected: depends on the images; docs/results.md has results for ten classes of photos.
Cost: a pass over n images of WRN-50-2 at 224 pixels is n x 69 GFLOP (6 x 11.4 GMAC).
"""

from keras_wrn.cli import train_main
from keras_wrn.recipe import DataConfig, ModelConfig, OptimizerConfig, Recipe, ScheduleConfig

recipe = Recipe(
    name="finetune_folder",
    model=ModelConfig(name="wide_resnet50_2.tv2_in1k"),
    data=DataConfig(dataset="./photos", random_resized_crop=True),
    optimizer=OptimizerConfig(learning_rate=0.01, weight_decay=1e-4),
    schedule=ScheduleConfig(kind="one_cycle", warmup=0.1),
    label_smoothing=0.1,
    epochs=20,
    batch_size=32,
    rate_batch=32,
)

if __name__ == "__main__":
    train_main(recipe)
