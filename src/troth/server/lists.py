"""Revocation lists as served: made at the start, in good time before they end, and after a revocation if so set.

The list is in the database, so that several processes serve the same one and its number only ever grows.
"""

from datetime import datetime
from functools import partial

from troth.ca.authority import Authority, Signer
from troth.ca.revocations import LISTED_AFTER_END, Entry, Lists, sign_list
from troth.store.records import PublishedList, Revoked, Store


def publish(store: Store, authority: Authority, lists: Lists, now: datetime, older_than: datetime | None = None) -> int:
    """Make the list of every issuer, or only where the present one was made before `older_than`; how many were.

    Raises:
        StoreError: the database cannot be read or written.
    """
    made = 0
    for signer in authority.signers:
        for scoped in (True, False):
            made += store.publish(
                list_name(signer.name, scoped=scoped),
                now - LISTED_AFTER_END,
                lambda current: _is_due(current, now, older_than),
                partial(_sign, signer, lists, now, lists.point_of(signer.name) if scoped else ""),
            )
    return made


def list_name(signer: str, *, scoped: bool) -> str:
    """What the database calls a list: each issuer has one that says where it is distributed, and one that does not.

    step-ca has the first alone, which OpenSSL and all that is built on it refuse for certificates without a
    distribution point of the same name, and so for all that step-ca issues.
    """
    return signer if scoped else f"{signer}/unscoped"


def _is_due(current: PublishedList | None, now: datetime, older_than: datetime | None) -> bool:
    if current is None or older_than is None:
        return True
    # One from the future was made before the clock was set right.
    return current.made_at <= older_than or current.made_at > now


def _sign(
    signer: Signer, lists: Lists, now: datetime, point: str, number: int, revoked: list[Revoked]
) -> PublishedList:
    entries = [Entry(one.serial, one.revoked_at, one.reason_code) for one in revoked]
    der = sign_list(entries, signer.issuer, number, point, now, lists.cache)
    return PublishedList(number, now, now + lists.cache, der)
