"""Provisioner entries of ``ca.json``, written and changed as ``step ca provisioner add`` and ``update`` do it.

What a kind can be told is a table: one row per flag, the same for adding and for updating.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from troth.ca import ConfigurationError
from troth.durations import DurationError, format_duration, parse_duration

TEXT, LIST, SWITCH, NUMBER, DURATION, FILE = "text", "list", "switch", "number", "duration", "file"
CHALLENGES = ("http-01", "dns-01", "tls-alpn-01", "device-attest-01")
ATTESTATION_FORMATS = ("apple", "step", "tpm")


@dataclass(frozen=True, slots=True)
class Setting:
    """A flag (without dashes), the member it sets, of which sort, and what the member is when nobody set it."""

    flag: str
    member: str
    sort: str = TEXT
    default: Any = None
    required: bool = False
    allowed: tuple[str, ...] = ()


_TRUST_ON_FIRST_USE = (
    Setting("disable-custom-sans", "disableCustomSANs", SWITCH, False),
    Setting("disable-trust-on-first-use", "disableTrustOnFirstUse", SWITCH, False),
)
_INSTANCE_AGE = Setting("instance-age", "instanceAge", DURATION, "0s")
SETTINGS: dict[str, tuple[Setting, ...]] = {
    "JWK": (),
    "OIDC": (
        Setting("client-id", "clientID", required=True),
        Setting("client-secret", "clientSecret", default=""),
        Setting("configuration-endpoint", "configurationEndpoint", required=True),
        Setting("tenant-id", "tenantID"),
        Setting("admin", "admins", LIST),
        Setting("domain", "domains", LIST),
        Setting("group", "groups", LIST),
        Setting("listen-address", "listenAddress"),
        Setting("scope", "scopes", LIST),
        Setting("auth-param", "authParams", LIST),
    ),
    "X5C": (Setting("x5c-roots", "roots", FILE, required=True),),
    "K8SSA": (Setting("public-key", "publicKeys", FILE, required=True),),
    "ACME": (
        Setting("force-cn", "forceCN", SWITCH),
        Setting("require-eab", "requireEAB", SWITCH),
        Setting("challenge", "challenges", LIST, allowed=CHALLENGES),
        Setting("attestation-format", "attestationFormats", LIST, allowed=ATTESTATION_FORMATS),
        Setting("attestation-roots", "attestationRoots", FILE),
    ),
    "SSHPOP": (),
    "NEBULA": (Setting("nebula-root", "roots", FILE, required=True),),
    "AWS": (
        Setting("aws-account", "accounts", LIST, []),
        *_TRUST_ON_FIRST_USE,
        Setting("", "imdsVersions", LIST, ["v2", "v1"]),
        _INSTANCE_AGE,
    ),
    "GCP": (
        Setting("gcp-service-account", "serviceAccounts", LIST),
        Setting("gcp-project", "projectIDs", LIST),
        Setting("gcp-organization", "organizationID"),
        *_TRUST_ON_FIRST_USE,
        Setting("disable-ssh-ca-user", "disableSSHCAUser", SWITCH),
        Setting("disable-ssh-ca-host", "disableSSHCAHost", SWITCH),
        _INSTANCE_AGE,
    ),
    "AZURE": (
        Setting("azure-tenant", "tenantID", required=True),
        Setting("azure-resource-group", "resourceGroups", LIST, []),
        Setting("azure-subscription-id", "subscriptionIDs", LIST, []),
        Setting("azure-object-id", "objectIDs", LIST, []),
        Setting("azure-audience", "audience"),
        *_TRUST_ON_FIRST_USE,
    ),
    "SCEP": (
        Setting("force-cn", "forceCN", SWITCH),
        Setting("challenge", "challenge"),
        Setting("capabilities", "capabilities", LIST),
        Setting("include-root", "includeRoot", SWITCH),
        Setting("exclude-intermediate", "excludeIntermediate", SWITCH),
        Setting("min-public-key-length", "minimumPublicKeyLength", NUMBER),
        Setting("encryption-algorithm-identifier", "encryptionAlgorithmIdentifier", NUMBER),
        Setting("scep-decrypter-certificate-file", "decrypterCertificate", FILE),
        Setting("scep-decrypter-key-file", "decrypterKeyPEM", FILE),
        Setting("scep-decrypter-key-uri", "decrypterKey"),
        Setting("scep-decrypter-key-password-file", "decrypterKeyPassword"),
    ),
}
CLAIMS = (
    Setting("x509-min-dur", "minTLSCertDuration", DURATION),
    Setting("x509-max-dur", "maxTLSCertDuration", DURATION),
    Setting("x509-default-dur", "defaultTLSCertDuration", DURATION),
    Setting("ssh-user-min-dur", "minUserSSHCertDuration", DURATION),
    Setting("ssh-user-max-dur", "maxUserSSHCertDuration", DURATION),
    Setting("ssh-user-default-dur", "defaultUserSSHCertDuration", DURATION),
    Setting("ssh-host-min-dur", "minHostSSHCertDuration", DURATION),
    Setting("ssh-host-max-dur", "maxHostSSHCertDuration", DURATION),
    Setting("ssh-host-default-dur", "defaultHostSSHCertDuration", DURATION),
    Setting("ssh", "enableSSHCA", SWITCH, True),
    Setting("disable-renewal", "disableRenewal", SWITCH, False),
    Setting("allow-renewal-after-expiry", "allowRenewalAfterExpiry", SWITCH, False),
    Setting("disable-smallstep-extensions", "disableSmallstepExtensions", SWITCH, False),
)
KEY_FLAGS = {"JWK": ("create", "public-key", "private-key")}
WITHOUT_OPTIONS = ("SSHPOP",)


def kind_of(text: str) -> str:
    """A ``--type`` in its upper-case form.

    Raises:
        ConfigurationError: nobody knows it.
    """
    kind = text.upper()
    if kind not in SETTINGS:
        raise ConfigurationError(f"unknown --type {text!r}: expected one of {', '.join(SETTINGS)}")
    return kind


def all_settings() -> list[Setting]:
    """Every setting that has a flag, each flag once, in the table's order; a list wins over a text (``challenge``)."""
    found: dict[str, Setting] = {}
    for setting in [one for kind in SETTINGS.values() for one in kind] + list(CLAIMS):
        if setting.flag and (setting.flag not in found or setting.sort == LIST):
            found[setting.flag] = setting
    return list(found.values())


