"""Optimizers and learning rate schedules, usable without a recipe."""

from keras_wrn.optim.adam import Adam
from keras_wrn.optim.muon import Muon
from keras_wrn.optim.schedules import OneCycle, WarmUp
from keras_wrn.optim.sgd import SGD

__all__ = ["SGD", "Adam", "Muon", "OneCycle", "WarmUp"]
