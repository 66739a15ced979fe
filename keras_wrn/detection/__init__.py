"""Boxes around things in photos."""
