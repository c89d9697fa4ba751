"""From the words that a user types to a function that runs; from what goes wrong to one line that
says what to type.
"""

import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from hashlib import sha256
from pathlib import Path

import hydra
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from conf import help
from conf.files_decide import files_decide
from conf.sweep import Job, launching
from conf.words import mended
from tinyreason import earlier
from tinyreason.errors import UserError
from tinyreason.options import flat
from tinyreason.run.console import say, tell
from tinyreason.run.folder import incidental
from tinyreason.run.place import is_first, place

CONF = Path(__file__).parent
# commands that take the words of train.py
THOSE_OF_TRAIN = ("cost", "zoo", "speed", "scaling", "data_speed", "evaluation_speed")
WAIT = 3  # seconds


def command(config_name: str, function: Callable[[DictConfig], None]) -> None:
    """Run `function` with the configuration of `conf/<config_name>.yaml` and the words in sys.argv.

    Exit code 2 and one line on stderr for what the user can mend; anything else is ours and keeps
    its traceback.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # raise to us instead of printing a page
    with one_line(config_name):
        refuse_ranks(config_name, sys.argv[1:])

    def job(words: DictConfig) -> None:
        with one_line(config_name):  # or Hydra announces a failed job first
            files_decide(words, HydraConfig.get().overrides.task)
            function(words)

    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if help.asked(sys.argv[1:]):
        say(help.page(config_name, sys.argv[1:]))
        return
    with one_line(config_name):
        sys.argv[1:] = mended(sys.argv[1:], keys_of(config_name))
        with launching(sys.argv[1:]):
            main = hydra.main(version_base="1.3", config_path=str(CONF), config_name=config_name)
            main(Job(job))()


def refuse_ranks(config_name: str, words: list[str]) -> None:
    """Raises UserError where torchrun has started what is not a single training."""
    if place().world == 1:
        return
    if config_name != "train":
        raise UserError("only train.py works in several ranks; start it without torchrun")
    if {"-m", "--multirun"} & set(words):
        advice = "leave torchrun out, and use hydra/launcher=joblib to have runs side by side"
        raise UserError(f"a sweep does not work in several ranks; {advice}")


def keys_of(config_name: str) -> list[str]:
    """The words before '=' that a command knows at its top: options and groups."""
    text = (CONF / f"{config_name}.yaml").read_text(encoding="utf-8")
    return re.findall(r"^(?:  - )?(\w+):", text, re.MULTILINE)


@contextmanager
def one_line(config_name: str = "train") -> Iterator[None]:
    """Leave with a code and a line where the user can mend what goes wrong."""
    try:
        yield
    except UserError as error:
        fail(str(error), error.exit_code)
    except (HydraException, OmegaConfBaseException) as error:  # some of Hydra's are OSErrors too
        fail(shorten(str(error)) + did_you_mean(str(error), config_name))
    except ValueError as error:  # Hydra's own, where a group is given a number
        if "Config group override" not in str(error):
            raise
        fail(no_such_choice())
    except YAMLError as error:
        fail(f"conf: {' '.join(str(error).split())}")
    except OSError as error:  # a full disk, a file where a folder should be, no permission
        fail(
            ": ".join(str(part) for part in (error.filename, error.strerror) if part) or str(error)
        )
    except KeyboardInterrupt:  # not while training, which listens for it: nothing is lost
        fail("interrupted", 130)


def default_name() -> str:
    """task-model and the words that were typed beyond them, so that different runs have different
    names.
    """
    choices, words = HydraConfig.get().runtime.choices, HydraConfig.get().overrides.task
    extra = [w.lstrip("+~") for w in words if not w.startswith(("task=", "model=", "scale=small"))]
    extra = [w for w in extra if not incidental(w.split("=")[0])]
    parts = [choices["task"], choices["model"], *(w.replace("=", "_") for w in sorted(extra))]
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", "-".join(parts)).strip("._-")
    return name if len(name) <= 120 else f"{name[:110]}-{sha256(name.encode()).hexdigest()[:8]}"


def composed(words: list[str]) -> DictConfig:
    """The configuration that `train.py` would get from `words`."""
    words = mended(words, keys_of("train"))
    hydra_now = GlobalHydra.instance()
    outer = hydra_now.hydra  # of the command that asks, if it is one of Hydra's
    hydra_now.clear()
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            config = compose("train", words)
    finally:
        hydra_now.hydra = outer
    files_decide(config, words)
    return config


def shorten(message: str) -> str:
    """Hydra's message in one line, less its search path and advice that does not apply here."""
    message = message.split("Config search path")[0]
    message = re.sub(
        r"To append to your config use \+\S+|full_key: \S+|object_type=\S+", "", message
    )
    message = " ".join(message.split())
    if message.startswith("Could not override"):
        message += f" There is no such key; `python {program()} --cfg job` prints all keys."
    if "hydra/launcher" in message:
        message += "; joblib and submitit_slurm come with pip install 'tinyreason[sweep]'"
    return message


