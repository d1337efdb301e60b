"""A certificate from an ACME server (RFC 8555 §7.4): order, prove the names over HTTP, finalize, download."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from troth.acme import states
from troth.acme.identifiers import Identifier
from troth.acme.objects import Authorization, Challenge, Order, parse_authorization, parse_order
from troth.acme.problems import Problem
from troth.acme.states import Step, step_of
from troth.ca.jwk import b64encode
from troth.client import ClientError
from troth.client.acme_session import CHAIN, AcmeRefusedError, Session, location
from troth.client.authority import Chain
from troth.client.transport import Answer, NotAnAuthorityError
from troth.client.web import Pace, retry_after
from troth.x509 import X509Error
from troth.x509.keys import spki_of
from troth.x509.names import alternative_names
from troth.x509.pem import parse_certificates

HTTP_01 = "http-01"
PATIENCE_SECONDS = 90.0
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.5, 5.0
# A server that could not connect leaves the challenge pending; saying again that all is ready makes it try again.
PROVE_TRIES = 5


class Publisher(Protocol):
    """Who shows a key authorization to the server: a responder, or a web server's directory."""

    def publish(self, token: str, text: str) -> AbstractContextManager[None]:
        """Show `text` at the token's path for as long as the block runs."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is ordered: names, and from when until when, each None where the server shall say."""

    identifiers: tuple[Identifier, ...]
    not_before: datetime | None = None
    not_after: datetime | None = None


