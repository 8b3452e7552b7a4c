"""Files of a model by its name, wherever it is: a bundled model, a folder, or a repository of the Hugging Face hub."""

import warnings
from pathlib import Path

from huggingface_hub import hf_hub_download, snapshot_download
from huggingface_hub.errors import EntryNotFoundError, HFValidationError, LocalEntryNotFoundError

from lit_listener.vlm.adapters import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from lit_listener.vlm.specs import resolve

_OF_AN_ADAPTER = (ADAPTER_CONFIG, ADAPTER_WEIGHTS, "judge.json", "preprocessor_config.json")


def find_file(model: str, file: str, *, matters: bool = False) -> Path | None:
    """A small file of a model; None where it has none.

    Args:
        model: bundled name, folder or hub id.
        file: the file's name.
        matters: warn where the hub cannot be asked whether there is one.

    Raises:
        FileNotFoundError: there is no such model here or on the hub.
    """
    folder = Path(resolve(model))
    if folder.is_dir():
        path = folder / file
        return path if path.is_file() else None
    try:
        return Path(hf_hub_download(model, file))
    except LocalEntryNotFoundError:  # offline, and it was never fetched: what was fetched decides whether it loads
        if matters:
            warnings.warn(f"{model}: the hub cannot be reached to look for its {file}; going on without", stacklevel=2)
        return None
    except EntryNotFoundError:
        return None
    except (OSError, HFValidationError) as error:
        raise not_there(model, error) from error


def adapter_folder(name: str) -> Path:
    """An adapter's folder, fetched where it is on the hub.

    Raises:
        FileNotFoundError: it is not there.
    """
    folder = Path(resolve(name))
    if folder.is_dir():
        return folder
    try:
        return Path(snapshot_download(name, allow_patterns=list(_OF_AN_ADAPTER)))
    except (OSError, HFValidationError) as error:
        raise not_there(name, error) from error


def not_there(name: str, error: BaseException) -> FileNotFoundError:
    """The error of a name that is no folder and cannot be had from the hub either."""
    return FileNotFoundError(
        f"{name!r} is no folder here, and cannot be had from the Hugging Face hub ({first_line(error)}): check the "
        "name, the network, HF_HUB_OFFLINE, and for a private or gated repository hf auth login"
    )


def first_line(error: BaseException) -> str:
    """What an error comes down to."""
    return str(error).strip().split("\n", maxsplit=1)[0] or type(error).__name__
