"""EquiformerV2 (arXiv:2306.12059)."""
