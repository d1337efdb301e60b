"""This machine: clock, atomic files, the nginx process, TLS handshakes, systemd. No opinions."""

from troth.errors import TrothError


class HostError(TrothError):
    """The machine refused: a file, a port, a process or a handshake."""
