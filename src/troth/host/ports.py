"""Free ports of loopback: for a moment, or where programs that start later may listen for good."""

import contextlib
import random
import socket

# Below the range from which the kernel takes ports for outgoing connections.
LASTING = range(20_000, 30_000)


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago, all different."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]


def lasting_port(taken: set[int]) -> int:
    """A free port that no outgoing connection will occupy, for a configuration that stays; not one of `taken`."""
    candidates = [port for port in random.sample(LASTING, 200) if port not in taken]
    for port in candidates:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    return candidates[0]
