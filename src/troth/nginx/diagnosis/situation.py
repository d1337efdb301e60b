"""What is known besides the symptom: the location, its files, and handshakes with its upstream."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from cryptography import x509

from troth.nginx.findings.rule import Subject
from troth.nginx.map import Place
from troth.nginx.material import FileFacts, is_root

REFUSED, RESET, SILENT, UNREACHABLE, UNRESOLVED, CLOSED = (
    "refused",
    "reset",
    "silent",
    "unreachable",
    "unresolved",
    "closed",
)

BAD_REQUEST = 400


@dataclass(frozen=True, slots=True)
class Handshake:
    """One try to talk to an upstream.

    `problem` is empty or one of the words above; `alert` is the number of the TLS alert it sent, if any; `verified` is
    OpenSSL's code for its chain against the location's authorities with no limit to the depth (0: good, None: not
    tried). `status` is that of its answer to a plain GET, 0 for none, `body` the beginning of it.
    """

    connected: bool = False
    tls: bool = False
    problem: str = ""
    alert: int | None = None
    chain: tuple[x509.Certificate, ...] = ()
    verified: int | None = None
    protocol: str = ""
    status: int = 0
    body: str = ""


@dataclass(frozen=True, slots=True)
class Probed:
    """The handshakes that tell causes apart; each is None where it was not tried.

    `named`: with the location's server name and no client certificate; `own`: the same with the location's certificate;
    `unnamed`: without a server name; `plain_http`: whether the port answers HTTP without TLS.
    """

    address: str
    named: Handshake | None = None
    own: Handshake | None = None
    unnamed: Handshake | None = None
    plain_http: bool | None = None


@dataclass(frozen=True, slots=True)
class Situation:
    """All that is known; nothing of it is a valid situation too.

    `heads` holds the first bytes of files that the symptom names, `findings` what inspect finds here, by rule.
    """

    now: datetime
    place: Place | None = None
    subject: Subject | None = None
    probed: Probed | None = None
    heads: dict[str, bytes] = field(default_factory=dict)
    findings: dict[str, str] = field(default_factory=dict)

    def has(self, name: str) -> bool | None:
        """Whether the place has a setting that is not empty; None where there is no place."""
        return None if self.place is None else self.place.value(name) not in ("", "off", "none")

    def file(self, name: str) -> FileFacts | None:
        """The file that the place names by a setting, the first where a variable can name several."""
        if self.place is None or self.subject is None:
            return None
        return next(iter(self.subject.files(self.place.value(name))), None)

    @property
    def mine(self) -> Handshake | None:
        """Our handshake that is like nginx's: with the place's certificate where it has one; None where not tried."""
        if self.place is None or self.probed is None:
            return None
        return self.probed.own if self.has("ssl_certificate") else self.probed.named

    @property
    def let_in(self) -> bool:
        """Whether the upstream takes us with the certificate that is in the place's file now."""
        mine = self.mine
        return mine is not None and mine.tls and mine.alert is None and not mine.problem and mine.status != BAD_REQUEST

    @property
    def shown(self) -> Sequence[x509.Certificate]:
        """The chain of the place's own certificate; empty where unknown."""
        file = self.file("ssl_certificate")
        return file.certificates if file is not None else ()

    @property
    def presented(self) -> Sequence[x509.Certificate]:
        """The upstream's chain as it was seen; empty where unknown."""
        if self.probed is None:
            return ()
        tries = (self.probed.own, self.probed.named, self.probed.unnamed)
        return next((one.chain for one in tries if one is not None and one.chain), ())

    @property
    def verified(self) -> int | None:
        """OpenSSL's word for the upstream's chain at any depth; None where not tried."""
        if self.probed is None:
            return None
        tries = (self.probed.own, self.probed.named)
        return next((one.verified for one in tries if one is not None and one.verified is not None), None)

    @property
    def intermediates(self) -> int:
        """How many intermediates the upstream sends."""
        return len([one for one in self.presented[1:] if not is_root(one)])
