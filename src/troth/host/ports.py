"""Free ports of loopback, of a range that outgoing connections do not take: what is free now stays free."""

import random
import socket

from troth.errors import TrothError

# Below the range from which the kernel takes ports for outgoing connections.
RANGE = range(20_000, 30_000)

_given: set[int] = set()


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on, all different, none of them given before by this process.

    Raises:
        TrothError: there are not as many.
    """
    found: list[int] = []
    for port in random.sample(RANGE, len(RANGE)):
        if len(found) == count:
            break
        if port not in _given and _is_free(port):
            found.append(port)
    if len(found) < count:
        raise TrothError(
            f"fewer than {count} of the ports {RANGE.start} to {RANGE.stop - 1} are free on 127.0.0.1",
            hint="see who listens: ss -ltn",
        )
    _given.update(found)
    return found


def lasting_port(taken: set[int]) -> int:
    """A free port for a configuration that stays; not one of `taken`.

    Raises:
        TrothError: there is none.
    """
    _given.update(taken)
    return free_ports(1)[0]


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
