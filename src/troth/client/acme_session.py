"""Signed requests to an ACME server (RFC 8555 §6): nonces, the account, and what refusals say."""

import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin

from troth.acme import AcmeError
from troth.acme.keys import AccountKey
from troth.acme.objects import Directory, check_url, parse_directory
from troth.acme.problems import Problem, parse_problem
from troth.client import ClientError
from troth.client.transport import Answer, NotAnAuthorityError
from troth.client.web import ask, json_object, retry_after

JOSE, PROBLEM, CHAIN = "application/jose+json", "application/problem+json", "application/pem-certificate-chain"
MAX_NONCE_CHARACTERS = 512
# RFC 8555 §6.5 wants a rejected nonce retried; a server that rejects every one must not keep us for ever.
NONCE_TRIES = 10
HINTS = {
    "externalAccountRequired": "external account binding is not supported: use a provisioner without it, or a token",
    "rateLimited": "the server limits how often it may be asked: wait before trying again",
    "unsupportedContact": "give an email address with --contact",
    "invalidContact": "give an email address with --contact",
    "rejectedIdentifier": "the server issues no certificates for this name: see its policy",
    "unsupportedIdentifier": "the server does not certify names of this kind, such as IP addresses",
}


class AcmeRefusedError(ClientError):
    """The ACME server said no, or a proof failed; `problem` is what it said."""

    def __init__(self, message: str, problem: Problem, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.problem = problem


def fetch_directory(url: str, trust: ssl.SSLContext) -> Directory:
    """What the server at a directory's URL can do, and where.

    Raises:
        ClientError: it cannot be reached, or is no ACME server.
    """
    hint = directory_hint(url)
    answer = ask(check_url(url, "the ACME directory"), trust, hint=hint)
    if 300 <= answer.status < 400:
        raise NotAnAuthorityError(f"{url} redirects: expected the directory itself", hint=hint)
    value = _object(url, answer, "the directory")
    try:
        return parse_directory(value)
    except AcmeError as error:
        raise NotAnAuthorityError(f"{url} is not an ACME directory: {error.message}", hint=hint) from error


def directory_hint(url: str) -> str:
    """What to look at when a server cannot be reached or understood."""
    return f"is {url} the directory of an ACME server, and is its root trusted (--root FILE)?"


@dataclass
class Session:
    """A conversation with one server under one key. Not shared between threads.

    Args:
        url: of the directory.
        directory: what `fetch_directory` found there.
        trust: whom to trust.
        key: the account's.
    """

    url: str
    directory: Directory
    trust: ssl.SSLContext
    key: AccountKey
    account: str = ""
    _nonces: list[str] = field(default_factory=list)

    def open_account(self, contacts: Sequence[str]) -> None:
        """Make an account for the key, agreeing to the terms (§7.3).

        Args:
            contacts: email addresses, or URLs.

        Raises:
            AcmeRefusedError: the server does not want one.
        """
        if self.directory.needs_binding:
            message = f"{self.url} wants accounts that are bound to one of its own (externalAccountRequired)"
            raise AcmeRefusedError(message, Problem("externalAccountRequired"), hint=HINTS["externalAccountRequired"])
        said: dict[str, Any] = {"termsOfServiceAgreed": True}
        if contacts:
            said["contact"] = [one if ":" in one else f"mailto:{one}" for one in contacts]
        answer = self.post(self.directory.new_account, said, "a new account")
        self.account = location(answer, self.directory.new_account, "a new account")

    def post(self, url: str, payload: Mapping[str, Any] | None, what: str, accept: str = "") -> Answer:
        """One signed request; a nonce that is refused is replaced.

        Args:
            url: where to.
            payload: what is said; None reads the resource.
            what: it is about, for errors.
            accept: content type wanted.

        Raises:
            AcmeRefusedError: the server refused.
            ClientError: no answer came, or none of ACME.
        """
        headers = {"Content-Type": JOSE, **({"Accept": accept} if accept else {})}
        for _ in range(NONCE_TRIES):
            body = self.key.sign(url, self._nonce(), payload, self.account)
            answer = ask(url, self.trust, "POST", body, headers, hint=self._hint)
            self._keep_nonce(answer)
            if answer.status < 300:
                return answer
            problem = parse_problem(json_object(answer))
            if problem.kind != "badNonce":
                raise self._refusal(answer, problem, what)
        raise AcmeRefusedError(f"{self.url} refused {NONCE_TRIES} nonces in a row for {what}", problem)

    def read(self, url: str, payload: Mapping[str, Any] | None, what: str) -> tuple[dict[str, Any], Answer]:
        """As `post`, and the answer's JSON object."""
        answer = self.post(url, payload, what)
        return _object(self.url, answer, what), answer

    def _nonce(self) -> str:
        if self._nonces:
            return self._nonces.pop()
        self._keep_nonce(ask(self.directory.new_nonce, self.trust, "HEAD", hint=self._hint))
        if not self._nonces:
            raise NotAnAuthorityError(f"{self.url} gives no nonces: expected a Replay-Nonce header", hint=self._hint)
        return self._nonces.pop()

    def _keep_nonce(self, answer: Answer) -> None:
        nonce = answer.headers.get("replay-nonce", "")
        if nonce and nonce.isascii() and nonce.replace("-", "").replace("_", "").isalnum():
            self._nonces = [nonce[:MAX_NONCE_CHARACTERS]]

    def _refusal(self, answer: Answer, problem: Problem, what: str) -> ClientError:
        if not problem.kind and not problem.detail:
            return NotAnAuthorityError(f"{self.url} answered {what} with status {answer.status}", hint=self._hint)
        wait = retry_after(answer)
        again = f"the server asks to come back in {wait:g} seconds" if wait else None
        hint = again or next((HINTS[kind] for kind in sorted(problem.kinds()) if kind in HINTS), None)
        return AcmeRefusedError(f"the ACME server refused {what}: {problem.text()}", problem, hint=hint)

    @property
    def _hint(self) -> str:
        return directory_hint(self.url)


def _object(url: str, answer: Answer, what: str) -> dict[str, Any]:
    value = json_object(answer) if answer.status < 300 else None
    if value is None:
        message = f"{url} answered {what} with status {answer.status} and no JSON object"
        raise NotAnAuthorityError(message, hint=directory_hint(url))
    return value


def location(answer: Answer, url: str, what: str) -> str:
    """Where a new object is (§7.1).

    Raises:
        AcmeError: there is no https URL.
    """
    return check_url(urljoin(url, answer.headers.get("location", "")), f"the Location of {what}")
