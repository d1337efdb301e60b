"""nginx refuses the configuration, at ``-t``, at the start and at a reload."""

import re
from collections.abc import Callable

from troth.nginx.diagnosis.rule import REFUSED_CONFIG, Rule
from troth.nginx.diagnosis.situation import Situation
from troth.nginx.material import is_authority

_PAIR = r'SSL_CTX_use_PrivateKey(?:_file)?\("(?P<file>[^"]*)"\).*key values mismatch'
_NO_START = (
    r'(?:cannot load certificate(?: key)?|SSL_\w+\() ?"?(?P<file>[^"]*)".*'
    r"(?:no start line|no certificate or crl found)"
)
Judge = Callable[["re.Match[str]", Situation], str | None]


def ca_first(_: "re.Match[str]", situation: Situation) -> str | None:
    first = situation.shown[0] if situation.shown else None
    return "the first certificate of the file is an authority's" if first and is_authority(first) else None


def inherited(_: "re.Match[str]", situation: Situation) -> str | None:
    settings = situation.place.settings if situation.place is not None else {}
    shown, key = settings.get("ssl_certificate"), settings.get("ssl_certificate_key")
    if shown is None or key is None or shown.level == key.level:
        return None
    return f"the certificate is set at {shown.where}, the key at {key.where}, another level"


def begins(pattern: bytes, what: str) -> Judge:
    """Judges by the first bytes of the file that the line names."""

    def judge(said: "re.Match[str]", situation: Situation) -> str | None:
        head = situation.heads.get(said["file"])
        return None if head is None or not re.match(pattern, head) else f"{said['file']} {what}"

    return judge


def _rule(name: str, pattern: str, cause: str, fix: str, judge: Judge | None = None, only: str = "") -> Rule:
    if judge is None:
        return Rule(name, REFUSED_CONFIG, pattern, cause, fix, 0, only=only)
    return Rule(name, REFUSED_CONFIG, pattern, cause, fix, 0, True, judge, only=only)


