"""What the upstream's own log says about us, where the upstream is an nginx; it says so at level info only."""

from troth.nginx.diagnosis.rule import PEER_LOG, Rule

_VERIFY = r"client SSL certificate verify error: \({}:"


def _rule(name: str, pattern: str, cause: str, fix: str) -> Rule:
    return Rule(name, PEER_LOG, pattern, cause, fix, 400)


def _code(number: int) -> str:
    return _VERIFY.format(number)


RULES = (
    _rule(
        "they-got-none",
        r"client sent no required SSL certificate",
        "the calling nginx sent no certificate: none is set in that location, the key alone is, or its kind "
        "is not accepted",
        "{family}_ssl_certificate and {family}_ssl_certificate_key in the location that calls",
    ),
    _rule(
        "they-say-expired",
        _code(10),
        "the certificate that the caller sent has expired, or a reused session or connection still shows the old one",
        "renew it and reload the calling nginx; {family}_ssl_session_reuse off;",
    ),
    _rule(
        "they-say-future",
        _code(9),
        "the caller's certificate is not valid yet: the clocks differ",
        "set the clocks (NTP); issue with a start some minutes ago",
    ),
    _rule(
        "they-say-stranger",
        _code(20),
        "the caller's certificate leads to no authority that the upstream trusts, or the depth there is too small",
        "the caller's root in the upstream's ssl_client_certificate; ssl_verify_depth as high as its intermediates",
    ),
    _rule(
        "they-say-leaf-only",
        _code(21),
        "the caller sends its leaf without the intermediate",
        "the intermediate after the leaf in the caller's certificate file",
    ),
    _rule(
        "they-say-self-signed",
        _VERIFY.format("1[89]"),
        "the caller's certificate is self-signed, or its root is not trusted",
        "a certificate of the authority that the upstream trusts",
    ),
    _rule(
        "they-say-purpose",
        _code(26),
        "the caller's certificate is not for clients: it lacks clientAuth",
        "issue it with the extended key usage clientAuth",
    ),
    _rule(
        "they-miss-a-list",
        _code(3),
        "the upstream checks revocation and lacks the list of one authority in the caller's chain",
        "the lists of all authorities, the root's too, in the upstream's ssl_crl",
    ),
    _rule(
        "they-have-an-old-list",
        _code(12),
        "the upstream's revocation list is out of date: it refuses everybody",
        "fetch the list again and reload the upstream",
    ),
    _rule(
        "they-say-revoked",
        _code(23),
        "the caller's certificate is revoked",
        "issue a new certificate",
    ),
    _rule(
        "they-cannot-ask",
        r"certificate status request failed|no OCSP responder URL",
        "the upstream asks an OCSP responder about clients, and gets no answer",
        "a responder that answers, named by ssl_ocsp_responder, or ssl_ocsp off; at the upstream",
    ),
    _rule(
        "they-share-no-cipher",
        r"no shared cipher|no suitable signature algorithm|no suitable key share",
        "the caller and the upstream have no cipher, group or signature algorithm in common",
        "compare {family}_ssl_ciphers with ssl_ciphers and the kind of the upstream's key",
    ),
)
