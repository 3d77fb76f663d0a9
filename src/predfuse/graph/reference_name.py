"""The form of ``package.module:function``, a reference to a user's own model; found out without importing anything."""


def is_reference(text: str) -> bool:
    """Whether ``text`` names a function of a module, ``package.module:function``."""
    module, colon, function = text.rpartition(":")
    return bool(colon) and all(part.isidentifier() for part in (*module.split("."), *function.split(".")))
