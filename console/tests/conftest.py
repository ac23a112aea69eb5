"""Staff, and the shop whose customers they look after."""

import pytest
from django.contrib.auth.models import Group

from accounts.models import User
from billing.tests.conftest import customer, shop
from console import roles

__all__ = ["customer", "shop"]


@pytest.fixture
def support(db: None) -> User:
    roles.keep_groups()
    user = User.objects.create_user("support@example.com", is_staff=True)
    user.groups.add(Group.objects.get(name=roles.SUPPORT))
    return user


@pytest.fixture
def operator(db: None) -> User:
    return User.objects.create_superuser("operator@example.com")
