"""What draws need beyond a rule's pattern: the numbers its guards ask for, and finer patterns."""

import ast
import inspect
import math
import pkgutil
import sys
import textwrap
from functools import cache
from importlib import import_module
from types import ModuleType

import numpy as np

from ... import registry
from ...ir import Op
from ...pattern import C, Pattern, V, either
from ...rewrite import Rule
from ...tables import inside
from ...windows import windows
from ..coverage import rules_in
from . import masks
from .patterns import Steering
from .pieces import draw_pieces
from .quantized import draw_on_storage, draw_pointwise_chain, draw_with_integer_form


@cache
def rules_everywhere() -> dict[str, Rule]:
    """Every rule of the passes and of the targets' legalizations, by name.

    Those of a plugin have its package before their name. `lower_int8` makes rules for a rounding
    contract; here they are those of the target xla.
    """
    found = {}
    for modules in _modules().values():
        found |= {full_name(each): each for each in rules_in(modules).values()}
    for target in registry.targets().values():
        found |= {full_name(each): each for each in target.legalization()}
    lowering = sys.modules[registry.pass_named("lower_int8").function.__module__]
    contracts = registry.target_named("xla").roundings
    return found | {each.name: each for each in lowering.integer_rules(contracts)}


def full_name(rule: Rule) -> str:
    """The name of a rule, after the package that it comes from where that is a plugin's."""
    package = rule.build.__module__.partition(".")[0]
    return rule.name if package == "qir" else f"{package}.{rule.name}"


def _modules() -> dict[str, list[ModuleType]]:
    """By their package the modules of all passes, those inside packages too.

    A plugin may keep its rules anywhere: of its package they are all modules that are loaded.
    """
    found: dict[str, dict[str, ModuleType]] = {}
    for each in registry.passes().values():
        module = sys.modules[each.function.__module__]
        package = module.__name__.partition(".")[0]
        inner = found.setdefault(package, {module.__name__: module})
        if package != "qir":
            inner |= {name: m for name, m in list(sys.modules.items()) if inside(name, package)}
            continue
        inner[module.__name__] = module
        for info in pkgutil.iter_modules(getattr(module, "__path__", ())):
            name = f"{module.__name__}.{info.name}"
            inner[name] = import_module(name)
    return {package: list(inner.values()) for package, inner in found.items()}


def steering_of(rule: Rule) -> Steering:
    """The steering for a rule: its own, and the numbers that its guards compare constants to."""
    own = _table().get(full_name(rule), Steering())
    values = {**_expected(rule), **own.values}
    return Steering(own.patterns, values, own.draw, own.data, own.steps, own.changes)


