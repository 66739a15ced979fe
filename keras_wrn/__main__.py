"""`python -m keras_wrn` is `keras-wrn`."""

from keras_wrn.cli import main

main()
