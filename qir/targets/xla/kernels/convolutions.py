"""The kernels that `choice.choose_conv` names, with what prepares their weights."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..choice import merged_groups
from . import packing
from .conv import conv_pointwise, conv_same, conv_slices, conv_valid
from .depthwise import conv_depthwise
from .geometry import Geometry
from .grouped import conv_grouped
from .stem import conv_row_windows, conv_space_to_depth
from .taps import Array


@dataclass(frozen=True)
class Convolution:
    """A kernel and its weights.

    pack: the weights from `w[KH,KW,C/groups,O]`, in numpy. run: (x, weights, bias with the zero
    point folded, geometry, epilogue) -> result.
    """

    pack: Callable[[np.ndarray, Geometry], np.ndarray]
    run: Callable[..., Array]


def _grouped(w: np.ndarray, geometry: Geometry) -> np.ndarray:
    merge = merged_groups(w.shape[2] * geometry.groups, geometry.groups)
    return packing.pack_grouped(w, geometry.groups, merge)


def _filled(pack: Callable[[np.ndarray, Geometry], np.ndarray]):
    """What prepares weights of one group, with zeros between groups where there are more."""
    return lambda w, geometry: pack(packing.as_one_group(w, geometry.groups), geometry)


def _depthwise(w: np.ndarray, geometry: Geometry) -> np.ndarray:
    return w.reshape(*w.shape[:2], geometry.groups, -1)


CONVOLUTIONS: dict[str, Convolution] = {
    "valid": Convolution(_filled(lambda w, g: w), conv_valid),
    "same": Convolution(_filled(lambda w, g: w), conv_same),
    "slices": Convolution(_filled(lambda w, g: packing.as_rows(w)), conv_slices),
    "pointwise": Convolution(_filled(lambda w, g: packing.as_rows(w)), conv_pointwise),
    "row_windows": Convolution(
        _filled(lambda w, g: packing.pack_row_windows(w, g.strides)), conv_row_windows
    ),
    "space_to_depth": Convolution(
        _filled(lambda w, g: packing.pack_space_to_depth(w, g.strides)), conv_space_to_depth
    ),
    "grouped": Convolution(_grouped, conv_grouped),
    "depthwise": Convolution(_depthwise, conv_depthwise),
}
