"""Registers the operator's pages that combine rooms, and re-dresses the ones of other packages."""

from console import customers, stripe_mirror

__all__ = ["customers", "stripe_mirror"]

stripe_mirror.register()