@dataclass(frozen=True, slots=True)
class Issuance:
    """One certificate on its way.

    Args:
        session: with the server.
        pace: the clock, and how to wait.
        told: hears what is being done.
        prove_hint: what a person can do when a proof fails.
        patience: seconds that one thing may take the server.
    """

    session: Session
    pace: Pace
    told: Callable[[str], None]
    prove_hint: str
    patience: float = PATIENCE_SECONDS

    def obtain(self, wanted: Wanted, publisher: Publisher, request: x509.CertificateSigningRequest) -> Chain:
        """Order, prove, finalize, download; the chain is for the request's key and carries every name.

        Raises:
            ClientError: the server refused, a proof failed, or it took too long.
        """
        order, url = self._ordered(wanted)
        if step_of(states.ORDER_STEP, order.status, "the order") is Step.PROVE:
            for authorization in order.authorizations:
                self._prove(authorization, publisher)
            order = self._await_order(url, (Step.PROVE,))
        if step_of(states.ORDER_STEP, order.status, "the order") is Step.FINALIZE:
            self.told("Finalizing the order")
            csr = b64encode(request.public_bytes(Encoding.DER))
            self.session.post(order.finalize, {"csr": csr}, "to finalize the order")
        if step_of(states.ORDER_STEP, order.status, "the order") is not Step.FETCH:
            order = self._await_order(url, (Step.WAIT, Step.FINALIZE))
        return self._downloaded(order, wanted, request)

    def _ordered(self, wanted: Wanted) -> tuple[Order, str]:
        message: dict[str, object] = {"identifiers": [one.json() for one in wanted.identifiers]}
        for name, moment in (("notBefore", wanted.not_before), ("notAfter", wanted.not_after)):
            if moment is not None:
                message[name] = f"{moment:%Y-%m-%dT%H:%M:%SZ}"
        names = ", ".join(one.value for one in wanted.identifiers)
        value, answer = self.session.read(self.session.directory.new_order, message, f"the order for {names}")
        order = parse_order(value)
        if set(order.identifiers) != set(wanted.identifiers):
            raise NotAnAuthorityError(f"{self.session.url} made an order for other names than {names}")
        return order, location(answer, self.session.directory.new_order, "the new order")

    def _prove(self, url: str, publisher: Publisher) -> None:
        authorization, _ = self._authorization(url)
        name = authorization.identifier.value
        if step_of(states.AUTHORIZATION_STEP, authorization.status, f"the authorization of {name}") is Step.DONE:
            return
        challenge = authorization.challenge(HTTP_01)
        if challenge is None or authorization.wildcard:
            offered = ", ".join(one.kind for one in authorization.challenges)
            hint = "this client proves names over HTTP only: ask the authority's operator to offer http-01"
            raise ClientError(f"{name} cannot be proven over HTTP: the server offers {offered}", hint=hint)
        self.told(f"Proving {name}")
        with publisher.publish(challenge.token, self.session.key.authorization(challenge.token)):
            self.session.post(challenge.url, {}, f"the proof of {name}")
            self._await_proof(url, name)

    def _await_proof(self, url: str, name: str) -> None:
        tries = 1
        heard: list[Problem] = []

        def look() -> tuple[bool, Answer]:
            nonlocal tries
            authorization, answer = self._authorization(url)
            challenge = authorization.challenge(HTTP_01)
            heard[:] = [challenge.problem] if challenge and challenge.problem else heard
            step = step_of(states.AUTHORIZATION_STEP, authorization.status, f"the authorization of {name}")
            if step is Step.FAIL or _is_lost(challenge) or (tries >= PROVE_TRIES and _is_stuck(challenge)):
                raise self._unproven(name, heard, f"it is {authorization.status}")
            if step is Step.PROVE and challenge is not None and _is_stuck(challenge):
                tries += 1
                answer = self.session.post(challenge.url, {}, f"the proof of {name}")
            return step is Step.DONE, answer

        self._until(look, lambda why: self._unproven(name, heard, why))

    def _unproven(self, name: str, heard: Sequence[Problem], otherwise: str) -> ClientError:
        problem = heard[-1] if heard else Problem("", otherwise)
        message = f"the ACME server could not verify {name}: {problem.text()}"
        return AcmeRefusedError(message, problem, hint=self.prove_hint.format(name=_in_url(name)))

    def _authorization(self, url: str) -> tuple[Authorization, Answer]:
        value, answer = self.session.read(url, None, "an authorization")
        return parse_authorization(value), answer

    def _await_order(self, url: str, waiting: tuple[Step, ...]) -> Order:
        last: list[Order] = []

        def look() -> tuple[bool, Answer]:
            value, answer = self.session.read(url, None, "the order")
            order = parse_order(value)
            last[:] = [order]
            step = step_of(states.ORDER_STEP, order.status, "the order")
            if step is Step.FAIL:
                problem = order.problem or Problem("", "it is invalid")
                raise AcmeRefusedError(f"the ACME server gave the order up: {problem.text()}", problem)
            return step not in waiting, answer

        self._until(look, lambda why: ClientError(f"the order stays {last[-1].status}: {why}"))
        return last[-1]

    def _until(self, look: Callable[[], tuple[bool, Answer]], late: Callable[[str], ClientError]) -> None:
        """Look until it is done, as often as the server wants (``Retry-After``), and no longer than patience lasts."""
        deadline, wait = self.pace.clock() + self.patience, FIRST_WAIT_SECONDS
        while True:
            done, answer = look()
            if done:
                return
            wanted = retry_after(answer)
            pause = wait if wanted is None else max(wanted, FIRST_WAIT_SECONDS)
            if pause > self.patience:
                raise late(f"the server asks to come back in {pause:g} seconds")
            if self.pace.clock() + pause > deadline:
                raise late(f"not done within {self.patience:g} seconds")
            self.pace.sleep(pause)
            wait = min(wait * 1.5, LONGEST_WAIT_SECONDS)

    def _downloaded(self, order: Order, wanted: Wanted, request: x509.CertificateSigningRequest) -> Chain:
        url = self.session.url
        if not order.certificate:
            raise NotAnAuthorityError(f"{url} says the order is {order.status} and names no certificate")
        answer = self.session.post(order.certificate, None, "the certificate", CHAIN)
        kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != CHAIN:
            raise NotAnAuthorityError(f"{url} answered the certificate as {kind!r}: expected {CHAIN}")
        try:
            chain = Chain(tuple(parse_certificates(answer.body, "the certificate")))
        except X509Error as error:
            raise NotAnAuthorityError(f"{url} answered without readable certificates: {error.message}") from error
        if spki_of(chain.leaf) != spki_of(request):
            raise NotAnAuthorityError(f"{url} answered with a certificate for another key")
        names = alternative_names(chain.leaf.extensions)
        missing = [one.value for one in wanted.identifiers if one.value not in (*map(str.lower, names.dns), *names.ips)]
        if missing:
            raise NotAnAuthorityError(f"{url} answered with a certificate without {', '.join(missing)}")
        return chain


def _is_lost(challenge: Challenge | None) -> bool:
    """step-ca leaves the authorization of a refused proof pending for ever; the challenge itself is what tells."""
    return challenge is not None and step_of(states.CHALLENGE_STEP, challenge.status, "the challenge") is Step.FAIL


def _is_stuck(challenge: Challenge | None) -> bool:
    """Tried without a verdict, and waiting to be told to try again."""
    return challenge is not None and challenge.status == "pending" and challenge.problem is not None


def _in_url(name: str) -> str:
    return f"[{name}]" if ":" in name else name
