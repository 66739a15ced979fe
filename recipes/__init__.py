"""The recipes of the paper and of other published tables, one script each."""
