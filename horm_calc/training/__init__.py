"""Training networks on energies, forces and Hessians: data, losses, sampling, evaluation."""
