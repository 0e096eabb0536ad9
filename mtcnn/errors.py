"""Errors whose cause is the user's to mend: one line that says what, where and what to do.

Raised where the cause is known, caught once in a job's entry point, which prints the line and exits with 2.
"""


class UserError(Exception):
    """A mistake or a fault outside this program; its text is one complete line for the user."""


class ConfigError(UserError):
    """A key, type or value of the configuration that cannot be used."""


class StoreError(UserError):
    """A path or object store that cannot be read or written."""


class MissingKey(StoreError):
    """An object that is not in its store."""


class ShardError(UserError):
    """A shard that is missing, truncated or altered."""


class WeightsError(UserError):
    """A weights file that is damaged, of another stage, or not ours."""


class ImageError(UserError):
    """An image file that cannot be decoded or is larger than allowed."""
