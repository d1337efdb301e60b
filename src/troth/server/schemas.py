"""What goes over the wire of the step interface, as JSON Schema (2020-12), for the OpenAPI description."""

from typing import Any

from troth.server.messages import REASON_CODES

Schema = dict[str, Any]
# What a request may leave out may also be null, or empty: the same as not being there.
_TIME = {
    "type": ["string", "null"],
    "description": "RFC 3339, or a Go duration such as 1h30m: notBefore counts from now, notAfter from notBefore.",
    "examples": ["24h", "2030-01-02T03:04:05Z", ""],
}
_PEM_CERTIFICATE = {"type": "string", "pattern": "^-----BEGIN CERTIFICATE-----\n"}
_CSR = {
    "type": "string",
    "format": "pem-certificate-request",
    "minLength": 1,
    "description": "PEM of a PKCS #10 request whose signature holds.",
}


def _object(description: str, required: list[str], **properties: Schema) -> Schema:
    return {"type": "object", "description": description, "required": required, "properties": properties}


def _list(items: Schema, **more: Any) -> Schema:
    return {"type": "array", "items": items, **more}


SCHEMAS: dict[str, Schema] = {
    "Error": _object(
        "Every answer of 400 and above. For 401 and 500 the message says no more than where to look.",
        ["status", "message"],
        status={"type": "integer", "minimum": 400, "maximum": 599},
        message={"type": "string"},
    ),
    "Ok": _object("Done, or well.", ["status"], status={"const": "ok"}),
    "Version": _object("The version of the server.", ["version"], version={"type": "string"}),
    "Root": _object("One root certificate.", ["ca"], ca=_PEM_CERTIFICATE),
    "Certificates": _object("Certificates as PEM.", ["crts"], crts=_list(_PEM_CERTIFICATE)),
    "Provisioner": _object(
        "Public configuration of one provisioner; further members depend on the type, as in ca.json.",
        ["type", "name"],
        type={"type": "string"},
        name={"type": "string"},
        state={"const": "Uninitialized", "description": "Listed but not served."},
        stateReason={"type": "string"},
    ),
    "Provisioners": _object(
        "One page; nextCursor is where the next begins, empty at the end.",
        ["provisioners", "nextCursor"],
        provisioners=_list({"$ref": "#/components/schemas/Provisioner"}, maxItems=100),
        nextCursor={"type": "string"},
    ),
    "EncryptedKey": _object(
        "The private JWK of a provisioner, as a compact JWE.",
        ["key"],
        key={"type": "string", "pattern": r"^[\w-]+(\.[\w-]*){4}$"},
    ),
    "SignRequest": _object(
        "A request for a certificate. The names of the certificate are the token's.",
        ["csr", "ott"],
        csr=_CSR,
        ott={"type": "string", "format": "sign-token", "minLength": 1, "description": "One-time token, a compact JWS."},
        notBefore=_TIME,
        notAfter=_TIME,
        templateData={"type": ["object", "null"], "description": "For the provisioner's template: .Insecure.User."},
    ),
    "RekeyRequest": _object("The new key, proven by a request.", ["csr"], csr=_CSR),
    "RevokeRequest": _object(
        "Revocation of one certificate, by a token or by the client certificate itself.",
        ["serial", "passive"],
        serial={
            "type": "string",
            "format": "serial",
            "minLength": 1,
            "description": "Decimal, or with 0x, 0o or 0b before it; 160 bits at most.",
        },
        ott={"type": ["string", "null"], "format": "revoke-token", "description": "One-time token of the serial."},
        reasonCode={"type": "integer", "minimum": REASON_CODES.start, "maximum": REASON_CODES.stop - 1},
        reason={"type": ["string", "null"]},
        passive={"type": "boolean", "description": "Must be true; false is answered with 501."},
    ),
    "Issued": _object(
        "A new certificate: crt and ca are the first two of certChain, which ends below the root.",
        ["crt", "ca", "certChain", "tlsOptions"],
        crt=_PEM_CERTIFICATE,
        ca=_PEM_CERTIFICATE,
        certChain=_list(_PEM_CERTIFICATE, minItems=2),
        tlsOptions=_object(
            "The authority's suggestion for the certificate's holder.",
            ["cipherSuites", "minVersion", "maxVersion", "renegotiation"],
            cipherSuites=_list({"type": "string"}),
            minVersion={"type": "number"},
            maxVersion={"type": "number"},
            renegotiation={"type": "boolean"},
        ),
    ),
}
