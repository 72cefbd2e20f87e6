"""MomentNet, the small network of this package."""
