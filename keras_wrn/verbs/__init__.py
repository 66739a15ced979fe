"""What `keras-wrn` does besides training: each verb is a function of its flags."""

from keras_wrn.verbs.artifacts import convert, export
from keras_wrn.verbs.inspecting import anomaly
from keras_wrn.verbs.listing import list_all, report
from keras_wrn.verbs.predicting import evaluate, predict
from keras_wrn.verbs.studies import study

__all__ = ["anomaly", "convert", "evaluate", "export", "list_all", "predict", "report", "study"]
