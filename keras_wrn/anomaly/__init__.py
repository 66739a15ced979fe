"""What is odd in a photo, learned from good photos alone."""

from keras_wrn.anomaly.coreset import greedy_coreset
from keras_wrn.anomaly.inspector import Inspector
from keras_wrn.anomaly.padim import PaDiM
from keras_wrn.anomaly.patchcore import PatchCore

__all__ = ["Inspector", "PaDiM", "PatchCore", "greedy_coreset"]