def did_you_mean(message: str, config_name: str) -> str:
    """The key nearest to the one that Hydra does not know, among those of the choices that were
    typed.
    """
    unknown = re.search(r"Could not override '([^']+)'", message)
    if not unknown:
        return ""
    if unknown[1] in earlier.OPTIONS:
        return f" It is {earlier.OPTIONS[unknown[1]]} now."
    choices = [w for w in sys.argv[1:] if (CONF / w.split("=")[0]).is_dir() and "," not in w]
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            keys = flat(OmegaConf.to_container(compose(config_name, choices)))
    except (HydraException, OmegaConfBaseException):  # more than one word is wrong
        return ""
    near = get_close_matches(unknown[1], keys, 1)
    return f" Did you mean {near[0]}?" if near else ""


def no_such_choice() -> str:
    """The first word that chooses what its group does not have, and what it has."""
    for word in sys.argv[1:]:
        group, _, name = word.partition("=")
        choices = sorted(path.stem for path in (CONF / group).glob("*.yaml"))
        if choices and name not in choices:
            return f"{word} is unknown; use one of {', '.join(choices)}"
    return "a group takes the name of one of its choices, not a number"


def program() -> str:
    """How the user started us, as in `train.py` or `-m eval.solve`."""
    path = Path(sys.argv[0])
    if path.parent.resolve() == CONF.parent:
        return path.name
    if path.stem == "__main__":  # of a package
        path = path.parent
    if path.stem in THOSE_OF_TRAIN:
        return "train.py"
    return f"-m {path.parent.name}.{path.stem}"


def fail(message: str, code: int = 2) -> None:
    """Say what is wrong and leave. What all ranks find wrong, the first one says, and the others
    are ended while they wait; what one of them finds, it says.
    """
    if not is_first():
        time.sleep(WAIT)
        message = f"rank {os.environ['RANK']}: {message}"
    tell(f"error: {message}", sys.stderr)
    sys.exit(code)


def choose_scale() -> None:
    """Replace `scale=auto`, the default, by what this machine can do, and say so."""
    words = [w for w in sys.argv[1:] if w != "scale=auto"]
    words.sort(key=lambda w: w not in ("-m", "--multirun"))  # Hydra wants all choices in one row
    sys.argv[1:] = words
    if any(w.startswith("scale=") for w in words):
        return
    device = next((w.removeprefix("device=") for w in words if w.startswith("device=")), "auto")
    scale = "paper" if torch.cuda.is_available() and device != "cpu" else "small"
    others = "medium or small" if scale == "paper" else "medium or paper"
    if not any(w.startswith("-") and w not in ("-m", "--multirun") for w in words):
        why = "a CUDA GPU was found" if scale == "paper" else "no CUDA GPU"
        say(f"scale={scale} ({why}); use scale={others} for the others")
    first = next((i for i, w in enumerate(words) if "=" in w and not w.startswith("-")), len(words))
    sys.argv[1:] = [*words[:first], f"scale={scale}", *words[first:]]
