"""Which quantization grid every group of values takes, so that few requantizes are inserted.

A node must carry one label (a grid) out of those it may carry. A transfer hands one value to its
consumers, and every label among them other than the producer's costs one requantize, shared by
the consumers that want it. Inside, nodes are numbered 0, 1, .. and labels likewise; a node whose
label is settled is replaced by the *terminal* `~label`, so all nodes of one settled label are one.
Settled nodes tell their neighbours nothing about each other, so a graph falls into many small
components of open nodes, and each is solved by itself:

- nodes that can all agree do so, at no cost;
- between two labels one minimum cut is exact;
- among more, isolating cuts settle what some optimum settles that way (Dahlhaus et al., "The
  complexity of multiterminal cuts", SIAM J. Comput. 23, 1994; with labels some nodes may not
  carry: Kovtun, "Partial optimal labeling search for a NP-hard subclass of (max,+) problems",
  DAGM 2003). What is left takes the label hardest to isolate and is improved by moves of any
  set of nodes to one label, each the best there is (Boykov, Veksler, Zabih, "Fast approximate
  energy minimization via graph cuts", PAMI 23, 2001), until none helps; relabelling a single
  node is such a move.

All three use the one cut of `_best_move`. The cut is our own (`qir.mincut`) and not networkx's:
on five graphs of about 20,000 nodes the best networkx algorithm of each took 0.25 s to 3.4 s,
building its graph included, and three of its four algorithms more than 10 s somewhere; ours took
0.003 s to 1.7 s, with the same flows.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from qir.errors import QirError
from qir.mincut import (
    SINK,
    SOURCE,
    Network,
    charge_fan_in,
    charge_fan_out,
    maximum_flow,
    source_side,
)

_Edge = tuple[int, tuple[int, ...]]  # a transfer between numbered nodes and terminals


@dataclass(frozen=True)
class Transfer:
    """A value handed to consumers; each label among them but the producer's costs a requantize."""

    producer: Hashable
    consumers: tuple[Hashable, ...]


@dataclass(frozen=True)
class _Part:
    """A component: its open nodes in order, the carriers of each label, edges, edges by node."""

    nodes: list[int]
    carriers: dict[int, list[int]]
    edges: list[_Edge]
    incident: dict[int, list[int]]
    domains: list[tuple[int, ...]]

    def around(self, nodes: Iterable[int]) -> list[_Edge]:
        """The edges with at least one of `nodes`."""
        found = dict.fromkeys(e for node in nodes for e in self.incident.get(node, ()))
        return [self.edges[e] for e in found]


def cost(labels: Mapping[Hashable, Hashable], transfers: Iterable[Transfer]) -> int:
    """How many requantizes `labels` needs: per transfer, the distinct labels not its producer's."""
    return _cost(labels, ((t.producer, t.consumers) for t in transfers))


def assign(
    allowed: Mapping[Hashable, Sequence[Hashable]], transfers: Sequence[Transfer]
) -> dict[Hashable, Hashable]:
    """Choose for every node one of its allowed labels so that few requantizes are needed.

    The cost is minimal in every component whose open nodes can agree at no cost or have only two
    labels between them. Of several minima the one is taken that is found by going through
    `allowed` and giving every node the earliest of its labels that a minimum still has. Elsewhere
    the cost is near the minimum, and never above giving every node its first label, or the label
    that most nodes may carry (those that may not: their first). The result depends on the order
    of `allowed` and, beyond two labels, of `transfers`, never on hashes. Raises QirError for a
    node without labels and for a transfer that names an unknown node.
    """
    _check(allowed, transfers)
    number = {node: i for i, node in enumerate(allowed)}
    label_numbers: dict[Hashable, int] = {}
    domains = [
        tuple(dict.fromkeys(label_numbers.setdefault(x, len(label_numbers)) for x in may))
        for may in allowed.values()
    ]
    edges = [(number[t.producer], tuple(number[c] for c in t.consumers)) for t in transfers]
    chosen = _solve(domains, edges)
    labels = list(label_numbers)
    return {node: labels[chosen[i]] for node, i in number.items()}


def _check(allowed: Mapping, transfers: Iterable[Transfer]) -> None:
    for node, may in allowed.items():
        if not may:
            raise QirError(
                f"node {node!r} has no label it may carry", help="allow it at least one grid"
            )
    for transfer in transfers:
        for node in (transfer.producer, *transfer.consumers):
            if node not in allowed:
                raise QirError(
                    f"the transfer from {transfer.producer!r} names the unknown node {node!r}",
                    help="list the labels that every node of a transfer may carry",
                )


def _cost(label_of: Mapping, edges: Iterable[tuple]) -> int:
    return sum(len({label_of[c] for c in consumers} - {label_of[p]}) for p, consumers in edges)


def _solve(domains: list[tuple[int, ...]], edges: list[_Edge]) -> dict[int, int]:
    """The label of every node: settle part of a component, split what is left, and repeat."""
    counts = Counter(label for domain in domains for label in domain)
    majority = max(counts, key=counts.get, default=None)
    chosen = {node: domain[0] for node, domain in enumerate(domains) if len(domain) == 1}
    waiting = [([node for node in range(len(domains)) if node not in chosen], edges)]
    while waiting:
        nodes, edges = waiting.pop()
        for part in _components(nodes, _contract(edges, chosen), domains):
            settled = _settle(part, majority)
            chosen.update(settled)
            left = [node for node in part.nodes if node not in settled]
            if left:
                waiting.append((left, part.edges))
    return chosen


