"""Logging in on another device (RFC 8628): a code and an address for the person, and asking until they are done."""

import ssl
from dataclasses import dataclass

from troth.acme.problems import one_line
from troth.client.openid import Client, LoginError, Provider, identity_of, post_form
from troth.client.transport import UnreachableError
from troth.client.web import Pace, json_object

GRANT = "urn:ietf:params:oauth:grant-type:device_code"
DEFAULT_INTERVAL, SLOWER, LONGEST_INTERVAL = 5.0, 5.0, 60.0
DEFAULT_PATIENCE, LONGEST_PATIENCE = 300.0, 900.0


@dataclass(frozen=True, slots=True)
class DeviceCode:
    """What the provider gave us to ask with, and the person to type in where."""

    code: str
    user_code: str
    url: str
    complete_url: str
    interval: float
    patience: float


def start(provider: Provider, client: Client, trust: ssl.SSLContext) -> DeviceCode:
    """Begin (§3.1, §3.2).

    Raises:
        ClientError: the provider has no such flow, or refused.
    """
    if not provider.device:
        raise LoginError(f"{provider.issuer} has no device authorization endpoint", hint="log in without --console")
    answer = post_form(provider.device, provider, client, {"scope": " ".join(client.scopes)}, trust)
    value = json_object(answer) or {}
    # Google writes url where the RFC has uri.
    url = value.get("verification_uri") or value.get("verification_url")
    code, user_code = value.get("device_code"), one_line(value.get("user_code"))
    if answer.status != 200 or not isinstance(code, str) or not code or not user_code or not _is_page(url):
        said = one_line(value.get("error")) or f"status {answer.status}"
        detail = one_line(value.get("error_description"))
        message = f"{provider.issuer} gives no device code: {said}{': ' + detail if detail else ''}"
        raise LoginError(message, hint="is the client allowed to use the device flow there?")
    complete = value.get("verification_uri_complete")
    return DeviceCode(
        code,
        user_code,
        str(url),
        str(complete) if _is_page(complete) else "",
        min(_seconds(value.get("interval"), DEFAULT_INTERVAL), LONGEST_INTERVAL),
        min(_seconds(value.get("expires_in"), DEFAULT_PATIENCE), LONGEST_PATIENCE),
    )


def await_token(device: DeviceCode, provider: Provider, client: Client, trust: ssl.SSLContext, pace: Pace) -> str:
    """Ask until the person has logged in; the identity token (§3.4, §3.5).

    Raises:
        LoginError: they refused, or it took too long.
    """
    form = {"grant_type": GRANT, "device_code": device.code}
    deadline, interval = pace.clock() + device.patience, device.interval
    while pace.clock() + interval <= deadline:
        pace.sleep(interval)
        try:
            answer = post_form(provider.token, provider, client, form, trust)
        except UnreachableError:
            interval = min(interval * 2, LONGEST_INTERVAL)  # §3.5: back off, the person may still be typing
            continue
        value = json_object(answer) or {}
        if answer.status == 200 and not value.get("error"):
            return identity_of(value, provider)
        kind = value.get("error")
        if kind == "slow_down":
            interval = min(interval + SLOWER, LONGEST_INTERVAL)
        elif kind != "authorization_pending":
            said = one_line(kind) or f"status {answer.status}"
            raise LoginError(f"the identity provider refused: {said}", hint="start again for a new code")
    raise LoginError(f"nobody logged in within {device.patience:g} seconds", hint="start again for a new code")


def _is_page(url: object) -> bool:
    """Shown on a terminal and opened by hand: a plain web address and nothing that moves the cursor."""
    return isinstance(url, str) and url.startswith(("https://", "http://")) and url.isascii() and url.isprintable()


def _seconds(value: object, otherwise: float) -> float:
    usable = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf")
    return float(value) if usable and isinstance(value, int | float) else otherwise
