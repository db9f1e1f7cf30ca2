"""Minimum cuts of networks in which every charge is 1, as graph labelling builds them.

A cut puts every node on the source's or the sink's side and costs the room of the arcs that lead
from the first to the second.
"""

from dataclasses import dataclass, field

SOURCE, SINK = 0, 1
_ENOUGH = 1 << 60  # room that no flow fills


@dataclass(frozen=True)
class Network:
    """A flow network: arcs by node; where arc a leads and its free room; its reverse is a ^ 1."""

    arcs: list[list[int]]
    to: list[int] = field(default_factory=list)
    room: list[int] = field(default_factory=list)

    def link(self, start: int, end: int, room: int) -> None:
        """Add an arc and its reverse, which starts without room."""
        self.arcs[start].append(len(self.to))
        self.arcs[end].append(len(self.to) + 1)
        self.to.extend((end, start))
        self.room.extend((room, 0))

    def node(self) -> int:
        """Add a node and return its number."""
        self.arcs.append([])
        return len(self.arcs) - 1


def charge_fan_out(network: Network, start: int, ends: list[int]) -> None:
    """Charge 1 if `start` is on the source side and any of `ends` is not."""
    if start == SINK:
        return
    ends = [SINK] if SINK in ends else ends
    if len(ends) > 1:
        start, outer = network.node(), start
        network.link(outer, start, 1)
    for end in ends:
        network.link(start, end, 1 if len(ends) == 1 else _ENOUGH)


def charge_fan_in(network: Network, starts: list[int], end: int) -> None:
    """Charge 1 if `end` is on the sink side and any of `starts` is not."""
    starts = [SOURCE] if SOURCE in starts else [start for start in starts if start != SINK]
    if end == SOURCE or not starts:
        return
    if len(starts) > 1:
        end, outer = network.node(), end
        network.link(end, outer, 1)
    for start in starts:
        network.link(start, end, 1 if len(starts) == 1 else _ENOUGH)


def maximum_flow(network: Network) -> int:
    """Saturate the network and return its flow: one breadth-first search per unit of it.

    (Ford and Fulkerson, "Maximal flow through a network", 1956.) What a failed search has seen
    can never reach the sink again and is not entered any more, so failures together cost one
    walk over the network; successes stop at the nearest sink. Every path has room for just 1.
    """
    arcs, to, room = network.arcs, network.to, network.room
    flow, dead = 0, {SOURCE}
    for first in arcs[SOURCE]:
        while room[first] and to[first] not in dead:
            came = {to[first]: first}
            queue = [to[first]]
            for node in queue:  # grows while it is walked
                if node == SINK:
                    break
                for arc in arcs[node]:
                    end = to[arc]
                    if room[arc] and end not in came and end not in dead:
                        came[end] = arc
                        queue.append(end)
            if SINK not in came:
                dead.update(came)
                break
            flow += 1
            node = SINK
            while node != SOURCE:
                arc = came[node]
                room[arc] -= 1
                room[arc ^ 1] += 1
                node = to[arc ^ 1]
    return flow


def source_side(network: Network, prefers: list[bool]) -> list[bool]:
    """Which nodes a minimum cut puts on the source side, by preference where there is a choice.

    Nodes that the source still reaches are on its side in every minimum cut, those that still
    reach the sink on the other. Any other node may choose and takes along what hangs on it.
    """
    sides: list[bool | None] = [None] * len(network.arcs)

    def put(start: int, near: bool) -> None:
        sides[start] = near
        queue = [start]
        for node in queue:
            for arc in network.arcs[node]:
                end = network.to[arc]
                if sides[end] is None and network.room[arc if near else arc ^ 1]:
                    sides[end] = near
                    queue.append(end)

    put(SOURCE, True)
    put(SINK, False)
    for node, near in enumerate(prefers, start=2):
        if sides[node] is None:
            put(node, near)
    return sides
