"""The OpenAPI 3.1 description of the authority's HTTPS interface: ``python -m troth.server.description``.

It prints what is kept in ``docs/reference/openapi.json``; tests hold that file against this one, this one against the
routes of the server, and the server's answers against all of it.
"""

import json
from typing import Any

from troth import __version__
from troth.server.answers import CRL_TYPE, PEM_TYPE
from troth.server.app import MAX_BODY_BYTES
from troth.server.connection import Limits
from troth.server.schemas import SCHEMAS

SERVERS = ("", "/1.0")
_REASONS = {
    400: "The request is malformed.",
    401: "Not authorized: the log of the authority says why.",
    403: "Understood, and refused by a rule the message names.",
    404: "There is no such thing here.",
    408: f"The body did not arrive within {Limits().body:.0f} seconds.",
    413: f"The body is larger than {MAX_BODY_BYTES} bytes.",
    500: "The authority could not complete the request; its log says why.",
    501: "Revocation that is not passive is not implemented.",
}
_ABOUT = f"""The X.509 interface of step-ca, as troth serves it. Everything is JSON over HTTPS.

HEAD is answered wherever GET is. Another method is answered with 405, an unknown path with 404; `/admin`, `/ssh`,
`/acme` and `/scep` are not served and answer 404. Every answer carries `X-Request-Id`: the client's own, if it sent
one of at most 128 printable characters. Bodies are at most {MAX_BODY_BYTES} bytes, and connections that stand still for
{Limits().idle:.0f} seconds are closed. `GET /crl` is also served without TLS where `insecureAddress` is set."""

Described = dict[str, Any]
Answers = dict[int, Any]


