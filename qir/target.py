"""Targets: what a machine takes, as data, and where its rules and its compiler are."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module

from .errors import QirError


@dataclass(frozen=True, eq=False)
class Target:
    """The capabilities of a target.

    form: the form `legalize` brings a graph into. roundings: rounding contract by int8 op kind,
    `""` for all others. rules: `module:function` giving the legalization rules; that module
    imports no framework. decompositions: likewise, `(activations) -> rules`, of float ops that it
    has no op for with such activations and that are taken apart before they are quantized.
    compiler: `module:function`, `(func) -> callable`, loaded when used. limits: of integer
    arithmetic, for `check_ranges`: `accumulator_bits`, sign included, `wide_accumulator_bits` where
    it has sums of more than 32 too, and by rounding contract, `""` for all others,
    `multiplier_bits` and `shift_range`, a pair.
    schemes: what passes may ask of it (`int8_per_channel`, `dynamic_range` and so on), None for a
    target that does not say; a pipeline that asks for another is an error when it is composed.
    layers: `module:function`, `(func) -> lines` saying which kernels compute a legalized function
    on this machine, for targets that have several. profile: `module:function`, `(path) -> profile`,
    of what its rules take to choose by; none for a target that has nothing to choose. tuning:
    `module:function`, `(path) -> (ops, timed, tell) -> counts`, what `qir tune` writes one with.
    """

    name: str
    doc: str
    form: str
    roundings: Mapping[str, str]
    rules: str | None = None
    decompositions: str | None = None
    compiler: str | None = None
    limits: Mapping[str, object] = field(default_factory=dict)
    schemes: tuple[str, ...] | None = None
    layers: str | None = None
    profile: str | None = None
    tuning: str | None = None

    def rounding(self, kind: str) -> str:
        """The rounding contract for an int8 op."""
        return self.roundings.get(kind, self.roundings[""])

    def limit(self, name: str, rounding: str = ""):
        """A limit, None where the target has none; of those by contract that for `rounding`."""
        found = self.limits.get(name)
        return found.get(rounding, found.get("")) if isinstance(found, Mapping) else found

    def legalization(self, profile: str | None = None) -> tuple:
        """The rules that bring a lowered graph into the target's form, by the profile in a file."""
        if profile is None:
            return tuple(self._loaded("rules")()) if self.rules else ()
        if self.profile is None:
            raise QirError(self._no_choice, at=profile, help="leave the profile out")
        return tuple(self._loaded("rules")(self._loaded("profile")(profile)))

    def tuner(self, path: str) -> Callable:
        """What measures kernels and adds the fastest to the profile at a path."""
        if self.tuning is None:
            raise QirError(self._no_choice, help="xla has: --target xla")
        return self._loaded("tuning")(path)

    @property
    def _no_choice(self) -> str:
        return f"the target '{self.name}' has no kernels to choose between by a profile"

    def decomposition(self, activations: str = "int8") -> tuple:
        """The rules that take float ops apart which the target has no op for."""
        return tuple(self._loaded("decompositions")(activations)) if self.decompositions else ()

    def layer_lines(self, func) -> list[str]:
        """Which kernels compute a legalized function on this machine."""
        return self._loaded("layers")(func) if self.layers else []

    def compile(self, func) -> Callable:
        """A callable on arrays that runs a legalized function."""
        if self.compiler is None:
            raise QirError(f"the target '{self.name}' has no compiler, it only takes graphs")
        return self._loaded("compiler")(func)

    def _loaded(self, which: str) -> Callable:
        path = getattr(self, which)
        module, _, name = path.partition(":")
        try:
            return getattr(import_module(module), name)
        except (ImportError, AttributeError) as error:
            raise QirError(f"the {which} of the target '{self.name}' cannot be loaded from {path}: "
                           f"{type(error).__name__}: {error}") from error  # fmt: skip
