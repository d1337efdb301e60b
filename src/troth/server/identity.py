"""The certificate the server shows: renewed in good time, and in the handshake itself where that did not happen."""

import contextlib
import ssl
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple

from troth.errors import TrothError
from troth.host import clock
from troth.server.state import Loaded
from troth.server.tls import (
    ServerCertificate,
    create_client_context,
    create_context,
    install,
    issue_server_certificate,
    set_options,
    telling,
)

# A machine that slept wakes with timers that did not count.
LAST_MOMENT = timedelta(minutes=1)


class Shown(NamedTuple):
    """A context and the certificate in it."""

    context: ssl.SSLContext
    certificate: ServerCertificate
    loaded: Loaded


class Identity:
    """What connections to come are shown and held to; those that are open are not touched.

    They begin in the `first` context and are moved to the one of today, since a context can neither be made to trust
    less nor, in the middle of a handshake, show another certificate.
    """

    def __init__(
        self,
        loaded: Loaded,
        now: Callable[[], datetime] = clock.now,
        refused: Callable[[str], None] = lambda _reason: None,
    ) -> None:
        self._now = now
        self._outward: dict[bool, ssl.SSLContext] = {}
        self._shown = self.prepare(loaded)
        self.first = self._shown.context
        self.first.sni_callback = self._choose
        self.first.sslobject_class = telling(refused)

    @property
    def certificate(self) -> ServerCertificate:
        """The one that is shown from now on."""
        return self._shown.certificate

    def outward(self, shows_certificate: bool) -> ssl.SSLContext:
        """To ask webhooks: as ourselves, with the certificate of today, or as nobody."""
        self._refresh()
        if shows_certificate not in self._outward:
            certificate = self.certificate if shows_certificate else None
            self._outward[shows_certificate] = create_client_context(self._shown.loaded.authority, certificate)
        return self._outward[shows_certificate]

    def prepare(self, loaded: Loaded) -> Shown:
        """A new certificate, and the trust of a configuration; nothing is shown yet.

        Raises:
            TrothError: the issuer may not sign one of the names.
        """
        context = create_context(loaded.authority, dict(loaded.configuration.tls_options))
        certificate = issue_server_certificate(loaded.authority, loaded.configuration, self._now())
        install(context, certificate)
        return Shown(context, certificate, loaded)

    def adopt(self, shown: Shown) -> None:
        """Show what was prepared."""
        self._shown = shown
        self._outward.clear()
        set_options(self.first, dict(shown.loaded.configuration.tls_options))

    def renew(self) -> None:
        """Show a new certificate, of the same configuration.

        Raises:
            TrothError: as `prepare`; the present certificate stays.
        """
        self.adopt(self.prepare(self._shown.loaded))

    def _choose(self, connection: ssl.SSLObject, _name: str | None, _first: ssl.SSLContext) -> None:
        """OpenSSL asks for every connection, also of a client that names no server."""
        self._refresh()
        connection.context = self._shown.context

    def _refresh(self) -> None:
        if self.certificate.not_after - self._now() < LAST_MOMENT:
            with contextlib.suppress(TrothError, OSError, ValueError):  # the timer tries again, and logs
                self.renew()
