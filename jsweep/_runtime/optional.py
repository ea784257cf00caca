"""Optional packages: imported when used, with an error that names the extra to install."""

import importlib
from types import ModuleType

from jsweep.errors import MissingExtraError


def import_optional(module: str, extra: str) -> ModuleType:
    """Import ``module``; MissingExtraError with the command that installs it where it is missing."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not module.startswith(error.name.split(".")[0]):
            raise
        package = module.split(".")[0]
        raise MissingExtraError(f"the package {package} is not installed: pip install 'jsweep[{extra}]'.") from error
