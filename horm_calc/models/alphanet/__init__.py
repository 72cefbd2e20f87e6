"""AlphaNet (arXiv:2501.07155)."""
