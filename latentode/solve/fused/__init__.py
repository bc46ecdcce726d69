r"""Fixed-step Runge-Kutta solve of an autonomous MLP field, with its exact discrete adjoint written by hand.

    activations   act and act', written into given memory
    tape          what the stages of a solve compute, side by side in one piece of memory
    field         the MLP at one slot of the tape, its pull-back, and its parameters' gradients
    runge_kutta   the sweep through the steps and the transposed sweep back
    solve         `fused_solve`: the two as one autograd function, in runs that fit the cache

Inside, states are (L, M) with the M series last: a layer is then one matrix product whose weights stay as
`nn.Linear` holds them, and a row of ones below the states carries the biases.
"""

from latentode.solve.fused.solve import fused_solve

__all__ = ["fused_solve"]