def _expected(rule: Rule) -> dict[str, float]:
    """From calls such as `is_number(k, 6.0)` in a rule: what its constants are to hold."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(rule.build)))
    found = {}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or len(node.args) != 2:
            continue
        name, number = node.args
        if isinstance(name, ast.Name) and name.id in rule.parameters:
            value = _number(number)
            if value is not None:
                found[name.id] = value
    return found


def _number(node: ast.expr) -> float | None:
    """The number that an expression of constants and of the module `math` stands for."""
    inside = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
    if inside - {"math"}:
        return None
    value = eval(compile(ast.Expression(node), "<guard>", "eval"), {"math": math})  # noqa: S307
    return float(value) if isinstance(value, (int, float)) else None


@cache
def _table() -> dict[str, Steering]:
    """Steering by the name of the rule."""
    lax, nn = (import_module(f"qir.dialects.{name}") for name in ("lax", "nn"))
    return {
        "zero_added": Steering(values={"k": 0.0}),
        "one_multiplied": Steering(values={"k": 1.0}),
        "maximum_with_lowest": Steering(values={"k": -np.inf}),
        "minimum_with_highest": Steering(values={"k": np.inf}),
        "quantize_at_once": Steering(changes="what was rounded twice is rounded once"),
        "integer_form": Steering(draw=draw_with_integer_form, steps=1),
        "integer_requantize": Steering(steps=1),
        "casts_are_one_requantize": Steering(steps=1),
        "move_onto_storage": Steering(draw=draw_on_storage, steps=1),
        "tabulate": Steering(draw=draw_pointwise_chain, steps=1),
        "condition_there_and_back": Steering(values={"k": 0.0}),
        **_of_masks(lax, nn), **_of_norms(lax, nn), **_of_layers(lax, nn), **_of_movement(lax, nn),
    }  # fmt: skip


def _of_masks(lax, nn) -> dict[str, Steering]:
    """Masks of a softmax, and numbers of conditions."""
    none = {"none": 0.0, "zero": 0.0}
    total = nn.sum(lax.select(V.where, V.powers, C.none), keepdims=True)
    shares = nn.div(lax.exp(V.x) @ "powers", total, clamp=None)
    conditions = lax.convert(lax.gt(V.p, V.q)), lax.select(V.p, C.a, C.b)
    arithmetic = (nn.add, nn.sub, nn.mul, lax.add, lax.sub, lax.mul)
    numbers, choices = ([operation(x, C.k, clamp=None) for operation in arithmetic]
                        for x in conditions)  # fmt: skip
    return {
        **{name: Steering(draw=draw) for name, draw in masks.spellings().items()},
        "chosen_powers_over_their_sum_are_softmax": Steering(
            (lax.select(V.where, shares, C.zero),), values=none),
        "masked_elements_are_zero": Steering(
            (lax.select(C.where, nn.softmax(V.x, V.where), C.zero),),
            values={**none, "where": 1.0}),
        "open_mask_vanishes": Steering(values={"mask": 1.0}),
        "number_of_a_condition_is_chosen": Steering(tuple(numbers)),
        "function_of_a_choice_is_a_choice": Steering(
            (*choices, lax.convert(lax.select(V.p, C.a, C.b)))),
    }  # fmt: skip


def _of_norms(lax, nn) -> dict[str, Steering]:
    """Means and variances where the patterns of softmax and the norms take any value."""
    mean = nn.mean(V.x) @ "mean"
    centred = nn.sub(V.x, mean, clamp=None)
    squares = [lax.square(centred), nn.mul(centred, centred, clamp=None)]
    power = [lax.square(V.x), lax.integer_pow(V.x, y=2), nn.mul(V.x, V.x, clamp=None)]
    spread = nn.sub(nn.mean(power[0], keepdims=True), lax.square(mean), clamp=None)
    variances = [nn.mean(square, keepdims=True) for square in squares] + [spread, nn.relu(spread)]
    powers = [nn.mean(square, keepdims=True) for square in power]

    def normalized(x: Pattern, variances) -> list[Pattern]:
        shifted = [nn.add(v, C.epsilon, clamp=None) for v in variances]
        return [*(nn.mul(x, lax.rsqrt(v), clamp=None) for v in shifted),
                *(nn.div(x, lax.sqrt(v), clamp=None) for v in shifted)]  # fmt: skip

    def scaled(x: Pattern, variances) -> list[Pattern]:
        roots = [lax.rsqrt(nn.add(v, C.epsilon, clamp=None)) for v in variances]
        late = [nn.mul(x, nn.mul(root, C.gamma, clamp=None), clamp=None) for root in roots]
        early = nn.mul(x, C.gamma, clamp=None)
        return late + [nn.mul(early, root, clamp=None) for root in roots]

    peak = nn.reduce_max(V.x, keepdims=True)
    fixed = {"epsilon": 1e-3, "gamma": _ramp, "beta": _ramp}
    roots = [lax.sqrt(nn.add(v, C.epsilon, clamp=None)) for v in variances]
    scales = [lax.rsqrt(nn.add(v, C.epsilon, clamp=None)) for v in variances]
    early, off = nn.mul(centred, C.gamma, clamp=None), nn.mul(V.mean, V.scale, clamp=None)

    def less_mean(scale: Pattern) -> Pattern:
        return nn.sub(nn.mul(V.x, scale @ "scale", clamp=None), off, clamp=None)

    def shifted(scale: Pattern) -> Pattern:
        shift = nn.sub(C.beta, off, clamp=None)
        return nn.add(nn.mul(V.x, scale @ "scale", clamp=None), shift, clamp=None)

    groups = {
        "normalized_groups_are_rows_of_layer_norm": [nn.mul(centred, s, clamp=None)
                                                     for s in scales],
        "scaled_groups_are_rows_of_layer_norm": [nn.mul(early, s, clamp=None) for s in scales],
        "groups_over_deviation_are_rows_of_layer_norm": [nn.div(centred, r, clamp=None)
                                                         for r in roots],
        "scaled_groups_over_deviation_are_rows_of_layer_norm": [nn.div(early, r, clamp=None)
                                                                for r in roots],
        "scaled_less_scaled_mean_are_rows_of_layer_norm": [less_mean(s) for s in scales],
        "scaled_and_shifted_groups_are_rows_of_layer_norm": [shifted(s) for s in scales],
        "groups_over_power_are_rows_of_rms_norm": [
            nn.mul(V.x, lax.rsqrt(nn.add(v, C.epsilon, clamp=None)), clamp=None) for v in powers],
        "groups_over_root_of_power_are_rows_of_rms_norm": [
            nn.div(V.x, lax.sqrt(nn.add(v, C.epsilon, clamp=None)), clamp=None) for v in powers],
    }  # fmt: skip
    return {
        **{name: Steering(tuple(patterns), fixed) for name, patterns in groups.items()},
        "softmax_needs_no_shift": Steering((nn.softmax(nn.sub(V.x, peak, clamp=None)),)),
        "normalized_by_deviation_is_layer_norm": Steering(
            tuple(normalized(centred, variances)), fixed),
        "scaled_deviation_is_layer_norm": Steering(tuple(scaled(centred, variances)), fixed),
        "normalized_by_power_is_rms_norm": Steering(tuple(normalized(V.x, powers)), fixed),
        "scaled_power_is_rms_norm": Steering(tuple(scaled(V.x, powers)), fixed),
    }  # fmt: skip


def _ramp(bound: dict[str, Op]) -> np.ndarray:
    """A number for each index of the last axis of x, all different."""
    x = bound.get("x")
    return np.linspace(-1, 2, x.shape[-1]) if x is not None and x.shape else np.asarray(1.5)


def _of_layers(lax, nn) -> dict[str, Steering]:
    """Layers and clamps where guards look for them behind a value."""
    layer = either(nn.dense, nn.conv2d)(V.a, C.w, clamp=None)
    moved = either(lax.reshape, lax.transpose)(layer)
    clamped = either(nn.add, nn.mul, nn.sub)(V.a, V.b)
    bounded = [
        either(nn.relu6, nn.sigmoid)(V.a), nn.softmax(V.a),
        either(nn.add, nn.mul)(V.a, V.b, clamp=(0.0, 6.0)), nn.dense(V.a, C.w, clamp=(0.5, 1.0)),
    ]  # fmt: skip
    bounded += [either(lax.reshape, lax.transpose)(b) for b in bounded] + [nn.max_pool(bounded[0])]
    activation = either(nn.relu, nn.relu6)
    return {
        "number_passes_movement": Steering((nn.mul(moved.once(), C.k),)),
        "number_passes_matmul": Steering((
            nn.mul(nn.matmul(layer, V.b, clamp=None), C.k),
            nn.mul(nn.matmul(V.b, layer, clamp=None), C.k),
            nn.mul(nn.matmul(moved, V.b, clamp=None), C.k))),
        "activation_within_bounds_vanishes": Steering(tuple(activation(b) for b in bounded)),
        "activation_passes_movement": Steering((
            activation(either(lax.reshape, lax.transpose, nn.max_pool)(clamped)),
            activation(either(lax.reshape, lax.transpose)(layer)))),
        "padding_before_max_pool_merges": Steering((
            nn.max_pool(lax.pad(V.x, value=-np.inf)), nn.max_pool(lax.pad(nn.relu(V.x), value=0.0)),
            nn.max_pool(lax.pad(V.x)))),
        "window_sum_over_count_of_sequences_is_of_images": Steering(values={"k": 0.5}),
        "sum_over_count_is_mean": Steering(values={"k": _one_over_extent}),
        "window_sum_over_count_is_avg_pool": Steering(values={"k": _one_over_count}),
    }  # fmt: skip


def _one_over_extent(bound: dict[str, Op]) -> np.ndarray:
    """One over the elements that each sum has."""
    return np.asarray(bound["total"].type.size / max(1, bound["x"].type.size))


def _one_over_count(bound: dict[str, Op]) -> np.ndarray:
    """One over the elements of each window, for some windows over those inside the image alone."""
    a, x = bound["total"].attributes, bound["x"]
    if sum(a["window"]) % 2 or x.type.rank != 4 or (a["base_dilation"] or a["window_dilation"]):
        return np.asarray(1 / math.prod(a["window"]))
    pads = list(zip(a["padding"][:4], a["padding"][4:], strict=True))
    ones = np.ones(x.shape)[None, ..., None]
    inside = windows(ones, a["window"], a["strides"], pads)
    counts = inside.sum(axis=(5, 6, 7, 8))[0, ..., 0]
    if not counts.size:
        return np.asarray(1.0)
    return 1 / counts[:1].take([0], 3 if a["window"][3] == 1 else 1)


def _of_movement(lax, nn) -> dict[str, Steering]:
    """Transposes of one order before a concatenation."""
    turns = [lambda x, p=p: lax.transpose(x, permutation=p) for p in ((1, 0), (0, 2, 1))]
    joined = [lax.concatenate(turn(V.a), turn(V.b)) for turn in turns]
    joined += [lax.concatenate(turn(V.a), C.k, turn(V.a)) for turn in turns]
    joined.append(lax.concatenate(lax.transpose(V.a) @ "one", V.one))
    return {"transpose_after_concatenate": Steering(tuple(joined)),
            "slices_side_by_side_are_one": Steering(draw=draw_pieces)}