def foreign_flags(kind: str, given: Sequence[str]) -> list[str]:
    """The flags that mean nothing for a kind of provisioner."""
    own = {setting.flag for setting in (*SETTINGS[kind], *CLAIMS)} | set(KEY_FLAGS.get(kind, ()))
    return [flag for flag in given if flag.removeprefix("remove-") not in own]


def create_entry(kind: str, name: str, details: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """A new entry.

    Args:
        kind: as `kind_of` gives it.
        name: the provisioner's name.
        details: members that are no settings (a JWK's ``key`` and ``encryptedKey``).
        values: by flag; lists are sequences, switches booleans, files already in base64, the rest text.

    Raises:
        ConfigurationError: a required value is missing, or one is malformed.
    """
    missing = next((one.flag for one in SETTINGS[kind] if one.required and not values.get(one.flag)), None)
    if missing:
        raise ConfigurationError(f"--type {kind} needs --{missing}")
    entry: dict[str, Any] = {"type": kind, "name": name, **details}
    for setting in SETTINGS[kind]:
        value = _value(setting, values.get(setting.flag))
        if value not in (None, "", [], False):
            entry[setting.member] = value
        elif setting.default is not None:
            entry[setting.member] = setting.default
    claims = {one.member: _value(one, values.get(one.flag)) for one in CLAIMS}
    defaults = {one.member: one.default for one in CLAIMS}
    entry["claims"] = {
        name: value if value is not None else defaults[name]
        for name, value in claims.items()
        if value not in (None, "") or defaults[name] is not None
    }
    if kind not in WITHOUT_OPTIONS:
        entry["options"] = {"x509": {}, "ssh": {}}
    return entry


def update_entry(
    entry: Mapping[str, Any],
    details: Mapping[str, Any],
    values: Mapping[str, Any],
    removed: Mapping[str, Sequence[str]],
) -> dict[str, Any]:
    """A changed entry; members that are not mentioned stay as they are, also those nobody knows.

    Args:
        entry: as it is.
        details: members to replace; None removes one.
        values: by flag, only those given; lists are added to what is there, an empty text removes a member.
        removed: by flag, what to take out of a list first.

    Raises:
        ConfigurationError: a value is malformed, or a required one would be removed.
    """
    changed = dict(entry)
    kind = kind_of(str(entry.get("type", "")))
    _put_all(changed, details)
    for setting in SETTINGS[kind]:
        if setting.sort == LIST and (values.get(setting.flag) or removed.get(setting.flag)):
            gone = set(removed.get(setting.flag, ()))
            kept = [item for item in changed.get(setting.member) or [] if item not in gone]
            more = _value(setting, values.get(setting.flag)) or []
            _put(changed, setting.member, list(dict.fromkeys([*kept, *more])) or setting.default)
        elif setting.sort != LIST and setting.flag in values:
            if setting.required and not values[setting.flag]:
                raise ConfigurationError(f"--{setting.flag} is empty: provisioners of type {kind} need it")
            value = _value(setting, values[setting.flag])
            _put(changed, setting.member, value if value not in ("", None, False) else setting.default)
    claims = dict(changed.get("claims") or {})
    _put_all(claims, {one.member: _value(one, values[one.flag]) or None for one in CLAIMS if one.flag in values})
    claims.update({one.member: values[one.flag] for one in CLAIMS if one.sort == SWITCH and one.flag in values})
    if claims or "claims" in changed:
        changed["claims"] = claims
    return changed


def set_template(entry: dict[str, Any], part: str, template: str | None, data: Mapping[str, Any] | None) -> None:
    """Put a template and its data into ``options.<part>`` (x509 or ssh); None leaves one as it is, empty removes it."""
    options = dict(entry.get("options") or {})
    own = dict(options.get(part) or {})
    for member, value in (("template", template), ("templateData", data)):
        if value is not None:
            _put(own, member, value or None)
    options[part] = own
    entry["options"] = options


def _put_all(target: dict[str, Any], members: Mapping[str, Any]) -> None:
    for name, value in members.items():
        _put(target, name, value)


def _put(target: dict[str, Any], name: str, value: Any) -> None:
    if value is None:
        target.pop(name, None)
    else:
        target[name] = value


def _value(setting: Setting, value: Any) -> Any:
    if value is None:
        return None
    if setting.sort == DURATION and value:
        try:
            return format_duration(parse_duration(value))
        except DurationError as error:
            raise ConfigurationError(f"--{setting.flag}: {error.message}") from error
    if setting.sort == LIST:
        items = list(dict.fromkeys(value))
        wrong = next((item for item in items if setting.allowed and item.lower() not in setting.allowed), None)
        if wrong is not None:
            raise ConfigurationError(f"--{setting.flag} {wrong!r}: expected one of {', '.join(setting.allowed)}")
        return [item.lower() for item in items] if setting.allowed else items
    if setting.flag == "challenge" and isinstance(value, list | tuple):
        if len(value) > 1:
            raise ConfigurationError("--type SCEP takes one --challenge only")
        return value[0] if value else None
    return value
