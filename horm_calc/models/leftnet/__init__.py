"""LEFTNet (arXiv:2304.04757)."""
