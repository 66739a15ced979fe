"""The names of layers, which say where each layer is in a network."""

import re

IN_BLOCK = re.compile(r"(?:group|stage)(\d+)_block(\d+)_([a-z_]+?)(\d*)")


def parse(name):
    """Split a layer's name into kind, stage, block and number.

    Returns:
        ("conv", 2, 1, 3) for group2_block1_conv3; outside of the stages stage and block are 0, such
        as ("conv1", 0, 0, 1).
    """
    match = IN_BLOCK.fullmatch(name)
    if match is None:
        return name, 0, 0, 1
    stage, block, kind, number = match.groups()
    return kind, int(stage), int(block), int(number or 1)