def description() -> Described:
    """The whole document, ready for JSON."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "troth certificate authority",
            "version": __version__,
            "description": _ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [_server(prefix) for prefix in SERVERS],
        "tags": [{"name": "public"}, {"name": "certificates"}, {"name": "revocation"}],
        "paths": _paths(),
        "components": {
            "schemas": SCHEMAS,
            "responses": {_error_name(status): _error(status, text) for status, text in _REASONS.items()},
            "headers": {
                "RequestId": {
                    "description": "Names this request in the log.",
                    "required": True,
                    "schema": {"type": "string"},
                },
            },
            "securitySchemes": {
                "clientCertificate": {"type": "mutualTLS", "description": "A certificate of this authority."},
                "renewalToken": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWS with x5cInsecure, signed by the certificate's key",
                },
            },
        },
    }


def _server(prefix: str) -> Described:
    host = {"default": "localhost:9000", "description": "address and dnsNames of ca.json"}
    return {"url": f"https://{{host}}{prefix}", "variables": {"host": host}}


def _paths() -> Described:
    certificates = _json("Certificates", "Certificates.")
    pem = _answer("Certificates, one after the other.", {PEM_TYPE: {"schema": {"type": "string"}}})
    return {
        "/health": _get("health", "Whether the authority serves", {200: _json("Ok", "It does.")}),
        "/version": _get("version", "The version of the server", {200: _json("Version", "The version.")}),
        "/root/{sha}": _get(
            "root",
            "A root by its fingerprint; clients call it before they can verify TLS, and hash the answer",
            {200: _json("Root", "The root.")},
            404,
            parameters=[_path("sha", "SHA-256 of the DER certificate, in hex of any case.", "sha-256")],
        ),
        "/roots": _get("roots", "Every root", {201: certificates}),
        "/roots.pem": _get("roots_pem", "Every root as PEM", {200: pem}),
        "/intermediates": _get("intermediates", "The issuing certificates", {201: certificates}),
        "/intermediates.pem": _get("intermediates_pem", "The issuing certificates as PEM", {200: pem}),
        "/federation": _get("federation", "Every root, and those of federated authorities", {201: certificates}),
        "/provisioners": _get(
            "provisioners",
            "Who may ask for certificates, in the order of the configuration",
            {200: _json("Provisioners", "One page.")},
            400,
            parameters=[
                _query("cursor", {"type": "string"}, "nextCursor of the page before."),
                _query(
                    "limit",
                    {"anyOf": [{"type": "integer"}, {"const": ""}]},
                    "20 where it is not positive, 100 at most.",
                ),
            ],
        ),
        "/provisioners/{kid}/encrypted-key": _get(
            "encrypted_key",
            "The encrypted private key of a JWK provisioner",
            {200: _json("EncryptedKey", "The key.")},
            404,
            parameters=[_path("kid", "Key id of the provisioner.", "key-id")],
        ),
        "/crl": _list("revocation_list", "The revocation list"),
        "/crl/{issuer}": _list(
            "revocation_list_of", "The revocation list of a further issuer", _path("issuer", "Its name in troth.json.")
        ),
        "/sign": _post("sign", "A certificate for a one-time token", "SignRequest", (400, 401, 403)),
        "/renew": _post("renew", "A certificate like the one shown", "", (400, 401, 403)),
        "/re-sign": _post("re_sign", "Another name of /renew", "", (400, 401, 403)),
        "/rekey": _post("rekey", "A certificate like the one shown, for another key", "RekeyRequest", (400, 401, 403)),
        "/revoke": _post("revoke", "Revoke a certificate", "RevokeRequest", (400, 401, 403, 501)),
    }


def _get(name: str, summary: str, answers: Answers, *errors: int, parameters: list[Described] | None = None) -> Any:
    operation: Described = {"operationId": name, "tags": ["public"], "summary": summary, "security": [{}]}
    if parameters:
        operation["parameters"] = parameters
    return {"get": {**operation, "responses": _responses(answers, errors)}}


def _list(name: str, summary: str, *parameters: Described) -> Any:
    forms = {CRL_TYPE: {"schema": {"type": "string", "format": "binary"}}, PEM_TYPE: {"schema": {"type": "string"}}}
    found = _answer("The list, DER or PEM.", forms)
    found["headers"] |= {name: {"schema": {"type": "string"}} for name in ("Expires", "Content-Disposition")}
    flags = [
        _query("pem", {"type": "string"}, "PEM where it is there, whatever its value.", allowEmptyValue=True),
        _query("unscoped", {"type": "string"}, "Without distribution point, for OpenSSL.", allowEmptyValue=True),
    ]
    listed = _get(name, summary, {200: found}, 404, parameters=[*parameters, *flags])
    listed["get"]["tags"] = ["revocation"]
    return listed


_SECURITY: dict[str, list[dict[str, list[str]]]] = {
    "sign": [{}],
    "rekey": [{"clientCertificate": []}],
    "revoke": [{}, {"clientCertificate": []}],
}
_RENEWAL: list[dict[str, list[str]]] = [{"clientCertificate": []}, {"renewalToken": []}]


def _post(name: str, summary: str, body: str, errors: tuple[int, ...]) -> Any:
    answers = {200: _json("Ok", "It is revoked.")} if name == "revoke" else {201: _json("Issued", "Issued.")}
    operation: Described = {
        "operationId": name,
        "tags": ["revocation" if name == "revoke" else "certificates"],
        "summary": summary,
        "security": _SECURITY.get(name, _RENEWAL),
    }
    if body:
        schema = {"$ref": f"#/components/schemas/{body}"}
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return {"post": {**operation, "responses": _responses(answers, (*errors, *((408, 413) if body else ())))}}


def _path(name: str, text: str, form: str = "") -> Described:
    schema = {"type": "string", "minLength": 1, **({"format": form} if form else {})}
    return {"name": name, "in": "path", "required": True, "description": text, "schema": schema}


def _query(name: str, schema: Described, text: str, **more: Any) -> Described:
    return {"name": name, "in": "query", "description": text, "schema": schema, **more}


def _responses(answers: Answers, errors: tuple[int, ...]) -> Described:
    named = {str(status): {"$ref": f"#/components/responses/{_error_name(status)}"} for status in (*errors, 500)}
    return {str(status): answer for status, answer in answers.items()} | dict(sorted(named.items()))


def _error_name(status: int) -> str:
    return f"Error{status}"


def _error(status: int, text: str) -> Described:
    return _json("Error", text)


def _json(schema: str, text: str) -> Described:
    return _answer(text, {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}})


def _answer(text: str, content: Described) -> Described:
    headers = {"X-Request-Id": {"$ref": "#/components/headers/RequestId"}}
    return {"description": text, "headers": headers, "content": content}


def rendered() -> str:
    """The document as text."""
    return json.dumps(description(), indent=2) + "\n"


if __name__ == "__main__":
    print(rendered(), end="")
