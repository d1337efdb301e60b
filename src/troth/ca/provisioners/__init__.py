"""Provisioners: who may ask for a certificate, one file per kind, and finding the one a token belongs to."""

from troth.ca.provisioners.base import Grant, ListedProvisioner, Naming, Provisioner
from troth.ca.provisioners.collection import Provisioners, load_provisioners

__all__ = ["Grant", "ListedProvisioner", "Naming", "Provisioner", "Provisioners", "load_provisioners"]
