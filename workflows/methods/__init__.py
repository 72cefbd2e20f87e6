"""Optimisers and integrators of other packages, behind functions of one kind."""
