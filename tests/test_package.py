"""What `import dmt` gives."""

import subprocess
import sys

import pytest

import dmt


@pytest.mark.parametrize("first", ["", "from dmt.run import run; "])
def test_run_can_be_called_whichever_way_it_was_imported(first: str) -> None:
    code = f"{first}import dmt, torch; dmt.losses.dynamic_weights; dmt.selection.select_top; dmt.run('no-such-preset')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "ConfigError: No preset or file is called 'no-such-preset'" in done.stderr


def test_importing_the_package_loads_no_torch() -> None:
    code = "import sys, dmt; assert 'torch' not in sys.modules; print(dmt.__version__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == dmt.__version__


def test_load_is_found_when_it_is_asked_for() -> None:
    code = "import dmt; dmt.SemiSupervisedClassifier(), dmt.SemiSupervisedSegmenter(); dmt.load('no-such-folder')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "RunFolderError: no-such-folder is neither a bundle" in done.stderr


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = dmt.nothing
