"""Free ports of loopback, of a range that outgoing connections do not take: what is free now stays free."""

import errno
import random
import socket
from collections import deque

from troth.errors import TrothError

# Below the range from which the kernel takes ports for outgoing connections.
RANGE = range(20_000, 30_000)

_given: set[int] = set()

# One name a port, which no two processes can have: without them another troth could pick the same before it is bound.
# Only the latest: what was given long before is bound, or is no longer wanted.
_reserved: deque[socket.socket] = deque(maxlen=256)


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on, all different, none of them given before by this process or held by another troth.

    Raises:
        TrothError: there are not as many.
    """
    found: list[int] = []
    for port in random.sample(RANGE, len(RANGE)):
        if len(found) == count:
            break
        if port not in _given and _is_free(port) and _is_ours(port):
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


def _is_ours(port: int) -> bool:
    """Whether no other process holds the port's name; from now on, and until it ends, this one does.

    The name is of Linux' abstract namespace (unix(7)): it ends with its process and, like a port, belongs to a network
    namespace. A system without such names has no reservations.
    """
    name = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        name.bind(f"\0troth-port-{port}")
    except OSError as error:
        name.close()
        return error.errno != errno.EADDRINUSE
    if len(_reserved) == _reserved.maxlen:
        _reserved.popleft().close()
    _reserved.append(name)
    return True