def _contract(edges: Iterable[_Edge], chosen: Mapping[int, int]) -> list[_Edge]:
    """The edges that still matter, with terminals for the chosen nodes."""
    kept = []
    for producer, consumers in edges:
        producer = ~chosen[producer] if producer in chosen else producer
        consumers = dict.fromkeys(~chosen[c] if c in chosen else c for c in consumers)
        consumers.pop(producer, None)
        if consumers and max(producer, *consumers) >= 0:
            kept.append((producer, tuple(consumers)))
    return kept


def _incident(edges: list[_Edge]) -> dict[int, list[int]]:
    incident: dict[int, list[int]] = {}
    for e, (producer, consumers) in enumerate(edges):
        for node in (producer, *consumers):
            incident.setdefault(node, []).append(e)
    return incident


def _components(nodes: list[int], edges: list[_Edge], domains: list) -> Iterator[_Part]:
    """The parts that hang together without going through terminals."""
    incident = _incident(edges)
    seen: set[int] = set()
    for start in nodes:
        if start in seen:
            continue
        seen.add(start)
        part, around = [start], {}
        for node in part:  # grows while it is walked
            for e in incident.get(node, ()):
                if e not in around:
                    around[e] = edges[e]
                    fresh = [n for n in (edges[e][0], *edges[e][1]) if n >= 0 and n not in seen]
                    seen.update(fresh)
                    part += fresh
        yield _part(sorted(part), list(around.values()), domains)


def _part(nodes: list[int], edges: list[_Edge], domains: list) -> _Part:
    carriers: dict[int, list[int]] = {}
    for node in nodes:
        for label in domains[node]:
            carriers.setdefault(label, []).append(node)
    return _Part(nodes, carriers, edges, _incident(edges), domains)


def _settle(part: _Part, majority: int) -> dict[int, int]:
    """Labels for at least one node of a component; for the others it must be asked again."""
    domains = [part.domains[node] for node in part.nodes]
    terminals = [~node for node in part.incident if node < 0]
    if len(terminals) < 2:
        for label in terminals or domains[0]:
            if all(label in domain for domain in domains):
                return dict.fromkeys(part.nodes, label)
    current = {~label: label for label in terminals}
    if len(part.carriers) == 2:
        here, there = part.carriers
        current |= dict.fromkeys(part.nodes, there)
        moved, _ = _best_move(part, current, here, part.nodes, lambda n: here == part.domains[n][0])
        return dict.fromkeys(part.nodes, there) | dict.fromkeys(moved, here)
    settled, hardest = _isolate(part)
    if settled:
        return settled
    starts = [
        current | {n: x if x in part.domains[n] else part.domains[n][0] for n in part.nodes}
        for x in (None, majority, hardest)
    ]
    best = min(starts, key=lambda start: _cost(start, part.edges))
    _improve(part, best)
    return {node: best[node] for node in part.nodes}


def _isolate(part: _Part) -> tuple[dict[int, int], int | None]:
    """Labels for the nodes on the near side of isolating cuts, and the label hardest to isolate.

    Giving such a side its label never makes any labelling worse: for every transfer the change is
    at most that of the two-label cost "this label or another", which is submodular and minimal
    on that side.
    """
    settled: dict[int, int] = {}
    weights: dict[int, int] = {}
    for label, carriers in part.carriers.items():
        if ~label in part.incident:
            near, weights[label] = _best_move(
                part, {~label: label}, label, [n for n in carriers if n not in settled],
                lambda n, label=label: label == part.domains[n][0],
            )
            settled.update(dict.fromkeys(near, label))
    return settled, max(weights, key=weights.get, default=None)


def _improve(part: _Part, current: dict[int, int]) -> None:
    """Change `current` by best moves to one label until none lowers the cost any more."""

    def rank(node: int) -> int:
        return part.domains[node].index(current[node])

    stale = 0
    while stale < len(part.carriers):
        for label, carriers in part.carriers.items():
            moved, _ = _best_move(
                part, current, label, [n for n in carriers if current[n] != label],
                lambda n, label=label: part.domains[n].index(label) < rank(n),
            )
            edges, old = part.around(moved), {node: current[node] for node in moved}
            before = _cost(current, edges), sum(map(rank, moved))
            current.update(dict.fromkeys(moved, label))
            after = _cost(current, edges), sum(map(rank, moved))
            if after >= before:
                current.update(old)
            stale = 0 if after[0] < before[0] else stale + 1


def _best_move(
    part: _Part, current: Mapping, label: int, movable: list[int], prefers: Callable
) -> tuple[list[int], int]:
    """Those of `movable` whose change to `label` lowers the cost most, and the cost around all.

    Nodes that `current` lacks count as carrying one label, the rest.

    A minimum cut: nodes on the source side take `label`, the others keep theirs. For a transfer
    and each label its consumers keep, one auxiliary node pays 1 however many they are; it is fed
    by the producer if that keeps the same label, else by the source. Another one collects the
    consumers that take `label` and pays 1 if the producer keeps its own. Where both sides are
    minimal, node by node in order, one for which `prefers` holds moves, and the others stay.
    """
    place = {node: i for i, node in enumerate(movable, start=2)}
    network = Network([[] for _ in range(len(movable) + 2)])

    def spot(node: int) -> int:
        return place.get(node, SOURCE if current.get(node) == label else SINK)

    for producer, consumers in part.around(movable):
        own, start = current.get(producer), spot(producer)
        groups: dict = {}
        for consumer in consumers:
            groups.setdefault(current.get(consumer), []).append(spot(consumer))
        charge_fan_in(network, [spot(consumer) for consumer in consumers], start)
        for kept, ends in groups.items():
            if kept != label:
                charge_fan_out(network, start if kept == own else SOURCE, ends)
    flow = maximum_flow(network)
    near = source_side(network, [prefers(node) for node in movable])
    return [node for node in movable if near[place[node]]], flow
