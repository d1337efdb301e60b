"""Routes of the step interface, at ``/`` and at ``/1.0``, and one place where errors become statuses."""

import asyncio
import itertools
import uuid
from collections.abc import Awaitable, Callable
from email.utils import format_datetime

from aiohttp import HttpVersion11, web

from troth import __version__
from troth.ca import (
    ForbiddenError,
    MalformedError,
    NotFoundError,
    RenewalRefusedError,
    UnauthorizedError,
    UnsupportedError,
)
from troth.errors import TrothError
from troth.server.answers import (
    CRL_TYPE,
    PEM_TYPE,
    SERVER,
    error_answer,
    issued_answer,
    json_answer,
    pem_answer,
    refusal_before_handling,
)
from troth.server.connection import Limits
from troth.server.log import Log
from troth.server.messages import parse_limit
from troth.server.service import Service
from troth.store.records import AlreadyRevokedError, TokenSpentError
from troth.x509 import X509Error
from troth.x509.pem import der_to_pem, to_pem

MAX_BODY_BYTES = 1024 * 1024
MAX_REQUEST_ID = 128
_UNAUTHORIZED = "The request is not authorized; the log of the certificate authority says why."
_INTERNAL = "The certificate authority could not complete the request; its log says why."
_STATUSES: tuple[tuple[type[TrothError], int], ...] = (
    (MalformedError, 400),
    (AlreadyRevokedError, 400),
    (X509Error, 400),
    (UnauthorizedError, 401),
    (TokenSpentError, 401),
    (ForbiddenError, 403),
    (NotFoundError, 404),
    (UnsupportedError, 501),
)
_NO_SSH = "SSH certificates are not served"
_NO_ACME = "ACME is not served: this authority lists its ACME provisioners, and issues for tokens only"
# What step-ca has and clients may ask for; an answer that says so is clearer than that of an unknown path.
ABSENT = {
    "/admin/{rest:.*}": "the administration interface is not served",
    "/ssh/{rest:.*}": _NO_SSH,
    "/1.0/ssh/{rest:.*}": _NO_SSH,
    "/sign-ssh": _NO_SSH,
    "/1.0/sign-ssh": _NO_SSH,
    "/acme/{rest:.*}": _NO_ACME,
    "/2.0/acme/{rest:.*}": _NO_ACME,
    "/scep/{rest:.*}": "SCEP is not served",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
SERVICE: web.AppKey[Service] = web.AppKey("service", Service)
INSTANCE: web.AppKey[str] = web.AppKey("instance", str)
_NUMBERS = itertools.count(1)
LOG: web.AppKey[Log] = web.AppKey("log", Log)
LIMITS: web.AppKey[Limits] = web.AppKey("limits", Limits)


def create_app(service: Service, log: Log, limits: Limits | None = None) -> web.Application:
    """The application; `service` does the work, `log` hears of every refusal."""
    app = _application(service, log, limits or Limits())
    for prefix in ("", "/1.0"):
        _add_routes(app.router, prefix)
    for path, message in ABSENT.items():
        app.router.add_route("*", path, _absent(message))
    return app


def _add_routes(router: web.UrlDispatcher, prefix: str) -> None:
    for path, handler in (
        ("/health", health),
        ("/version", version),
        ("/root/{sha}", root),
        ("/roots", roots),
        ("/roots.pem", roots_pem),
        ("/intermediates", intermediates),
        ("/intermediates.pem", intermediates_pem),
        ("/federation", federation),
        ("/provisioners", provisioners),
        ("/provisioners/{kid}/encrypted-key", encrypted_key),
    ):
        router.add_get(prefix + path, handler, expect_handler=_expected)
    add_list_routes(router, prefix)
    for path, handler in (
        ("/sign", sign),
        ("/renew", renew),
        ("/re-sign", renew),
        ("/rekey", rekey),
        ("/revoke", revoke),
    ):
        router.add_post(prefix + path, handler, expect_handler=_expected)


def add_list_routes(router: web.UrlDispatcher, prefix: str) -> None:
    """The revocation list of the authority, and those of its further issuers by name."""
    router.add_get(f"{prefix}/crl", revocation_list)
    router.add_get(f"{prefix}/crl/{{issuer}}", revocation_list)


def create_plain_app(service: Service, log: Log) -> web.Application:
    """What is served without TLS: revocation lists, which are signed, and which TLS itself may have to wait for."""
    app = _application(service, log, Limits())
    for prefix in ("", "/1.0"):
        add_list_routes(app.router, prefix)
    return app


def _application(service: Service, log: Log, limits: Limits) -> web.Application:
    app = web.Application(middlewares=[_guard], client_max_size=MAX_BODY_BYTES)
    # Request ids have the form of a UUID: the process at random, then the number of the request.
    app[SERVICE], app[LOG], app[INSTANCE], app[LIMITS] = service, log, f"{uuid.uuid4()}"[:24], limits
    return app


async def _expected(request: web.Request) -> web.StreamResponse | None:
    """What a client waits for before it sends its body (RFC 9110 §10.1.1)."""
    if request.headers.get("Expect", "").lower() != "100-continue":
        return refusal_before_handling(417, "expected 100-continue in Expect")
    if request.version >= HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the answer itself has not begun
    return None


@web.middleware
async def _guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Errors in step's shape, the request id on every answer."""
    identifier = request.headers.get("X-Request-Id") or request.headers.get("X-Smallstep-Id") or ""
    if not identifier or len(identifier) > MAX_REQUEST_ID or not identifier.isprintable():
        identifier = f"{request.app[INSTANCE]}{next(_NUMBERS):012x}"
    try:
        response = await handler(request)
    except TrothError as error:
        response = _refuse(request, error, identifier)
    except web.HTTPException as error:
        response = error_answer(error.status, error.reason)
        if "Allow" in error.headers:
            response.headers["Allow"] = error.headers["Allow"]
    except (asyncio.CancelledError, ConnectionError):
        raise
    except TimeoutError:
        response = error_answer(408, "The request did not arrive in time.")
        response.force_close()
    except Exception as error:  # whatever it was stays in the log
        detail = f"{type(error).__name__}: {error}"
        request.app[LOG].failure("request failed", path=request.path, error=detail, request_id=identifier)
        response = error_answer(500, _INTERNAL)
    response.headers["X-Request-Id"] = identifier
    response.headers["Server"] = SERVER
    return response


def _refuse(request: web.Request, error: TrothError, identifier: str) -> web.Response:
    status = next((status for kind, status in _STATUSES if isinstance(error, kind)), 500)
    log = request.app[LOG]
    (log.failure if status == 500 else log.refusal)(
        error.message, status=status, path=request.path, peer=request.remote or "", request_id=identifier
    )
    return error_answer(status, _public(error, status))


def _public(error: TrothError, status: int) -> str:
    """401 and 500 tell a client nothing that helps an attacker; a holder may know why a renewal was refused."""
    if status == 500:
        return _INTERNAL
    if status == 401 and not isinstance(error, RenewalRefusedError):
        return _UNAUTHORIZED
    return error.message


def _absent(message: str) -> Handler:
    async def handler(_: web.Request) -> web.StreamResponse:
        raise NotFoundError(message)

    return handler


async def _body(request: web.Request) -> bytes:
    if request.content.is_eof():
        return await request.read()
    async with asyncio.timeout(request.app[LIMITS].body):
        return await request.read()


def peer_certificate(request: web.Request) -> bytes | None:
    """The DER of the client certificate of this connection, verified by the handshake, or None."""
    transport = request.transport
    tls = transport.get_extra_info("ssl_object") if transport is not None else None
    return tls.getpeercert(True) if tls is not None else None


async def health(_: web.Request) -> web.Response:
    return json_answer({"status": "ok"})


async def version(_: web.Request) -> web.Response:
    return json_answer({"version": __version__})


async def root(request: web.Request) -> web.Response:
    found = request.app[SERVICE].authority.root_by_fingerprint(request.match_info["sha"])
    if found is None:
        raise NotFoundError("certificate with this fingerprint was not found")
    return json_answer({"ca": to_pem(found)})


async def roots(request: web.Request) -> web.Response:
    return json_answer({"crts": [to_pem(c) for c in request.app[SERVICE].authority.roots]}, 201)


async def roots_pem(request: web.Request) -> web.Response:
    text = "".join(to_pem(c) for c in request.app[SERVICE].authority.roots)
    return pem_answer(text)


async def intermediates(request: web.Request) -> web.Response:
    return json_answer({"crts": request.app[SERVICE].chain_pem}, 201)


async def intermediates_pem(request: web.Request) -> web.Response:
    return pem_answer("".join(request.app[SERVICE].chain_pem))


async def federation(request: web.Request) -> web.Response:
    authority = request.app[SERVICE].authority
    every = dict.fromkeys((*authority.roots, *authority.federated))
    return json_answer({"crts": [to_pem(certificate) for certificate in every]}, 201)


async def revocation_list(request: web.Request) -> web.Response:
    """DER, or PEM where the query has ``pem``; without a distribution point where it has ``unscoped``."""
    issuer = request.match_info.get("issuer", "")
    found = request.app[SERVICE].revocation_list(issuer, scoped="unscoped" not in request.query)
    as_pem = "pem" in request.query
    response = web.Response(
        body=der_to_pem(found.der, "X509 CRL").encode() if as_pem else found.der,
        content_type=PEM_TYPE if as_pem else CRL_TYPE,
    )
    response.headers["Expires"] = format_datetime(found.ends.replace(microsecond=0), usegmt=True)
    response.headers["Content-Disposition"] = f'attachment; filename="crl.{"pem" if as_pem else "crl"}"'
    return response


async def provisioners(request: web.Request) -> web.Response:
    limit = parse_limit(request.query.get("limit", ""))
    page = request.app[SERVICE].authority.provisioners.page(request.query.get("cursor", ""), limit)
    return json_answer({"provisioners": list(page.provisioners), "nextCursor": page.next_cursor})


async def encrypted_key(request: web.Request) -> web.Response:
    key = request.app[SERVICE].authority.provisioners.encrypted_key(request.match_info["kid"])
    if key is None:
        raise NotFoundError("there is no encrypted key of this id")
    return json_answer({"key": key})


async def sign(request: web.Request) -> web.Response:
    return issued_answer(await request.app[SERVICE].sign(await _body(request)))


async def renew(request: web.Request) -> web.Response:
    """A client certificate of the connection goes before a token."""
    peer = peer_certificate(request)
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if peer is None and scheme == "Bearer" and token:
        return issued_answer(await request.app[SERVICE].renew_by_token(token))
    if peer is None:
        raise MalformedError("missing client certificate")
    return issued_answer(await request.app[SERVICE].renew(peer))


async def rekey(request: web.Request) -> web.Response:
    peer = peer_certificate(request)
    if peer is None:
        raise MalformedError("missing client certificate")
    return issued_answer(await request.app[SERVICE].rekey(peer, await _body(request)))


async def revoke(request: web.Request) -> web.Response:
    return json_answer(await request.app[SERVICE].revoke(await _body(request), peer_certificate(request)))
