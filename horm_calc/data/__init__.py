"""Labelled frames: reading, sampling, splitting and labelling them."""
