"""Configurations whose provisioners, key or issuing are not where the file says: refused, never half served."""

from collections.abc import Mapping
from typing import Any

from troth.server import ServerError


def check_here(raw: Mapping[str, Any]) -> None:
    """Make sure that ``ca.json`` means this machine: step-ca would do otherwise than the rest of the file says.

    Raises:
        ServerError: it does not.
    """
    authority = raw.get("authority") or {}
    if authority.get("enableAdmin"):
        raise ServerError(
            "authority.enableAdmin: the provisioners are in step-ca's database then, which is not served",
            hint="write what `step ca provisioner list` prints into authority.provisioners, and take enableAdmin out",
        )
    kind = str(authority.get("type") or "").lower()
    if kind not in ("", "softcas"):
        raise ServerError(
            f"authority.type: {kind!r} issues elsewhere, and registration authorities are not served",
            hint="serve the authority that issues, or take authority.type out to issue with crt and key",
        )
    kms = raw.get("kms")
    keys = str((kms.get("type") if isinstance(kms, dict) else kms) or "").lower()
    if keys not in ("", "softkms"):
        raise ServerError(f"kms.type: a key in {keys!r} cannot be used", hint="expected softkms, or no kms: a key file")
