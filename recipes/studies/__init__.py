"""The tables and figures of the paper, one study each: lists of recipes that are compared."""