RULES = (
    _rule(
        "key-inherited",
        _PAIR,
        "the location has its own certificate and inherits another's key: each directive is inherited on its own",
        "set {family}_ssl_certificate and {family}_ssl_certificate_key at the same level",
        inherited,
    ),
    _rule(
        "leaf-not-first",
        _PAIR,
        "the certificate file begins with an authority's certificate, and the key is the leaf's",
        "put the leaf first in the certificate file, then its intermediates",
        ca_first,
    ),
    _rule(
        "pair-mismatch",
        _PAIR,
        "certificate and key are of different generations or identities",
        "deploy both at once, from the same issue; {file} does not belong to the certificate",
    ),
    _rule(
        "key-encrypted",
        r"UI routines|Enter PEM pass phrase|password read|bad password read",
        "the key is encrypted and no password is given",
        "{family}_ssl_password_file FILE; or a key without a password, with mode 0600",
    ),
    _rule(
        "password-wrong",
        r"bad decrypt|PKCS12 routines::decode error",
        "no password in the password file decrypts the key",
        "correct the password file; one password a line",
    ),
    _rule(
        "key-not-named",
        r'no "(?P<name>\w*ssl_certificate_key)" is defined(?! for certificate "")',
        "a certificate is named without its key",
        "add {name} beside the certificate",
    ),
    _rule(
        "variable-in-trust",
        r"(?:cannot load (?:certificate|CRL)|SSL_CTX_load_verify_locations|X509_LOOKUP_load_file)"
        r'[ (]*"[^"]*\$(?P<name>\w+)"',
        "a variable stands where nginx takes none: trusted certificates and revocation lists are read once, "
        "at the start",
        "write the path without ${name}; a change of the file needs a reload",
    ),
    _rule(
        "certificate-emptied",
        r'cannot load certificate "[^"]*/"|is defined for certificate ""',
        "an empty name takes an inherited certificate back from nginx 1.23.0 on only",
        "leave the directive out and set the certificate in the other locations; or a newer nginx",
        only="nginx before 1.23.0",
    ),
    _rule(
        "list-missing-file",
        r'(?:cannot load CRL|X509_LOOKUP_load_file\()\s*"?(?P<file>[^"]*)".*No such file',
        "the revocation list does not exist",
        "write {file}, with the lists of all authorities, or remove {family}_ssl_crl",
    ),
    _rule(
        "file-missing",
        r'(?:cannot load certificate(?: key)?|SSL_\w+\(|fopen\()\s*"?(?P<file>[^"]*)".*No such file(?!.* to upstream)',
        "a file that the configuration names does not exist; a relative path counts from nginx.conf's directory",
        "an absolute path, or write {file}",
    ),
    _rule(
        "file-denied",
        r'(?:cannot load certificate(?: key)?|SSL_\w+\()\s*"?(?P<file>[^"]*)".*Permission denied(?!.* to upstream)',
        "the account that starts nginx may not read a file",
        "start nginx as root, or let its account read {file}",
    ),
    _rule(
        "file-empty",
        _NO_START,
        "a certificate or key file is empty: it was written in place, or the disk was full",
        "write it again: to a temporary file, then rename it to {file}",
        begins(rb"\s*\Z", "is empty"),
    ),
    _rule(
        "files-swapped",
        _NO_START,
        "certificate and key are swapped, or one file is named twice",
        "name the certificate in {family}_ssl_certificate, the key in {family}_ssl_certificate_key",
        begins(rb"-----BEGIN ", "holds another kind of block than is asked for"),
    ),
    _rule(
        "file-der",
        _NO_START,
        "the file is DER, nginx reads PEM",
        "openssl x509 -inform der -in {file} -out {file}.pem, and name that",
        begins(rb"\x30[\x80-\x84]", "begins with a DER sequence"),
    ),
    _rule(
        "no-pem",
        _NO_START,
        "the file holds no PEM block of the kind that is asked for",
        "look at it: head {file}",
    ),
    _rule(
        "pem-broken",
        r"bad end line|bad base64 decode|no end line",
        "a PEM file is cut off or was edited: it was written in place, or copied in part",
        "write it again: to a temporary file, then rename it",
    ),
    _rule(
        "key-too-small",
        r"ee key too small",
        "the certificate's key is smaller than OpenSSL allows",
        "a new key: ECDSA P-256, or RSA of 2048 bits and more",
    ),
    _rule(
        "trust-not-named",
        r"no (?P<name>\w+_ssl_trusted_certificate) for \w+_ssl_verify",
        "the upstream is to be checked, and nobody is trusted",
        "{name} FILE; with the root of the upstream's certificate",
    ),
    _rule(
        "clients-authority-missing",
        r"no ssl_client_certificate (?:or ssl_trusted_certificate )?for ssl_verify_client",
        "clients are to be checked, and nobody is trusted",
        "ssl_client_certificate FILE; with the root of the clients' certificates",
    ),
    _rule(
        "server-certificate-missing",
        r'no "ssl_certificate" is defined for the "listen \.\.\. ssl" directive',
        "a server listens with TLS and has no certificate",
        "ssl_certificate and ssl_certificate_key in that server",
    ),
    _rule(
        "cipher-unknown",
        r'set_cipher_list\("(?P<ciphers>[^"]*)"\).*no cipher match',
        "no cipher of the list exists; names of TLS 1.3 suites do not belong here",
        "{family}_ssl_ciphers with names of TLS 1.2; for 1.3: {family}_ssl_conf_command Ciphersuites ...",
    ),
    _rule(
        "conf-command-refused",
        r'SSL_CONF_cmd\("(?P<name>[^"]*)", "(?P<value>[^"]*)"\) failed',
        "this OpenSSL does not know a value of ssl_conf_command",
        "leave out {name} {value}, or put a ? before a group that may be missing (OpenSSL 3.3 and later)",
    ),
    _rule(
        "directive-newer",
        r'unknown directive "(?P<name>\w*ssl_certificate_cache|keepalive_min_timeout|http2)"',
        "the directive is newer than this nginx",
        "leave {name} out, or use a newer nginx: troth nginx plan writes what this one knows",
        only="nginx before the directive: http2 came with 1.25.1, the others with 1.27.4",
    ),
    _rule(
        "directive-of-plus",
        r'unknown directive "(?P<name>\w*ssl_key_log|health_check|match|api|status_zone|zone_sync\w*|ntlm|keyval\w*'
        r'|auth_jwt\w*)"',
        "the directive is one of the commercial nginx, this is the free one",
        "leave {name} out",
    ),
    _rule(
        "no-tls-in-module",
        r'unknown directive "(?P<name>(?:fastcgi|scgi|memcached)_ssl\w*)"',
        "nginx speaks no TLS with FastCGI, SCGI and memcached upstreams",
        "leave {name} out: a TLS tunnel at 127.0.0.1, or HTTP between the two",
    ),
    _rule(
        "module-missing",
        r'unknown directive "(?P<name>stream|mail|grpc_\w+|uwsgi_\w+|js_\w+|\w*lua\w*|more_\w+|brotli\w*|geoip\w*)"',
        "the module of this directive is not built in and not loaded",
        "load_module modules/....so; at the top of nginx.conf, and install the package that has it",
    ),
    _rule(
        "directive-misspelt",
        r'unknown directive "(?P<name>(?:proxy|grpc|uwsgi)_ssl\w*|ssl_\w+)"',
        "there is no such directive",
        "correct {name}; the names are in nginx's documentation of the module",
    ),
    _rule(
        "value-invalid",
        r'invalid value "(?P<value>[^"]*)"(?: in "(?P<name>\w*ssl\w*)" directive)?',
        "a directive has a value that does not exist",
        "correct {value} at the line that nginx names",
    ),
    _rule(
        "directive-twice",
        r'"(?P<name>\w+)" directive is duplicate',
        "a directive stands twice at one level, often once in an included file",
        "remove one {name}",
    ),
    _rule(
        "wrong-level",
        r'"(?P<name>\w+)" directive is not allowed here',
        "a directive stands where nginx does not take it: upstream belongs directly into http",
        "move {name}; an include in a location cannot carry it",
    ),
    _rule(
        "upstream-unresolved",
        r'host not found in upstream "(?P<name>[^"]+)"',
        "the upstream's name did not resolve when nginx read the configuration",
        "correct {name} or its DNS; or an upstream group with `resolve`, so that nginx starts without it",
    ),
    _rule(
        "port-taken",
        r"bind\(\) to (?P<address>\S+) failed \(98",
        "another program, often another nginx, listens at the same address",
        "end what `ss -ltnp` shows at {address}, or listen elsewhere",
    ),
    _rule(
        "include-missing",
        r'open\(\) "(?P<file>[^"]+)" failed \(2: No such file or directory\) in ',
        "an included file does not exist",
        "write {file}, or correct the include",
    ),
    _rule(
        "not-terminated",
        r'is not terminated by ";"|unexpected end of file, expecting|unexpected "[}{;]"',
        "the configuration's braces or semicolons do not add up; the line is where nginx noticed, often one too late",
        "add what is missing at or before that line",
    ),
)
