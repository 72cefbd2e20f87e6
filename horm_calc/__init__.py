"""Machine-learned interatomic potentials with exact Hessians."""
