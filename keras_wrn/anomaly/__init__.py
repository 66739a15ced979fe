"""Defects in photos: what looks unlike all good ones."""
