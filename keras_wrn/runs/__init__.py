"""A run on disk: its directory, log, checkpoints, report and card."""
