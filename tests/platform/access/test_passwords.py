"""Passwords are kept as dearly as Argon2id's own defaults say, those of nobody as well."""

from importlib.util import find_spec, module_from_spec

import argon2

from counterfoil.platform.access import passwords as cheap


def test_a_guess_costs_as_much_whether_the_user_is_there_or_not() -> None:
    # A copy of the module: the one that all tests share has cheap passwords.
    spec = find_spec(cheap.__name__)
    assert spec is not None and spec.loader is not None
    passwords = module_from_spec(spec)
    spec.loader.exec_module(passwords)

    stored = passwords.hash_password("a horse in the rain")
    nobody = passwords._NOBODY

    for kept in (stored, nobody):
        assert kept.startswith("$argon2id$")
        assert not argon2.PasswordHasher().check_needs_rehash(kept)
    assert passwords.is_password(stored, "a horse in the rain")
    assert not passwords.is_password(stored, "")
    assert not passwords.is_password(None, "")
