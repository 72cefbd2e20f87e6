"""File formats of labelled frames, one module per format."""
