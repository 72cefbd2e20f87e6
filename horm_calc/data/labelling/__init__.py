"""Labels of reference calculations for geometries."""
