"""A weight laid out for the few rows of a step: what is fast for one row is not what is fast for sixteen.

Measured on one core, all four products of a layer of width 256 (the memory alone allows 0.17 ms):

| rows | [out, in] as it comes | [in, out] | packed by MKL for so many rows |
|---|---|---|---|
| 1 | 0.25 ms | 0.17 ms | 0.24 ms |
| 4 | 0.49 ms | 0.39 ms | 0.29 ms |
| 8 | 0.62 ms | 0.68 ms | 0.38 ms |
| 16 | 0.69 ms | 0.64 ms | 0.49 ms |

MKL packs for a number of rows, so a step is filled up to the next of SIZES; above, the layout as it comes is best.
Where torch has no MKL, or the weights are not float32, that is what all of them get.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

SIZES = (4, 8, 16)  # rows


def filled_up(rows: int) -> int:
    """How many rows a step of so many is made.

    >>> [filled_up(rows) for rows in (1, 2, 3, 9, 40)]
    [1, 2, 4, 16, 40]
    """
    return rows if rows < 3 else next((size for size in SIZES if size >= rows), rows)


class Product:
    """One weight in the layouts it is used in."""

    def __init__(self, weight: Tensor) -> None:
        self.many = weight.contiguous()  # [out, in]
        self.one = weight.t().contiguous()  # [in, out]
        self.packed: dict[int, Tensor] = {}
        packs = torch.backends.mkl.is_available() and hasattr(torch.ops.mkl, "_mkl_linear")
        if packs and weight.dtype == torch.float32 and weight.device.type == "cpu":
            pack = torch.ops.mkl._mkl_reorder_linear_weight
            self.packed = {size: pack(self.many, size) for size in SIZES}

    def __call__(self, x: Tensor) -> Tensor:
        """x [rows, in] → [rows, out]."""
        rows = x.shape[0]
        if rows == 1:
            return torch.mm(x, self.one)
        if rows in self.packed:
            return torch.ops.mkl._mkl_linear(x, self.packed[rows], self.many, None, rows)
        return F.linear(x, self.many)

    def add(self, to: Tensor, x: Tensor) -> None:
        """Add the product of x [rows, in] to [rows, out]."""
        rows = x.shape[0]
        if rows == 1:
            torch.addmm(to, x, self.one, out=to)
        elif rows in self.packed:
            to.add_(self(x))
        else:
            torch.addmm(to, x, self.many.t(), out=to)
