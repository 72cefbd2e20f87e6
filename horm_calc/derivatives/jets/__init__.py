"""Second derivatives in one forward pass: tensors that carry their Jacobian.

For an energy E computed by operations y_k = f_k(inputs of k), the Hessian is

    H = Σ_k  Σ_ab  (∂E/∂y_k) · (∂²f_k/∂a∂b) · J_aᵀ J_b ,

a and b the inputs of operation k and J their Jacobians with respect to the positions (the
chain rule of second order; Griewank and Walther, Evaluating Derivatives, 2nd ed., ch. 7).
Linear operations drop out. So one pass forward with the Jacobians J, given the adjoints
∂E/∂y_k from one ordinary backward pass, gives the whole Hessian; a product of two Jacobians
of D rows costs little beside the layer of C channels that made them. The usual way, one
backward pass through the gradient for each row, does twice the arithmetic and an order of
magnitude more passes over memory.

For a network with direct forces the Hessian is the Jacobian of its output: the same pass,
without products.

Networks are written in ordinary PyTorch; a `Jet` takes part in it through
`__torch_function__`. An operation without a rule here raises `NoRule` with its name; how to add
one is in `horm_calc.models.contract`.
"""

from horm_calc.derivatives.jets import linear, nonlinear
from horm_calc.derivatives.jets.core import RULES, AmbiguousRows, Jet, NoRule, Tape

__all__ = ["RULES", "AmbiguousRows", "Jet", "NoRule", "Tape", "linear", "nonlinear"]
