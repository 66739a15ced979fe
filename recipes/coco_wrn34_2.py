"""RetinaNet on a WRN-34-2 trunk: things and their boxes in COCO's photos.

    python recipes/coco_wrn34_2.py --model.weights runs/imagenet_wrn34-seed0

The photos are COCO's as TFDS prepares them (`tfds build coco/2017`), or with `--data.dataset coco/`
those of a folder in COCO's format. The extra `detection` measures average precision.

Expected: unknown. The paper's 35.2 AP (WRN-34-2, test-dev) are of MultiPathNet with LocNet, a
detector without published code or weights; this one is another, and docs/results.md lists how it
differs. Without weights of ImageNet, 36 epochs are few.
Cost: 118,287 photos x 676.1 GFLOP (6 x 112,680 MMAC) an epoch, 2,879 PFLOP for 36 epochs. Computed:
0.25 hours on 8 H200 at 40 % of their 989 TFLOP/s. It was never run on all of COCO here.
"""

from keras_wrn.cli import train_main
from keras_wrn.detection import DetectionRecipe
from keras_wrn.recipe import ModelConfig

recipe = DetectionRecipe(
    name="coco_wrn34_2",
    model=ModelConfig(name="wide_resnet34", width=2),
    epochs=36,
    batch_size=32,
    rate_batch=32,
)

if __name__ == "__main__":
    train_main(recipe)
