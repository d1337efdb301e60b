"""Changes to the policies in the text of ``troth.json``; the rest of the file stays as it is."""

from collections.abc import Mapping, Sequence
from typing import Any

from troth.ca import ConfigurationError
from troth.ca.editing import to_text
from troth.ca.settings import parse_settings

Raw = Mapping[str, Any]
MISSING = "certificate issuance policy does not exist"


def policy_of(raw: Raw, provisioner: str) -> dict[str, Any] | None:
    """The policy object of a provisioner, or with an empty name of the authority; None when there is none."""
    policies = _object(raw, "policy", "")
    holder, name = _holder(policies, provisioner)
    found = holder.get(name)
    if found is not None and not isinstance(found, dict):
        raise ConfigurationError(f"policy: expected an object, got {found!r}")
    return found


def change_names(
    raw: Raw, provisioner: str, side: str, kind: str, names: Sequence[str], *, remove: bool
) -> dict[str, Any]:
    """With names added at the end of a list of ``allow`` or ``deny``, or taken out of it; one that is there stays once.

    Raises:
        ConfigurationError: the file is malformed, or a name to take out is not there.
    """
    policy = policy_of(raw, provisioner) or {}
    rules = _object(policy, "x509", "policy")
    entries = _object(rules, side, "policy.x509")
    present = list(entries.get(kind) or [])
    if remove:
        absent = next((name for name in names if name not in present), None)
        if absent is not None:
            listed = ", ".join(map(str, present)) or "nothing"
            raise ConfigurationError(f"{side} {kind} has no entry {absent!r}: there is {listed}")
    changed = [one for one in present if one not in names] if remove else list(dict.fromkeys([*present, *names]))
    return with_policy(raw, provisioner, _set(policy, "x509", _set(rules, side, _set(entries, kind, changed))))


def change_wildcards(raw: Raw, provisioner: str, *, allow: bool) -> dict[str, Any]:
    """With wildcard names such as ``*.example.com`` allowed, where an entry matches them, or not."""
    policy = policy_of(raw, provisioner) or {}
    rules = {**_object(policy, "x509", "policy"), "allowWildcardNames": allow}
    return with_policy(raw, provisioner, {**policy, "x509": rules})


def without_policy(raw: Raw, provisioner: str) -> dict[str, Any]:
    """Without a policy.

    Raises:
        ConfigurationError: there is none.
    """
    if policy_of(raw, provisioner) is None:
        raise ConfigurationError(MISSING)
    return with_policy(raw, provisioner, {})


def with_policy(raw: Raw, provisioner: str, policy: Raw) -> dict[str, Any]:
    """With a policy in place of the present one; an empty one takes it out."""
    policies = _object(raw, "policy", "")
    if not provisioner:
        return _set(raw, "policy", _set(policies, "authority", policy))
    every = _object(policies, "provisioners", "policy")
    return _set(raw, "policy", _set(policies, "provisioners", _set(every, provisioner, policy)))


def rename_provisioner(raw: Raw, old: str, new: str) -> dict[str, Any]:
    """With everything said of one provisioner said of another name; an empty new name takes it out."""
    changed: dict[str, Any] = dict(raw)
    policies = _object(raw, "policy", "")
    changed = _set(changed, "policy", _set(policies, "provisioners", _renamed(policies, old, new)))
    return _set(changed, "provisioners", _renamed(raw, old, new))


def speaks_of(raw: Raw, provisioner: str) -> bool:
    """Whether anything is said of a provisioner."""
    return provisioner in (_object(_object(raw, "policy", ""), "provisioners", "policy")) or provisioner in _object(
        raw, "provisioners", ""
    )


def checked_settings(raw: Raw) -> str:
    """The text of a ``troth.json`` that an authority reads.

    Raises:
        ConfigurationError: it would not.
    """
    text = to_text(raw)
    parse_settings(text)
    return text


def _renamed(raw: Raw, old: str, new: str) -> dict[str, Any]:
    every = _object(raw, "provisioners", "")
    return {new if name == old else name: value for name, value in every.items() if new or name != old}


def _holder(policies: Raw, provisioner: str) -> tuple[Raw, str]:
    return (_object(policies, "provisioners", "policy"), provisioner) if provisioner else (policies, "authority")


def _object(raw: Raw, name: str, where: str) -> dict[str, Any]:
    found = raw.get(name) or {}
    if not isinstance(found, dict):
        raise ConfigurationError(f"{where}.{name}".strip(".") + f": expected an object, got {found!r}")
    return found


def _set(raw: Raw, name: str, value: Any) -> dict[str, Any]:
    """With a member, at its place; an empty one is taken out."""
    changed = {**raw, name: value}
    if not value and value is not False:
        del changed[name]
    return changed
