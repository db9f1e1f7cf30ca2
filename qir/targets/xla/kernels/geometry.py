"""Where the windows of a convolution lie: one record for packing, choice and kernels; no jax."""

from dataclasses import dataclass

from ....windows import Pads, output_size

Pair = tuple[int, int]


@dataclass(frozen=True)
class Geometry:
    """The windows of a convolution over `x[N,H,W,C]`.

    window: height and width. pads: explicit, ((top, bottom), (left, right)), negative ones crop.
    zero: the zero point of x, which padding holds.
    """

    window: Pair
    strides: Pair = (1, 1)
    pads: Pads = ((0, 0), (0, 0))
    dilation: Pair = (1, 1)
    groups: int = 1
    zero: int = 0

    def extent(self, axis: int) -> int:
        """How far a window reaches along axis 0 or 1."""
        return (self.window[axis] - 1) * self.dilation[axis] + 1

    def outputs(self, shape: tuple[int, ...]) -> Pair:
        """Height and width of the result for x of `shape`."""
        height, width = (
            output_size(
                shape[1 + i], self.window[i], self.strides[i], self.pads[i], self.dilation[i]
            )
            for i in (0, 1)
        )
        return height, width
