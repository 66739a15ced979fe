"""Learn what good photos look like, to find odd ones: PatchCore or PaDiM on features of a WRN.

    python recipes/anomaly_folder.py --data.dataset photos/ --anomaly.model wrn_16_2.cifar10

`photos/` has good photos, or MVTec AD's layout: train/good, and to evaluate on test/good, test/KIND
and, if there are masks, ground_truth/KIND. The run is kept in runs/anomaly_folder-photos-seed0:
log.jsonl with the steps and their seconds, summary.json with the figures, predictions/ with a
picture of each test photo, model.keras, and export/.

The default features are those of WRN-50-2 with torchvision's first weights, which are downloaded
(275 MB); `--anomaly.model` takes another name, a run directory or a .keras file. `--anomaly.method
padim` is for things that lie alike in every photo.

Expected: depends on the photos; docs/anomaly.md has results for broken cookies and toys.
Cost: n photos of 256 pixels of WRN-50-2 up to stage 3 are n x 27 GFLOP, once; no training.
"""

from keras_wrn.anomaly import AnomalyRecipe
from keras_wrn.cli import train_main

recipe = AnomalyRecipe(
    name="anomaly_folder", source="https://arxiv.org/abs/2106.08265 and /2011.08785"
)

if __name__ == "__main__":
    train_main(recipe)
